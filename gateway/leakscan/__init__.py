"""Step 2, scan: credentials in prompts. Pure: bytes in, findings and cleaned bytes out."""
