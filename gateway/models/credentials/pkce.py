"""Proof Key for Code Exchange, RFC 7636, method S256."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field

PKCE_METHOD = "S256"
LEAST, MOST = 43, 128
"""Characters of a verifier (§4.1)."""


@dataclass(frozen=True, slots=True)
class PkcePair:
    """The verifier, a secret until the code is exchanged, and the challenge that goes ahead of it."""

    verifier: str = field(repr=False)
    challenge: str
    method: str = PKCE_METHOD


def create_pkce_pair(verifier_length: int = 64) -> PkcePair:
    """A fresh pair; the length is brought to 43 to 128 characters."""
    length = max(LEAST, min(verifier_length, MOST))
    verifier = secrets.token_urlsafe(MOST)[:length]  # unreserved characters only, more than enough of them
    return PkcePair(verifier, derive_code_challenge(verifier))


def derive_code_challenge(verifier: str) -> str:
    """BASE64URL(SHA-256(verifier)) without padding (§4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
