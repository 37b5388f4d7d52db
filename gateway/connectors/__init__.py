"""Providers as values: language, endpoint, credential. Pure."""
