"""Policies over HTTP: listed, and explained, to whoever has a key; put in force by the operator."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.admin_token import AdminToken
from gateway.errors import InvalidRequest
from gateway.http.management import private, read_fields
from gateway.http.problems import NotFound
from gateway.inference import InferenceRequest
from gateway.pipeline import Pipeline
from gateway.rerouting import Rerouting
from gateway.routing.explain import explain
from gateway.routing.policy import RoutingPolicy
from gateway.tenancy.tenant import READ


class PolicyEndpoints:
    """`/v1/policies` for keys, `/admin/policies` for the operator."""

    def __init__(self, pipeline: Pipeline, rerouting: Rerouting, token: AdminToken) -> None:
        self._pipeline = pipeline
        self._rerouting = rerouting
        self._token = token

    def routes(self) -> list[Route]:
        """Every endpoint."""
        return [
            Route("/v1/policies", self.listing, methods=["GET"]),
            Route("/v1/policies/{policy}", self.one, methods=["GET"]),
            Route("/v1/policies/{policy}/explain", self.explanation, methods=["POST"]),
            Route("/admin/policies/{policy}", self.show, methods=["GET"]),
            Route("/admin/policies/{policy}", self.put, methods=["PUT"]),
        ]

    async def listing(self, request: Request) -> Response:
        """Every policy."""
        await self._pipeline.admit(dict(request.headers), READ)
        rows = [policy.to_json() for policy in self._pipeline.policies]
        return JSONResponse({"object": "list", "data": rows, "has_more": False})

    async def one(self, request: Request) -> Response:
        """One policy. Raises NotFound."""
        await self._pipeline.admit(dict(request.headers), READ)
        return JSONResponse(self._named(request).to_json())

    async def explanation(self, request: Request) -> Response:
        """What would become of a call of `{"model","provider"}` now. Raises NotFound, UnknownModel, NoRoute."""
        await self._pipeline.admit(dict(request.headers), READ)
        policy, asked = self._named(request), await read_fields(request)
        model, provider = asked.get("model"), asked.get("provider")
        if not isinstance(model, str):
            raise InvalidRequest.at("model", "no text", "the id of a model")
        if not isinstance(provider, str | None):
            raise InvalidRequest.at("provider", "no text", "the id of a provider, or null")
        empty = InferenceRequest("", model, ())  # what it costs at most is then the price of the longest answer
        candidates = self._pipeline.decisions.candidates(model, provider, empty)
        return private(explain(policy, candidates, time.time(), pinned=provider is not None))

    async def show(self, request: Request) -> Response:
        """One policy, to the operator. Raises NotFound."""
        self._token.require(request.headers)
        return private(self._named(request).to_json())

    async def put(self, request: Request) -> Response:
        """Put the policy in force in its next version: attested, logged and stored. Raises Malformed, Unavailable."""
        self._token.require(request.headers)
        policy = await self._rerouting.put_policy(request.path_params["policy"], await read_fields(request))
        return private(policy.to_json())

    def _named(self, request: Request) -> RoutingPolicy:
        name = request.path_params["policy"]
        found = next((policy for policy in self._pipeline.policies if policy.id == name), None)
        if found is None:
            names = ", ".join(policy.id for policy in self._pipeline.policies)
            raise NotFound(f"No policy is called {name[:64]}: there are {names}.")
        return found
