"""A broken line in a stream costs itself alone, in every language: it is passed over, or passed on, and counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.dialects import anthropic_messages, bedrock_converse, gemini, ollama, openai_chat, openai_responses
from gateway.dialects.dialect import Decoder, ProviderSide, Surface
from gateway.inference import Finish, StreamEvent, TextDelta
from tests.worlds.eventstream import event_message, raw_message, text_header


def frame(value: dict[str, Any], named: bool = False) -> bytes:
    name = b"event: " + value["type"].encode() + b"\n" if named else b""
    return name + b"data: " + json.dumps(value).encode() + b"\n\n"


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def chat(**choice: Any) -> bytes:
    return frame({"id": "c", "choices": [{"index": 0, "delta": {}, **choice}]})


def candidate(text: str, **others: Any) -> bytes:
    return frame({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, **others}]})


def message(kind: str, **members: Any) -> bytes:
    return frame({"type": kind, **members}, named=True)


def text_delta(text: str) -> bytes:
    return message("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def output(text: str) -> bytes:
    return message("response.output_text.delta", output_index=0, content_index=0, delta=text)


RESPONSE = {"id": "r", "model": "m", "status": "completed", "output": []}
# A dialect's frames before and after the broken one.
STREAMS: dict[str, tuple[ProviderSide, list[bytes], list[bytes]]] = {
    "chat": (
        openai_chat.PROVIDER,
        [chat(delta={"content": "a"})],
        [chat(delta={"content": "b"}), chat(finish_reason="stop"), b"data: [DONE]\n\n"],
    ),
    "messages": (
        anthropic_messages.PROVIDER,
        [
            message("message_start", message={"id": "m", "usage": {"input_tokens": 1}}),
            message("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            text_delta("a"),
        ],
        [
            text_delta("b"),
            message("content_block_stop", index=0),
            message("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
            message("message_stop"),
        ],
    ),
    "responses": (
        openai_responses.PROVIDER,
        [
            message("response.created", response={**RESPONSE, "status": "in_progress"}),
            message("response.output_item.added", output_index=0, item={"type": "message", "id": "i"}),
            output("a"),
        ],
        [output("b"), message("response.completed", response=RESPONSE)],
    ),
    "gemini": (gemini.PROVIDER, [candidate("a")], [candidate("b", finishReason="STOP")]),
    "ollama": (
        ollama.PROVIDER,
        [line({"message": {"content": "a"}, "done": False})],
        [line({"message": {"content": "b"}, "done": True, "done_reason": "stop"})],
    ),
    "bedrock": (
        bedrock_converse.PROVIDER,
        [event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}})],
        [
            event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "b"}}),
            event_message("messageStop", {"stopReason": "end_turn"}),
        ],
    ),
}
BROKEN = {
    "ollama": [b'{"message":{"con\n', b"<html>\n", b"[1]\n"],
    "bedrock": [raw_message(text_header(":message-type", "event"), b"no JSON"), raw_message(b"", b"{}")],
}
IN_FRAMES = [b'data: {"id":"c","choices":[{"del\n\n', b"data: <html>\n\n", b"data: [3]\n\n"]
# Broken, under a name that nobody looks behind.
USUAL = {
    "messages": [b'event: content_block_delta\ndata: {"type":"content_bl\n\n'],
    "responses": [b'event: response.output_text.delta\ndata: {"type":"resp\n\n'],
}
SURFACES: dict[str, Surface] = {
    "chat": openai_chat.SURFACE,
    "messages": anthropic_messages.SURFACE,
    "responses": openai_responses.SURFACE,
}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "x"}]},
    "messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
    "responses": {"input": "x"},
}


def decoded(decoder: Decoder, stream: bytes, piece: int) -> list[StreamEvent]:
    step = piece or len(stream)
    events = [event for at in range(0, len(stream), step) for event in decoder.push(stream[at : at + step])]
    return events + decoder.finish()


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("name", STREAMS)
def test_a_decoder_passes_over_what_is_broken_and_counts_it(name: str, piece: int) -> None:
    provider, before, after = STREAMS[name]
    expected = decoded(provider.decoder(1 << 20), b"".join([*before, *after]), piece)
    assert [event.text for event in expected if isinstance(event, TextDelta)] == ["a", "b"]
    assert any(isinstance(event, Finish) for event in expected)
    for broken in BROKEN.get(name, IN_FRAMES):
        decoder = provider.decoder(1 << 20)
        assert decoded(decoder, b"".join([*before, broken, *after]), piece) == expected
        assert decoder.skipped == 1


@pytest.mark.parametrize("piece", [0, 1, 50])
@pytest.mark.parametrize("name", SURFACES)
def test_bytes_that_pass_unchanged_pass_with_what_is_broken_and_it_is_counted(name: str, piece: int) -> None:
    surface, (_, before, after) = SURFACES[name], STREAMS[name]
    request = surface.decode_request(json.dumps({"model": "m", "stream": True, **ASKED[name]}).encode())
    assert surface.verbatim is not None
    comment = b": keep-alive\n\n"
    for broken in [*IN_FRAMES, *USUAL.get(name, [])]:
        stream = b"".join([*before, comment, broken, *after])
        passage, step = surface.verbatim.passage(request, 0, 1 << 20), piece or len(stream)
        passed = b"".join(passage.push(stream[at : at + step]) for at in range(0, len(stream), step))
        assert passed + passage.closing(None) == stream
        assert (passage.seen().whole, passage.seen().skipped) == (True, 1)
