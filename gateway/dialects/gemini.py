"""Gemini (Google AI, and Vertex in front of the same models): buffered answers, errors, and the provider's side."""

from __future__ import annotations

from urllib.parse import quote

from gateway.dialects.dialect import ProviderSide
from gateway.dialects.gemini_fields import NAME, block_reason, read_failure
from gateway.dialects.gemini_request import encode_request
from gateway.dialects.gemini_stream import Decoder, Reader
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, StreamEvent
from gateway.jsonbody import read_json_object

__all__ = ["NAME", "PROVIDER", "decode_answer", "decode_error", "encode_request"]


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a provider's buffered answer as the events that a stream would have given.

    Raises: UpstreamFailed if it is neither an answer nor an error object.
    """
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a generated answer")
    if failure := read_failure(answer):
        return [failure]
    if not answer.get("candidates") and not block_reason(answer):
        raise UpstreamFailed("answer.candidates: found nothing, wanted one, or why the prompt was blocked")
    reader = Reader()
    return [*reader.read(answer), *reader.end()]


def decode_error(body: bytes, status: int) -> Failure:
    """Read the body of a provider's refusal, whatever it holds. Where a stream was wanted it is a list of one."""
    body = body.strip()
    fields = read_json_object(body[1:-1] if body.startswith(b"[") else body)
    failure = read_failure(fields) if fields else None
    return failure or Failure(f"The provider refused with status {status}.", status=status)


def path(model: str, stream: bool) -> str:
    """What follows `/v1beta` of Google AI, or `/publishers/google` of Vertex."""
    return f"/models/{quote(model, safe='@')}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")


PROVIDER = ProviderSide(NAME, "text/event-stream", path, encode_request, Decoder, decode_answer, decode_error)
