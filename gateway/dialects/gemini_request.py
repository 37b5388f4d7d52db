"""Gemini: requests."""

from __future__ import annotations

from gateway.dialects.gemini_parts import encode_contents, encode_system
from gateway.dialects.gemini_schema import schema_for_gemini
from gateway.dialects.quirks import PLAIN, Quirks, budget_of, effort_of
from gateway.dialects.turns import check_choice, system_apart
from gateway.errors import InvalidRequest
from gateway.inference import Foreign, InferenceRequest, Tool, ToolChoice
from gateway.jsonbody import encode_json

_LEVELS = ("minimal", "low", "medium", "high")
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_TEXT_SCHEMA: dict[str, object] = {
    "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]
}  # fmt: skip


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request for a provider; its model and whether it streams stand in the URL.

    Raises: InvalidRequest for what Gemini cannot say. Left out is what it does not know: the user, strictness, and one
    call at a time.
    """
    if request.choices > 1:
        raise InvalidRequest.at("n", "more than one answer", "1: this model's provider gives one")
    check_choice(request)
    system, turns = system_apart(request.messages)
    instruction, tools = encode_system(system), _declarations(request)
    optional: dict[str, object] = {
        "systemInstruction": {"parts": instruction} if instruction else None,
        "tools": [{"functionDeclarations": tools}] if tools else None,
        "toolConfig": _tool_config(request) if tools else None,
        "generationConfig": _generation_config(request, quirks) or None,
    }
    # What seals a call is a thought: models that take a level of it have sealed theirs ever since.
    seals = quirks.thinking != "budget" and "reasoning" not in quirks.drops
    fields: dict[str, object] = {"contents": encode_contents(turns, seals=seals)}
    return encode_json(fields | {name: value for name, value in optional.items() if value is not None})


def _declarations(request: InferenceRequest) -> list[dict[str, object]]:
    """The tools that may be called; those that only another vendor can run are not offered.

    Gemini can restrict a call that must be, so where none must the others are left out.
    """
    choice = request.tool_choice
    allowed = choice.names if isinstance(choice, ToolChoice) and choice.mode == "auto" else ()
    tools = [tool for tool in request.tools or () if isinstance(tool, Tool)]
    return [_declaration(tool) for tool in tools if not allowed or tool.name in allowed]


def _declaration(tool: Tool) -> dict[str, object]:
    schema = _TEXT_SCHEMA if tool.custom else tool.parameters
    written: dict[str, object] = {"name": tool.name, "description": tool.description}
    return {**written, "parametersJsonSchema": schema_for_gemini(schema)} if schema else written


def _tool_config(request: InferenceRequest) -> dict[str, object] | None:
    choice = request.tool_choice
    if not isinstance(choice, ToolChoice):
        return None
    config: dict[str, object] = {"mode": _MODES[choice.mode]}
    if choice.names and choice.mode == "required":
        config["allowedFunctionNames"] = list(choice.names)
    return {"functionCallingConfig": config}


def _generation_config(request: InferenceRequest, quirks: Quirks) -> dict[str, object]:
    said: dict[str, tuple[str, object]] = {
        "max_tokens": ("maxOutputTokens", request.max_tokens),
        "temperature": ("temperature", request.temperature),
        "top_p": ("topP", request.top_p),
        "top_k": ("topK", request.top_k),
        "presence_penalty": ("presencePenalty", request.presence_penalty),
        "frequency_penalty": ("frequencyPenalty", request.frequency_penalty),
        "seed": ("seed", request.seed),
        "stop": ("stopSequences", [word for word in request.stop if word] or None),
        "reasoning": ("thinkingConfig", _thinking_config(request, quirks)),
    }
    config = {name: value for field, (name, value) in said.items() if value is not None and field not in quirks.drops}
    return config | _output_format(request)


def _thinking_config(request: InferenceRequest, quirks: Quirks) -> dict[str, object] | None:
    """Gemini 2.5 takes a number of tokens, later ones a level; where thinking cannot be off, it is the least."""
    reasoning = request.reasoning
    if reasoning is None:
        return None
    shown = effort_of(reasoning) != "off" and reasoning.visible is not False
    if quirks.thinking == "budget":
        least, most = quirks.budget
        wanted = budget_of(reasoning, most)
        return {"includeThoughts": shown, "thinkingBudget": max(least, wanted)}
    return {"includeThoughts": shown, "thinkingLevel": effort_of(reasoning, quirks.efforts or _LEVELS).upper()}


def _output_format(request: InferenceRequest) -> dict[str, object]:
    wanted = request.output_format
    if isinstance(wanted, Foreign):
        raise InvalidRequest.at("response_format", f"a form that only {wanted.dialect} has", "a JSON schema")
    if wanted is None or wanted.kind == "text":
        return {}
    schema = {"responseJsonSchema": schema_for_gemini(wanted.schema)} if wanted.schema is not None else {}
    return {"responseMimeType": "application/json", **schema}
