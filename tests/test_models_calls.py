"""Whole calls of `gateway.models`: recorded streams, tool loops, cancelling, the mock, a host's own transport."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fold import fold_events
from gateway.dialects.sse import MAX_FRAME
from gateway.inference import Text, Thinking, ToolCall
from gateway.languages import SERVICES
from gateway.models import (
    ApiKind,
    AssistantTurn,
    CancellationToken,
    Conversation,
    DoneEmission,
    Emission,
    ErrorEmission,
    GatewayError,
    GatewayErrorKind,
    HttpRequest,
    HttpResponse,
    ModelCard,
    ProviderId,
    StopReason,
    StreamOptions,
    TextBlock,
    TextEmission,
    ThinkingBlock,
    ToolCallBlock,
    ToolDescriptor,
    ToolResultBlock,
    ToolTurn,
    UserTurn,
    complete_with_card,
    create_openai_chat_connector,
    environment_credential_resolver,
    get_card,
    shared_transport,
    stream_with_card,
)
from gateway.models.connectors.live import place_card
from tests.conftest import find_vectors
from tests.worlds.canned import CHAT, CLAUDE, GEMINI, HELLO
from tests.worlds.gateway import RunningGateway
from tests.worlds.model_calls import EVENTSTREAM, KEY, card, clear_credentials, emissions_of, failure_of
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

ECHO = ToolDescriptor("echo", "says it again", {"type": "object", "properties": {"msg": {"type": "string"}}})
RECORDED = {
    "openai-chat": ApiKind.OPENAI_COMPLETIONS,
    "kimi": ApiKind.KIMI_OPENAI_COMPATIBLE,
    "nvidia": ApiKind.NVIDIA_OPENAI_COMPATIBLE,
    "azure": ApiKind.AZURE_OPENAI,
    "anthropic": ApiKind.ANTHROPIC_MESSAGES,
    "minimax": ApiKind.ANTHROPIC_MESSAGES,
    "openai-responses": ApiKind.OPENAI_RESPONSES,
    "gemini": ApiKind.GOOGLE_GENERATIVE,
    "vertex": ApiKind.GOOGLE_VERTEX,
    "bedrock": ApiKind.AMAZON_BEDROCK,
    "ollama": ApiKind.OLLAMA,
}
KINDS = {".sse": "text/event-stream", ".bin": EVENTSTREAM, ".ndjson": "application/x-ndjson"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_credentials(monkeypatch)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as server:
        server.base_url = server.base_url.removesuffix("/v1")
        yield server


def test_the_transport_refuses_to_begin_what_is_cancelled(provider: ScriptedUpstream) -> None:
    """R228, R229, R230: the words are the caller's; a body is taken once; json unless said otherwise."""
    token = CancellationToken()
    token.cancel()

    async def post(request: HttpRequest) -> HttpResponse:
        return await shared_transport.post(request, "somebody", "not reached", "given up")

    with pytest.raises(GatewayError, match=r"^given up$"):
        asyncio.run(post(HttpRequest(provider.base_url, {}, b"{}", token)))
    with pytest.raises(GatewayError, match=r"^not reached: "):
        asyncio.run(post(HttpRequest("http://127.0.0.1:1/x", {}, b"{}")))

    async def take() -> tuple[int, bool, bool, str, bool]:
        response = await post(HttpRequest(provider.base_url + "/x", {"content-type": "text/plain"}, b"hi"))
        known = (response.status, response.ok, response.has_body(), await response.text(), response.has_body())
        with pytest.raises(GatewayError, match="taken before"):
            await response.text()
        return known

    provider.play(Recording(b"their body", "text/plain", 418))
    assert asyncio.run(take()) == (418, False, True, "their body", False)
    assert provider.got.header("content-type") == "text/plain"
    assert provider.got.head.startswith("POST /x ") and provider.got.body == b"hi"


def test_a_host_may_bring_its_own_transport_and_resolver() -> None:
    """R179, R209, R210, R227, R228: the two seams of a connector."""
    seen: list[HttpRequest] = []

    class Tape:
        async def post(
            self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
        ) -> HttpResponse:
            seen.append(request)

            async def body() -> Any:
                yield CHAT

            return HttpResponse(200, body(), "text/event-stream; charset=utf-8")

    class Vault:
        async def resolve(self, provider: ProviderId, override: str | None = None) -> str | None:
            return f"vault-of-{provider.value}"

    model = get_card("gpt-4o")
    assert model is not None
    connector = create_openai_chat_connector(Vault(), Tape())
    reply = asyncio.run(connector.complete(model, HELLO, StreamOptions()))
    assert reply.blocks == (TextBlock("Hi you"),) and reply.model == "gpt-4o"
    assert seen[0].headers["authorization"] == "Bearer vault-of-openai"
    assert seen[0].url == "https://api.openai.com/v1/chat/completions"
    assert "vault" not in repr(seen[0]) and "vault" not in repr(connector)
    assert create_openai_chat_connector(environment_credential_resolver()).api is ApiKind.OPENAI_COMPLETIONS


def test_the_mock_plays_two_transcripts_without_network_or_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """R243: an echo call while the tool is offered and unanswered, prose everywhere else; the same each time."""
    import socket

    def no_socket(*_: Any, **__: Any) -> None:
        raise AssertionError("the mock opened a socket")

    model = get_card("mock-1")
    assert model is not None
    offered = replace(HELLO, tools=(ECHO,))
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(socket, "socket", no_socket)

    def play(asked: Conversation, options: StreamOptions | None = None) -> list[Emission]:
        async def collect() -> list[Emission]:
            return [emission async for emission in stream_with_card(model, asked, options)]

        return loop.run_until_complete(collect())

    calling, prose = play(offered), play(HELLO)
    assert calling == play(offered) and prose == play(HELLO)
    assert [each.kind for each in calling][:3] == ["text", "text", "tool_call_start"]
    assert calling[:2] == [TextEmission("Hello"), TextEmission(" world")]
    done = calling[-1]
    assert isinstance(done, DoneEmission) and done.reply.stop is StopReason.TOOL_CALLS
    call = done.reply.blocks[1]
    assert isinstance(call, ToolCallBlock) and call.name == "echo" and isinstance(call.input, dict)
    assert done.reply.usage.input_tokens > 0 < done.reply.usage.output_tokens
    ended = prose[-1]
    assert isinstance(ended, DoneEmission) and ended.reply.stop is StopReason.COMPLETE
    answered = (*offered.turns, AssistantTurn((call,)), ToolTurn((ToolResultBlock(call.id, "back"),)))
    last = play(replace(offered, turns=answered))[-1]
    assert isinstance(last, DoneEmission) and last.reply.stop is StopReason.COMPLETE
    token = CancellationToken()
    token.cancel()
    (gone,) = play(HELLO, StreamOptions(token))
    assert isinstance(gone, ErrorEmission) and gone.error.kind is GatewayErrorKind.ABORTED
    monkeypatch.undo()
    loop.close()


@pytest.mark.parametrize("folder", RECORDED)
def test_recorded_streams_become_what_the_core_makes_of_them(
    folder: str, provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R191, R224, R233, R252: over a socket, in pieces; text, thoughts and calls are those of the core's own fold."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    model = card(RECORDED[folder], provider)
    side = SERVICES["/v1/chat/completions"].providers[_dialect(model)]
    streams = [
        path
        for path in sorted((find_vectors() / "dialects" / folder).glob("*.response.*"))
        if KINDS.get(path.suffix) == side.stream_type
    ]
    assert streams or folder == "ollama"
    for path in streams:
        provider.play(Recording(path.read_bytes(), side.stream_type, piece=211))
        emissions = emissions_of(model, StreamOptions(api_key=KEY))
        _compare(side, path.read_bytes(), emissions)


def _dialect(model: ModelCard) -> str:
    return place_card(model, KEY).dialect


def _compare(side: ProviderSide, raw: bytes, emissions: list[Emission]) -> None:
    decoder = side.decoder(MAX_FRAME)
    whole = fold_events([*decoder.push(raw), *decoder.finish()])
    last = emissions[-1]
    if whole.failure is not None:
        assert isinstance(last, ErrorEmission) and last.error.message == whole.failure.message
        return
    assert isinstance(last, DoneEmission)
    blocks = last.reply.blocks
    texts = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    thoughts = "".join(block.text for block in blocks if isinstance(block, ThinkingBlock))
    assert texts == "".join(block.text for block in whole.blocks if isinstance(block, Text))
    assert thoughts == "".join(block.text for block in whole.blocks if isinstance(block, Thinking))
    wanted = [(call.name, call.arguments) for call in whole.blocks if isinstance(call, ToolCall)]
    calls = [block for block in blocks if isinstance(block, ToolCallBlock)]
    assert [call.name for call in calls] == [name for name, _ in wanted]
    assert [call.input for call in calls] == [json.loads(arguments or "{}") for _, arguments in wanted]
    assert len({call.id for call in calls}) == len(calls)
    usage = last.reply.usage
    cache = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    assert usage.output_tokens == whole.usage.completion_tokens
    assert usage.input_tokens + cache >= whole.usage.prompt_tokens


def test_a_tool_loop_over_the_wire(provider: ScriptedUpstream) -> None:
    """R191, R250, R252: a call streams in pieces, and its result goes back in the language's own form."""
    pieces: list[dict[str, Any]] = [
        {"id": "c1", "function": {"name": "echo", "arguments": ""}},
        {"function": {"arguments": '{"msg":'}},
        {"function": {"arguments": '"hi"}'}},
    ]
    deltas: list[dict[str, Any]] = [{"delta": {"tool_calls": [{"index": 0, **piece}]}} for piece in pieces]
    chunks = [{"choices": [each]} for each in (*deltas, {"delta": {}, "finish_reason": "tool_calls"})]
    calls = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    asked = replace(HELLO, tools=(ECHO,))
    provider.play(Recording(calls, piece=11))
    emissions = emissions_of(model, options, asked)
    assert [each.kind for each in emissions] == [
        "tool_call_start", "tool_call_delta", "tool_call_delta", "stop", "done"
    ]  # fmt: skip
    done = emissions[-1]
    assert isinstance(done, DoneEmission)
    assert done.reply.blocks == (ToolCallBlock("c1", "echo", {"msg": "hi"}),)
    turns = (*asked.turns, AssistantTurn(done.reply.blocks), ToolTurn((ToolResultBlock("c1", {"said": "hi"}),)))
    provider.play(Recording(CHAT))
    emissions_of(model, options, replace(asked, turns=turns))
    sent = json.loads(provider.got.body)["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": "c1", "content": '{"said":"hi"}'}
    assert sent[-2]["tool_calls"][0]["function"] == {"name": "echo", "arguments": '{"msg":"hi"}'}


def test_signed_thoughts_go_back_to_their_own_vendor_only(provider: ScriptedUpstream) -> None:
    """R199: a seal is kept in the reply, and no other vendor is given it."""
    thought = (
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"SEAL"}}\n\n'
        b'data: {"type":"content_block_stop","index":0}\n\n'
    )
    claude, options = card(ApiKind.ANTHROPIC_MESSAGES, provider), StreamOptions(api_key=KEY)
    at = CLAUDE.index(b"event: content_block_start")
    provider.play(Recording(CLAUDE[:at] + thought + CLAUDE[at:].replace(b"STOP", b"end_turn")))
    done = emissions_of(claude, options)[-1]
    assert isinstance(done, DoneEmission)
    assert done.reply.blocks == (ThinkingBlock("hm", "anthropic_messages#SEAL"), TextBlock("Hi"))
    turns = (*HELLO.turns, AssistantTurn(done.reply.blocks), UserTurn((TextBlock("go on"),)))
    for model, answer in (
        (claude, CLAUDE.replace(b"STOP", b"end_turn")),
        (card(ApiKind.GOOGLE_GENERATIVE, provider), GEMINI),
    ):
        provider.play(Recording(answer))
        emissions_of(model, options, Conversation(turns))
        assert (b'"signature":"SEAL"' in provider.got.body) is (model is claude)
        assert (b"SEAL" in provider.got.body) is (model is claude)


@pytest.mark.parametrize("moment", ["before", "head", "body"])
def test_cancelling_ends_the_call_wherever_it_is(moment: str, provider: ScriptedUpstream) -> None:
    """R208, R229, R259, R261: distinct words for before and while, never a transport error; the provider is left."""
    token = CancellationToken()
    silent = Recording(CHAT[: CHAT.index(b"data: {", 5)] if moment == "body" else b"", ending="hold")
    provider.play(silent)
    model = card(ApiKind.OPENAI_COMPLETIONS, provider)
    channel = stream_with_card(model, HELLO, StreamOptions(token, api_key=KEY))

    async def ask() -> list[Emission]:
        if moment == "before":
            token.cancel()
        emissions = []
        async with aclosing(aiter(channel)) as arriving:
            if moment == "head":
                threading.Thread(target=cancel_when_asked).start()
            async for emission in arriving:
                emissions.append(emission)
                token.cancel()
        return emissions

    def cancel_when_asked() -> None:
        while not provider.received:
            threading.Event().wait(0.01)
        token.cancel()

    *shown, last = asyncio.run(ask())
    assert isinstance(last, ErrorEmission) and last.error.kind is GatewayErrorKind.ABORTED
    assert shown == ([TextEmission("Hi")] if moment == "body" else [])
    if moment == "before":
        assert last.error.message == "cancelled before the request was sent" and provider.received == []
        return
    assert " while " in last.error.message
    assert provider.abandoned.wait(20)


def test_no_connection_outlives_its_loop(provider: ScriptedUpstream) -> None:
    """R190: kept connections, and those of streams that were left, end with the program's event loop."""
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    provider.play(Recording(CHAT, piece=40))

    async def many() -> None:
        for _ in range(40):
            async with aclosing(aiter(stream_with_card(model, HELLO, options))) as leaving:
                await anext(leaving)
            await complete_with_card(model, HELLO, options)

    before = open_files()
    asyncio.run(many())
    for _ in range(3000):  # the provider lives here too, and closes its ends a little later
        if open_files() <= before:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{open_files()} files are open, {before} were before")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("api", "name", "path"),
    [
        (ApiKind.OPENAI_COMPLETIONS, "gpt-4o", "/v1"),
        (ApiKind.OPENAI_RESPONSES, "o3", "/v1"),
        (ApiKind.ANTHROPIC_MESSAGES, "claude-opus-4", ""),
    ],
)
def test_the_gateway_itself_is_a_provider(api: ApiKind, name: str, path: str, live_gateway: RunningGateway) -> None:
    """R177, R183: all three of its languages, with a card of one's own."""
    known = get_card(name)
    assert known is not None and known.api is api
    model = replace(known, id="mock-1", base_url=live_gateway.url + path)
    reply = asyncio.run(complete_with_card(model, HELLO, StreamOptions(api_key=live_gateway.api_key)))
    (block,) = reply.blocks
    assert isinstance(block, TextBlock) and "hello" in block.text
    assert (reply.stop, reply.model) == (StopReason.COMPLETE, "mock-1")
    assert reply.usage.output_tokens > 0
    refused = failure_of(model, StreamOptions(api_key="sk-router-unknown"))
    assert (refused.kind, refused.upstream_status) == (GatewayErrorKind.AUTH, 401)
