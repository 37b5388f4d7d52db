"""Which provider answers a public model. Pure."""
