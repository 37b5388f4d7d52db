"""Anthropic Messages: the small objects that streams and buffered answers share (usage, stop reason, error)."""

from __future__ import annotations

from gateway.dialects.fields import count, table, word
from gateway.inference import Failure, Finish, Usage

NAME = "anthropic_messages"
ID_PREFIX = "msg_"

# A provider's word -> ours. Whatever is unknown means that the answer simply ended; pause_turn is resumed by asking.
_STOP_WORDS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERROR_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ERROR_TYPES = {status: kind for kind, status in _ERROR_STATUS.items()} | {503: "overloaded_error"}


def read_finish(stop_reason: str, stop_sequence: object) -> Finish:
    """What a `stop_reason` means."""
    hit = stop_sequence if isinstance(stop_sequence, str) else None
    return Finish(_STOP_WORDS.get(stop_reason, "stop"), stop_reason, hit)


def write_finish(finish: Finish, refused: bool) -> dict[str, object]:
    """The members that end a message; `refused` says that the text was a refusal."""
    reason = _STOP_REASONS.get(finish.reason, "end_turn")
    if reason == "end_turn" and refused:
        reason = "refusal"
    if reason == "end_turn" and finish.stop_sequence is not None:
        reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": finish.stop_sequence}


def read_usage(usage: dict[str, object]) -> Usage | None:
    """Read a `usage` object; None if it counts nothing. What was cached does not stand in `input_tokens`."""
    if count(usage.get("input_tokens")) is None and count(usage.get("output_tokens")) is None:
        return None
    fresh, completion = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    cached, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    return Usage(
        prompt_tokens=fresh + cached + written,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=min(_count(table(usage, "output_tokens_details"), "thinking_tokens"), completion),
        cache_write_1h_tokens=min(_count(table(usage, "cache_creation"), "ephemeral_1h_input_tokens"), written),
    )


def write_usage(usage: Usage) -> dict[str, object]:
    """Render a `usage` object."""
    hour = usage.cache_write_1h_tokens
    return {
        "input_tokens": max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def read_failure(fields: dict[str, object], event: str = "message") -> Failure | None:
    """Read `{"type":"error","error":{…}}`, also where a compatible server leaves out the type."""
    inner = fields.get("error")
    if isinstance(inner, str) and inner:
        return Failure(inner)
    if not isinstance(inner, dict):
        if event != "error" and fields.get("type") != "error":
            return None
        inner = fields
    kind = word(inner, "type")
    message = word(inner, "message") or "the provider reported an error without a message"
    code = word(table(inner, "details"), "error_code") or word(inner, "code") or kind or None
    return Failure(message, code, kind or None, status=_ERROR_STATUS.get(kind))


def write_failure(failure: Failure, status: int) -> dict[str, object]:
    """Render an error object. Its type follows from the status: other languages use its words for other things."""
    kind = _ERROR_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    message = f"{failure.param}: {failure.message}" if failure.param and failure.param not in failure.message else None
    return {"type": "error", "error": {"type": kind, "message": message or failure.message}, "request_id": None}


def _count(fields: dict[str, object], name: str) -> int:
    return count(fields.get(name)) or 0
