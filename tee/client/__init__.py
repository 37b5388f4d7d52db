"""The verifying client: what talks to a gateway on behalf of a customer."""
