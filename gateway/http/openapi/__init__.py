"""The OpenAPI document: a file for each group of endpoints, in the order of `document.py`."""
