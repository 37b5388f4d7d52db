"""Minting: a new secret for a new key, or for one that is rotated. It is shown once, and only its hash is kept."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection

from gateway.storage.api_keys import insert_api_key, insert_secret
from gateway.tenancy.tenant import KEY_PREFIX, ApiKey, Tenant, hash_api_key, shown_prefix


def new_key_id() -> str:
    """An id that says nothing."""
    return "key-" + secrets.token_hex(8)


def mint_key(connection: Connection, key: ApiKey, now: int) -> str:
    """Store a new key; returns its secret, this once."""
    insert_api_key(connection, key, now)
    return mint_secret(connection, key.id, now)


def mint_secret(connection: Connection, key_id: str, now: int) -> str:
    """Give a key its next secret; returns that, this once."""
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    insert_secret(connection, key_id, hash_api_key(secret), shown_prefix(secret), now)
    return secret


def plain_key(tenant: Tenant, name: str) -> ApiKey:
    """A new key of the usual scopes, with no bounds of its own."""
    return ApiKey(new_key_id(), tenant, name)
