"""Between the vocabulary and the one request shape of the gateway: pure."""
