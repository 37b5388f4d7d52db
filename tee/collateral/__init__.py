"""Endorsements from AMD's key server, kept on disk."""
