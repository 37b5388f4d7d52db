"""Test vectors, and the generator that makes them from fixed seeds."""
