"""Anthropic Messages: requests, in both directions."""

from __future__ import annotations

from gateway.dialects.anthropic_messages_fields import NAME
from gateway.dialects.anthropic_messages_parts import (
    decode_content,
    decode_tool,
    decode_turn,
    encode_system,
    encode_tool,
    encode_turns,
)
from gateway.dialects.fields import (
    MAX_TOKENS,
    read_boolean,
    read_integer,
    read_model,
    read_number,
    read_object,
    read_objects,
    read_strings,
    table,
    word,
)
from gateway.dialects.quirks import PLAIN, Quirks, budget_of, effort_of
from gateway.dialects.turns import check_choice, system_apart
from gateway.errors import InvalidRequest
from gateway.inference import (
    EFFORTS,
    GATEWAY_FIELDS,
    Block,
    Foreign,
    InferenceRequest,
    Message,
    OutputFormat,
    Reasoning,
    Text,
    Tool,
    ToolChoice,
)
from gateway.jsonbody import encode_json, kind_of, parse_json_object

# Members that have a place of their own in InferenceRequest; all others ride along in `extra`.
_PLACED = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k",
     "stop_sequences", "stream", "thinking", "output_config", "output_format"}
)  # fmt: skip
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_MODES = {"auto": "auto", "any": "required", "none": "none"}
_CHOICES = {mode: choice for choice, mode in _MODES.items()}
_LEAST_BUDGET = 1024


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request. Null counts as absent; unknown members are kept.

    Raises: InvalidRequest with `param` at the member at fault.
    """
    return _decode(parse_json_object(body), counting=False)


def decode_count(body: bytes) -> InferenceRequest:
    """Read a question for the number of its tokens: a request without `max_tokens`. Raises: InvalidRequest."""
    return _decode(parse_json_object(body), counting=True)


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request for a provider. Raises: InvalidRequest for what Anthropic cannot say.

    What it does not know is left out: seed, penalties, and JSON without a schema, which the prompt asks for anyway.
    """
    if request.choices > 1:
        raise InvalidRequest.at("n", "more than one answer", "1: this model's provider gives one")
    check_choice(request, NAME)
    system, turns = system_apart(request.messages)
    max_tokens = request.max_tokens or quirks.default_max_tokens
    tools = _encode_tools(request)
    thinking = _encode_thinking(request, quirks, max_tokens)
    thinks = thinking is not None and thinking["type"] != "disabled"
    optional: dict[str, object] = {
        "system": encode_system(system) or None,
        "tools": tools or None,
        "tool_choice": _encode_choice(request, offered=bool(tools)),
        # Thinking allows no other temperature than 1, and new models not even that.
        "temperature": None if thinks or request.temperature is None else min(request.temperature, 1.0),
        "top_p": None if thinks or request.temperature is not None else request.top_p,
        "top_k": None if thinks else request.top_k,
        "stop_sequences": [word for word in request.stop if word.strip()] or None,
        "metadata": {"user_id": request.user} if request.user else None,
        "output_config": _output_config(request, quirks, thinking) or None,
        "thinking": thinking,
        "stream": request.stream or None,
    }
    fields: dict[str, object] = {"model": request.model, "max_tokens": max_tokens, "messages": encode_turns(turns)}
    fields |= {name: value for name, value in optional.items() if value is not None and name not in quirks.drops}
    if request.dialect == NAME:
        fields |= {name: value for name, value in request.extra.items() if name not in GATEWAY_FIELDS}
    return encode_json(fields)


def _decode(fields: dict[str, object], *, counting: bool) -> InferenceRequest:
    max_tokens = read_integer(fields, "max_tokens", 0, MAX_TOKENS)
    if max_tokens is None and not counting:
        raise InvalidRequest.at("max_tokens", "nothing", f"an integer from 1 to {MAX_TOKENS}")
    tools = read_objects(fields, "tools")
    choice = read_object(fields, "tool_choice")
    metadata = read_object(fields, "metadata") or {}
    return InferenceRequest(
        dialect=NAME,
        model=read_model(fields),
        messages=_messages(fields),
        tools=None if tools is None else tuple(decode_tool(tool) for tool in tools if not _is_placeholder(tool)),
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=False if choice and choice.get("disable_parallel_tool_use") is True else None,
        max_tokens=max_tokens or None,
        temperature=read_number(fields, "temperature", 0.0, 1.0),
        top_p=read_number(fields, "top_p", 0.0, 1.0),
        top_k=read_integer(fields, "top_k", 0, MAX_TOKENS) or None,
        stop=read_strings(fields, "stop_sequences"),
        stream=read_boolean(fields, "stream"),
        include_usage=True,
        reasoning=_reasoning(fields),
        output_format=_output_format(fields),
        user=word(metadata, "user_id") or None,
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def _messages(fields: dict[str, object]) -> tuple[Message, ...]:
    turns = fields.get("messages")
    if not isinstance(turns, list) or not turns:
        found = "an empty list" if turns == [] else kind_of(turns)
        raise InvalidRequest.at("messages", found, "a list of at least one message")
    messages = []
    if fields.get("system") is not None:
        said = decode_content(fields["system"], "system")
        messages.append(Message("system", tuple(block for block in said if not _is_billing(block))))
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise InvalidRequest.at(f"messages[{number}]", kind_of(turn), "an object")
        messages += decode_turn(turn, f"messages[{number}]")
    return tuple(messages)


def _is_placeholder(tool: dict[str, object]) -> bool:
    """What Claude Code sends beside its tools, for Anthropic never to show: a model of another vendor would call it."""
    return tool.get("defer_loading") is True and tool.get("name") == "DeferredToolPlaceholder"


def _is_billing(block: Block) -> bool:
    """Claude Code's first words are for Anthropic's accounts: no prompt, and new each time, which no cache survives."""
    return isinstance(block, Text) and block.text.startswith("x-anthropic-billing-header:")


def _tool_choice(choice: dict[str, object] | None) -> ToolChoice | Foreign | None:
    if choice is None:
        return None
    kind, name = word(choice, "type"), word(choice, "name")
    if kind in _MODES:
        return ToolChoice(_MODES[kind])
    return ToolChoice("required", (name,)) if kind == "tool" and name else Foreign(NAME, choice)


def _reasoning(fields: dict[str, object]) -> Reasoning | None:
    """How much to think: `thinking` says whether, and the effort of `output_config` how much; it is high if unsaid."""
    thinking, effort = read_object(fields, "thinking"), word(table(fields, "output_config"), "effort")
    effort = effort if effort in EFFORTS else ""
    if thinking is None:
        return Reasoning(effort) if effort else None
    visible = {"summarized": True, "omitted": False}.get(word(thinking, "display"))
    budget = thinking.get("budget_tokens")
    if word(thinking, "type") == "disabled":
        return Reasoning("off")
    if word(thinking, "type") == "enabled" and isinstance(budget, int) and budget > 0:
        return Reasoning(effort or None, budget, visible)
    return Reasoning(effort or "high", None, visible)


def _output_format(fields: dict[str, object]) -> OutputFormat | Foreign | None:
    """The form of the answer; clients of before it had a place in `output_config` name it beside that."""
    wanted = table(fields, "output_config").get("format") or fields.get("output_format")
    if not isinstance(wanted, dict):
        return None
    schema = wanted.get("schema")
    if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
        return Foreign(NAME, wanted)
    return OutputFormat("json_schema", schema=schema, strict=True)


def _encode_tools(request: InferenceRequest) -> list[dict[str, object]]:
    """The tools that may be called; those that only another vendor can run are not offered."""
    choice = request.tool_choice
    allowed = choice.names if isinstance(choice, ToolChoice) and len(choice.names) > 1 else ()
    written = []
    for tool in request.tools or ():
        if isinstance(tool, Tool):
            written += [encode_tool(tool)] if not allowed or tool.name in allowed else []
        elif tool.dialect == NAME:
            written.append(tool.value)
    return written


def _encode_choice(request: InferenceRequest, *, offered: bool) -> dict[str, object] | None:
    choice = request.tool_choice
    if isinstance(choice, Foreign):
        return choice.value
    if not offered:
        return None
    written: dict[str, object] | None = None
    if choice is not None:
        forced = choice.mode == "required" and len(choice.names) == 1
        written = {"type": "tool", "name": choice.names[0]} if forced else {"type": _CHOICES[choice.mode]}
    if request.parallel_tool_calls is False and (choice is None or choice.mode != "none"):
        written = {**(written or {"type": "auto"}), "disable_parallel_tool_use": True}
    return written


def _encode_thinking(request: InferenceRequest, quirks: Quirks, max_tokens: int) -> dict[str, object] | None:
    """Models from 4.6 on choose how much to think; earlier ones (`budget`) are given a number of tokens; MiniMax's
    (`type`) only whether.
    """
    reasoning, choice = request.reasoning, request.tool_choice
    if reasoning is None or "reasoning" in quirks.drops:
        return None
    # Anthropic refuses thinking where a tool is forced.
    forced = isinstance(choice, ToolChoice) and choice.mode == "required"
    if effort_of(reasoning) == "off" or forced:
        return None if quirks.thinking in ("budget", "always") else {"type": "disabled"}
    if quirks.thinking == "type":
        return {"type": "adaptive"}
    if quirks.thinking == "budget":
        budget = max(_LEAST_BUDGET, budget_of(reasoning, max_tokens // 2))
        return {"type": "enabled", "budget_tokens": budget} if budget < max_tokens else None
    return {"type": "adaptive", "display": "omitted" if reasoning.visible is False else "summarized"}


def _output_config(request: InferenceRequest, quirks: Quirks, thinking: dict[str, object] | None) -> dict[str, object]:
    config: dict[str, object] = {}
    wanted = request.output_format
    if thinking is not None and "display" in thinking and request.reasoning is not None:
        config["effort"] = effort_of(request.reasoning, quirks.efforts or _EFFORTS)
    if isinstance(wanted, Foreign):
        if wanted.dialect != NAME:
            raise InvalidRequest.at("response_format", f"a form that only {wanted.dialect} has", "a JSON schema")
        config["format"] = wanted.value
    elif wanted is not None and wanted.kind == "json_schema":
        config["format"] = {"type": "json_schema", "schema": wanted.schema}
    return config
