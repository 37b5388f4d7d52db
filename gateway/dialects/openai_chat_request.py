"""OpenAI chat completions: requests, in both directions."""

from __future__ import annotations

from gateway.dialects.fields import (
    MAX_TOKENS,
    read_boolean,
    read_integer,
    read_model,
    read_number,
    read_object,
    read_objects,
    read_strings,
    read_text,
    rows,
    table,
    word,
)
from gateway.dialects.openai_chat_parts import NAME, decode_message, decode_tool, encode_messages, encode_tool
from gateway.dialects.quirks import PLAIN, Quirks, effort_of
from gateway.dialects.turns import check_choice
from gateway.errors import InvalidRequest
from gateway.inference import (
    EFFORTS,
    GATEWAY_FIELDS,
    Foreign,
    InferenceRequest,
    Message,
    OutputFormat,
    Reasoning,
    Tool,
    ToolChoice,
)
from gateway.jsonbody import encode_json, kind_of, parse_json_object

# Members that have a place of their own in InferenceRequest; all others ride along in `extra`.
_PLACED = frozenset(
    {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens",
     "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "stop", "n", "stream",
     "reasoning_effort", "response_format", "user"}
)  # fmt: skip
_SEED = (1 << 63) - 1
_MAX_USER = 64  # characters


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request. Null counts as absent; unknown members are kept.

    `stream_options` stays in `extra` exactly as received, even if null, so that the verbatim path knows it was there.
    Raises: InvalidRequest with `param` at the member at fault.
    """
    fields = parse_json_object(body)
    read_integer(fields, "top_logprobs", 0, 20)
    max_tokens = read_integer(fields, "max_tokens", 1, MAX_TOKENS)
    max_completion = read_integer(fields, "max_completion_tokens", 1, MAX_TOKENS)
    tools = read_objects(fields, "tools")
    return InferenceRequest(
        dialect=NAME,
        model=read_model(fields),
        messages=_messages(fields),
        # What stands inside a tool is the provider's business: real clients send schemas that no validator accepts.
        tools=None if tools is None else tuple(map(decode_tool, tools)),
        tool_choice=_tool_choice(fields),
        parallel_tool_calls=None
        if fields.get("parallel_tool_calls") is None
        else read_boolean(fields, "parallel_tool_calls"),
        # Both are sent on as they are, and it is the provider that chooses: the larger is what may be used, and billed.
        max_tokens=max(filter(None, (max_tokens, max_completion)), default=None),
        temperature=read_number(fields, "temperature", 0.0, 2.0),
        top_p=read_number(fields, "top_p", 0.0, 1.0),
        top_k=_top_k(fields),
        presence_penalty=read_number(fields, "presence_penalty", -2.0, 2.0),
        frequency_penalty=read_number(fields, "frequency_penalty", -2.0, 2.0),
        seed=read_integer(fields, "seed", -_SEED, _SEED),
        stop=read_strings(fields, "stop"),
        choices=read_integer(fields, "n", 1, 128) or 1,
        stream=read_boolean(fields, "stream"),
        include_usage=_include_usage(fields),
        reasoning=_reasoning(fields),
        output_format=_output_format(fields),
        user=read_text(fields, "user"),
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def encode_request(request: InferenceRequest, quirks: Quirks = PLAIN) -> bytes:
    """Write a request for a provider. Raises: InvalidRequest for content and choices of other languages."""
    check_choice(request, NAME)
    tools = _encode_tools(request)
    optional: dict[str, object] = {
        "tools": tools,
        "tool_choice": _encode_choice(request, tools, quirks),
        "parallel_tool_calls": request.parallel_tool_calls,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "n": request.choices if request.choices > 1 else None,
        "response_format": _encode_format(request.output_format),
        # OpenAI refuses longer ones; Claude Code's hold three ids.
        "user": request.user if len(request.user or "") <= _MAX_USER else None,
    }
    messages = encode_messages(request.messages, quirks, own=request.dialect == NAME)
    fields: dict[str, object] = {"model": request.model, "messages": messages}
    fields |= {name: value for name, value in optional.items() if value is not None and name not in quirks.drops}
    if "max_tokens" in fields:
        fields[quirks.max_tokens_field] = fields.pop("max_tokens")
    fields |= _encode_reasoning(request.reasoning, quirks)
    extra = request.extra if request.dialect == NAME else {}
    fields |= {name: value for name, value in extra.items() if name not in (*GATEWAY_FIELDS, "stream_options")}
    if request.stream:
        options = {**table(extra, "stream_options"), "include_usage": True}
        if not request.include_usage:
            del options["include_usage"]
        fields |= {"stream": True, **({"stream_options": options} if options else {})}
    return encode_json(fields)


def _messages(fields: dict[str, object]) -> tuple[Message, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "an empty list" if messages == [] else kind_of(messages)
        raise InvalidRequest.at("messages", found, "a list of at least one message")
    decoded = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest.at(f"messages[{number}]", kind_of(message), "an object")
        decoded.append(decode_message(message, f"messages[{number}]"))
    return tuple(decoded)


def _tool_choice(fields: dict[str, object]) -> ToolChoice | Foreign | None:
    choice = fields.get("tool_choice")
    if fields.get("functions") or fields.get("function_call") is not None:
        # The form before `tools`: who sends it reads no `tool_calls`, so no other language can answer it.
        return Foreign(NAME, {name: fields.get(name) for name in ("tool_choice", "functions", "function_call")})
    if choice is None:
        return None
    if isinstance(choice, str):
        return ToolChoice(choice) if choice in ("auto", "required", "none") else Foreign(NAME, {"tool_choice": choice})
    if not isinstance(choice, dict):
        raise InvalidRequest.at("tool_choice", kind_of(choice), "a string or an object")
    kind = word(choice, "type")
    if kind in ("function", "custom") and (name := word(table(choice, kind), "name")):
        return ToolChoice("required", (name,))
    allowed = table(choice, "allowed_tools")
    names = tuple(word(table(tool, word(tool, "type")), "name") for tool in rows(allowed.get("tools")))
    if kind == "allowed_tools" and allowed.get("mode") in ("auto", "required") and names and all(names):
        return ToolChoice(word(allowed, "mode"), names)
    return Foreign(NAME, {"tool_choice": choice})


def _include_usage(fields: dict[str, object]) -> bool:
    options = read_object(fields, "stream_options")
    return options is not None and read_boolean(options, "include_usage", "stream_options.include_usage")


def _top_k(fields: dict[str, object]) -> int | None:
    # No member of OpenAI's; compatible servers give it a meaning, some with -1 for none.
    value = fields.get("top_k")
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS else None


def _reasoning(fields: dict[str, object]) -> Reasoning | None:
    effort = read_text(fields, "reasoning_effort")
    effort = "off" if effort == "none" else effort
    return Reasoning(effort) if effort in EFFORTS else None


def _output_format(fields: dict[str, object]) -> OutputFormat | Foreign | None:
    wanted = fields.get("response_format")
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or not isinstance(wanted.get("type"), str):
        raise InvalidRequest.at("response_format", kind_of(wanted), "an object with a `type`")
    kind, inner = word(wanted, "type"), table(wanted, "json_schema")
    if kind in ("text", "json_object"):
        return OutputFormat("json" if kind == "json_object" else "text")
    schema, strict = inner.get("schema"), inner.get("strict")
    if kind != "json_schema" or not isinstance(schema, dict):
        return Foreign(NAME, {"response_format": wanted})
    strict = strict if isinstance(strict, bool) else None
    return OutputFormat("json_schema", word(inner, "name"), schema, strict, word(inner, "description"))


def _encode_tools(request: InferenceRequest) -> list[dict[str, object]] | None:
    """The tools; those that only another vendor can run are not offered."""
    written = []
    for tool in request.tools or ():
        if isinstance(tool, Tool):
            written.append(encode_tool(tool))
        elif tool.dialect == NAME:
            written.append(tool.value)
    return written or None


def _encode_choice(request: InferenceRequest, tools: list[dict[str, object]] | None, quirks: Quirks) -> object:
    choice = request.tool_choice
    if isinstance(choice, Foreign):
        return choice.value.get("tool_choice")
    if choice is None or not tools:
        return None
    if choice.mode == "required" and not quirks.required_tools:
        return "auto"
    if not choice.names:
        return choice.mode
    custom = {tool.name for tool in request.tools or () if isinstance(tool, Tool) and tool.custom}
    named = [
        {"type": "custom", "custom": {"name": name}}
        if name in custom
        else {"type": "function", "function": {"name": name}}
        for name in choice.names
    ]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}


def _encode_format(wanted: OutputFormat | Foreign | None) -> object:
    if wanted is None or isinstance(wanted, Foreign):
        return None if wanted is None else _own(wanted, "response_format")
    if wanted.kind != "json_schema":
        return {"type": "json_object" if wanted.kind == "json" else "text"}
    schema: dict[str, object] = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    if wanted.description:
        schema["description"] = wanted.description
    return {"type": "json_schema", "json_schema": schema}


def _encode_reasoning(reasoning: Reasoning | None, quirks: Quirks) -> dict[str, object]:
    """The wish to think, in the vendor's way: `effort` (usual), `type` (DeepSeek, GLM, Kimi), `template` (vLLM, NIM),
    `always` (cannot be turned off, takes efforts).
    """
    if reasoning is None or "reasoning" in quirks.drops:
        return {}
    wanted = effort_of(reasoning)
    effort = "none" if wanted == "off" else effort_of(reasoning, quirks.efforts)
    if quirks.thinking == "template":
        return {"chat_template_kwargs": {"thinking": wanted != "off", "enable_thinking": wanted != "off"}}
    if quirks.thinking == "type":
        said: dict[str, object] = {"thinking": {"type": "disabled" if wanted == "off" else "enabled"}}
        return said if wanted == "off" or not quirks.efforts else {**said, "reasoning_effort": effort}
    if quirks.thinking == "always":
        return {"reasoning_effort": effort_of(reasoning, quirks.efforts)} if quirks.efforts else {}
    return {"reasoning_effort": effort}


def _own(value: Foreign, name: str) -> object:
    if value.dialect != NAME:
        raise InvalidRequest.at(name, f"a form that only {value.dialect} has", "one that this model's provider has")
    return value.value[name]
