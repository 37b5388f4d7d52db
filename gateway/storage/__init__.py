"""SQL, and only here: one small repository per noun."""
