"""Plain frames pass in one piece: what a passage gives and learns is what it would by looking at each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import anthropic_messages, openai_chat, openai_responses
from gateway.dialects.dialect import Surface
from gateway.dialects.sse import FrameSplitter
from gateway.inference import InferenceRequest

BLOCK: dict[str, object] = {"receipt_id": "r"}


def event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


CHAT = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"\\"usage\\":{"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":{"prompt_tokens":1}}\n\n',
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    b'event: x\ndata: {"id":"c","error":{"message":"m"}}\n\n',
    b'data: {"id":"c","choices":[{"delta":\ndata: {},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
    b'data: {"id":"c", broken\n\n',
    b": note\n\n",
    b"\n",
    b"\r\n",
]
MESSAGES = [
    event("message_start", '{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}'),
    event("content_block_delta", '{"type":"content_block_delta","index":0,"delta":{"text":"hi"}}'),
    event("content_block_delta", '{"type":"error"}\nevent: content_block_delta'),
    event("content_block_delta", "{broken"),
    event("message_delta", '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}'),
    event("message_stop", '{"type":"message_stop"}'),
    event("error", '{"type":"error","error":{"type":"overloaded_error","message":"m"}}'),
    b"\n",
    b"\r\n",
]
RESPONSES = [
    event("response.created", '{"type":"response.created","response":{"id":"r","model":"m"}}'),
    event("response.output_text.delta", '{"type":"response.output_text.delta","delta":"hi"}'),
    event("response.output_text.delta", "{broken"),
    event("response.output_text.done", '{"type":"response.output_text.done","text":"hi"}'),
    event("response.completed", '{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1}}}'),
    event("error", '{"type":"error","message":"m"}'),
    b"\n",
    b"\r\n",
]


@pytest.mark.parametrize(
    ("surface", "frames"),
    [(openai_chat.SURFACE, CHAT), (anthropic_messages.SURFACE, MESSAGES), (openai_responses.SURFACE, RESPONSES)],
    ids=["chat", "messages", "responses"],
)
def test_in_one_piece_or_one_by_one(surface: Surface, frames: list[bytes]) -> None:
    @given(st.lists(st.sampled_from(frames), max_size=12).map(b"".join), st.integers(1, 400), st.booleans())
    def check(stream: bytes, size: int, include_usage: bool) -> None:
        request = InferenceRequest(surface.name, "m", (), stream=True, include_usage=include_usage)
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        with pytest.MonkeyPatch.context() as patch:
            fast = passed(surface, request, chunks)
            patch.setattr(FrameSplitter, "take_plain", lambda _self, chunk, _end: (b"", chunk))
            assert passed(surface, request, chunks) == fast

    check()


def passed(surface: Surface, request: InferenceRequest, chunks: list[bytes]) -> tuple[object, ...]:
    """What leaves at each chunk and at the end, and what was learnt."""
    assert surface.verbatim is not None
    passage = surface.verbatim.passage(request, 7, 1 << 20)
    left = [passage.push(chunk) for chunk in chunks]
    return left, passage.closing(BLOCK), passage.seen()
