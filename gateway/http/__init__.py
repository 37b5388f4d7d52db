"""The HTTP rim: the only rooms that know the web framework."""
