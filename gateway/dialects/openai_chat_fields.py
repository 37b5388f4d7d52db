"""OpenAI chat: the small objects that streams and buffered answers share (usage, finish reason, error)."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.inference import Failure, Usage

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

# A count beyond this is a lie or a bug, and would overflow the sums of metering.
_MAX_TOKENS = 1 << 31


def finish_word(upstream_reason: str) -> str:
    """Translate a provider's finish reason into stop, length, tool_calls or content_filter."""
    return _FINISH_WORDS.get(upstream_reason, "stop")


def read_usage(value: object) -> Usage | None:
    """Read a `usage` object in any of its known spellings; None if it counts nothing."""
    if not isinstance(value, dict):
        return None
    prompt, completion = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    of_prompt, of_completion = _object(value, "prompt_tokens_details"), _object(value, "completion_tokens_details")
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        # OpenAI nests it, Kimi has it at the top, DeepSeek has its own name.
        cached_tokens=_first_count(
            of_prompt.get("cached_tokens"), value.get("cached_tokens"), value.get("prompt_cache_hit_tokens")
        ),
        cache_write_tokens=_first_count(of_prompt.get("cache_write_tokens")),
        reasoning_tokens=_first_count(of_completion.get("reasoning_tokens"), value.get("reasoning_tokens")),
    )


def chunk_usage(chunk: dict[str, object]) -> Usage | None:
    """Usage of a chunk or an answer: at the top, or (Kimi) inside a choice."""
    found = read_usage(chunk.get("usage"))
    for choice in objects_in(chunk.get("choices")):
        found = found or read_usage(choice.get("usage"))
    return found


def write_usage(usage: Usage) -> dict[str, object]:
    """Render a `usage` object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def read_failure(value: dict[str, object], event: str = "message") -> Failure | None:
    """Read an error object: `{"error":{…}}`, `{"error":"…"}`, vLLM's flat form, or any object of an `error` event."""
    inner = value.get("error")
    if not inner and (value.get("object") == "error" or event == "error"):
        inner = value
    if isinstance(inner, dict):
        message, code, kind = inner.get("message"), inner.get("code"), inner.get("type")
        return Failure(
            message if isinstance(message, str) else "the provider reported an error without a message",
            str(code) if isinstance(code, str | int) else None,
            kind if isinstance(kind, str) else None,
        )
    if inner:
        return Failure(inner if isinstance(inner, str) else "the provider reported an error without a message")
    return None


def write_failure(failure: Failure) -> dict[str, object]:
    """Render an error object; every member is there, because clients read them without asking."""
    return {
        "error": {
            "message": failure.message,
            "type": failure.error_type or "server_error",
            "param": None,
            "code": failure.code,
        }
    }


def objects_in(value: object) -> Iterable[dict[str, object]]:
    """The objects of a list; nothing, if it is no list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def first_text(source: dict[str, object], *names: str) -> str:
    """The first of these members that is non-empty text. Some servers send one thing under two names: one counts."""
    return next((text for name in names if isinstance(text := source.get(name), str) and text), "")


def _object(source: dict[str, object], name: str) -> dict[str, object]:
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TOKENS:
        return None
    return int(value)


def _first_count(*values: object) -> int:
    return next((count for value in values if (count := _count(value)) is not None), 0)
