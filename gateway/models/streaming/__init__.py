"""Streams of emissions, and the framers below them."""
