"""Calls of `gateway.models` against a provider on a real socket: the card, the emissions, the error at their end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.models import (
    ApiKind,
    Conversation,
    Emission,
    ErrorEmission,
    GatewayError,
    ModelCard,
    ProviderId,
    StreamOptions,
    complete_with_card,
    model_cards,
    stream_with_card,
)
from gateway.models.credentials import secret_table
from tests.worlds.canned import HELLO
from tests.worlds.upstream import ScriptedUpstream

KEY = "sk-of-a-test-0001"
EVENTSTREAM = "application/vnd.amazon.eventstream"


def card(api: ApiKind, provider: ScriptedUpstream, **changes: Any) -> ModelCard:
    """The first curated card of a language, or one made for it, served by `provider`."""
    known = next((each for each in model_cards() if each.api is api), None)
    if known is None:
        vendors = {
            ApiKind.GOOGLE_VERTEX: ProviderId.GOOGLE_VERTEX,
            ApiKind.AMAZON_BEDROCK: ProviderId.AMAZON,
            ApiKind.AZURE_OPENAI: ProviderId.AZURE,
        }
        known = replace(model_cards()[0], id="their-model", api=api, provider=vendors[api])
    return replace(known, **({"base_url": provider.base_url} | changes))


def emissions_of(model: ModelCard, options: StreamOptions | None = None, asked: Conversation = HELLO) -> list[Emission]:
    async def collect() -> list[Emission]:
        return [emission async for emission in stream_with_card(model, asked, options)]

    return asyncio.run(collect())


def failure_of(model: ModelCard, options: StreamOptions | None = None) -> GatewayError:
    """The error that a stream ends in; `complete` raises the same."""
    last = emissions_of(model, options)[-1]
    assert isinstance(last, ErrorEmission)
    with pytest.raises(GatewayError) as caught:
        asyncio.run(complete_with_card(model, HELLO, options))
    assert (caught.value.kind, caught.value.message) == (last.error.kind, last.error.message)
    return last.error


def clear_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have keys of their own."""
    for name in [name for row in secret_table() for name in row.env_vars]:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
