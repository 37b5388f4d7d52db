"""Tenant and ApiKey: who pays and sets the bounds, and a caller of theirs, known by the hash of a secret."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import Forbidden

KEY_PREFIXES = ("sk-router-", "sk-sr-")
KEY_PREFIX = KEY_PREFIXES[0]
SHOWN = 4  # characters of a key's random part that lists show: 24 of its 256 bits, enough to tell keys apart
INFERENCE, READ, KEYS, BILLING = SCOPES = ("inference", "read", "keys", "billing")
DEFAULT_SCOPES = frozenset({INFERENCE, READ, KEYS})


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose keys they are. None: no bound. `usd_cap` is in micro-USD."""

    id: str
    display_name: str
    usd_cap: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    allowed_policies: tuple[str, ...] = ("default",)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that may be used: its public id, its tenant, and what it may do. The secret is never kept.

    `policy` is what its calls are routed by if they ask for none. `prefix` shows the secret's first characters.
    `expires_at`: when this secret ends, seconds since 1970. `cut_streams`: a revocation ends its open streams too.
    """

    id: str
    tenant: Tenant
    name: str = ""
    prefix: str = ""
    scopes: frozenset[str] = DEFAULT_SCOPES
    policy: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires_at: int | None = None
    cut_streams: bool = False


def hash_api_key(secret: str) -> str:
    """SHA-256 of the secret, hex. Keys are 32 random bytes, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shown_prefix(secret: str) -> str:
    """What lists show of a secret."""
    kind = next((each for each in KEY_PREFIXES if secret.startswith(each)), "")
    return f"{secret[: len(kind) + SHOWN]}…"


def secret_of(headers: Mapping[str, str]) -> str | None:
    """The first key that the headers carry: X-Router-Key, Bearer, x-api-key, api-key."""
    if secret := headers.get("x-router-key"):
        return secret
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer " and (secret := bearer[7:].strip()):
        return secret
    return headers.get("x-api-key") or headers.get("api-key") or None


def require_scope(key: ApiKey, *scopes: str) -> None:
    """Raises Forbidden for a key that has none of these scopes."""
    if key.scopes.isdisjoint(scopes):
        wanted = " or ".join(f"`{scope}`" for scope in scopes)
        raise Forbidden(
            f"This API key lacks the scope {wanted}: use one that has it, or have one made with it.",
            code="missing_scope",
        )
