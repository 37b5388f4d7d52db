"""Ollama's own language: requests, written for a provider."""

from __future__ import annotations

from gateway.dialects.quirks import PLAIN, Quirks, effort_of
from gateway.dialects.turns import (
    TOOL_FAILED,
    check_choice,
    no_place,
    offered_tools,
    tool_input,
    tool_schema,
    with_names,
)
from gateway.errors import InvalidRequest
from gateway.inference import (
    Block,
    CachePoint,
    Foreign,
    InferenceRequest,
    Media,
    Message,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gateway.jsonbody import encode_json


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request. Raises: InvalidRequest for what Ollama cannot say.

    It cannot force a tool: where one is named, only that one is offered.
    """
    if request.choices > 1:
        raise InvalidRequest.at("n", "more than one answer", "1: this model's provider gives one")
    check_choice(request)
    optional: dict[str, object] = {
        "tools": _tools(request) or None,
        "format": _format(request),
        "think": _think(request, quirks),
        "options": _options(request, quirks) or None,
    }
    fields: dict[str, object] = {
        "model": request.model,
        "messages": _encode_messages(with_names(request.messages), quirks),
        "stream": request.stream,  # said in any case: unsaid it is true
    }
    return encode_json(fields | {name: value for name, value in optional.items() if value is not None})


def _options(request: InferenceRequest, quirks: Quirks) -> dict[str, object]:
    values = {
        "max_tokens": ("num_predict", request.max_tokens),
        "temperature": ("temperature", request.temperature),
        "top_p": ("top_p", request.top_p),
        "top_k": ("top_k", request.top_k),
        "presence_penalty": ("presence_penalty", request.presence_penalty),
        "frequency_penalty": ("frequency_penalty", request.frequency_penalty),
        "seed": ("seed", request.seed),
        "stop": ("stop", list(request.stop) or None),
    }
    return {theirs: value for name, (theirs, value) in values.items() if value is not None and name not in quirks.drops}


def _think(request: InferenceRequest, quirks: Quirks) -> bool | str | None:
    """Whether to think; of models that take one (`effort`), how much, and they always do."""
    if request.reasoning is None or "reasoning" in quirks.drops:
        return None
    if quirks.thinking == "effort":
        return effort_of(request.reasoning, quirks.efforts)
    return effort_of(request.reasoning) != "off"


def _format(request: InferenceRequest) -> object:
    wanted = request.output_format
    if isinstance(wanted, Foreign):
        raise InvalidRequest.at("response_format", f"a form that only {wanted.dialect} has", "JSON, or a JSON schema")
    if wanted is None or wanted.kind == "text":
        return None
    return wanted.schema or "json"


def _tools(request: InferenceRequest) -> list[dict[str, object]]:
    choice = request.tool_choice
    forbidden = isinstance(choice, ToolChoice) and choice.mode == "none"
    return [] if forbidden else [_encode_tool(tool) for tool in offered_tools(request, can_force=False)]


def _encode_tool(tool: Tool) -> dict[str, object]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool_schema(tool)}
    return {"type": "function", "function": function}


def _encode_messages(messages: tuple[Message, ...], quirks: Quirks) -> list[dict[str, object]]:
    names: dict[str, str] = {}  # of the tools, by the call; results may not repeat it
    written: list[dict[str, object]] = []
    for message in messages:
        names |= {block.id: block.name for block in message.content if isinstance(block, ToolCall)}
        said = tuple(block for block in message.content if not isinstance(block, ToolResult))
        for block in message.content:
            if isinstance(block, ToolResult):
                name = block.name or names.get(block.call_id, "")
                failed = (Text(TOOL_FAILED),) if block.is_error else ()
                result = _encode_message("tool", (*failed, *block.content), quirks)
                written.append({**result, "tool_name": name, "tool_call_id": block.call_id})
        if message.role != "tool":
            role = "system" if message.role == "developer" else message.role
            written.append(_encode_message(role, said, quirks))
    return written


def _encode_message(role: str, blocks: tuple[Block, ...], quirks: Quirks) -> dict[str, object]:
    words, thoughts = [], ""
    images: list[str] = []
    calls: list[dict[str, object]] = []
    for block in blocks:
        if isinstance(block, Text | Refusal):
            words.append(block.text)
        elif isinstance(block, Thinking):
            thoughts += block.text if quirks.replays_reasoning else ""
        elif isinstance(block, ToolCall):
            function = {"index": len(calls), "name": block.name, "arguments": tool_input(block.arguments)}
            calls.append({"id": block.id, "function": function})
        elif isinstance(block, Media) and block.kind == "image" and block.data:
            images.append(block.data)
        elif not isinstance(block, CachePoint):
            raise no_place(block)
    between = "" if role == "assistant" else "\n\n"
    optional: dict[str, object] = {"thinking": thoughts, "images": images, "tool_calls": calls}
    return {"role": role, "content": between.join(words), **{name: each for name, each in optional.items() if each}}
