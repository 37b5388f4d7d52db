"""Bedrock Converse: requests, written for a provider. The model's id stands in the path, not in the body."""

from __future__ import annotations

from itertools import count

from gateway.dialects.bedrock_parts import cache_point, encode_content, encode_tool, encode_turns
from gateway.dialects.quirks import PLAIN, Quirks, budget_of, effort_of
from gateway.dialects.turns import check_choice, offered_tools, system_apart
from gateway.errors import InvalidRequest
from gateway.inference import Foreign, InferenceRequest, Message, OutputFormat, Tool, ToolCall, ToolChoice
from gateway.jsonbody import encode_json

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_LEAST_BUDGET = 1024


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request. Raises: InvalidRequest for what Converse cannot say.

    What it does not know is left out: seed, penalties, and JSON without a schema, which the prompt asks for anyway.
    """
    if request.choices > 1:
        raise InvalidRequest.at("n", "more than one answer", "1: this model's provider gives one")
    check_choice(request)
    system, turns = system_apart(request.messages)
    caches = "cache_points" not in quirks.drops
    thinking = _thinking(request, quirks)
    optional: dict[str, object] = {
        "system": _system(system, caches=caches),
        "inferenceConfig": _inference_config(request, quirks, thinks=_thinks(thinking)),
        "toolConfig": _tool_config(request, quirks),
        "additionalModelRequestFields": thinking | _top_k(request, quirks, thinks=_thinks(thinking)),
        "outputConfig": _output_config(request),
    }
    fields: dict[str, object] = {"messages": encode_turns(turns, caches=caches)}
    return encode_json(fields | {name: value for name, value in optional.items() if value})


def _system(messages: list[Message], *, caches: bool) -> list[dict[str, object]]:
    parts = [part for message in messages for part in encode_content(message.content, count(1), caches=caches)]
    if any(not part.keys() & {"text", "cachePoint"} for part in parts):
        raise InvalidRequest.at("messages", "a system prompt with other things than text", "text")
    return parts


def _inference_config(request: InferenceRequest, quirks: Quirks, *, thinks: bool) -> dict[str, object]:
    """Claude refuses both temperature and top_p, and either beside its thinking; Amazon advises against both."""
    values: dict[str, object] = {
        "max_tokens": request.max_tokens or (quirks.default_max_tokens if thinks else None),
        "temperature": None if thinks or request.temperature is None else min(request.temperature, 1.0),
        "top_p": None if thinks or request.temperature is not None else request.top_p,
        "stop": [word for word in request.stop if word.strip()] or None,
    }
    names = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
    return {names[name]: value for name, value in values.items() if value is not None and name not in quirks.drops}


def _top_k(request: InferenceRequest, quirks: Quirks, *, thinks: bool) -> dict[str, object]:
    """Converse has no member for it; Claude takes it as its own."""
    return {} if request.top_k is None or thinks or "top_k" in quirks.drops else {"top_k": request.top_k}


def _thinking(request: InferenceRequest, quirks: Quirks) -> dict[str, object]:
    """The wish to think, in the model's own words: Claude's from 4.6 on, its earlier ones (`budget`), or OpenAI's
    (`effort`). Claude refuses it where a tool is forced.
    """
    reasoning, choice = request.reasoning, request.tool_choice
    if reasoning is None or "reasoning" in quirks.drops:
        return {}
    effort = effort_of(reasoning, quirks.efforts)
    if quirks.thinking == "effort":
        return {"reasoning_effort": effort}
    if effort == "off" or (isinstance(choice, ToolChoice) and choice.mode == "required"):
        return {} if quirks.thinking == "budget" else {"thinking": {"type": "disabled"}}
    if quirks.thinking == "budget":
        max_tokens = request.max_tokens or quirks.default_max_tokens
        budget = max(_LEAST_BUDGET, budget_of(reasoning, max_tokens // 2))
        return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget < max_tokens else {}
    shown = "omitted" if reasoning.visible is False else "summarized"
    effort = effort_of(reasoning, quirks.efforts or _EFFORTS)
    return {"thinking": {"type": "adaptive", "display": shown}, "output_config": {"effort": effort}}


def _thinks(thinking: dict[str, object]) -> bool:
    return thinking.get("thinking", {"type": "disabled"}) != {"type": "disabled"}


def _tool_config(request: InferenceRequest, quirks: Quirks) -> dict[str, object]:
    """The tools that may be called. Bedrock has no word for `none`; and it refuses a chat in which tools were called
    unless it is told of tools, so then they are named even where none may be called.
    """
    offered, choice = list(offered_tools(request, can_force=quirks.required_tools)), request.tool_choice
    called = {block.name for message in request.messages for block in message.content if isinstance(block, ToolCall)}
    forbidden = isinstance(choice, ToolChoice) and choice.mode == "none"
    if (forbidden or not offered) and not called:
        return {}
    tools: list[dict[str, object]] = []
    for tool in offered or [Tool(name) for name in sorted(called)]:
        tools.append(encode_tool(tool, strict="strict" not in quirks.drops))
        if tool.cache and not quirks.drops & {"cache_points", "tool_cache_points"}:
            tools.append(cache_point(tool.cache))
    written = _choice(choice, quirks) if offered else {}
    return {"tools": tools, **({"toolChoice": written} if written else {})}


def _choice(choice: ToolChoice | Foreign | None, quirks: Quirks) -> dict[str, object]:
    if not isinstance(choice, ToolChoice) or choice.mode == "none":
        return {}
    if choice.mode == "auto" or not quirks.required_tools:
        return {"auto": {}}
    return {"tool": {"name": choice.names[0]}} if len(choice.names) == 1 else {"any": {}}


def _output_config(request: InferenceRequest) -> dict[str, object]:
    wanted = request.output_format
    if isinstance(wanted, Foreign):
        raise InvalidRequest.at("response_format", f"a form that only {wanted.dialect} has", "a JSON schema")
    if not isinstance(wanted, OutputFormat) or wanted.kind != "json_schema":
        return {}
    schema: dict[str, object] = {"schema": encode_json(wanted.schema or {}).decode()}
    schema |= {"name": wanted.name} if wanted.name else {}
    schema |= {"description": wanted.description} if wanted.description else {}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
