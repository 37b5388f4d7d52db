"""ApiKey: a caller, known by the hash of a secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

KEY_PREFIX = "sk-router-"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A live key: its public id and its tenant. The secret is never kept."""

    id: str
    tenant: str


def hash_api_key(secret: str) -> str:
    """SHA-256 of the secret, hex. Keys are 32 random bytes, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_of(headers: dict[str, str]) -> str | None:
    """The first key that the headers carry: X-Router-Key, Bearer, x-api-key, api-key."""
    bearer = headers.get("authorization", "")
    candidates = (
        headers.get("x-router-key"),
        bearer[7:].strip() if bearer[:7].lower() == "bearer " else None,
        headers.get("x-api-key"),
        headers.get("api-key"),
    )
    return next((secret for secret in candidates if secret), None)
