"""Gemini: the small objects that streams and buffered answers share (usage, finish reason, error)."""

from __future__ import annotations

import re

from gateway.dialects.fields import count, rows, table, word
from gateway.inference import Failure, Usage

NAME = "gemini"

# A provider's word -> ours. Whatever is unknown means that the answer simply ended.
_FINISH_WORDS = {
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "IMAGE_SAFETY",
         "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        "content_filter",
    ),
}  # fmt: skip
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s", re.ASCII)
FAILED_FINISHES = frozenset(
    {"OTHER", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
     "MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "IMAGE_OTHER"}
)  # fmt: skip
"""Finish reasons that mean the opposite: the model gave up."""


def finish_word(upstream_reason: str) -> str:
    """Translate a finish reason. Gemini says STOP after calls too."""
    return _FINISH_WORDS.get(upstream_reason, "stop")


def read_usage(usage: dict[str, object]) -> Usage | None:
    """Read a `usageMetadata` object; None if it counts nothing. Thoughts do not stand in the candidates' tokens, nor in
    the prompt's what the provider's own tools put before the model.
    """
    names = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    found = [count(usage.get(name)) for name in names]
    if found[0] is None and found[2] is None:
        return None
    asked, of_tools, said, thought = (number or 0 for number in found)
    prompt, completion = asked + of_tools, said + thought
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(count(usage.get("cachedContentTokenCount")) or 0, prompt),
        reasoning_tokens=thought,
        audio_prompt_tokens=min(_audio(usage, "promptTokensDetails"), prompt),
        audio_completion_tokens=min(_audio(usage, "candidatesTokensDetails"), completion),
    )


def read_failure(fields: dict[str, object]) -> Failure | None:
    """Read `{"error":{code,message,status,details}}`. A wrong key is a 400 of Google's: its reason tells."""
    inner = fields.get("error")
    if not inner:
        return None
    if not isinstance(inner, dict):
        return Failure(inner if isinstance(inner, str) else "the provider reported an error without a message")
    reasons = [reason for detail in rows(inner.get("details")) if (reason := word(detail, "reason"))]
    code = reasons[0] if reasons else word(inner, "status") or None
    status = 401 if "API_KEY_INVALID" in reasons else count(inner.get("code")) or None
    message = word(inner, "message") or "the provider reported an error without a message"
    delays = [_DELAY.fullmatch(word(detail, "retryDelay")) for detail in rows(inner.get("details"))]
    wait = next((float(delay[1]) for delay in delays if delay is not None), None)
    return Failure(message, code, status=status, retry_after=wait)


def block_reason(answer: dict[str, object]) -> str:
    """Why a prompt was not answered at all; empty if it was."""
    return word(table(answer, "promptFeedback"), "blockReason")


def _audio(usage: dict[str, object], name: str) -> int:
    return sum(count(row.get("tokenCount")) or 0 for row in rows(usage.get(name)) if row.get("modality") == "AUDIO")
