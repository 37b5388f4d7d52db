"""Changes of tenants by the operator, each within one transaction: refused, if it is, before anything is written."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from gateway.errors import Conflict
from gateway.storage.key_changes import require_tenant
from gateway.storage.minting import mint_key, plain_key
from gateway.storage.tenants import StoredTenant, find_tenant, insert_tenant, update_tenant
from gateway.tenancy.changes import Changes
from gateway.tenancy.tenant import Tenant

FIRST_KEY = "first key"


def create_tenant(connection: Connection, now: int, *, tenant_id: str, changes: Changes) -> tuple[StoredTenant, str]:
    """A new tenant, and the secret of its first key, this once. Raises Conflict."""
    if find_tenant(connection, tenant_id) is not None:
        raise Conflict(f"There is a tenant `{tenant_id}` already.", param="id")
    stored = _changed(StoredTenant(Tenant(tenant_id, tenant_id), False, now), changes)
    insert_tenant(connection, stored)
    return stored, mint_key(connection, plain_key(stored.tenant, FIRST_KEY), now)


def change_tenant(connection: Connection, _now: int, *, tenant_id: str, changes: Changes) -> StoredTenant:
    """The tenant with other settings, which its next calls meet. Raises UnknownTenant."""
    stored = _changed(require_tenant(connection, tenant_id), changes)
    update_tenant(connection, stored)
    return stored


def _changed(stored: StoredTenant, changes: Changes) -> StoredTenant:
    cuts = changes.get("cut_streams", stored.cut_streams)
    own = {name: value for name, value in changes.items() if name != "cut_streams"}
    return replace(stored, tenant=replace(stored.tenant, **own), cut_streams=cuts)
