"""`/admin`: tenants and their keys, for the operator, who shows the admin token."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin_token import AdminToken
from gateway.http.keys import KEYS_OF_TENANT, KeyEndpoints
from gateway.http.management import CREATED, page, private, read_fields, read_limit, usd
from gateway.key_book import KeyBook
from gateway.storage.credits import tenants_spent
from gateway.storage.key_changes import Actor, require_tenant
from gateway.storage.tenant_changes import change_tenant, create_tenant
from gateway.storage.tenants import StoredTenant, list_tenants
from gateway.tenancy.changes import read_id, read_tenant_changes

TENANTS = "/admin/tenants"


class TenantEndpoints:
    """`/admin/tenants`, and the keys of each."""

    def __init__(self, book: KeyBook, token: AdminToken) -> None:
        self._book = book
        self._token = token

    def routes(self) -> list[Route]:
        """Every endpoint."""
        return [
            Route(TENANTS, self.listing, methods=["GET"]),
            Route(TENANTS, self.create, methods=["POST"]),
            Route(f"{TENANTS}/{{tenant_id}}", self.one, methods=["GET"]),
            Route(f"{TENANTS}/{{tenant_id}}", self.change, methods=["PATCH"]),
            *KeyEndpoints(self._book, self._operator).routes(KEYS_OF_TENANT),
        ]

    async def listing(self, request: Request) -> Response:
        """A page of tenants, by their ids."""
        self._token.require(request.headers)
        limit, after = read_limit(request), request.query_params.get("after", "")
        rows = await self._book.read(partial(list_tenants, after=after, limit=limit + 1))
        spent = await self._book.read(partial(tenants_spent, tenants=[stored.tenant.id for stored in rows]))
        return page([shown_tenant(stored, spent[stored.tenant.id]) for stored in rows], limit)

    async def one(self, request: Request) -> Response:
        """One tenant."""
        self._token.require(request.headers)
        look = partial(require_tenant, tenant_id=request.path_params["tenant_id"])
        return private(await self._shown(await self._book.read(look)))

    async def create(self, request: Request) -> Response:
        """A new tenant, with its first key this once."""
        self._token.require(request.headers)
        fields = await read_fields(request)
        tenant_id = read_id("id", fields.pop("id", None))
        create = partial(create_tenant, tenant_id=tenant_id, changes=read_tenant_changes(fields))
        stored, secret = await self._book.change(create)
        return private(shown_tenant(stored, 0) | {"api_key": secret}, CREATED)

    async def change(self, request: Request) -> Response:
        """Other bounds, or another name."""
        self._token.require(request.headers)
        changes = read_tenant_changes(await read_fields(request))
        change = partial(change_tenant, tenant_id=request.path_params["tenant_id"], changes=changes)
        return private(await self._shown(await self._book.change(change)))

    async def _shown(self, stored: StoredTenant) -> dict[str, Any]:
        spent = await self._book.read(partial(tenants_spent, tenants=[stored.tenant.id]))
        return shown_tenant(stored, spent[stored.tenant.id])

    async def _operator(self, request: Request) -> Actor:
        self._token.require(request.headers)
        return Actor(request.path_params["tenant_id"])


def shown_tenant(stored: StoredTenant, spent: int) -> dict[str, Any]:
    """A tenant as the operator sees it, who has spent that much."""
    tenant = stored.tenant
    return {
        "object": "tenant",
        "id": tenant.id,
        "display_name": tenant.display_name,
        "usd_spent": usd(spent),
        "usd_cap": usd(tenant.usd_cap),
        "allowed_policies": list(tenant.allowed_policies),
        "requests_per_minute": tenant.requests_per_minute,
        "tokens_per_minute": tenant.tokens_per_minute,
        "cut_streams": stored.cut_streams,
        "created_at": stored.created_at,
    }
