"""The connectors of `gateway.models` over real sockets: what each sends, and what recorded answers become."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.models import (
    ApiKind,
    DoneEmission,
    Emission,
    ErrorEmission,
    GatewayError,
    GatewayErrorKind,
    OpenAICompatibleConfig,
    StopReason,
    StreamOptions,
    TextBlock,
    TextEmission,
    ThinkingLevel,
    Usage,
    complete,
    complete_openai_compatible_chat,
    connector_for_api,
    stream,
    stream_with_card,
)
from tests.worlds.canned import CHAT, CLAUDE, CONVERSE, GEMINI, HELLO, OLLAMA, RESPONSES
from tests.worlds.model_calls import EVENTSTREAM, KEY, card, clear_credentials, emissions_of, failure_of
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_credentials(monkeypatch)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as server:
        server.base_url = server.base_url.removesuffix("/v1")
        yield server


WIRES: list[tuple[ApiKind, str, bytes, str, tuple[str, str]]] = [
    (ApiKind.ANTHROPIC_MESSAGES, "/v1/messages", CLAUDE.replace(b"STOP", b"end_turn"), "text/event-stream",
     ("x-api-key", KEY)),
    (ApiKind.OPENAI_COMPLETIONS, "/v1/chat/completions", CHAT, "text/event-stream", ("authorization", f"Bearer {KEY}")),
    (ApiKind.OPENAI_RESPONSES, "/v1/responses", RESPONSES.replace(b"STATUS", b"completed"), "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.GOOGLE_GENERATIVE, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", GEMINI,
     "text/event-stream", ("x-goog-api-key", KEY)),
    (ApiKind.GOOGLE_VERTEX, "/v1beta/models/their-model:streamGenerateContent?alt=sse", GEMINI, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.AMAZON_BEDROCK, "/model/their-model/converse-stream", CONVERSE, EVENTSTREAM,
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.AZURE_OPENAI, "/openai/deployments/their-model/chat/completions?api-version=2024-08-01-preview", CHAT,
     "text/event-stream", ("api-key", KEY)),
    (ApiKind.NVIDIA_OPENAI_COMPATIBLE, "/v1/chat/completions", CHAT, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.KIMI_OPENAI_COMPATIBLE, "/v1/chat/completions", CHAT, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.OLLAMA, "/api/chat", OLLAMA, "application/x-ndjson", ("authorization", f"Bearer {KEY}")),
]  # fmt: skip


@pytest.mark.parametrize(("api", "path", "answer", "kind", "proof"), WIRES)
def test_every_language_asks_its_way_and_ends_in_done(
    api: ApiKind, path: str, answer: bytes, kind: str, proof: tuple[str, str],
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """R177, R179, R191, R224, R225, R233, R234, R236, R237, R239, R240, R241: path, credential, decoded answer."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    provider.play(Recording(answer, kind, piece=7))
    emissions = emissions_of(card(api, provider), StreamOptions(api_key=KEY))
    done = emissions[-1]
    assert isinstance(done, DoneEmission)
    text = "".join(each.delta for each in emissions if isinstance(each, TextEmission))
    assert done.reply.blocks == (TextBlock(text),) and text in ("Hi", "Hi you")
    assert done.reply.stop is StopReason.COMPLETE
    got = provider.got
    assert got.path == path and got.header(proof[0]) == proof[1]
    assert got.header("content-type") == "application/json"
    assert b"hello" in got.body and b"Be terse." in got.body


def test_the_registry_is_total_and_each_connector_knows_its_name() -> None:
    """R187, R209, R223, R224, R226, R227."""
    names = {api: connector.id for api in ApiKind if (connector := connector_for_api(api)) is not None}
    assert names == {
        ApiKind.ANTHROPIC_MESSAGES: "anthropic",
        ApiKind.OPENAI_COMPLETIONS: "openai-chat",
        ApiKind.OPENAI_RESPONSES: "openai-responses",
        ApiKind.GOOGLE_GENERATIVE: "google-generative",
        ApiKind.GOOGLE_VERTEX: "google-vertex",
        ApiKind.AMAZON_BEDROCK: "bedrock",
        ApiKind.AZURE_OPENAI: "azure-openai",
        ApiKind.NVIDIA_OPENAI_COMPATIBLE: "nvidia",
        ApiKind.KIMI_OPENAI_COMPATIBLE: "kimi",
        ApiKind.OLLAMA: "ollama",
        ApiKind.MOCK: "mock",
    }
    assert len(names) == 11
    for api in ApiKind:
        connector = connector_for_api(api)
        assert connector is not None and connector.api is api and connector is connector_for_api(api)


def test_a_language_that_nobody_speaks_gives_exactly_one_error(provider: ScriptedUpstream) -> None:
    """R192."""
    strange = replace(card(ApiKind.OLLAMA, provider), api="telepathy")  # type: ignore[arg-type]
    emissions = emissions_of(strange)
    assert len(emissions) == 1
    assert failure_of(strange).message == "no connector for dialect: telepathy"


def test_an_unknown_model_fails_before_anything_else() -> None:
    """R178, R181, R189."""
    with pytest.raises(GatewayError, match=r"^unknown model: nobody/knows-it$") as caught:
        stream("nobody/knows-it", HELLO)
    assert caught.value.kind is GatewayErrorKind.UNSUPPORTED
    with pytest.raises(GatewayError, match=r"^unknown model: nobody/knows-it$"):
        asyncio.run(complete("nobody/knows-it", HELLO))


def test_nothing_is_sent_before_iterating_and_each_iteration_sends_anew(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R181, R183, R190, R258: the key too is looked for at each iteration."""
    provider.play(Recording(CHAT))
    channel = stream_with_card(card(ApiKind.OPENAI_COMPLETIONS, provider), HELLO)
    assert provider.received == []

    async def drain() -> list[Emission]:
        return [emission async for emission in channel]

    (refused,) = asyncio.run(drain())
    assert isinstance(refused, ErrorEmission) and provider.received == []
    monkeypatch.setenv("OPENAI_API_KEY", "later")
    first, second = asyncio.run(drain()), asyncio.run(drain())
    assert first == second and isinstance(first[-1], DoneEmission)
    assert [each.credential for each in provider.received] == ["Bearer later"] * 2


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("end_turn", StopReason.COMPLETE),
        ("stop_sequence", StopReason.COMPLETE),
        ("tool_use", StopReason.TOOL_CALLS),
        ("max_tokens", StopReason.MAX_OUTPUT),
        ("refusal", StopReason.REFUSAL),
    ],
)
def test_anthropics_reasons(word: str, stop: StopReason, provider: ScriptedUpstream) -> None:
    """R235; and the cache's tokens stand apart (R204)."""
    provider.play(Recording(CLAUDE.replace(b"STOP", word.encode())))
    done = emissions_of(card(ApiKind.ANTHROPIC_MESSAGES, provider), StreamOptions(api_key=KEY))[-1]
    assert isinstance(done, DoneEmission)
    assert (done.reply.stop, done.reply.usage) == (stop, Usage(5, 3, cache_read_tokens=2))


@pytest.mark.parametrize(
    ("status", "why", "stop"),
    [
        ("completed", "", StopReason.COMPLETE),
        ("incomplete", "max_output_tokens", StopReason.MAX_OUTPUT),
        ("incomplete", "content_filter", StopReason.REFUSAL),
        ("failed", "", StopReason.ERROR),
        ("cancelled", "", StopReason.ABORTED),
    ],
)
def test_responses_statuses(status: str, why: str, stop: StopReason, provider: ScriptedUpstream) -> None:
    """R237: what failed or was cancelled says so, and ends in an error all the same."""
    provider.play(Recording(RESPONSES.replace(b"STATUS", status.encode()).replace(b"WHY", why.encode())))
    emissions = emissions_of(card(ApiKind.OPENAI_RESPONSES, provider), StreamOptions(api_key=KEY))
    said = [each.stop for each in emissions if each.kind == "stop"]  # type: ignore[union-attr]
    assert said == [stop]
    assert emissions[-1].kind == ("error" if stop in (StopReason.ERROR, StopReason.ABORTED) else "done")
    if stop is StopReason.ABORTED:
        assert isinstance(emissions[-1], ErrorEmission) and emissions[-1].error.kind is GatewayErrorKind.ABORTED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GatewayErrorKind.HTTP),
        (401, GatewayErrorKind.AUTH),
        (403, GatewayErrorKind.AUTH),
        (404, GatewayErrorKind.HTTP),
        (429, GatewayErrorKind.RATE_LIMIT),
        (500, GatewayErrorKind.HTTP),
        (529, GatewayErrorKind.HTTP),
    ],
)
@pytest.mark.parametrize("api", [api for api in ApiKind if api is not ApiKind.MOCK])
def test_statuses_become_kinds(
    api: ApiKind, status: int, kind: GatewayErrorKind, provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R192, R211, R231: with the provider's own words."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    body = {"error": {"message": "their words", "type": "x"}, "message": "their words"}
    provider.play(Recording(json.dumps(body).encode(), "application/json", status))
    error = failure_of(card(api, provider), StreamOptions(api_key=KEY))
    assert (error.kind, error.upstream_status) == (kind, status)
    assert "their words" in error.message and KEY not in error.message


def test_when_to_come_back_is_kept(provider: ScriptedUpstream) -> None:
    """R211, R231: the seconds, and the provider's own word."""
    body = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
    for said, wait in (("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)):
        provider.play(Recording(body, "application/json", 429, (("retry-after", said),)))
        error = failure_of(card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY))
        assert (error.retry_after, error.code) == (wait, "rate_limit_exceeded")


def test_a_provider_that_nobody_reaches_is_a_transport_error(provider: ScriptedUpstream) -> None:
    """R229."""
    error = failure_of(card(ApiKind.OLLAMA, provider, base_url="http://127.0.0.1:1"))
    assert error.kind is GatewayErrorKind.TRANSPORT and error.message.startswith("ollama could not be reached")


@pytest.mark.parametrize("ending", ["cut", "end"])
def test_an_answer_that_breaks_off_is_an_error_and_what_came_was_shown(ending: str, provider: ScriptedUpstream) -> None:
    """R192, R257: whether the connection breaks or ends without the language's own end."""
    provider.play(Recording(CHAT[: CHAT.index(b"data: {", 5)], ending=ending))
    emissions = emissions_of(card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY))
    assert emissions[0] == TextEmission("Hi")
    assert isinstance(emissions[-1], ErrorEmission)
    assert emissions[-1].error.kind is GatewayErrorKind.TRANSPORT


def test_what_is_no_answer_is_a_parse_error(provider: ScriptedUpstream) -> None:
    """R211: a page where an answer was wanted, an answer that does not stream, a broken frame."""
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    provider.play(Recording(b"<html>welcome</html>", "text/html"))
    assert failure_of(model, options).kind is GatewayErrorKind.PARSE
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    provider.play(Recording(json.dumps(whole).encode(), "application/json"))
    done = emissions_of(model, options)[-1]
    assert isinstance(done, DoneEmission) and done.reply.blocks == (TextBlock("Hi"),)


def test_thinking_reaches_a_model_that_reasons_and_no_other(provider: ScriptedUpstream) -> None:
    """R237, R238: effort for Responses, a template's word for NIM."""
    options = StreamOptions(api_key=KEY, thinking=ThinkingLevel.MAX)
    provider.play(Recording(RESPONSES.replace(b"STATUS", b"completed")))
    emissions_of(card(ApiKind.OPENAI_RESPONSES, provider), options)
    assert json.loads(provider.got.body)["reasoning"]["effort"] == "high"
    nim = card(ApiKind.NVIDIA_OPENAI_COMPATIBLE, provider)
    for reasons in (True, False):
        provider.play(Recording(CHAT))
        emissions_of(replace(nim, reasoning=reasons), options)
        said = json.loads(provider.got.body).get("chat_template_kwargs")
        assert said == ({"thinking": True, "enable_thinking": True} if reasons else None)


def test_the_shared_streamer_takes_any_address_and_asks_for_the_usage(provider: ScriptedUpstream) -> None:
    """R233, R250, R251, R254."""
    provider.play(Recording(CHAT))
    url = f"{provider.base_url}/anywhere?x=1"
    config = OpenAICompatibleConfig(url, {"x-own": "1"}, {"temperature": 0.5, "own": {"a": 1}})
    model = card(ApiKind.OPENAI_COMPLETIONS, provider)
    reply = asyncio.run(complete_openai_compatible_chat(config, model, HELLO, StreamOptions(temperature=0.1)))
    assert reply.blocks == (TextBlock("Hi you"),) and reply.usage == Usage(5, 2, cache_read_tokens=4)
    body = json.loads(provider.got.body)
    assert (provider.got.path, provider.got.header("x-own")) == ("/anywhere?x=1", "1")
    assert (body["temperature"], body["own"], body["stream_options"]) == (0.5, {"a": 1}, {"include_usage": True})
