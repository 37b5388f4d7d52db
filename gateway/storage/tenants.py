"""Tenants at rest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from gateway.storage.schema import TENANTS
from gateway.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class StoredTenant:
    """A tenant, and what only its owner asks about it. Times are seconds since 1970."""

    tenant: Tenant
    cut_streams: bool
    created_at: int


def insert_tenant(connection: Connection, stored: StoredTenant) -> None:
    """Store a new tenant; one of the same id fails the transaction."""
    connection.execute(insert(TENANTS).values(id=stored.tenant.id, created_at=stored.created_at, **_settings(stored)))


def update_tenant(connection: Connection, stored: StoredTenant) -> None:
    """Store what a tenant is now; its id and its age do not change."""
    connection.execute(update(TENANTS).where(TENANTS.c.id == stored.tenant.id).values(_settings(stored)))


def find_tenant(connection: Connection, tenant_id: str) -> StoredTenant | None:
    """The tenant of that id, or None."""
    row = connection.execute(select(TENANTS).where(TENANTS.c.id == tenant_id)).one_or_none()
    return None if row is None else _stored(row)


def list_tenants(connection: Connection, after: str, limit: int) -> list[StoredTenant]:
    """Tenants in the order of their ids, from the one after `after` on."""
    query = select(TENANTS).where(TENANTS.c.id > after).order_by(TENANTS.c.id).limit(limit)
    return [_stored(row) for row in connection.execute(query)]


def ensure_tenant(connection: Connection, tenant_id: str, now: int) -> Tenant:
    """The tenant of that id, made without any bound if it is not there."""
    found = find_tenant(connection, tenant_id)
    if found is None:
        found = StoredTenant(Tenant(tenant_id, tenant_id), False, now)
        insert_tenant(connection, found)
    return found.tenant


def tenant_of(row: Row[Any]) -> Tenant:
    """The tenant of a row that has its columns under names that begin with `tenant_`."""
    policies = tuple(json.loads(row.tenant_allowed_policies))
    bounds = row.tenant_usd_cap, row.tenant_requests_per_minute, row.tenant_tokens_per_minute
    return Tenant(row.tenant_id, row.tenant_display_name, *bounds, policies)


TENANT_COLUMNS = [column.label(f"tenant_{column.name}") for column in TENANTS.columns]


def _settings(stored: StoredTenant) -> dict[str, Any]:
    tenant = stored.tenant
    return {
        "display_name": tenant.display_name,
        "usd_cap": tenant.usd_cap,
        "requests_per_minute": tenant.requests_per_minute,
        "tokens_per_minute": tenant.tokens_per_minute,
        "allowed_policies": json.dumps(tenant.allowed_policies),
        "cut_streams": stored.cut_streams,
    }


def _stored(row: Row[Any]) -> StoredTenant:
    bounds = row.usd_cap, row.requests_per_minute, row.tokens_per_minute
    tenant = Tenant(row.id, row.display_name, *bounds, tuple(json.loads(row.allowed_policies)))
    return StoredTenant(tenant, row.cut_streams, row.created_at)
