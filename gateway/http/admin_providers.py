"""`/admin/providers` and `/admin/routes`: who is asked, for the operator, who may register providers at run time."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin_token import AdminToken
from gateway.connectors.connector import Connector
from gateway.connectors.registered import read_provider
from gateway.http.management import CREATED, private, read_fields
from gateway.registration import Registration
from gateway.routing.route import ModelTable, PublicModel

PROVIDERS, ROUTES = "/admin/providers", "/admin/routes"


class AdminProviderEndpoints:
    """Providers and routes as the operator sees them: where keys lie, and never a key."""

    def __init__(self, registration: Registration, token: AdminToken) -> None:
        self._registration = registration
        self._token = token

    def routes(self) -> list[Route]:
        """Every endpoint."""
        return [
            Route(PROVIDERS, self.listing, methods=["GET"]),
            Route(PROVIDERS, self.register, methods=["POST"]),
            Route(f"{PROVIDERS}/{{provider_id}}", self.remove, methods=["DELETE"]),
            Route(ROUTES, self.models, methods=["GET"]),
        ]

    async def listing(self, request: Request) -> Response:
        """Every provider; `registered` says whether it can be removed here."""
        self._token.require(request.headers)
        table, registered = self._registration.models, self._registration.providers()
        ids = {each["id"] for each in registered}
        own = [_shown(row, table) for row in table.connectors.values() if row.id not in ids]
        data = [*own, *({"object": "provider", **each, "registered": True} for each in registered)]
        return private({"object": "list", "data": data, "has_more": False})

    async def register(self, request: Request) -> Response:
        """A new provider with its models: attested and logged before it is answered that it is there."""
        self._token.require(request.headers)
        provider = read_provider(await read_fields(request))
        await self._registration.add(provider)
        return private({"object": "provider", **provider, "registered": True}, CREATED)

    async def remove(self, request: Request) -> Response:
        """The end of a registered provider and of its models; calls on their way to it end by themselves."""
        self._token.require(request.headers)
        provider_id = request.path_params["provider_id"]
        await self._registration.remove(provider_id)
        return private({"object": "provider", "id": provider_id, "deleted": True})

    async def models(self, request: Request) -> Response:
        """Which model is asked of whom, and who may stand in."""
        self._token.require(request.headers)
        data = [_shown_route(row) for row in self._registration.models.models]
        return private({"object": "list", "data": data, "has_more": False})


def _shown(row: Connector, table: ModelTable) -> dict[str, Any]:
    return {
        "object": "provider",
        "id": row.id,
        "kind": row.family,
        "display_name": row.id,
        "endpoint": row.base_url,
        "serves_models": [model.id for model in table.models if model.provider == row.id],
        "region": row.region,
        "cost_per_million_tokens_usd": None,
        "typical_latency_ms": None,
        "api_key_id": row.credential_file or next(iter(row.credential_env), None),
        "registered": False,
    }


def _shown_route(row: PublicModel) -> dict[str, Any]:
    return {
        "object": "route",
        "id": row.id,
        "aliases": list(row.aliases),
        "provider": row.provider,
        "upstream_model": row.upstream_model,
        "fallback": list(row.fallback),
        "capabilities": list(row.capabilities),
    }
