"""Bedrock Converse: the small objects that streams and buffered answers share (usage, stop reason, error)."""

from __future__ import annotations

from gateway.dialects.fields import count, rows, word
from gateway.inference import Failure, Finish, Usage

NAME = "bedrock_converse"
MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful; the decoder remembers each."""

# Bedrock's word -> ours. Whatever is unknown means that the answer simply ended.
_STOP_WORDS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
# The model wrote what Bedrock could not read, so what came before is no whole answer.
_BROKEN = ("malformed_model_output", "malformed_tool_use")
_EXCEPTIONS = {
    "validationException": 400,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}


def read_finish(stop_reason: str, calls: int) -> Finish | Failure:
    """What a `stopReason` means, beside so many tool calls."""
    if stop_reason in _BROKEN:
        return Failure(f"The model's answer could not be read ({stop_reason}).", "upstream_malformed", status=424)
    reason = _STOP_WORDS.get(stop_reason, "stop")
    return Finish("tool_calls" if calls and reason == "stop" else reason, stop_reason or None)


def read_usage(usage: dict[str, object]) -> Usage | None:
    """Read a `usage` object; None if it counts nothing. What was cached does not stand in `inputTokens`."""
    if count(usage.get("inputTokens")) is None and count(usage.get("outputTokens")) is None:
        return None
    fresh, completion = _count(usage, "inputTokens"), _count(usage, "outputTokens")
    cached, written = _count(usage, "cacheReadInputTokens"), _count(usage, "cacheWriteInputTokens")
    return Usage(fresh + cached + written, completion, cached, written, cache_write_1h_tokens=_hour(usage, written))


def read_exception(kind: str, fields: dict[str, object] | None) -> Failure:
    """An exception in a stream, or an error of the stream itself."""
    message = word(fields or {}, "message") or f"the provider reported {kind or 'an error without a name'}"
    return Failure(message, kind or None, status=_EXCEPTIONS.get(kind))


def _hour(usage: dict[str, object], written: int) -> int:
    hourly = [row for row in rows(usage.get("cacheDetails")) if row.get("ttl") == "1h"]
    return min(sum(_count(row, "inputTokens") for row in hourly), written)


def _count(fields: dict[str, object], name: str) -> int:
    return count(fields.get(name)) or 0
