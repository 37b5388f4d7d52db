"""API keys at rest: what they may do, and the hashes of their secrets, never the secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Engine,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from gateway.storage.schema import ACTIVITY, API_KEYS, KEY_SECRETS, TENANTS
from gateway.storage.tenants import TENANT_COLUMNS, tenant_of
from gateway.tenancy.tenant import SCOPES, ApiKey


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key by itself: its own end and its own `cut_streams`, and the prefix of its newest secret."""

    key: ApiKey
    created_at: int
    revoked_at: int | None
    last_used_at: int | None


_NOW: BindParameter[int] = bindparam("now")
_FIND = (
    select(API_KEYS, KEY_SECRETS.c.prefix, KEY_SECRETS.c.retires_at, *TENANT_COLUMNS)
    .join_from(KEY_SECRETS, API_KEYS, KEY_SECRETS.c.key_id == API_KEYS.c.id)
    .join(TENANTS, API_KEYS.c.tenant == TENANTS.c.id)
    .where(
        KEY_SECRETS.c.sha256 == bindparam("sha256"),
        API_KEYS.c.revoked_at.is_(None),  # by no clock: whatever the time is here, a revoked key is not found
        or_(API_KEYS.c.expires_at.is_(None), API_KEYS.c.expires_at > _NOW),
        or_(KEY_SECRETS.c.retires_at.is_(None), KEY_SECRETS.c.retires_at > _NOW),
    )
)
_ITS = KEY_SECRETS.alias()
_NEWEST = select(func.max(_ITS.c.number)).where(_ITS.c.key_id == API_KEYS.c.id).scalar_subquery()
_STORED = (
    select(API_KEYS, KEY_SECRETS.c.prefix, *TENANT_COLUMNS)
    .join_from(API_KEYS, TENANTS, API_KEYS.c.tenant == TENANTS.c.id)
    .join(KEY_SECRETS, and_(KEY_SECRETS.c.key_id == API_KEYS.c.id, KEY_SECRETS.c.number == _NEWEST))
)


def find_api_key(engine: Engine, sha256: str, now: int) -> ApiKey | None:
    """The key with a secret of that hash, neither revoked nor ended, or None."""
    with engine.connect() as connection:
        row = connection.execute(_FIND, {"sha256": sha256, "now": now}).one_or_none()
    if row is None:
        return None
    ends = [end for end in (row.expires_at, row.retires_at) if end is not None]
    cuts = row.cut_streams or row.tenant_cut_streams
    return replace(_key(row), expires_at=min(ends, default=None), cut_streams=cuts)


def find_ended_keys(engine: Engine, ids: Sequence[str], now: int) -> list[str]:
    """Which of these keys are revoked, or have ended."""
    ended = or_(API_KEYS.c.revoked_at.is_not(None), API_KEYS.c.expires_at <= now)
    with engine.connect() as connection:
        return list(connection.execute(select(API_KEYS.c.id).where(API_KEYS.c.id.in_(ids), ended)).scalars())


def find_stored_key(connection: Connection, key_id: str, tenant_id: str | None) -> StoredKey | None:
    """The key of that id, revoked or not, or None; also None for another tenant's where one is named."""
    query = _STORED.where(API_KEYS.c.id == key_id)
    if tenant_id is not None:
        query = query.where(API_KEYS.c.tenant == tenant_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _stored(row)


def list_stored_keys(connection: Connection, tenant_id: str, after: StoredKey | None, limit: int) -> list[StoredKey]:
    """A tenant's keys, the newest first, from the one after `after` on."""
    age = API_KEYS.c.created_at, API_KEYS.c.id
    query = _STORED.where(API_KEYS.c.tenant == tenant_id)
    if after is not None:
        query = query.where(tuple_(*age) < tuple_(after.created_at, after.key.id))
    return [_stored(row) for row in connection.execute(query.order_by(*(each.desc() for each in age)).limit(limit))]


def count_live_keys(connection: Connection, tenant_id: str) -> int:
    """How many keys of a tenant are not revoked."""
    live = select(func.count()).where(API_KEYS.c.tenant == tenant_id, API_KEYS.c.revoked_at.is_(None))
    return int(connection.execute(live).scalar_one())


def count_calls(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """How many calls each of these keys has made; none is left out of what it has not made."""
    query = (
        select(ACTIVITY.c.key_id, func.count().label("calls"))
        .where(ACTIVITY.c.key_id.in_(ids))
        .group_by(ACTIVITY.c.key_id)
    )
    return dict.fromkeys(ids, 0) | {row.key_id: row.calls for row in connection.execute(query)}


def insert_api_key(connection: Connection, key: ApiKey, now: int) -> None:
    """Store a new key; nobody can use it before it has a secret."""
    row = _settings(key) | {"id": key.id, "tenant": key.tenant.id, "created_at": now}
    connection.execute(insert(API_KEYS).values(row))


def update_api_key(connection: Connection, key: ApiKey) -> None:
    """Store what a key is now."""
    connection.execute(update(API_KEYS).where(API_KEYS.c.id == key.id).values(_settings(key)))


def set_revoked(connection: Connection, key_id: str, now: int) -> None:
    """End a key for ever."""
    connection.execute(update(API_KEYS).where(API_KEYS.c.id == key_id).values(revoked_at=now))


def note_use(connection: Connection, key_id: str, now: int) -> None:
    """Note that a key is used; a later time that another machine has noted stays."""
    unknown = or_(API_KEYS.c.last_used_at.is_(None), API_KEYS.c.last_used_at < now)
    connection.execute(update(API_KEYS).where(API_KEYS.c.id == key_id, unknown).values(last_used_at=now))


def insert_secret(connection: Connection, key_id: str, sha256: str, prefix: str, now: int) -> None:
    """Give a key its next secret."""
    numbers = select(func.coalesce(func.max(KEY_SECRETS.c.number), -1)).where(KEY_SECRETS.c.key_id == key_id)
    number = connection.execute(numbers).scalar_one() + 1
    row = {"sha256": sha256, "key_id": key_id, "number": number, "prefix": prefix, "created_at": now}
    connection.execute(insert(KEY_SECRETS).values(row))


def retire_secrets(connection: Connection, key_id: str, at: int) -> None:
    """Have the secrets of a key end at that second; one that ends sooner still does."""
    later = or_(KEY_SECRETS.c.retires_at.is_(None), KEY_SECRETS.c.retires_at > at)
    connection.execute(update(KEY_SECRETS).where(KEY_SECRETS.c.key_id == key_id, later).values(retires_at=at))


def forget_secrets(connection: Connection, key_id: str, now: int) -> None:
    """Remove the secrets of a key that have ended: a key that is rotated for ever must not grow."""
    connection.execute(delete(KEY_SECRETS).where(KEY_SECRETS.c.key_id == key_id, KEY_SECRETS.c.retires_at <= now))


def _settings(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": " ".join(scope for scope in SCOPES if scope in key.scopes),
        "policy": key.policy,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "cut_streams": key.cut_streams,
        "expires_at": key.expires_at,
    }


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=tenant_of(row),
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes.split()),
        policy=row.policy,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        expires_at=row.expires_at,
        cut_streams=row.cut_streams,
    )


def _stored(row: Row[Any]) -> StoredKey:
    return StoredKey(_key(row), row.created_at, row.revoked_at, row.last_used_at)
