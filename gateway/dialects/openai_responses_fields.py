"""OpenAI Responses: the small objects that requests, streams and buffered answers share (usage, end, seals, head)."""

from __future__ import annotations

from gateway.dialects.dialect import Attestation
from gateway.dialects.fields import count, rows, table, word
from gateway.dialects.openai_objects import write_failure
from gateway.inference import Failure, Finish, InferenceRequest, Thinking, ThoughtSignature, Usage, read_signature
from gateway.jsonbody import encode_json

NAME = "openai_responses"
ID_PREFIX = "resp_"

_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Our word for an end that came too early -> theirs."""
_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}
# A seal of another vendor stands as `origin#value`; these marks before its value, which no seal begins with, say of
# what it is: nothing for visible reasoning.
_REDACTED, _OF_CALL = "#", ">"
# OpenAI seals reasoning together with the id of its item, so both are kept. No id holds this sign.
_BETWEEN = ":"


def read_finish(response: dict[str, object], has_calls: bool) -> Finish | Failure:
    """How a response ended, by its `status`."""
    status = word(response, "status")
    if status in ("failed", "cancelled"):
        error = table(response, "error")
        message = word(error, "message") or f"The provider says that the response {status}."
        return Failure(message, word(error, "code") or status)
    reason = word(table(response, "incomplete_details"), "reason")
    if status == "incomplete":
        return Finish(_REASONS.get(reason, "length"), reason or status)
    return Finish("tool_calls" if has_calls else "stop", status or None)


def read_error(fields: dict[str, object]) -> Failure | None:
    """Read an `error` event, whose members stand at the top or in an object; None if it is none."""
    inner = table(fields, "error") or fields
    if inner is fields and word(fields, "type") != "error":
        return None
    code = inner.get("code")
    message = word(inner, "message") or "the provider reported an error without a message"
    return Failure(
        message,
        str(code) if isinstance(code, str | int) else None,
        None if inner is fields else word(inner, "type") or None,
        word(inner, "param") or None,
    )


def write_error(failure: Failure) -> dict[str, object]:
    """The members of an `error` event, in the form that makes official clients raise."""
    members = write_failure(failure, failure.status or 502)["error"]
    return {"code": failure.code, "message": failure.message, "param": failure.param, "error": members}


def read_usage(response: dict[str, object]) -> Usage | None:
    """Read the `usage` of a response; None if it counts nothing."""
    usage = table(response, "usage")
    prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if prompt is None and completion is None:
        return None
    of_input, of_output = table(usage, "input_tokens_details"), table(usage, "output_tokens_details")
    prompt, completion = prompt or 0, completion or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(count(of_input.get("cached_tokens")) or 0, prompt),
        cache_write_tokens=min(count(of_input.get("cache_write_tokens")) or 0, prompt),
        reasoning_tokens=min(count(of_output.get("reasoning_tokens")) or 0, completion),
    )


def write_usage(usage: Usage) -> dict[str, object]:
    """Render a `usage` object."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def write_ending(finish: Finish | None, failure: Failure | None) -> dict[str, object]:
    """The members of a response that say how it ended; without either it has not."""
    if failure is not None:
        code = _CODES.get(failure.status or 500, "server_error")
        return {"status": "failed", "error": {"code": code, "message": failure.message}, "incomplete_details": None}
    if finish is not None and finish.reason in INCOMPLETE:
        details = {"reason": INCOMPLETE[finish.reason]}
        return {"status": "incomplete", "error": None, "incomplete_details": details}
    status = "in_progress" if finish is None else "completed"
    return {"status": status, "error": None, "incomplete_details": None}


def write_head(request: InferenceRequest, response_id: str, created: int, model: str) -> dict[str, object]:
    """The members of a response that repeat what was asked. Whoever is strict wants all; `user` is left out if null."""
    said, effort = request.extra, request.reasoning.effort if request.reasoning else None
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "background": False,
        "instructions": said.get("instructions"),
        "max_output_tokens": request.max_tokens,
        "max_tool_calls": said.get("max_tool_calls"),
        "model": model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": said.get("prompt_cache_key"),
        "reasoning": {"summary": None, **table(said, "reasoning"), "effort": "none" if effort == "off" else effort},
        "safety_identifier": said.get("safety_identifier"),
        "service_tier": said.get("service_tier") or "default",
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"}, **table(said, "text")},
        "tool_choice": said.get("tool_choice") or "auto",
        "tools": said.get("tools") or [],
        "top_logprobs": said.get("top_logprobs") or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "presence_penalty": request.presence_penalty or 0.0,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "truncation": said.get("truncation") or "disabled",
        "metadata": said.get("metadata") or {},
        **({"user": request.user} if request.user else {}),
    }


def write_event(kind: str, sequence: int, **members: object) -> bytes:
    """One frame of a stream."""
    event = {"type": kind, "sequence_number": sequence, **members}
    return b"event: " + kind.encode() + b"\ndata: " + encode_json(event) + b"\n\n"


def write_failed(
    response: dict[str, object], sequence: int, failure: Failure, attestation: Attestation | None
) -> bytes:
    """The last two frames of a stream that failed: the response with the attestation, and what makes clients raise."""
    failed = {**response, **write_ending(None, failure), **block_of(attestation)}
    error = write_event("error", sequence + 1, **write_error(failure))
    return write_event("response.failed", sequence, response=failed) + error


def block_of(attestation: Attestation | None) -> dict[str, object]:
    """The members that carry the attestation."""
    return {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}


def full_name(fields: dict[str, object]) -> str:
    """The name of a function, with that of its namespace before it: other languages have no namespaces."""
    namespace, name = word(fields, "namespace"), word(fields, "name")
    return namespace + ("" if not namespace or namespace.endswith("_") else "__") + name


def tools_inside(tool: dict[str, object]) -> list[dict[str, object]]:
    """The named tools of a namespace, each saying which; any other tool by itself."""
    if tool.get("type") != "namespace":
        return [tool]
    return [{**inner, "namespace": word(tool, "name")} for inner in rows(tool.get("tools")) if word(inner, "name")]


def read_reasoning(item: dict[str, object]) -> tuple[str, ThoughtSignature | None, str]:
    """The text of a reasoning item, its seal, and what another vendor's seal is of: empty, `redacted` or `call`.

    The summary is the text, or what a provider shows of the reasoning itself where it has no summary.
    """
    text = "\n\n".join(_texts(item.get("summary"))) or "".join(_texts(item.get("content")))
    sealed = word(item, "encrypted_content")
    if not sealed:
        return text, None, ""
    seal = read_signature(sealed, NAME)
    if seal.origin == NAME:
        return text, ThoughtSignature(NAME, word(item, "id") + _BETWEEN + sealed), ""
    kind = {_REDACTED: "redacted", _OF_CALL: "call"}.get(seal.value[:1], "")
    return text, ThoughtSignature(seal.origin, seal.value[1:]) if kind else seal, kind


def write_seal(block: Thinking, *, of_call: bool = False) -> tuple[str | None, str | None]:
    """The id, where the seal prescribes one, and the `encrypted_content` of a reasoning item."""
    seal = block.signature
    if seal is None:
        return None, None
    if seal.origin == NAME:
        item_id, _, sealed = seal.value.partition(_BETWEEN)
        return item_id or None, sealed
    mark = _OF_CALL if of_call else _REDACTED if block.redacted else ""
    return None, ThoughtSignature(seal.origin, mark + seal.value).written_by(NAME)


def _texts(parts: object) -> list[str]:
    return [word(part, "text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
