"""OpenAI Responses: requests, in both directions. Nothing is stored, neither here nor at the provider."""

from __future__ import annotations

from gateway.dialects.fields import (
    MAX_TOKENS,
    read_boolean,
    read_integer,
    read_model,
    read_number,
    read_object,
    read_objects,
    read_text,
    rows,
    table,
    word,
)
from gateway.dialects.openai_responses_fields import NAME
from gateway.dialects.openai_responses_parts import decode_items, decode_tool, encode_items, encode_tool
from gateway.dialects.quirks import PLAIN, Quirks, effort_of
from gateway.dialects.turns import check_choice, with_names
from gateway.errors import InvalidRequest
from gateway.inference import (
    EFFORTS,
    GATEWAY_FIELDS,
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

# Members that have a place of their own in InferenceRequest. All others ride along in `extra`, and so do those that
# an answer repeats as they were asked.
_PLACED = frozenset(
    {"model", "input", "parallel_tool_calls", "max_output_tokens", "temperature", "top_p", "stream", "user"}
)
_REPEATED = frozenset({"instructions", "tools", "tool_choice"})
_STORED = {
    "previous_response_id": "the turns before it in `input`",
    "conversation": "its turns in `input`",
    "prompt": "its text in `instructions` or `input`",
}
_MAX_USER = 64  # characters


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request. Null counts as absent; unknown members are kept.

    Raises: InvalidRequest with `param` at the member at fault, also for whatever needs something stored.
    """
    fields = parse_json_object(body)
    _refuse_stored(fields)
    read_integer(fields, "top_logprobs", 0, 20)
    tools = read_objects(fields, "tools")
    parallel = fields.get("parallel_tool_calls")
    return InferenceRequest(
        dialect=NAME,
        model=read_model(fields),
        messages=_messages(fields),
        tools=None if tools is None else tuple(tool for entry in tools for tool in decode_tool(entry)),
        tool_choice=_tool_choice(fields),
        parallel_tool_calls=None if parallel is None else read_boolean(fields, "parallel_tool_calls"),
        max_tokens=read_integer(fields, "max_output_tokens", 1, MAX_TOKENS),
        temperature=read_number(fields, "temperature", 0.0, 2.0),
        top_p=read_number(fields, "top_p", 0.0, 1.0),
        stream=read_boolean(fields, "stream"),
        include_usage=True,
        reasoning=_reasoning(fields),
        output_format=_output_format(fields),
        user=read_text(fields, "user"),
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request for a provider. Raises: InvalidRequest for what Responses cannot say.

    What it does not know is left out: stop sequences, penalties, seed and top_k.
    """
    if request.choices > 1:
        raise InvalidRequest.at("n", "more than one answer", "1: this model's provider gives one")
    check_choice(request, NAME)
    instructions, messages = _instructions_apart(with_names(request.messages))
    optional: dict[str, object] = {
        "instructions": instructions,
        "tools": _encode_tools(request) or None,
        "tool_choice": _encode_choice(request, quirks),
        "parallel_tool_calls": request.parallel_tool_calls,
        "max_output_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": request.stream or None,
        "user": request.user if len(request.user or "") <= _MAX_USER else None,
    }
    extra = request.extra if request.dialect == NAME else {}
    kept = {name: value for name, value in extra.items() if name not in (*GATEWAY_FIELDS, *_REPEATED)}
    fields: dict[str, object] = {"model": request.model, "input": encode_items(messages, quirks), **kept}
    fields |= {name: value for name, value in optional.items() if value is not None and name not in quirks.drops}
    # Unsaid, OpenAI stores every answer; what it sealed comes back to it through the client instead.
    fields["store"] = False
    if "reasoning" not in quirks.drops:
        include = extra.get("include")
        wanted = include if isinstance(include, list) else []
        fields["include"] = [*wanted, *{"reasoning.encrypted_content"}.difference(map(str, wanted))]
    if reasoning := _encode_reasoning(request.reasoning, quirks):
        fields["reasoning"] = {**table(extra, "reasoning"), **reasoning}
    if written := _encode_format(request.output_format):
        fields["text"] = {**table(extra, "text"), "format": written}
    return encode_json(fields)


def _refuse_stored(fields: dict[str, object]) -> None:
    for name in ("store", "background"):
        if read_boolean(fields, name):
            raise InvalidRequest.at(name, "true", "false: no answer is stored here, nor asked for later")
    for name, instead in _STORED.items():
        if fields.get(name) is not None:
            code = "previous_response_not_found" if name == "previous_response_id" else None
            message = f"{name}: found what was stored elsewhere, wanted {instead}: nothing is stored here"
            raise InvalidRequest(message, code=code, param=name)


def _messages(fields: dict[str, object]) -> tuple[Message, ...]:
    said = fields.get("input")
    instructions = read_text(fields, "instructions")
    before = [Message("system", (Text(instructions),))] if instructions else []
    if isinstance(said, str):
        return (*before, Message("user", (Text(said),) if said else ()))
    if not isinstance(said, list) or not said:
        found = "an empty list" if said == [] else kind_of(said)
        raise InvalidRequest.at("input", found, "a string or a list of at least one item")
    return (*before, *decode_items(said))


def _tool_choice(fields: dict[str, object]) -> ToolChoice | Foreign | None:
    choice = fields.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        return ToolChoice(choice) if choice in ("auto", "required", "none") else Foreign(NAME, {"tool_choice": choice})
    if not isinstance(choice, dict):
        raise InvalidRequest.at("tool_choice", kind_of(choice), "a string or an object")
    kind, name = word(choice, "type"), word(choice, "name")
    if kind in ("function", "custom") and name:
        return ToolChoice("required", (name,))
    names = tuple(word(tool, "name") for tool in rows(choice.get("tools")))
    if kind == "allowed_tools" and choice.get("mode") in ("auto", "required") and names and all(names):
        return ToolChoice(word(choice, "mode"), names)
    return Foreign(NAME, {"tool_choice": choice})


def _reasoning(fields: dict[str, object]) -> Reasoning | None:
    wanted = read_object(fields, "reasoning") or {}
    effort = read_text(wanted, "effort", "reasoning.effort")
    effort = "off" if effort == "none" else effort
    if effort not in EFFORTS:
        return None
    return Reasoning(effort, visible=True if word(wanted, "summary") not in ("", "none") else None)


def _output_format(fields: dict[str, object]) -> OutputFormat | Foreign | None:
    wanted = read_object(read_object(fields, "text") or {}, "format", "text.format")
    if wanted is None:
        return None
    kind, schema, strict = word(wanted, "type"), wanted.get("schema"), wanted.get("strict")
    if kind in ("text", "json_object"):
        return OutputFormat("json" if kind == "json_object" else "text")
    if kind != "json_schema" or not isinstance(schema, dict):
        return Foreign(NAME, {"format": wanted})
    strict = strict if isinstance(strict, bool) else None
    return OutputFormat("json_schema", word(wanted, "name"), schema, strict, word(wanted, "description"))


def _instructions_apart(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    """The first system message, where it is words only and something follows it, and the rest."""
    first, rest = messages[:1], messages[1:]
    if not rest or first[0].role != "system" or not all(isinstance(block, Text) for block in first[0].content):
        return None, messages
    return "\n\n".join(block.text for block in first[0].content if isinstance(block, Text)), rest


def _encode_tools(request: InferenceRequest) -> list[dict[str, object]]:
    """The tools; those that only another vendor can run are not offered."""
    written = []
    for tool in request.tools or ():
        if isinstance(tool, Tool):
            written.append(encode_tool(tool, own=request.dialect == NAME))
        elif tool.dialect == NAME:
            written.append(tool.value)
    return written


def _encode_choice(request: InferenceRequest, quirks: Quirks) -> object:
    choice = request.tool_choice
    if isinstance(choice, Foreign):
        return choice.value["tool_choice"]
    if choice is None or not request.tools:
        return None
    if choice.mode == "required" and not quirks.required_tools:
        return "auto"
    if not choice.names:
        return choice.mode
    custom = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.custom}
    named = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}


def _encode_reasoning(reasoning: Reasoning | None, quirks: Quirks) -> dict[str, object]:
    if reasoning is None or "reasoning" in quirks.drops:
        return {}
    wanted = effort_of(reasoning)
    if wanted == "off" and quirks.thinking == "always":
        return {}
    effort = "none" if wanted == "off" else effort_of(reasoning, quirks.efforts)
    return {"effort": effort, "summary": "auto"} if reasoning.visible else {"effort": effort}


def _encode_format(wanted: OutputFormat | Foreign | None) -> object:
    if wanted is None or isinstance(wanted, Foreign):
        return None if wanted is None else _own(wanted, "format")
    if wanted.kind != "json_schema":
        return {"type": "json_object" if wanted.kind == "json" else "text"}
    written: dict[str, object] = {"type": "json_schema", "name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.strict is not None:
        written["strict"] = wanted.strict
    return {**written, "description": wanted.description} if wanted.description else written


def _own(value: Foreign, name: str) -> object:
    if value.dialect != NAME:
        raise InvalidRequest.at(name, f"a form that only {value.dialect} has", "one that this model's provider has")
    return value.value[name]
