"""What all of OpenAI's languages share: usage in prompt and completion tokens, and the error object."""

from __future__ import annotations

from gateway.dialects.fields import count, table, word
from gateway.inference import Failure, Usage
from gateway.jsonbody import encode_json, read_json_object

_ERROR_TYPES = {402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}


def read_usage(value: object) -> Usage | None:
    """Read a `usage` object in any of its known spellings; None if it counts nothing."""
    if not isinstance(value, dict):
        return None
    prompt, completion = count(value.get("prompt_tokens")), count(value.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    of_prompt, of_completion = table(value, "prompt_tokens_details"), table(value, "completion_tokens_details")
    prompt, completion = prompt or 0, completion or 0
    # OpenAI nests it, Kimi has it at the top, DeepSeek has its own name. Azure was seen to count more than the prompt.
    cached = _first_count(
        of_prompt.get("cached_tokens"), value.get("cached_tokens"), value.get("prompt_cache_hit_tokens")
    )
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(cached, prompt),
        cache_write_tokens=min(_first_count(of_prompt.get("cache_write_tokens")), prompt),
        reasoning_tokens=min(
            _first_count(of_completion.get("reasoning_tokens"), value.get("reasoning_tokens")), completion
        ),
        audio_prompt_tokens=min(_first_count(of_prompt.get("audio_tokens")), prompt),
        audio_completion_tokens=min(_first_count(of_completion.get("audio_tokens")), completion),
    )


def write_usage(usage: Usage) -> dict[str, object]:
    """Render a `usage` object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.audio_prompt_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_completion_tokens,
        },
    }


def read_failure(value: dict[str, object], event: str = "message") -> Failure | None:
    """Read an error object: `{"error":{…}}`, `{"error":"…"}`, vLLM's flat form, or any object of an `error` event."""
    inner = value.get("error")
    if not inner and (value.get("object") == "error" or event == "error"):
        inner = value
    if isinstance(inner, dict):
        code = inner.get("code")
        return Failure(
            word(inner, "message") or "the provider reported an error without a message",
            str(code) if isinstance(code, str | int) else None,
            word(inner, "type") or None,
            word(inner, "param") or None,
        )
    if inner:
        return Failure(inner if isinstance(inner, str) else "the provider reported an error without a message")
    return None


def write_failure(failure: Failure, status: int = 502) -> dict[str, object]:
    """Render an error object; every member is there, because clients read them without asking."""
    kind = failure.error_type or _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": failure.message, "type": kind, "param": failure.param, "code": failure.code}}


def decode_error(body: bytes, status: int) -> Failure:
    """Read the body of a provider's refusal, whatever it holds."""
    fields = read_json_object(body)
    failure = read_failure(fields, "error") if fields else None
    return failure or Failure(f"The provider refused with status {status}.", status=status)


def encode_error(failure: Failure, status: int) -> bytes:
    """Write the body of a refusal."""
    return encode_json(write_failure(failure, status))


def _first_count(*values: object) -> int:
    for value in values:
        if (found := count(value)) is not None:
            return found
    return 0
