"""Small true worlds: a gateway, a provider and a liar, each a real process or a real socket."""
