"""Receipts; later the Merkle log. Pure."""
