"""OpenAI chat completions: requests and buffered answers, both directions. Streams are in `openai_chat_stream`."""

from __future__ import annotations

from gateway.dialects.openai_chat_fields import (
    FAILED_FINISHES,
    chunk_usage,
    finish_word,
    objects_in,
    read_failure,
    write_failure,
    write_usage,
)
from gateway.dialects.openai_chat_stream import Decoder, Encoder, ToolCallReader, read_message
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    GATEWAY_FIELDS,
    Failure,
    Finish,
    InferenceRequest,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.jsonbody import encode_json, kind_of, parse_json_object, read_json_object

__all__ = ["Decoder", "Encoder", "decode_answer", "decode_request", "encode_answer", "encode_request"]

ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_MAX_TOKENS = (1 << 31) - 1
_MAX_MODEL = 256  # characters: receipts and records repeat the name, also that of a model which does not exist
# Members that have a place of their own in InferenceRequest; all others ride along in `extra`.
_PLACED = frozenset(
    {"model", "messages", "tools", "tool_choice", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop",
     "stream", "reasoning_effort", "response_format"}
)  # fmt: skip
# Members that stay in `extra` but whose range is OpenAI's contract: name, least, most.
_RANGES = (("n", 1, 128), ("top_logprobs", 0, 20))
_FLOAT_RANGES = (("presence_penalty", -2.0, 2.0), ("frequency_penalty", -2.0, 2.0))


def decode_request(body: bytes) -> InferenceRequest:
    """Read and check a client's request. Null counts as absent; unknown members are kept.

    `stream_options` stays in `extra` exactly as received, even if null, so that the verbatim path knows it was there.
    Raises: InvalidRequest with `param` at the member at fault.
    """
    fields = parse_json_object(body)
    for name, least, most in _RANGES:
        _integer(fields, name, least, most)
    for name, low, high in _FLOAT_RANGES:
        _number(fields, name, low, high)
    for name in GATEWAY_FIELDS:
        _text(fields, name)
    max_tokens = _integer(fields, "max_tokens", 1, _MAX_TOKENS)
    max_completion = _integer(fields, "max_completion_tokens", 1, _MAX_TOKENS)
    return InferenceRequest(
        model=_model(fields),
        messages=_messages(fields),
        tools=_tools(fields),
        tool_choice=_tool_choice(fields),
        max_tokens=max_tokens if max_completion is None else max_completion,
        temperature=_number(fields, "temperature", 0.0, 2.0),
        top_p=_number(fields, "top_p", 0.0, 1.0),
        stop=_stop(fields),
        stream=_boolean(fields, "stream"),
        include_usage=_include_usage(fields),
        reasoning_effort=_text(fields, "reasoning_effort"),
        response_format=_response_format(fields),
        extra={name: value for name, value in fields.items() if name not in _PLACED},
    )


def encode_request(request: InferenceRequest, *, max_tokens_field: str = "max_tokens") -> bytes:
    """Write a request for a provider. `max_tokens_field` is a quirk of the connector: OpenAI's reasoning models refuse
    `max_tokens`, most compatible servers know nothing else.
    """
    fields: dict[str, object] = {"model": request.model, "messages": list(request.messages)}
    optional = {
        "tools": None if request.tools is None else list(request.tools),
        "tool_choice": request.tool_choice,
        max_tokens_field: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "stream": request.stream or None,
        "reasoning_effort": request.reasoning_effort,
        "response_format": request.response_format,
    }
    fields |= {name: value for name, value in optional.items() if value is not None}
    fields |= {name: value for name, value in request.extra.items() if name not in (*GATEWAY_FIELDS, "stream_options")}
    options = request.extra.get("stream_options")
    options = dict(options) if isinstance(options, dict) else {}
    options.pop("include_usage", None)
    if request.stream and request.include_usage:
        options["include_usage"] = True
    return encode_json({**fields, "stream_options": options} if request.stream and options else fields)


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a provider's buffered answer as the events that a stream would have given.

    Raises: UpstreamFailed if it is neither an answer nor an error object.
    """
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a chat completion")
    if failure := read_failure(answer):
        return [failure]
    choice = next(iter(objects_in(answer.get("choices"))), {})
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamFailed("answer.choices[0].message: found nothing, wanted an object")
    tools = ToolCallReader()
    events = read_message(message, tools)
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or not reason:
        events.append(Finish("tool_calls" if tools.any else "stop"))
    elif reason in FAILED_FINISHES:
        return [*events, Failure("the provider gave up in the middle of the answer", reason)]
    else:
        events.append(Finish(finish_word(reason), reason))
    usage = chunk_usage(answer)
    return [*events, usage] if usage else events


def encode_answer(events: list[StreamEvent], *, chat_id: str, created: int, model: str) -> bytes:
    """Write a buffered answer from the events of a whole stream; an error object if it ended in Failure."""
    if failure := next((event for event in events if isinstance(event, Failure)), None):
        return encode_json(write_failure(failure))
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    calls = _joined_calls([event for event in events if isinstance(event, ToolCallDelta)])
    # OpenAI sends null content beside tool calls, and clients branch on it.
    message: dict[str, object] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    reason = next((event.reason for event in events if isinstance(event, Finish)), "stop")
    usage = next((event for event in reversed(events) if isinstance(event, Usage)), Usage(0, 0))
    return encode_json(
        {
            "id": chat_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
            "usage": write_usage(usage),
        }
    )


def _joined_calls(deltas: list[ToolCallDelta]) -> list[dict[str, object]]:
    calls: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        calls.setdefault(delta.index, []).append(delta)
    return [
        {
            "id": next((piece.id for piece in pieces if piece.id), f"call_{index}"),
            "type": "function",
            "function": {
                "name": next((piece.name for piece in pieces if piece.name), ""),
                "arguments": "".join(piece.arguments for piece in pieces),
            },
        }
        for index, pieces in sorted(calls.items())
    ]


def _model(fields: dict[str, object]) -> str:
    model = _text(fields, "model")
    if not model:
        raise InvalidRequest.at("model", "nothing", "the id of a model")
    if len(model) > _MAX_MODEL or not model.isprintable():
        found = f"{len(model)} characters" if len(model) > _MAX_MODEL else "unprintable characters"
        raise InvalidRequest.at("model", found, f"at most {_MAX_MODEL} printable characters")
    return model


def _messages(fields: dict[str, object]) -> tuple[dict[str, object], ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "an empty list" if messages == [] else kind_of(messages)
        raise InvalidRequest.at("messages", found, "a list of at least one message")
    return tuple(_message(message, f"messages[{number}]") for number, message in enumerate(messages))


def _message(message: object, place: str) -> dict[str, object]:
    if not isinstance(message, dict):
        raise InvalidRequest.at(place, kind_of(message), "an object")
    role = message.get("role")
    if role not in ROLES:
        found = "an unknown role" if isinstance(role, str) else kind_of(role)
        raise InvalidRequest.at(f"{place}.role", found, "one of " + ", ".join(ROLES))
    _check_content(message.get("content"), str(role), f"{place}.content")
    calls = message.get("tool_calls")
    if calls is not None:
        _objects(calls, f"{place}.tool_calls")
    return message


def _check_content(content: object, role: str, place: str) -> None:
    if isinstance(content, str):
        return
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise InvalidRequest.at(f"{place}[{number}]", kind_of(part), "an object with a `type`")
    elif content is not None or role in ("developer", "system", "user"):
        raise InvalidRequest.at(place, kind_of(content), "a string or a list of parts")


def _tools(fields: dict[str, object]) -> tuple[dict[str, object], ...] | None:
    # What stands inside a tool is the provider's business: real clients send schemas that no validator accepts.
    tools = fields.get("tools")
    return None if tools is None else _objects(tools, "tools")


def _tool_choice(fields: dict[str, object]) -> object:
    choice = fields.get("tool_choice")
    if choice is not None and not isinstance(choice, str | dict):
        raise InvalidRequest.at("tool_choice", kind_of(choice), "a string or an object")
    return choice


def _stop(fields: dict[str, object]) -> tuple[str, ...]:
    stop = fields.get("stop")
    if stop is None:
        return ()
    words = [stop] if isinstance(stop, str) else stop
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidRequest.at("stop", kind_of(stop), "a string or a list of strings")
    return tuple(words)


def _include_usage(fields: dict[str, object]) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise InvalidRequest.at("stream_options", kind_of(options), "an object")
    return _boolean(options, "include_usage", "stream_options.include_usage")


def _response_format(fields: dict[str, object]) -> dict[str, object] | None:
    wanted = fields.get("response_format")
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or not isinstance(wanted.get("type"), str):
        raise InvalidRequest.at("response_format", kind_of(wanted), "an object with a `type`")
    return wanted


def _objects(value: object, place: str) -> tuple[dict[str, object], ...]:
    if not isinstance(value, list):
        raise InvalidRequest.at(place, kind_of(value), "a list of objects")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise InvalidRequest.at(f"{place}[{number}]", kind_of(item), "an object")
    return tuple(value)


def _text(fields: dict[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest.at(name, kind_of(value), "a string")
    return value


def _boolean(fields: dict[str, object], name: str, place: str | None = None) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest.at(place or name, kind_of(value), "true or false")
    return bool(value)


def _number(fields: dict[str, object], name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest.at(name, kind_of(value), f"a number from {least:g} to {most:g}")
    if not least <= value <= most:
        raise InvalidRequest.at(name, "a number out of range", f"a number from {least:g} to {most:g}")
    return float(value)


def _integer(fields: dict[str, object], name: str, least: int, most: int) -> int | None:
    """JSON has one kind of number, and some clients write 1 as 1.0."""
    value = _number(fields, name, least, most)
    if value is not None and not value.is_integer():
        raise InvalidRequest.at(name, "a fraction", f"an integer from {least} to {most}")
    return None if value is None else int(value)
