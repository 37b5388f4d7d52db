"""The vocabulary of `gateway.models`: values and protocols, frozen. Pure."""
