"""The gateway: what is served. It may import `tee`; `tee` never imports it."""
