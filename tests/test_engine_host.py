"""The engine's outer layers: bodies to requests, sessions to HTTP answers, and the host contract."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine import (
    EnvPoolHost,
    EnvProvider,
    GatewayError,
    HostContext,
    HostProtocol,
    InvalidRequest,
    Json,
    LookupState,
    Message,
    MessageRole,
    PoolLookupError,
    PoolLookupOutcome,
    ProtocolHttpResponse,
    ProviderPool,
    ServerSentEvents,
    Text,
    ToolCall,
    ToolResult,
    UniGatewayEngine,
    anthropic_payload_to_chat_request,
    build_env_pool,
    dispatch_request,
    openai_payload_to_chat_request,
    openai_payload_to_embed_request,
    openai_payload_to_responses_request,
)
from gateway.engine.testing import MockHost, build_context
from tests.worlds.pools import KEY, Memory, ask, endpoint, new_engine, pool, refused, run, said, streamed
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


async def body_of(answer: ProtocolHttpResponse) -> str:
    """What a client would read."""
    status, body = answer.into_parts()
    assert status == answer.status
    match body:
        case Json(raw=raw):
            assert body.content_type == "application/json" and body.value == json.loads(raw)
            return raw.decode()
        case ServerSentEvents(stream=stream):
            assert body.content_type == "text/event-stream"
            return b"".join([piece async for piece in stream]).decode()


def dispatched(
    upstream: ScriptedUpstream, protocol: HostProtocol, body: dict[str, Any], **more: Any
) -> tuple[ProtocolHttpResponse, str]:
    async def work() -> tuple[ProtocolHttpResponse, str]:
        async with new_engine() as engine:
            mine = pool(endpoint(upstream, provider_family="vllm"))
            await engine.upsert_pool(mine)
            context = build_context(engine, MockHost().with_service_pool("my-service", mine))
            answer = await dispatch_request(context, "my-service", protocol, body, **more)
            return answer, await body_of(answer)

    return run(work())


def test_bodies_of_every_language_become_requests() -> None:
    """R113: four converters, each with a model for bodies that name none."""
    chat = openai_payload_to_chat_request({"messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5}, "m")
    assert (chat.model, chat.messages, chat.temperature) == ("m", [Message(MessageRole.USER, "Hi")], 0.5)
    body = {"model": "claude", "system": "Be kind", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    claude = anthropic_payload_to_chat_request(json.dumps(body), "m")
    assert [message.text for message in claude.messages] == ["Be kind", "Hi"]
    listed = anthropic_payload_to_chat_request({**body, "system": ["Be kind", {"text": "!"}]}, "m")
    assert listed.messages[0].text == "Be kind!"
    assert (claude.model, claude.max_tokens, claude.messages[0].role) == ("claude", 9, MessageRole.SYSTEM)
    embed = openai_payload_to_embed_request({"input": "one", "encoding_format": "float"}, "m")
    assert (embed.model, embed.input, embed.encoding_format) == ("m", ["one"], "float")
    turn = openai_payload_to_responses_request(b'{"input": "Hi", "instructions": "Be kind", "truncation": "auto"}', "m")
    assert (turn.model, turn.input, turn.instructions, turn.extra) == ("m", "Hi", "Be kind", {"truncation": "auto"})


@pytest.mark.parametrize(
    ("spelled", "role"),
    [("User", "user"), (" ASSISTANT ", "assistant"), ("human", "user"), ("ai", "assistant"), ("model", "assistant"),
     ("System", "system"), ("narrator", "user"), (None, "user"), (7, "user")],
)  # fmt: skip
def test_roles_may_be_spelled_differently(spelled: Any, role: str) -> None:
    """R114: whoever is unknown speaks as the user."""
    turns = [{"role": spelled, "content": "Hi"}]
    assert openai_payload_to_chat_request({"messages": turns}, "m").messages[0].role == role
    assert anthropic_payload_to_chat_request({"messages": turns}, "m").messages[0].role == role
    turn = openai_payload_to_responses_request({"input": turns}, "m")
    assert turn.input[0]["role"] == role


@pytest.mark.parametrize(
    ("content", "text"),
    [("Hi", "Hi"), ([{"type": "text", "text": "Hi"}], "Hi"), (["Hi", {"text": " there"}], "Hi there"),
     ({"type": "text", "text": "Hi"}, "Hi"), (None, ""), ([], "")],
)  # fmt: skip
def test_content_is_words_or_blocks(content: Any, text: str) -> None:
    """R114"""
    for convert in (openai_payload_to_chat_request, anthropic_payload_to_chat_request):
        assert convert({"messages": [{"role": "user", "content": content}]}, "m").messages[0].text == text


def test_unknown_members_and_senseless_wishes_are_ignored() -> None:
    """R114: of what a request can do without; what it is about must be understood."""
    odd = {**BODY, "temperature": "warm", "max_tokens": -1, "user": 7, "n": "two", "unheard_of": {"x": 1}}
    request = openai_payload_to_chat_request(odd, "m")
    assert (request.temperature, request.max_tokens) == (None, None)
    wrongs: list[dict[str, Any]] = [{"messages": []}, {}, {"messages": [7]}, {**BODY, "tools": "hammer"}]
    for wrong in [*wrongs, {**BODY, "response_format": 1}]:
        with pytest.raises(InvalidRequest):
            openai_payload_to_chat_request(wrong, "m")
    for raw in ("[]", "{", b"\xff"):
        with pytest.raises(InvalidRequest):
            openai_payload_to_chat_request(raw, "m")
    with pytest.raises(InvalidRequest):
        openai_payload_to_embed_request({"input": [1, 2, 3]}, "m")  # tokens are one model's own


def test_tools_pictures_and_the_rest_ride_along(provider: ScriptedUpstream) -> None:
    """R113, R114: what has no place in a ProxyChatRequest reaches the provider all the same."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "Tool", "tool_call_id": "c1", "content": "a cat"},
    ]
    request = openai_payload_to_chat_request(
        {"messages": turns, "tools": [tool], "seed": 7, "logit_bias": {"1": 2}}, "m"
    )
    assert request.messages[1].content == (ToolCall("c1", "look", "{}"),)
    assert request.messages[2].content == (ToolResult("c1", (Text("a cat"),)),)
    provider.play(said("a cat"))

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(provider)))
            return await ask(engine, request)

    assert run(work()) == "a cat"
    body = json.loads(provider.got.body)
    assert body["tools"] == [tool] and body["seed"] == 7 and body["logit_bias"] == {"1": 2}
    assert body["messages"][0]["content"][1] == picture and body["messages"][1]["tool_calls"] == [call]


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "user", "text", "function", "message"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "messages", "input", "system", "tools", "name", "model"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["messages", "input", "system", "model", "n", "tools"]), JSON, max_size=4))
def test_no_body_breaks_a_converter(body: dict[str, Any]) -> None:
    """R114: a request, or InvalidRequest; nothing else."""
    for convert in (
        openai_payload_to_chat_request,
        anthropic_payload_to_chat_request,
        openai_payload_to_embed_request,
        openai_payload_to_responses_request,
    ):
        try:
            convert(body, "m")
        except InvalidRequest:
            continue


def test_an_openai_client_is_answered_in_its_language(provider: ScriptedUpstream) -> None:
    """R121, R122, R127: from the raw body to JSON, without a web framework."""
    provider.play(said("Hello yourself"))
    answer, body = dispatched(provider, HostProtocol.OPENAI_CHAT, BODY)
    assert answer.status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello yourself"


@pytest.mark.parametrize("wants_usage", [False, True])
def test_a_streaming_openai_client_gets_frames(provider: ScriptedUpstream, wants_usage: bool) -> None:
    """R121: server-sent events; the tokens only for clients that ask, though the report always has them."""
    provider.play(streamed("Hel", "lo"))
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    answer, body = dispatched(provider, HostProtocol.OPENAI_CHAT, {**BODY, "stream": True, **options})
    assert answer.status == 200 and body.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    words = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(words) == "Hello"
    assert any(chunk.get("usage") for chunk in chunks) is wants_usage


def test_an_anthropic_client_of_an_openai_provider(provider: ScriptedUpstream) -> None:
    """R121, R122"""
    provider.play(said("Hello yourself"))
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    _, answered = dispatched(provider, HostProtocol.ANTHROPIC_MESSAGES, body)
    assert json.loads(answered)["content"] == [{"type": "text", "text": "Hello yourself"}]
    provider.play(streamed("Hel", "lo"))
    _, frames = dispatched(provider, HostProtocol.ANTHROPIC_MESSAGES, {**body, "stream": True})
    assert "event: message_start" in frames and "event: message_stop" in frames


def test_responses_and_embeddings_are_rendered_too(provider: ScriptedUpstream) -> None:
    """R121, R122"""
    provider.play(said("Paris"))
    _, whole = dispatched(provider, HostProtocol.OPENAI_RESPONSES, {"model": "m", "input": "?"})
    assert json.loads(whole)["output"][0]["content"][0]["text"] == "Paris"
    provider.play(streamed("Pa", "ris"))
    _, frames = dispatched(provider, HostProtocol.OPENAI_RESPONSES, {"model": "m", "input": "?", "stream": True})
    assert "event: response.completed" in frames
    provider.play(Recording(b'{"data": [{"index": 0, "embedding": [1, 2.5]}]}', "application/json"))
    body = {"model": "e", "input": ["one"], "dimensions": 2}
    _, vectors = dispatched(provider, HostProtocol.OPENAI_EMBEDDINGS, body)
    assert json.loads(vectors)["data"] == [{"object": "embedding", "index": 0, "embedding": [1.0, 2.5]}]
    assert json.loads(provider.got.body) == body
    _, coded = dispatched(provider, HostProtocol.OPENAI_EMBEDDINGS, {**body, "encoding_format": "base64"})
    assert base64.b64decode(json.loads(coded)["data"][0]["embedding"]) == struct.pack("<2f", 1, 2.5)


def test_a_stream_that_breaks_off_does_not_end_as_a_whole_one(provider: ScriptedUpstream) -> None:
    """R121: an error in the client's language, and no false end."""
    for protocol, end in ((HostProtocol.OPENAI_CHAT, "[DONE]"), (HostProtocol.ANTHROPIC_MESSAGES, "message_stop")):
        provider.play(streamed("half", end=False))
        _, frames = dispatched(provider, protocol, {**BODY, "max_tokens": 9, "stream": True})
        assert "half" in frames and '"error"' in frames and end not in frames


def test_refusals_are_answers_in_the_clients_language(provider: ScriptedUpstream) -> None:
    """R122: of the provider, of the converter, and of the host."""
    provider.play(refused(400, "bad_thing"))
    answer, body = dispatched(provider, HostProtocol.OPENAI_CHAT, BODY)
    assert answer.status == 400 and json.loads(body)["error"]["code"] == "bad_thing"
    provider.play(refused(429, retry_after="7"))
    limited, body = dispatched(provider, HostProtocol.ANTHROPIC_MESSAGES, {**BODY, "max_tokens": 9})
    assert limited.status == 429 and limited.retry_after == 7
    assert json.loads(body)["error"]["type"] == "rate_limit_error"
    answer, body = dispatched(provider, HostProtocol.OPENAI_CHAT, {"model": "m"})
    assert answer.status == 400 and json.loads(body)["error"]["param"] == "messages"
    answer, body = dispatched(provider, HostProtocol.OPENAI_CHAT, BODY, hint="nobody")
    assert answer.status == 503 and json.loads(body)["error"]["code"] == "no_available_endpoint"


def test_a_host_says_which_pool_serves(provider: ScriptedUpstream) -> None:
    """R115, R117, R118, R125: by a service, or by a pool itself; an unknown service is a 404, not another pool."""
    provider.play(said("found"))

    class App:
        def __init__(self, engine: UniGatewayEngine) -> None:
            self.engine = engine

        async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
            found = await self.engine.get_pool(service_id)
            return PoolLookupOutcome.not_found() if found is None else PoolLookupOutcome.found(found)

    async def work() -> None:
        memory = Memory()
        async with new_engine(memory) as engine:
            mine = pool(endpoint(provider))
            await engine.upsert_pool(mine)
            context = HostContext.from_parts(engine, App(engine))
            for target in ("my-service", mine):
                answer = await dispatch_request(
                    context, target, HostProtocol.OPENAI_CHAT, BODY, metadata={"user_id": "u-1"}
                )
                assert answer.status == 200
            assert [report.metadata["user_id"] for report in memory.reports] == ["u-1", "u-1"]
            unknown = await dispatch_request(context, "other", HostProtocol.OPENAI_CHAT, BODY)
            assert unknown.status == 404 and "pool_not_found" in await body_of(unknown)
            stranger = replace(mine, pool_id="never-upserted")
            unknown = await dispatch_request(context, stranger, HostProtocol.OPENAI_CHAT, BODY)
            assert unknown.status == 404
            assert (await context.env_pool(EnvProvider.OPENAI)).state is LookupState.NOT_FOUND  # App makes no pools

    run(work())


def test_a_lookup_that_fails_is_not_a_pool_that_is_missing(provider: ScriptedUpstream) -> None:
    """R116: `PoolLookupError.other` of anything, whose words stay behind."""

    class Broken:
        async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
            raise PoolLookupError.other(OSError("postgres://user:secret@db"))

    async def work() -> None:
        async with new_engine() as engine:
            answer = await dispatch_request(HostContext(engine, Broken()), "x", HostProtocol.OPENAI_CHAT, BODY)
            body = await body_of(answer)
            assert answer.status == 503 and "pool_lookup_failed" in body and "OSError" in body and "secret" not in body

    run(work())
    assert issubclass(PoolLookupError, GatewayError)


def test_pools_of_the_environment(provider: ScriptedUpstream) -> None:
    """R116: no key, no pool; with one it is made, upserted, and serves requests that name no model too."""
    provider.play(said("from the environment"))

    class App:
        def __init__(self, engine: UniGatewayEngine, key: str) -> None:
            self.engine, self.key = engine, key

        async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
            return PoolLookupOutcome.not_found()

        async def env_pool(self, provider_name: EnvProvider, api_key_override: str | None = None) -> PoolLookupOutcome:
            key = self.key if api_key_override is None else api_key_override
            if not key:
                return PoolLookupOutcome.not_found()
            made = build_env_pool(provider_name, "gpt-4o-mini", provider.base_url, key)
            await self.engine.upsert_pool(made)
            return PoolLookupOutcome.found(made)

    async def work() -> None:
        async with new_engine() as engine:
            context = HostContext.from_parts(engine, App(engine, KEY))
            assert (await context.env_pool(EnvProvider.OPENAI, "")).state is LookupState.NOT_FOUND
            assert await engine.list_pools() == []
            found = await context.env_pool(EnvProvider.OPENAI)
            assert found.pool is not None
            answer = await dispatch_request(context, found.pool, HostProtocol.OPENAI_CHAT, {**BODY, "model": ""})
            assert answer.status == 200

    run(work())
    assert json.loads(provider.got.body)["model"] == "gpt-4o-mini" and provider.got.credential == f"Bearer {KEY}"
    claude = build_env_pool(EnvProvider.ANTHROPIC, "claude-opus-5", "https://api.anthropic.com", KEY).endpoints[0]
    assert (claude.driver_id, claude.provider_family, claude.matches("anthropic")) == ("anthropic", "anthropic", True)


def test_a_host_without_pools_of_its_own_inherits_that() -> None:
    """R118: the contract's own `env_pool` finds nothing."""

    class Bare(EnvPoolHost):
        pass

    assert run(Bare().env_pool(EnvProvider.OPENAI, KEY)) == PoolLookupOutcome.not_found()


def test_more_states_may_come() -> None:
    """R119: who branches on the state has a branch for the rest; what is not FOUND has no pool."""
    assert PoolLookupOutcome.not_found().pool is None
    assert set(LookupState) >= {LookupState.FOUND, LookupState.NOT_FOUND}

    async def work() -> int:
        async with new_engine() as engine:
            later = PoolLookupOutcome("disabled")  # type: ignore[arg-type]
            context = build_context(engine, MockHost().with_service_outcome("svc", later))
            return (await dispatch_request(context, "svc", HostProtocol.OPENAI_CHAT, BODY)).status

    assert run(work()) == 404


def test_fixtures_for_the_tests_of_applications(provider: ScriptedUpstream) -> None:
    """R120: `MockHost` finds what it was told, and `build_context` joins it to an engine."""

    async def work() -> None:
        async with new_engine() as engine:
            mine, env = pool(endpoint(provider)), ProviderPool("env")
            host = MockHost().with_service_pool("svc-main", mine).with_env_pool(EnvProvider.OPENAI, env)
            context = build_context(engine, host)
            assert (await context.pool_for_service("svc-main")).pool is mine
            assert (await context.pool_for_service("other")).state is LookupState.NOT_FOUND
            assert (await context.env_pool(EnvProvider.OPENAI)).pool is env
            assert (await context.env_pool(EnvProvider.OPENAI, "")).pool is None
            assert (await context.env_pool(EnvProvider.ANTHROPIC)).pool is None

    run(work())
