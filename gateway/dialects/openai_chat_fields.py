"""OpenAI chat: the small objects that streams and buffered answers share (start, usage, finish reason)."""

from __future__ import annotations

from gateway.dialects.fields import count, rows, word
from gateway.dialects.openai_objects import read_usage
from gateway.inference import Start, Usage

# A provider's word -> ours. Compatible servers invent words; whatever is unknown means that the answer simply ended.
_FINISH_WORDS = {
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
}
FAILED_FINISHES = frozenset({"network_error", "insufficient_system_resource", "error"})
"""Finish reasons that mean the opposite: the provider gave up."""


def finish_word(upstream_reason: str, has_calls: bool) -> str:
    """Translate a provider's finish reason into stop, length, tool_calls or content_filter."""
    reason = _FINISH_WORDS.get(upstream_reason, "stop")
    return "tool_calls" if has_calls and reason == "stop" else reason


def read_start(chunk: dict[str, object]) -> Start | None:
    """What a chunk or an answer says of itself; None before it has an id."""
    if not (answer_id := word(chunk, "id")):
        return None
    return Start(answer_id, word(chunk, "model"), count(chunk.get("created")) or 0)


def chunk_usage(chunk: dict[str, object]) -> Usage | None:
    """Usage of a chunk or an answer: at the top, or (Kimi) inside a choice."""
    found = read_usage(chunk.get("usage"))
    for choice in rows(chunk.get("choices")):
        found = found or read_usage(choice.get("usage"))
    return found


def first_text(source: dict[str, object], *names: str) -> str:
    """The first of these members that is non-empty text. Some servers send one thing under two names: one counts."""
    return next((text for name in names if isinstance(text := source.get(name), str) and text), "")
