"""API keys at rest: their hashes, never the keys."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, insert, select

from gateway.storage.schema import API_KEYS
from gateway.tenancy.tenant import ApiKey

_FIND = select(API_KEYS.c.id, API_KEYS.c.tenant).where(
    API_KEYS.c.sha256 == bindparam("sha256"), API_KEYS.c.revoked_at.is_(None)
)


def add_api_key(engine: Engine, key: ApiKey, sha256: str, created_at: int) -> None:
    """Store a new key by the hash of its secret."""
    row = {"sha256": sha256, "id": key.id, "tenant": key.tenant, "created_at": created_at}
    with engine.begin() as connection:
        connection.execute(insert(API_KEYS).values(row))


def find_api_key(engine: Engine, sha256: str) -> ApiKey | None:
    """The live key of that hash, or None."""
    with engine.connect() as connection:
        row = connection.execute(_FIND, {"sha256": sha256}).one_or_none()
    return None if row is None else ApiKey(row.id, row.tenant)
