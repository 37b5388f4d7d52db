"""Keysets and what binds them to a report. Pure."""
