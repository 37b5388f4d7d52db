"""Answers in the shapes that hosts take them: folded or in pieces, out of the core's events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from gateway.dialects.fields import word
from gateway.dialects.fold import fold_events
from gateway.dialects.openai_responses import SURFACE
from gateway.dialects.sse import FrameSplitter, parse_frame
from gateway.engine.core.session import ChatResponse, ChatResponseChunk, ResponsesEvent, ResponsesResponse
from gateway.inference import InferenceRequest, StreamEvent, TextDelta
from gateway.jsonbody import read_json_object

_MAX_FRAME = 64 << 20  # of our own writing: the last one repeats the whole answer


def chat_response(asked: InferenceRequest, _request_id: str, events: list[StreamEvent]) -> ChatResponse:
    """A whole chat answer."""
    reply = fold_events(events)
    return ChatResponse(reply.start.model or asked.model, reply.text or None, reply, tuple(events))


async def chat_chunks(
    _asked: InferenceRequest, _request_id: str, events: AsyncIterator[StreamEvent]
) -> AsyncIterator[ChatResponseChunk]:
    """A chat answer in pieces."""
    async for event in events:
        yield ChatResponseChunk(event.text if isinstance(event, TextDelta) else None, event)


def responses_response(asked: InferenceRequest, request_id: str, events: list[StreamEvent]) -> ResponsesResponse:
    """A whole answer of Responses, as the dialect writes it."""
    raw = read_json_object(SURFACE.encode_answer(events, asked, request_id, int(time.time()), None)) or {}
    return ResponsesResponse(fold_events(events).text or None, raw, tuple(events))


async def responses_events(
    asked: InferenceRequest, request_id: str, events: AsyncIterator[StreamEvent]
) -> AsyncIterator[ResponsesEvent]:
    """An answer of Responses in pieces, as the dialect writes them."""
    encoder, splitter = SURFACE.encoder(asked, request_id, int(time.time())), FrameSplitter(_MAX_FRAME)
    async for event in events:
        for frame in splitter.push(encoder.encode(event)):
            yield _event(frame)
    for frame in splitter.push(encoder.finish(None)):
        yield _event(frame)


def _event(frame: bytes) -> ResponsesEvent:
    read = parse_frame(frame)
    data = read_json_object(read.data) or {}
    return ResponsesEvent(word(data, "type") or read.event, data)
