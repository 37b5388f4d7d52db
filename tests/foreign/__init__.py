"""Clients of other makers, unmodified, against a live gateway."""
