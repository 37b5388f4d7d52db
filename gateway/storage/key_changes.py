"""Changes of keys, each within one transaction: created, changed, rotated, revoked, by the operator or another key.

Whatever is refused is refused before anything is written: others' work shares the transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from gateway.errors import Conflict, Forbidden, UnknownKey, UnknownTenant
from gateway.storage.api_keys import (
    StoredKey,
    count_calls,
    count_live_keys,
    find_stored_key,
    forget_secrets,
    insert_api_key,
    list_stored_keys,
    retire_secrets,
    set_revoked,
    update_api_key,
)
from gateway.storage.ledger import is_prepaid, open_prepaid
from gateway.storage.minting import mint_secret, new_key_id
from gateway.storage.tenants import StoredTenant, find_tenant
from gateway.tenancy.changes import Changes, require_within
from gateway.tenancy.tenant import DEFAULT_SCOPES, ApiKey, Tenant
from tee.errors import Malformed

MAX_LISTED = 10_000  # by a command, which shows all at once
MAX_KEYS = 1000  # of one tenant that live: a loop that mints keys must not fill the disk


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a tenant's keys: one of them, or None for the operator."""

    tenant_id: str
    key: ApiKey | None = None


def create_key(connection: Connection, now: int, *, changes: Changes, by: Actor) -> tuple[StoredKey, str]:
    """A new key and its secret, this once. Raises UnknownTenant, Malformed, Forbidden, Conflict."""
    found = require_tenant(connection, by.tenant_id)
    _require_actor(connection, by)
    if by.key is not None:  # unless it says otherwise, a key makes one that can do and lasts as it does itself
        changes = {"expires_at": by.key.expires_at, "scopes": DEFAULT_SCOPES & by.key.scopes} | changes
    key = replace(ApiKey(new_key_id(), found.tenant), **changes)
    require_within(by.key, key.scopes, key.expires_at)
    _require_policy(found.tenant, key.policy)
    if count_live_keys(connection, by.tenant_id) >= MAX_KEYS:
        raise Conflict(f"Tenant `{by.tenant_id}` has {MAX_KEYS} keys already: revoke some.", code="too_many_keys")
    insert_api_key(connection, key, now)
    if by.key is not None and is_prepaid(connection, by.key.id):  # else an empty one would make itself another
        open_prepaid(connection, key.id)
    secret = mint_secret(connection, key.id, now)
    return require_key(connection, key.id, by), secret


def change_key(connection: Connection, _now: int, *, key_id: str, changes: Changes, by: Actor) -> None:
    """The key with other settings. Raises UnknownKey, Malformed, Forbidden, Conflict for one that is revoked."""
    stored = _live(require_key(connection, key_id, by))
    key = replace(stored.key, **changes)
    if changes.keys() - {"name"}:  # a name gives nobody anything
        require_within(by.key, stored.key.scopes | key.scopes, key.expires_at)
    _require_policy(key.tenant, key.policy)
    update_api_key(connection, key)


def rotate_key(
    connection: Connection, now: int, *, key_id: str, overlap: int, by: Actor
) -> tuple[tuple[StoredKey, int], str]:
    """A new secret for the key; those before it go on for `overlap` seconds. Raises as `change_key` does."""
    stored = _live(require_key(connection, key_id, by))
    _require_actor(connection, by)
    require_within(by.key, stored.key.scopes, stored.key.expires_at)
    if by.key is not None and is_prepaid(connection, by.key.id) and not is_prepaid(connection, key_id):
        raise Forbidden("A prepaid key may not take over one that pays later.", code="not_prepaid")
    forget_secrets(connection, key_id, now)
    retire_secrets(connection, key_id, now + overlap)
    secret = mint_secret(connection, key_id, now)
    return look_up_key(connection, key_id, by), secret


def revoke_key(connection: Connection, now: int, *, key_id: str, by: Actor) -> None:
    """End a key for ever; one that is revoked already stays as it is. Raises UnknownKey."""
    if require_key(connection, key_id, by).revoked_at is None:
        set_revoked(connection, key_id, now)


def operator_of(connection: Connection, key_id: str) -> Actor:
    """The operator, for the tenant of this key. Raises UnknownKey."""
    stored = find_stored_key(connection, key_id, None)
    if stored is None:
        raise _unknown_key(key_id)
    return Actor(stored.key.tenant.id)


def list_keys(connection: Connection, *, by: Actor, after: str | None, limit: int) -> list[tuple[StoredKey, int]]:
    """Keys from the one after `after` on, the newest first, each with its calls. Raises UnknownTenant, Malformed."""
    require_tenant(connection, by.tenant_id)
    mark = None if after is None else find_stored_key(connection, after, by.tenant_id)
    if after is not None and mark is None:
        raise Malformed("after", "no key of this tenant", "the id of one, as in last_id")
    rows = list_stored_keys(connection, by.tenant_id, mark, limit)
    calls = count_calls(connection, [row.key.id for row in rows])
    return [(row, calls[row.key.id]) for row in rows]


def look_up_key(connection: Connection, key_id: str, by: Actor) -> tuple[StoredKey, int]:
    """The key, and how many calls it has made. Raises UnknownKey."""
    return require_key(connection, key_id, by), count_calls(connection, [key_id])[key_id]


def require_tenant(connection: Connection, tenant_id: str) -> StoredTenant:
    """The tenant, if it is there. Raises UnknownTenant."""
    found = find_tenant(connection, tenant_id)
    if found is None:
        raise UnknownTenant(f"There is no tenant `{tenant_id[:64]}`.")
    return found


def require_key(connection: Connection, key_id: str, by: Actor) -> StoredKey:
    """The key, if it is there for this actor. Raises UnknownKey."""
    stored = find_stored_key(connection, key_id, by.tenant_id)
    if stored is None:
        raise _unknown_key(key_id)
    return stored


def _unknown_key(key_id: str) -> UnknownKey:
    return UnknownKey(f"There is no key `{key_id[:64]}` here.")


def _require_actor(connection: Connection, by: Actor) -> None:
    """Refuse a key that was revoked since it was admitted: it would get what outlives it."""
    if by.key is not None:
        _live(require_key(connection, by.key.id, by))


def _live(stored: StoredKey) -> StoredKey:
    if stored.revoked_at is not None:
        raise Conflict("This key is revoked, which cannot be undone: make another.", code="key_revoked")
    return stored


def _require_policy(tenant: Tenant, policy: str | None) -> None:
    if policy is not None and policy not in tenant.allowed_policies:
        wanted = f"one of the policies that tenant {tenant.id} may use: {', '.join(tenant.allowed_policies)}"
        raise Malformed("policy", repr(policy), wanted)
