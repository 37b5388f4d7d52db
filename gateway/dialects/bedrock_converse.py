"""Bedrock Converse: buffered answers and errors, and the dialect's one side: no client of ours speaks it."""

from __future__ import annotations

from urllib.parse import quote

from gateway.dialects.bedrock_fields import MAX_TOOL_CALLS, NAME, read_finish, read_usage
from gateway.dialects.bedrock_request import encode_request
from gateway.dialects.bedrock_stream import Decoder
from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fields import rows, table, word
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, ReasoningDelta, StreamEvent, TextDelta, ThoughtSignature, ToolCallDelta
from gateway.jsonbody import encode_json, read_json_object

__all__ = ["NAME", "PROVIDER", "decode_answer", "decode_error", "encode_request"]


def path(model: str, stream: bool) -> str:
    """Where a model is asked: its id, which may be a name with colons or slashes (an ARN), is one segment."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a buffered answer as the events that a stream would have given. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a Converse answer")
    content = table(table(answer, "output"), "message").get("content")
    if not isinstance(content, list):
        raise UpstreamFailed("answer.output.message.content: found nothing, wanted a list of content blocks")
    events: list[StreamEvent] = []
    calls = 0
    for part in rows(content):
        event = _read_block(part, calls)
        events += [] if event is None else [event]
        calls += isinstance(event, ToolCallDelta)
    if calls > MAX_TOOL_CALLS:
        raise UpstreamFailed(f"toolUse: found more than {MAX_TOOL_CALLS}, wanted at most so many")
    events.append(read_finish(word(answer, "stopReason"), calls))
    usage = read_usage(table(answer, "usage"))
    return [*events, usage] if usage and not isinstance(events[-1], Failure) else events


def decode_error(body: bytes, status: int) -> Failure:
    """Read the body of a refusal: a message, and nothing else that counts."""
    fields = read_json_object(body) or {}
    message = word(fields, "message") or word(fields, "Message")  # the latter where no service was reached
    return Failure(message or f"The provider refused with status {status}.", status=status)


def _read_block(part: dict[str, object], calls: int) -> StreamEvent | None:
    if word(part, "text"):
        return TextDelta(word(part, "text"))
    if thought := table(part, "reasoningContent"):
        if hidden := word(thought, "redactedContent"):
            return ReasoningDelta("", ThoughtSignature(NAME, hidden), redacted=True)
        said = table(thought, "reasoningText")
        sealed = word(said, "signature")
        return ReasoningDelta(word(said, "text"), ThoughtSignature(NAME, sealed) if sealed else None)
    if cited := table(part, "citationsContent"):
        text = "".join(word(piece, "text") for piece in rows(cited.get("content")))
        return TextDelta(text) if text else None
    if call := table(part, "toolUse"):
        arguments = encode_json(call.get("input") or {}).decode()
        return ToolCallDelta(calls, word(call, "toolUseId") or f"call_{calls}", word(call, "name"), arguments)
    return None


PROVIDER = ProviderSide(
    NAME, "application/vnd.amazon.eventstream", path, encode_request, Decoder, decode_answer, decode_error
)
