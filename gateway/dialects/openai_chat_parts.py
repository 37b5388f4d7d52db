"""OpenAI chat: messages, content parts and tools, between JSON and the blocks of a request."""

from __future__ import annotations

from gateway.dialects.fields import read_objects, rows, table, word
from gateway.dialects.media import data_url, media_of_url
from gateway.dialects.quirks import Quirks
from gateway.dialects.turns import TOOL_FAILED
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    Block,
    CachePoint,
    Foreign,
    Media,
    Message,
    Refusal,
    Text,
    Thinking,
    ThoughtSignature,
    Tool,
    ToolCall,
    ToolResult,
    read_signature,
)
from gateway.jsonbody import encode_json, kind_of

NAME = "openai_chat"
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
"""Names under which compatible servers send reasoning; one that sends two sends the same text twice."""

_PLACED = frozenset(
    {"role", "content", "name", "refusal", "audio", "tool_calls", "tool_call_id", "function_call", "reasoning_details",
     *REASONING_FIELDS}
)  # fmt: skip
_AUDIO_TYPES = {"mp3": "audio/mpeg"}


def decode_message(message: dict[str, object], place: str) -> Message:
    """Read one message. Raises: InvalidRequest."""
    role = message.get("role")
    if role not in ROLES:
        found = "an unknown role" if isinstance(role, str) else kind_of(role)
        raise InvalidRequest.at(f"{place}.role", found, "one of " + ", ".join(ROLES))
    said = message.get("content")
    if len(message) == 2 and isinstance(said, str) and role not in ("tool", "function"):
        return Message(str(role), (Text(said),) if said else ())  # nearly all messages, at a third of the cost
    role, content = str(role), _decode_content(message, str(role), f"{place}.content")
    calls = read_objects(message, "tool_calls", f"{place}.tool_calls") or []
    if role in ("tool", "function"):
        name = word(message, "name")
        # A function message is older than call ids: its call is known by the name of the function.
        call_id = word(message, "tool_call_id") if role == "tool" else f"call_{name}"
        result = ToolResult(call_id, tuple(part for part in content if isinstance(part, Text | Media | Foreign)),
                            name=name)  # fmt: skip
        points = (part for part in content if isinstance(part, CachePoint))
        return Message("tool", (result, *points), extra=_extra(message))
    blocks: list[Block] = [*_decode_thinking(message), *content]
    if refusal := word(message, "refusal"):
        blocks.append(Refusal(refusal))
    if isinstance(message.get("audio"), dict):
        # What an earlier answer said aloud, by its id: only the provider that said it has the words.
        blocks.append(Foreign(NAME, {"audio": message["audio"]}))
    blocks += [_decode_call(call) for call in calls]
    if legacy := table(message, "function_call"):
        blocks.append(ToolCall(f"call_{word(legacy, 'name')}", word(legacy, "name"), word(legacy, "arguments")))
    return Message(role, tuple(blocks), word(message, "name") or None, _extra(message))


def encode_messages(messages: tuple[Message, ...], quirks: Quirks, *, own: bool) -> list[dict[str, object]]:
    """Write all messages; `own` says that their `extra` is of this language.

    Raises: InvalidRequest for content that OpenAI chat has no place for.
    """
    written: list[dict[str, object]] = []
    shown: list[Media] = []  # what tools gave back besides words: a tool message takes words only
    for message in messages:
        if message.role == "tool":
            for result in (block for block in message.content if isinstance(block, ToolResult)):
                written.append(_encode_result(result))
                shown += [part for part in result.content if isinstance(part, Media)]
            continue
        if shown:
            written.append({"role": "user", "content": [_encode_part(part) for part in shown]})
            shown = []
        encoded = _encode_assistant(message, quirks) if message.role == "assistant" else _encode(message, quirks)
        written.append(encoded | message.extra if own else encoded)
    return [*written, {"role": "user", "content": [_encode_part(part) for part in shown]}] if shown else written


def decode_tool(tool: dict[str, object]) -> Tool | Foreign:
    """Read one tool. What is no function is kept as it is: real clients send schemas that no validator accepts."""
    kind = "custom" if tool.get("type") == "custom" else "function"
    inner = table(tool, kind)
    name, parameters = word(inner, "name"), inner.get("parameters" if kind == "function" else "format")
    if not name or not (parameters is None or isinstance(parameters, dict)):
        return Foreign(NAME, tool)
    strict = inner.get("strict")
    return Tool(
        name,
        word(inner, "description"),
        parameters,
        strict if isinstance(strict, bool) else None,
        kind == "custom",
        _cache_point(tool) or _cache_point(inner),
    )


def encode_tool(tool: Tool) -> dict[str, object]:
    """Write one tool."""
    inner: dict[str, object] = {"name": tool.name}
    if tool.description:
        inner["description"] = tool.description
    if tool.parameters is not None:
        inner["format" if tool.custom else "parameters"] = tool.parameters
    if tool.strict is not None:
        inner["strict"] = tool.strict
    kind = "custom" if tool.custom else "function"
    return {"type": kind, kind: inner}


def encode_call(call: ToolCall) -> dict[str, object]:
    """Write one whole tool call, of a request or an answer."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, **seal_of_call(call.signature)}


def seal_of_call(signature: ThoughtSignature | None) -> dict[str, object]:
    """The member of a tool call that carries a seal, where Google's own OpenAI endpoint has it."""
    if signature is None:
        return {}
    return {"extra_content": {"google": {"thought_signature": signature.written_by("gemini")}}}


def reasoning_detail(block: Thinking, index: int) -> dict[str, object]:
    """An entry of `reasoning_details`, the widespread member that carries seals through OpenAI chat."""
    sealed = block.signature.written_by(NAME) if block.signature else None
    if block.redacted:
        return {"type": "reasoning.encrypted", "data": sealed, "index": index}
    detail: dict[str, object] = {"type": "reasoning.text", "text": block.text, "index": index}
    return detail if sealed is None else {**detail, "signature": sealed}


def encode_image(media: Media) -> dict[str, object]:
    """The entry of `images` for a picture that a model made. Raises: UpstreamFailed for what has no place there."""
    if media.kind != "image" or not (media.data or media.url):
        raise UpstreamFailed(f"answer: found {media.kind} content, which OpenAI chat has no place for")
    return _encode_part(media)


def _extra(message: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in message.items() if name not in _PLACED}


def _decode_content(
    message: dict[str, object], role: str, place: str
) -> list[Text | Refusal | Media | CachePoint | Foreign]:
    content = message.get("content")
    if isinstance(content, str):
        return [Text(content)] if content else []
    if content is None and role not in ("developer", "system", "user"):
        return []
    if not isinstance(content, list):
        raise InvalidRequest.at(place, kind_of(content), "a string or a list of parts")
    blocks: list[Text | Refusal | Media | CachePoint | Foreign] = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest.at(f"{place}[{number}]", kind_of(part), "an object with a `type`")
        blocks.append(_decode_part(part))
        if point := _cache_point(part):
            blocks.append(point)
    return blocks


def _decode_part(part: dict[str, object]) -> Text | Refusal | Media | Foreign:
    kind = word(part, "type")
    inner = table(part, kind)
    media: Media | None = None
    if kind == "text" and isinstance(part.get("text"), str):
        return Text(word(part, "text"))
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return Refusal(word(part, "refusal"))
    if kind in ("image_url", "video_url", "audio_url"):
        media = media_of_url(kind[:5], word(inner, "url"), detail=word(inner, "detail") or None)
    elif kind == "input_audio" and word(inner, "data"):
        form = word(inner, "format")
        media = Media("audio", _AUDIO_TYPES.get(form, f"audio/{form}"), word(inner, "data"))
    elif kind == "file" and word(inner, "file_data"):
        media = media_of_url("document", word(inner, "file_data"), name=word(inner, "filename"))
    elif kind == "file" and word(inner, "file_id"):
        media = Media("document", file_id=word(inner, "file_id"), name=word(inner, "filename"))
    return media or Foreign(NAME, part)


def _cache_point(part: dict[str, object]) -> CachePoint | None:
    control = part.get("cache_control")
    return CachePoint(word(control, "ttl")) if isinstance(control, dict) else None


def _decode_thinking(message: dict[str, object]) -> list[Thinking]:
    """Reasoning that a client gives back: with its seals if it kept them, as plain text if not."""
    by_index: dict[object, Thinking] = {}
    for at, detail in enumerate(rows(message.get("reasoning_details"))):
        redacted = detail.get("type") == "reasoning.encrypted"
        sealed = word(detail, "data" if redacted else "signature")
        index = detail.get("index")
        key = index if isinstance(index, int) else -1 - at
        text = "" if redacted else word(detail, "text") or word(detail, "summary")
        earlier = by_index.get(key, Thinking(""))
        signature = read_signature(sealed, NAME) if sealed else earlier.signature
        by_index[key] = Thinking(earlier.text + text, signature, redacted)
    if by_index:
        return [block for block in by_index.values() if block.text or block.signature]
    text = next((text for name in REASONING_FIELDS if (text := word(message, name))), "")
    return [Thinking(text)] if text else []


def _decode_call(call: dict[str, object]) -> Block:
    kind = "custom" if call.get("type") == "custom" else "function"
    inner = table(call, kind)
    arguments = inner.get("input" if kind == "custom" else "arguments")
    if not word(inner, "name"):
        return Foreign(NAME, {"tool_call": call})
    sealed = word(table(table(call, "extra_content"), "google"), "thought_signature")
    return ToolCall(
        word(call, "id"),
        word(inner, "name"),
        arguments if isinstance(arguments, str) else encode_json(arguments or {}).decode(),
        kind == "custom",
        read_signature(sealed, "gemini") if sealed else None,
    )


def _encode(message: Message, quirks: Quirks) -> dict[str, object]:
    role = "system" if message.role == "developer" and not quirks.developer else message.role
    content = _encode_content(message, quirks)
    return {"role": role, "content": content, **({"name": message.name} if message.name else {})}


def _encode_content(message: Message, quirks: Quirks) -> object:
    blocks = [block for block in message.content if not isinstance(block, CachePoint | Thinking)]
    words = [block.text for block in blocks if isinstance(block, Text | Refusal)]
    if len(words) == len(blocks) and (quirks.text_only or len(words) < 2):
        return "\n\n".join(words)
    return [_encode_part(block) for block in blocks]


def _encode_assistant(message: Message, quirks: Quirks) -> dict[str, object]:
    text, thoughts, calls = "", "", []
    spoken: dict[str, object] = {}
    for block in message.content:
        if isinstance(block, Text | Refusal):
            text += block.text
        elif isinstance(block, Thinking):
            thoughts += block.text
        elif isinstance(block, ToolCall):
            calls.append(encode_call(block))
        elif isinstance(block, Foreign) and isinstance(call := _own(block).get("tool_call"), dict):
            calls.append(call)
        elif isinstance(block, Foreign) and "audio" in _own(block):
            spoken = block.value
        elif not isinstance(block, CachePoint):
            raise _no_place(block)
    # OpenAI takes null content beside tool calls and speech only.
    said: dict[str, object] = {"role": "assistant", "content": text if text or not (calls or spoken) else None}
    said |= spoken
    if thoughts and quirks.replays_reasoning:
        said["reasoning_content"] = thoughts
    if message.name:
        said["name"] = message.name
    return {**said, "tool_calls": calls} if calls else said


def _encode_result(result: ToolResult) -> dict[str, object]:
    words = [TOOL_FAILED] if result.is_error else []
    for part in result.content:
        if isinstance(part, Foreign):
            raise _no_place(part)
        words += [part.text] if isinstance(part, Text) else []
    return {"role": "tool", "tool_call_id": result.call_id, "content": "\n".join(words)}


def _encode_part(block: Block) -> dict[str, object]:
    if isinstance(block, Text | Refusal):
        return {"type": "text", "text": block.text}
    if isinstance(block, Foreign):
        return _own(block)
    if not isinstance(block, Media):
        raise _no_place(block)
    url = block.url or data_url(block)
    if block.kind in ("image", "video") and url:
        detail = {"detail": block.detail} if block.detail else {}
        return {"type": f"{block.kind}_url", f"{block.kind}_url": {"url": url, **detail}}
    if block.kind == "audio" and block.data:
        form = next((form for form, kind in _AUDIO_TYPES.items() if kind == block.media_type), block.media_type[6:])
        return {"type": "input_audio", "input_audio": {"data": block.data, "format": form}}
    if block.kind == "document" and (block.data or block.file_id):
        source = {"file_data": data_url(block)} if block.data else {"file_id": block.file_id}
        return {"type": "file", "file": {**source, **({"filename": block.name} if block.name else {})}}
    raise _no_place(block)


def _own(block: Foreign) -> dict[str, object]:
    if block.dialect != NAME:
        raise _no_place(block)
    return block.value


def _no_place(block: Block) -> InvalidRequest:
    kind = block.kind if isinstance(block, Media) else type(block).__name__.lower()
    return InvalidRequest.at("messages", f"{kind} content that this model's provider has no place for", "other content")
