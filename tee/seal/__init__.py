"""Sealed state: secrets that only this measured guest opens again (SPEC §14)."""
