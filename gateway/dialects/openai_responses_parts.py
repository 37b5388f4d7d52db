"""OpenAI Responses: input items, content parts and tools, between JSON and the blocks of a request."""

from __future__ import annotations

from dataclasses import replace

from gateway.dialects.fields import table, word
from gateway.dialects.media import data_url, media_of_url
from gateway.dialects.openai_responses_fields import NAME, full_name, read_reasoning, tools_inside, write_seal
from gateway.dialects.quirks import Quirks
from gateway.dialects.turns import TOOL_FAILED
from gateway.errors import InvalidRequest
from gateway.inference import (
    Block,
    CachePoint,
    Foreign,
    Media,
    Message,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from gateway.jsonbody import kind_of

ROLES = ("user", "assistant", "system", "developer")
_AUDIO_TYPES = {"mp3": "audio/mpeg"}


def decode_items(items: list[object]) -> list[Message]:
    """Read the input: what the assistant said, thought and called in a row is one message. Raises: InvalidRequest."""
    messages: list[Message] = []
    for number, item in enumerate(items):
        place = f"input[{number}]"
        if not isinstance(item, dict):
            raise InvalidRequest.at(place, kind_of(item), "an object")
        message = _decode_item(item, place)
        if message.role == "assistant" and messages and messages[-1].role == "assistant":
            blocks = list(messages[-1].content)
            for block in message.content:
                _append(blocks, block)
            messages[-1] = Message("assistant", tuple(blocks))
        else:
            messages.append(message)
    return [_unmarked(message) for message in messages]


def encode_items(messages: tuple[Message, ...], quirks: Quirks) -> list[dict[str, object]]:
    """Write the input. Raises: InvalidRequest for content that this language has no place for."""
    items: list[dict[str, object]] = []
    for message in messages:
        if message.role == "tool":
            items += [_encode_result(block) for block in message.content if isinstance(block, ToolResult)]
        else:
            items += _encode_turn(message, quirks)
    return items


def decode_tool(tool: dict[str, object]) -> list[Tool | Foreign]:
    """Read one tool, or those of a namespace; what is no function is kept as it is."""
    return [_decode_function(inner) for inner in tools_inside(tool)]


def _decode_function(tool: dict[str, object]) -> Tool | Foreign:
    kind, name = word(tool, "type"), full_name(tool)
    parameters, strict = tool.get("format" if kind == "custom" else "parameters"), tool.get("strict")
    if kind not in ("function", "custom") or not name or not (parameters is None or isinstance(parameters, dict)):
        return Foreign(NAME, tool)
    strict = strict if isinstance(strict, bool) else None
    return Tool(name, word(tool, "description"), parameters, strict, kind == "custom")


def encode_tool(tool: Tool, *, own: bool) -> dict[str, object]:
    """Write one tool. Strict is the rule in this language, the exception in others: so their silence is spelled out."""
    written: dict[str, object] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    if tool.description:
        written["description"] = tool.description
    if tool.custom:
        return written if tool.parameters is None else {**written, "format": tool.parameters}
    written["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return written if own and tool.strict is None else {**written, "strict": bool(tool.strict)}


def reasoning_item(block: Thinking, item_id: str, *, of_call: bool = False) -> dict[str, object]:
    """A whole reasoning item; `item_id` gives way to that which its seal prescribes."""
    own_id, sealed = write_seal(block, of_call=of_call)
    summary = [{"type": "summary_text", "text": block.text}] if block.text else []
    item: dict[str, object] = {"id": own_id or item_id, "type": "reasoning", "summary": summary}
    return item if sealed is None else {**item, "encrypted_content": sealed}


def _decode_item(item: dict[str, object], place: str) -> Message:
    kind = item.get("type")
    if kind in (None, "message"):
        return _decode_message(item, place)
    if kind == "item_reference":
        raise InvalidRequest.at(place, "a reference to a stored item", "the item itself: nothing is stored here")
    if kind in ("function_call_output", "custom_tool_call_output"):
        content = item.get("output")
        said = _decode_content(content if content is not None else "", f"{place}.output")
        parts = tuple(part for part in said if isinstance(part, Text | Media | Foreign))
        return Message("tool", (ToolResult(word(item, "call_id"), parts, custom=kind.startswith("custom")),))
    return Message("assistant", (_decode_block(item),))


def _decode_message(item: dict[str, object], place: str) -> Message:
    role = item.get("role")
    if role not in ROLES:
        found = "an unknown role" if isinstance(role, str) else kind_of(role)
        raise InvalidRequest.at(f"{place}.role", found, "one of " + ", ".join(ROLES))
    return Message(str(role), tuple(_decode_content(item.get("content"), f"{place}.content")))


def _decode_block(item: dict[str, object]) -> Block:
    kind, name = word(item, "type"), full_name(item) if word(item, "name") else ""
    if kind == "reasoning":
        text, seal, of = read_reasoning(item)
        # The seal of the call that follows rides here until `_append` gives it back.
        return ToolCall("", "", "", signature=seal) if of == "call" else Thinking(text, seal, of == "redacted")
    if kind == "function_call" and name:
        return ToolCall(word(item, "call_id") or word(item, "id"), name, word(item, "arguments"))
    if kind == "custom_tool_call" and name:
        return ToolCall(word(item, "call_id") or word(item, "id"), name, word(item, "input"), custom=True)
    return Foreign(NAME, item)


def _append(blocks: list[Block], block: Block) -> None:
    last = blocks[-1] if blocks else None
    if isinstance(block, ToolCall) and block.name and isinstance(last, ToolCall) and not last.name:
        blocks[-1] = replace(block, signature=last.signature)
    else:
        blocks.append(block)


def _unmarked(message: Message) -> Message:
    """Without seals whose call did not follow."""
    kept = tuple(block for block in message.content if not isinstance(block, ToolCall) or block.name)
    return message if len(kept) == len(message.content) else replace(message, content=kept)


def _decode_content(content: object, place: str) -> list[Text | Refusal | Media | Foreign]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    if not isinstance(content, list):
        raise InvalidRequest.at(place, kind_of(content), "a string or a list of parts")
    blocks = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest.at(f"{place}[{number}]", kind_of(part), "an object with a `type`")
        blocks.append(_decode_part(part))
    return blocks


def _decode_part(part: dict[str, object]) -> Text | Refusal | Media | Foreign:
    kind, name, file_id = word(part, "type"), word(part, "filename"), word(part, "file_id")
    detail = word(part, "detail") or None
    media: Media | None = None
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return Text(word(part, "text"))
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return Refusal(word(part, "refusal"))
    if kind == "input_image":
        media = media_of_url("image", word(part, "image_url"), detail=detail)
        media = media or (Media("image", file_id=file_id, detail=detail) if file_id else None)
    elif kind == "input_file":
        media = media_of_url("document", word(part, "file_data") or word(part, "file_url"), name=name)
        media = media or (Media("document", file_id=file_id, name=name) if file_id else None)
    elif kind == "input_audio":
        form, data = word(table(part, kind), "format"), word(table(part, kind), "data")
        media = Media("audio", _AUDIO_TYPES.get(form, f"audio/{form}"), data) if data else None
    return media or Foreign(NAME, part)


def _encode_turn(message: Message, quirks: Quirks) -> list[dict[str, object]]:
    """The items of one turn: its words in one message, between which reasoning and calls keep their place."""
    role = "system" if message.role == "developer" and not quirks.developer else message.role
    items: list[dict[str, object]] = []
    parts: list[dict[str, object]] = []
    for block in message.content:
        if isinstance(block, CachePoint):
            continue
        item = _encode_block(block, quirks) if message.role == "assistant" else None
        if item is None:
            parts.append(_encode_part(block, role))
            continue
        if parts:
            items.append({"type": "message", "role": role, "content": parts})
            parts = []
        if isinstance(block, ToolCall) and block.signature and block.signature.origin == NAME:
            # Reasoning without words comes back through Anthropic's clients as a seal of the call that followed it.
            items.append(reasoning_item(Thinking("", block.signature), ""))
        items += [item] if item else []
    return [*items, {"type": "message", "role": role, "content": parts}] if parts else items


def _encode_block(block: Block, quirks: Quirks) -> dict[str, object] | None:
    """An item of its own; None for what is part of a message; empty for reasoning that the provider did not seal."""
    if isinstance(block, ToolCall):
        kind, arguments = ("custom_tool_call", "input") if block.custom else ("function_call", "arguments")
        return {"type": kind, "call_id": block.id, "name": block.name, arguments: block.arguments}
    if isinstance(block, Thinking):
        if block.signature is not None and block.signature.origin == NAME:
            return reasoning_item(block, "")
        if not quirks.replays_reasoning or not block.text:
            return {}
        return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": block.text}]}
    return _own(block) if isinstance(block, Foreign) else None


def _encode_result(result: ToolResult) -> dict[str, object]:
    kind = "custom_tool_call_output" if result.custom else "function_call_output"
    words = [part.text for part in result.content if isinstance(part, Text)]
    failed = [Text(TOOL_FAILED)] if result.is_error else []
    output: object = "\n".join([*(note.text for note in failed), *words])
    if len(words) < len(result.content):
        output = [_encode_part(part, "user") for part in (*failed, *result.content)]
    return {"type": kind, "call_id": result.call_id, "output": output}


def _encode_part(block: Block, role: str) -> dict[str, object]:
    if isinstance(block, Text):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": block.text}
    if isinstance(block, Refusal):
        return {"type": "refusal", "refusal": block.text}
    if isinstance(block, Foreign):
        return _own(block)
    if not isinstance(block, Media) or role == "assistant":
        raise _no_place(block)
    url = block.url or data_url(block)
    if block.kind == "image":
        source = {"image_url": url} if url else {"file_id": block.file_id}
        return {"type": "input_image", **source, "detail": block.detail or "auto"}
    if block.kind == "audio" and block.data:
        form = next((form for form, kind in _AUDIO_TYPES.items() if kind == block.media_type), block.media_type[6:])
        return {"type": "input_audio", "input_audio": {"data": block.data, "format": form}}
    if block.kind != "document":
        raise _no_place(block)
    named = {"filename": block.name} if block.name else {}
    if block.data:
        return {"type": "input_file", "file_data": url, "filename": block.name or "file"}
    return {"type": "input_file", **({"file_url": url} if url else {"file_id": block.file_id, **named})}


def _own(block: Foreign) -> dict[str, object]:
    if block.dialect != NAME:
        raise _no_place(block)
    return block.value


def _no_place(block: Block) -> InvalidRequest:
    kind = block.kind if isinstance(block, Media) else type(block).__name__.lower()
    return InvalidRequest.at("messages", f"{kind} content that this model's provider has no place for", "other content")
