"""Policies over HTTP: listed, and explained, to whoever has a key."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import InvalidRequest
from gateway.http.caller import read_body
from gateway.http.problems import NotFound
from gateway.pipeline import Pipeline
from gateway.routing.explain import explain
from gateway.routing.policy import RoutingPolicy
from tee.canonical import Json, parse_json
from tee.keys.identity import require_members

MAX_BODY = 64 << 10  # a policy of lists of 64 names


class PolicyEndpoints:
    """`/v1/policies`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def routes(self) -> list[Route]:
        """Every endpoint."""
        return [
            Route("/v1/policies", self.listing, methods=["GET"]),
            Route("/v1/policies/{policy}", self.one, methods=["GET"]),
            Route("/v1/policies/{policy}/explain", self.explanation, methods=["POST"]),
        ]

    async def listing(self, request: Request) -> Response:
        """Every policy."""
        await self._pipeline.admit(dict(request.headers))
        rows = [policy.to_json() for policy in self._pipeline.policies]
        return JSONResponse({"object": "list", "data": rows, "has_more": False})

    async def one(self, request: Request) -> Response:
        """One policy. Raises NotFound."""
        await self._pipeline.admit(dict(request.headers))
        return JSONResponse(policy_named(self._pipeline, request).to_json())

    async def explanation(self, request: Request) -> Response:
        """What would become of a call of `{"model","provider"}` now. Raises NotFound, UnknownModel, NoRoute."""
        await self._pipeline.admit(dict(request.headers))
        policy, body = policy_named(self._pipeline, request), await read_document(request)
        require_members(body, {"model"}, "body")
        model, provider = body["model"], body.get("provider")
        if not isinstance(model, str) or not isinstance(provider, str | None):
            raise InvalidRequest("model: found no text, wanted a model's id, and perhaps a provider's", param="model")
        candidates = self._pipeline.decisions.candidates(model, provider, None)
        return JSONResponse(explain(policy, candidates, time.time(), pinned=provider is not None))


def policy_named(pipeline: Pipeline, request: Request) -> RoutingPolicy:
    """The policy that the path names. Raises NotFound."""
    name = request.path_params["policy"]
    found = next((policy for policy in pipeline.policies if policy.id == name), None)
    if found is None:
        names = ", ".join(policy.id for policy in pipeline.policies)
        raise NotFound(f"No policy is called {name[:64]}: there are {names}.")
    return found


async def read_document(request: Request) -> Json:
    """The body, JSON. Raises Malformed, GatewayError."""
    return parse_json(await read_body(request.scope, request.receive, request.headers, MAX_BODY), "body")
