"""From one language to the other and back: what real providers sent survives, and nothing raises but refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.catalog import FAMILIES
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects import anthropic_messages, openai_chat, openai_responses
from gateway.dialects.dialect import ProviderSide, Surface
from gateway.dialects.fold import fold_events
from gateway.dialects.quirks import budget_of, effort_of
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import (
    EFFORTS,
    Embedding,
    Failure,
    Finish,
    InferenceRequest,
    Media,
    Message,
    Reasoning,
    StreamEvent,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from gateway.languages import SERVICES
from gateway.translate import Exchange, Translation
from tests.conftest import find_vectors

CHAT_VENDORS = ("openai-chat", "azure", "bedrock-openai", "deepseek", "kimi", "nvidia", "ollama", "vllm", "zai")
CHAT, MESSAGES = openai_chat, anthropic_messages
SURFACES = {side.SURFACE.name: side.SURFACE for side in (CHAT, MESSAGES, openai_responses)}
ASKED = InferenceRequest("elsewhere", "m", (Message("user", (Text("hi"),)),), stream=True, include_usage=True)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "a", "user", "tool_use", "function"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "text", "role", "content", "id", "name", "input", "function", "arguments", "source",
                         "image_url", "url", "data", "cache_control", "tool_use_id", "signature", "thinking"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def others_than_chat() -> list[ProviderSide]:
    found = {side.name: side for side in SERVICES["/v1/chat/completions"].providers.values()}
    assert len(found) >= 6
    return [side for name, side in found.items() if name != CHAT.PROVIDER.name]


def recordings(vendors: tuple[str, ...], pattern: str) -> Iterator[Path]:
    for vendor in vendors:
        yield from sorted((find_vectors() / "dialects" / vendor).glob(pattern))


def streamed(surface: Surface, events: list[StreamEvent]) -> bytes:
    encoder = surface.encoder(ASKED, "t", 1)
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(None)


def decoded(provider: ProviderSide, stream: bytes, size: int = 0) -> list[StreamEvent]:
    decoder, step = provider.decoder(1 << 24), size or len(stream) or 1
    pieces = [event for at in range(0, len(stream), step) for event in decoder.push(stream[at : at + step])]
    return pieces + decoder.finish()


def check_survives(events: list[StreamEvent], again: list[StreamEvent], name: str) -> None:
    before, after = fold_events(events), fold_events(again)
    assert after.blocks == before.blocks, name
    assert after.finish.reason == before.finish.reason, name
    # Anthropic has no tokens of sound.
    assert after.usage == replace(before.usage, audio_prompt_tokens=0, audio_completion_tokens=0), name
    assert after.failure == before.failure is None, name


def letters_of(request: InferenceRequest) -> list[str]:
    """Every letter of a request's text: blocks may have moved and joined, but no word is lost."""
    blocks = [block for message in request.messages for block in message.content]
    return sorted("".join("".join(block.text for block in blocks if isinstance(block, Text)).split()))


def assert_says(written: object, request: InferenceRequest, name: str) -> None:
    """Every text of a request stands somewhere in what was written of it, however that language spells the rest."""
    spelled = json.dumps(written, ensure_ascii=False)
    for block in (block for message in request.messages for block in message.content):
        if isinstance(block, Text) and block.text.strip():
            assert json.dumps(block.text, ensure_ascii=False)[1:-1] in spelled, name


def test_recorded_chat_streams_survive_the_way_through_messages() -> None:
    seen = 0
    for path in recordings(CHAT_VENDORS, "*.response.sse"):
        stream = path.read_bytes()
        if b'"choices"' in stream:
            events = decoded(CHAT.PROVIDER, stream, 211)
            check_survives(events, decoded(MESSAGES.PROVIDER, streamed(MESSAGES.SURFACE, events)), path.name)
            seen += 1
    assert seen >= 30


def test_recorded_messages_streams_survive_the_way_through_chat() -> None:
    seen = 0
    for path in recordings(("anthropic", "minimax"), "*.response.sse"):
        events = decoded(MESSAGES.PROVIDER, path.read_bytes(), 211)
        again = decoded(CHAT.PROVIDER, streamed(CHAT.SURFACE, events))
        before, after = fold_events(events), fold_events(again)
        # One text is one text in chat, however many blocks it came in.
        assert after.text == before.text, path.name
        kinds = [[block for block in reply.blocks if not isinstance(block, Text)] for reply in (before, after)]
        assert kinds[0] == kinds[1], path.name
        assert (after.usage, after.finish.reason) == (before.usage, before.finish.reason), path.name
        seen += 1
    assert seen >= 20


def test_recorded_buffered_answers_survive_both_ways() -> None:
    seen = 0
    ways = ((CHAT_VENDORS, CHAT, MESSAGES, b'"choices"'), (("anthropic", "minimax"), MESSAGES, CHAT, b'"stop_reason"'))
    for vendors, theirs, ours, mark in ways:
        for path in recordings(vendors, "*.response.json"):
            raw = path.read_bytes()
            if mark not in raw or b'"custom_id"' in raw:
                continue
            events = theirs.PROVIDER.decode_answer(raw)
            again = ours.PROVIDER.decode_answer(ours.SURFACE.encode_answer(events, ASKED, "t", 1, None))
            before, after = fold_events(events), fold_events(again)
            assert after.text == before.text, path.name
            assert len(after.blocks) <= len(before.blocks), path.name
            assert after.usage.total_tokens == before.usage.total_tokens, path.name
            seen += 1
    assert seen >= 40


def test_recorded_requests_can_be_asked_of_every_family() -> None:
    seen = 0
    for theirs, vendors in ((CHAT, CHAT_VENDORS), (MESSAGES, ("anthropic", "minimax"))):
        for path in recordings(vendors, "*.request.json"):
            sent = json.loads(path.read_bytes())
            if not isinstance(sent, dict) or "messages" not in sent or "model" not in sent:
                continue
            if theirs is MESSAGES and "max_tokens" not in sent:
                continue
            request = theirs.SURFACE.decode_request(path.read_bytes())
            for family, row in FAMILIES.items():
                service = SERVICES["/v1/chat/completions" if theirs is CHAT else "/v1/messages"]
                provider = service.providers[row.dialect]
                try:
                    written = provider.encode_request(request, quirks_of(family, request.model))
                except InvalidRequest as error:
                    assert "no place" in error.message, path.name
                    continue
                surface = SURFACES.get(provider.name)  # a language without one is no client's, only a provider's
                if surface is None:
                    assert_says(json.loads(written), request, path.name)
                else:
                    assert letters_of(surface.decode_request(written)) == letters_of(request), path.name
                seen += 1
    assert seen >= 200


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "f"}}, "functions"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "audio": {"id": "audio_1"}},
                       {"role": "user", "content": "go"}]}, "messages"),
    ],
)  # fmt: skip
def test_what_a_chat_client_alone_can_say_is_refused_by_name(sent: dict[str, object], param: str) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "q"}], **sent}
    request = CHAT.SURFACE.decode_request(json.dumps(asked).encode())
    for provider in others_than_chat():
        with pytest.raises(InvalidRequest) as refused:
            provider.encode_request(request, quirks_of("x", "m"))
        assert refused.value.param == param, provider.name


def test_no_surface_loses_what_it_cannot_show() -> None:
    for lost in (Media("audio", "audio/mpeg", "AAAA"), Embedding((0.5,))):
        heard: list[StreamEvent] = [TextDelta("a"), lost, Finish("stop")]
        for surface in (*SURFACES.values(), SERVICES["/v1/completions"].surface):
            for write in (streamed, lambda surface, events: surface.encode_answer(events, ASKED, "t", 1, None)):
                with pytest.raises(UpstreamFailed, match="no place"):
                    write(surface, heard)


def test_no_language_loses_the_name_of_a_speaker_or_that_a_tool_failed() -> None:
    call = ToolCall("c1", "f", "{}")
    turns = (Message("user", (Text("hi"),), "Bob"), Message("assistant", (call,), "critic"))
    failed = Message("tool", (ToolResult("c1", (Text("no route"),), is_error=True),))
    fine = Message("tool", (ToolResult("c1", (Text("no route"),)),))
    for provider in (CHAT.PROVIDER, *others_than_chat()):
        asked = replace(ASKED, messages=(*turns, failed), tools=(Tool("f"),))
        written = provider.encode_request(asked, quirks_of("x", "m"))
        assert b"Bob" in written and b"critic" in written, provider.name
        assert written != provider.encode_request(replace(asked, messages=(*turns, fine)), quirks_of("x", "m"))


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON, max_size=3), st.lists(JSON, max_size=2), JSON, st.sampled_from(["user", "assistant", "tool"]))
def test_no_request_raises_anything_but_a_refusal(content: Any, tools: Any, choice: Any, role: str) -> None:
    messages = [{"role": role, "content": content}, {"role": "assistant", "content": None, "tool_calls": content}]
    for body in (
        {"model": "m", "max_tokens": 9, "messages": messages, "tools": tools, "tool_choice": choice},
        {"model": "m", "max_tokens": 9, "messages": messages[:1], "tools": [{"name": "f", "input_schema": {}}],
         "thinking": choice, "output_config": choice, "system": content},
    ):  # fmt: skip
        for surface in (CHAT.SURFACE, MESSAGES.SURFACE):
            for provider in (CHAT.PROVIDER, MESSAGES.PROVIDER):
                try:
                    provider.encode_request(surface.decode_request(json.dumps(body).encode()), quirks_of("x", "m"))
                except GatewayError as error:
                    assert error.status == 400


@given(st.lists(JSON, max_size=5), st.integers(1, 40))
def test_no_stream_raises_anything_but_a_failure(frames: list[Any], size: int) -> None:
    stream = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
    for provider in (CHAT.PROVIDER, MESSAGES.PROVIDER):
        for surface in (CHAT.SURFACE, MESSAGES.SURFACE):
            passage = Translation(Exchange(surface, provider, ASKED, "t", 1), 1 << 20)
            written = b"".join(passage.push(stream[at : at + size]) for at in range(0, len(stream), size))
            written += passage.closing({"receipt_id": "r"})
            assert b'"receipt_id"' in written
            assert passage.seen().whole == (b"error" not in written)


@pytest.mark.parametrize("surface", [CHAT.SURFACE, MESSAGES.SURFACE])
def test_a_cut_translation_is_an_error_to_the_client_whatever_it_had_said(surface: Surface) -> None:
    passage = Translation(Exchange(surface, CHAT.PROVIDER, ASKED, "t", 1), 1 << 20)
    passage.push(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n')
    tail = passage.closing(None, Failure("timed out", status=502))
    assert b"timed out" in tail
    assert b"[DONE]" not in tail
    assert b"message_stop" not in tail
    assert passage.seen().whole is False


def test_efforts_and_budgets_of_every_size() -> None:
    assert [effort_of(Reasoning(None, tokens)) for tokens in (0, 1, 2048, 9000, 10**6)] == [
        "off", "minimal", "low", "high", "max",
    ]  # fmt: skip
    for effort in EFFORTS:
        assert effort_of(Reasoning(effort), ("low", "high")) in ("low", "high")
        assert effort_of(Reasoning(None, budget_of(Reasoning(effort), 1 << 20))) in (effort, "xhigh")
    assert budget_of(Reasoning("max"), 100) == 100
    assert effort_of(Reasoning("medium"), ("low", "high", "max")) == "low"


def test_a_finish_without_a_word_still_ends() -> None:
    for provider in (CHAT.PROVIDER, MESSAGES.PROVIDER):
        written = streamed(CHAT.SURFACE, [Finish("stop"), Usage(1, 1)])
        assert written.endswith(b"data: [DONE]\n\n")
        assert provider.decode_error(b"[]", 503).message
