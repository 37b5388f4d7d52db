"""A witness that a customer runs. Edge."""
