"""Providers: who they are and how they stand, without a word of their keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.connectors.catalog import OPENAI_CHAT
from gateway.connectors.connector import Connector
from gateway.pipeline import Pipeline
from gateway.routing.standing import Standing, Tried, standing_of
from gateway.routing.tier import Tier
from gateway.tenancy.tenant import READ

WINDOW_SECONDS = 900  # what is said of a provider is of so long
MOST_ATTEMPTS = 4096  # and of no more attempts: they are read for each answer
PRIVATE = {"cache-control": "private"}
_OWN_KINDS = frozenset({"vllm", "azure", "mock"})  # families that speak OpenAI's language, and are known by their names


class ProviderEndpoints:
    """`GET /v1/providers` and `/v1/providers/health`."""

    def __init__(self, pipeline: Pipeline, attempts: Callable[[int, int], list[Tried]]) -> None:
        """`attempts` gives those of everybody since that second, newest first, of so many at most."""
        self._pipeline = pipeline
        self._attempts = attempts

    async def listing(self, request: Request) -> Response:
        """Every provider that is configured."""
        await self._pipeline.admit(dict(request.headers), READ)
        standings = {each.provider: each for each in await self._standings()}
        data = [self._provider(row, standings.get(row.id)) for row in self._pipeline.models.connectors.values()]
        return JSONResponse({"object": "list", "data": data}, headers=PRIVATE)

    async def health(self, request: Request) -> Response:
        """How each has answered lately, whichever process asked it."""
        await self._pipeline.admit(dict(request.headers), READ)
        data = [_health(each) for each in await self._standings()]
        return JSONResponse({"window_seconds": WINDOW_SECONDS, "providers": data}, headers=PRIVATE)

    async def _standings(self) -> list[Standing]:
        names = list(self._pipeline.models.connectors)
        found = await asyncio.to_thread(self._attempts, int(time.time()) - WINDOW_SECONDS, MOST_ATTEMPTS)
        return standing_of(names, found)

    def _provider(self, row: Connector, standing: Standing | None) -> dict[str, Any]:
        served = {model.id: tier for model in self._pipeline.models.models if (tier := self._tier(model.id, row.id))}
        return {
            "id": row.id,
            "object": "provider",
            "kind": _kind(row),
            "display_name": row.id,
            "endpoint": row.base_url,
            "serves_models": list(served),
            "region": row.region,
            "cost_per_million_tokens_usd": None,  # no provider has one price: those of its models stand in /v1/models
            "typical_latency_ms": None if standing is None else standing.p50,
            "api_key_id": _place(row),
            "tier": min(served.values()).word if served else None,
        }

    def _tier(self, model: str, provider: str) -> Tier | None:
        """The tier of a model at this provider; None if it does not serve it."""
        return next(
            (
                one.tier
                for one in self._pipeline.decisions.candidates(model, None, None)
                if (one.route.model.id, one.route.connector.id) == (model, provider)
            ),
            None,
        )


def _kind(row: Connector) -> str:
    return row.family if row.dialect != OPENAI_CHAT or row.family in _OWN_KINDS else "openai-compatible"


def _place(row: Connector) -> str | None:
    """The name of where its key is found: not the key, nor anything that is made of it."""
    if row.credential_file is not None:
        return f"file:{PurePath(row.credential_file).name}"
    return f"env:{row.credential_env[0]}" if row.credential_env else None


def _health(standing: Standing) -> dict[str, Any]:
    return {
        "provider_id": standing.provider,
        "successes": standing.successes,
        "failures": standing.failures,
        "latency_p50_ms": standing.p50,
        "latency_p95_ms": standing.p95,
        "last_error": standing.last_error,
        "score": standing.score,
    }
