"""Devices that produce evidence."""
