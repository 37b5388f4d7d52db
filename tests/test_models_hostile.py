"""Whatever a provider sends, a stream of `gateway.models` ends in exactly one Done or Error, and raises nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.models import (
    ApiKind,
    Emission,
    HttpRequest,
    HttpResponse,
    StreamOptions,
    environment_credential_resolver,
    is_terminal,
    model_cards,
)
from gateway.models.connectors.live import LiveConnector
from gateway.models.contract.model_card import ProviderId
from tests.worlds.canned import CHAT, CLAUDE, CONVERSE, GEMINI, HELLO, OLLAMA, RESPONSES

ANSWERS = {
    ApiKind.OPENAI_COMPLETIONS: CHAT,
    ApiKind.ANTHROPIC_MESSAGES: CLAUDE.replace(b"STOP", b"end_turn"),
    ApiKind.OPENAI_RESPONSES: RESPONSES.replace(b"STATUS", b"completed"),
    ApiKind.GOOGLE_GENERATIVE: GEMINI,
    ApiKind.OLLAMA: OLLAMA,
    ApiKind.AMAZON_BEDROCK: CONVERSE,
}
PLACES = st.integers(0, 600)


@dataclass(frozen=True)
class Tape:
    """A transport that answers with these bytes, in two pieces."""

    raw: bytes
    content_type: str
    status: int
    cut: int

    async def post(
        self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
    ) -> HttpResponse:
        return HttpResponse(self.status, self._pieces(), self.content_type)

    async def _pieces(self) -> AsyncIterator[bytes]:
        for piece in (self.raw[: self.cut], self.raw[self.cut :]):
            yield piece


def emissions_of(api: ApiKind, tape: Tape) -> list[Emission]:
    known = next((card for card in model_cards() if card.api is api), None)
    if known is None:
        bedrock = "https://bedrock-runtime.eu-central-1.amazonaws.com"
        known = replace(model_cards()[0], provider=ProviderId.AMAZON, api=api, base_url=bedrock)
    connector = LiveConnector("hostile", api, environment_credential_resolver(), tape)

    async def collect() -> list[Emission]:
        return [emission async for emission in connector.stream(known, HELLO, StreamOptions(api_key="k"))]

    return asyncio.run(collect())


@pytest.mark.parametrize("api", ANSWERS)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_bytes_end_a_stream_once(api: ApiKind, data: st.DataObject) -> None:
    """R192, R257, R260: damaged answers, foreign ones, none at all; under any status and content type."""
    raw = bytearray(data.draw(st.sampled_from([*ANSWERS.values(), b""]) | st.binary(max_size=64)))
    for at in data.draw(st.lists(PLACES, max_size=4)):
        if at < len(raw):
            raw[at] = data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from(["", "text/event-stream", "application/json", "text/html"]))
    status = data.draw(st.sampled_from([200, 200, 200, 204, 302, 400, 401, 429, 500]))
    shown = emissions_of(api, Tape(bytes(raw[: data.draw(PLACES)]), kind, status, data.draw(PLACES)))
    assert [is_terminal(emission) for emission in shown] == [False] * (len(shown) - 1) + [True]


@pytest.mark.parametrize("api", ANSWERS)
def test_an_undamaged_answer_is_done(api: ApiKind) -> None:
    """R191: so the test above does not pass because nothing ever works."""
    assert emissions_of(api, Tape(ANSWERS[api], "", 200, 10))[-1].kind == "done"
