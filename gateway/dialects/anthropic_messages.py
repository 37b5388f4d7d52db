"""Anthropic Messages: buffered answers and errors in both directions, and the dialect's two sides."""

from __future__ import annotations

from gateway.dialects.anthropic_messages_fields import (
    ID_PREFIX,
    NAME,
    read_failure,
    read_finish,
    read_usage,
    write_failure,
    write_finish,
    write_usage,
)
from gateway.dialects.anthropic_messages_parts import encode_call, encode_thinking, picture_in_words
from gateway.dialects.anthropic_messages_request import decode_request, encode_request
from gateway.dialects.anthropic_messages_stream import MAX_TOOL_CALLS, Decoder, Encoder
from gateway.dialects.anthropic_messages_verbatim import VERBATIM
from gateway.dialects.dialect import Attestation, ProviderSide, Surface
from gateway.dialects.fields import rows, table, word
from gateway.dialects.fold import fold_events
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Block,
    Failure,
    InferenceRequest,
    Media,
    ReasoningDelta,
    Refusal,
    Start,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolCallDelta,
    read_signature,
)
from gateway.jsonbody import encode_json, read_json_object

__all__ = ["NAME", "PROVIDER", "SURFACE", "decode_answer", "decode_error", "encode_answer", "encode_error"]

VERSION = "2023-06-01"
"""Of the API, as this dialect writes and reads it."""


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a provider's buffered answer as the events that a stream would have given.

    Raises: UpstreamFailed if it is neither an answer nor an error object.
    """
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a message")
    if failure := read_failure(answer):
        return [failure]
    if not isinstance(answer.get("content"), list):
        raise UpstreamFailed("answer.content: found nothing, wanted a list of content blocks")
    events: list[StreamEvent] = [Start(word(answer, "id"), word(answer, "model"))] if word(answer, "id") else []
    calls = 0
    for part in rows(answer["content"]):
        if event := _read_block(part, calls):
            events.append(event)
            calls += isinstance(event, ToolCallDelta)
    if calls > MAX_TOOL_CALLS:
        raise UpstreamFailed(f"tool_use: found more than {MAX_TOOL_CALLS}, wanted at most so many")
    events.append(read_finish(word(answer, "stop_reason"), answer.get("stop_sequence")))
    usage = read_usage(table(answer, "usage"))
    return [*events, usage] if usage else events


def encode_answer(
    events: list[StreamEvent], request: InferenceRequest, token: str, _created: int, attestation: Attestation | None
) -> bytes:
    """Write a buffered answer from the events of a whole stream; an error object if it ended in Failure.

    Raises: UpstreamFailed for what has no place in this language.
    """
    reply = fold_events(events)
    ours = {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
    if reply.failure is not None:
        return encode_json({**write_failure(reply.failure, reply.failure.status or 500), **ours})
    refused = any(isinstance(block, Refusal) for block in reply.blocks)
    return encode_json(
        {
            "id": ID_PREFIX + token,
            "type": "message",
            "role": "assistant",
            "model": reply.start.model or request.model,
            "content": [part for block in reply.blocks for part in _write_block(block)],
            **write_finish(reply.finish, refused),
            "usage": write_usage(reply.usage),
            **ours,
        }
    )


def decode_error(body: bytes, status: int) -> Failure:
    """Read the body of a provider's refusal, whatever it holds."""
    fields = read_json_object(body)
    failure = read_failure(fields, "error") if fields else None
    return failure or Failure(f"The provider refused with status {status}.", status=status)


def encode_error(failure: Failure, status: int) -> bytes:
    """Write the body of a refusal."""
    return encode_json(write_failure(failure, status))


def _read_block(part: dict[str, object], calls: int) -> StreamEvent | None:
    kind = word(part, "type")
    if kind == "text" and word(part, "text"):
        return TextDelta(word(part, "text"))
    if kind == "thinking":
        sealed = word(part, "signature")
        return ReasoningDelta(word(part, "thinking"), read_signature(sealed, NAME) if sealed else None)
    if kind == "redacted_thinking" and word(part, "data"):
        return ReasoningDelta("", read_signature(word(part, "data"), NAME), redacted=True)
    if kind == "tool_use":
        arguments = encode_json(part.get("input") or {}).decode()
        return ToolCallDelta(calls, word(part, "id") or f"call_{calls}", word(part, "name"), arguments)
    return None


def _write_block(block: Block) -> list[dict[str, object]]:
    if isinstance(block, Text | Refusal):
        return [{"type": "text", "text": block.text}] if block.text else []
    if isinstance(block, Thinking):
        return [encode_thinking(block)]
    if isinstance(block, Media):
        return [{"type": "text", "text": picture_in_words(block)}]
    if not isinstance(block, ToolCall):
        return []
    seal = [encode_thinking(Thinking("", block.signature))] if block.signature else []
    return [*seal, encode_call(block)]


SURFACE = Surface(NAME, ID_PREFIX, decode_request, Encoder, encode_answer, encode_error, VERBATIM)
PROVIDER = ProviderSide(
    NAME,
    "text/event-stream",
    lambda _model, _stream: "/v1/messages",
    encode_request,
    Decoder,
    decode_answer,
    decode_error,
    (("anthropic-version", VERSION),),
)
