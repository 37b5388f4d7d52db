"""Anthropic Messages: turns, content blocks and tools, between JSON and the blocks of a request."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

from gateway.dialects.anthropic_messages_fields import NAME
from gateway.dialects.fields import table, word
from gateway.dialects.media import data_url
from gateway.dialects.turns import tool_input, tool_schema
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
    Tool,
    ToolCall,
    ToolResult,
    read_signature,
)
from gateway.jsonbody import encode_json, kind_of

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def decode_turn(turn: dict[str, object], place: str) -> list[Message]:
    """Read one turn: tool results become a message of their own, before the rest. Raises: InvalidRequest."""
    role = turn.get("role")
    if role not in ("user", "assistant", "system"):
        found = "an unknown role" if isinstance(role, str) else kind_of(role)
        raise InvalidRequest.at(f"{place}.role", found, "user, assistant or system")
    blocks = decode_content(turn.get("content"), f"{place}.content")
    results: list[Block] = []
    others: list[Block] = []
    for block in blocks:
        follows_result = isinstance(block, CachePoint) and bool(results) and not others
        (results if isinstance(block, ToolResult) or follows_result else others).append(block)
    messages = [Message("tool", tuple(results))] if results else []
    return messages if results and not others else [*messages, Message(str(role), tuple(others))]


def decode_content(content: object, place: str) -> list[Block]:
    """Read a string, or a list of content blocks. Raises: InvalidRequest."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    if not isinstance(content, list):
        raise InvalidRequest.at(place, kind_of(content), "a string or a list of content blocks")
    blocks: list[Block] = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest.at(f"{place}[{number}]", kind_of(part), "an object with a `type`")
        block = _decode_block(part, f"{place}[{number}]")
        seal = blocks[-1] if blocks else None
        if isinstance(block, ToolCall) and isinstance(seal, Thinking) and _seals_next(seal):
            block = replace(block, signature=seal.signature)
            blocks.pop()
        if isinstance(block, Media) and (context := _document_words(part, "context")):
            blocks.append(Text(context))
        blocks.append(block)
        if point := cache_point(part):
            blocks.append(point)
    return blocks


def decode_tool(tool: dict[str, object]) -> Tool | Foreign:
    """Read one tool. Those that Anthropic itself runs have no schema, and are kept as they are."""
    schema, strict = tool.get("input_schema"), tool.get("strict")
    if tool.get("type") not in (None, "custom") or not word(tool, "name") or not isinstance(schema, dict):
        return Foreign(NAME, tool)
    strict = strict if isinstance(strict, bool) else None
    return Tool(word(tool, "name"), word(tool, "description"), schema, strict, cache=cache_point(tool))


def encode_tool(tool: Tool) -> dict[str, object]:
    """Write one tool."""
    written: dict[str, object] = {"name": tool.name, "input_schema": tool_schema(tool)}
    if tool.description:
        written["description"] = tool.description
    if tool.strict is not None and not tool.custom:
        written["strict"] = tool.strict
    return {**written, "cache_control": _cache_control(tool.cache)} if tool.cache else written


def encode_system(messages: list[Message]) -> list[dict[str, object]]:
    """Write the system prompt. Raises: InvalidRequest for anything but words."""
    return [part for message in messages for part in encode_content(message.content)]


def encode_turns(messages: list[Message]) -> list[dict[str, object]]:
    """Write the turns: neighbours of one role join, what tools gave back stands first in the user's next turn.

    Raises: InvalidRequest for content that Anthropic has no place for.
    """
    turns: list[dict[str, object]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        parts = encode_content(message.content)
        if turns and turns[-1]["role"] == role:
            earlier = turns[-1]["content"]
            assert isinstance(earlier, list)
            earlier += parts
        elif parts:
            turns.append({"role": role, "content": parts})
    return turns


def encode_content(blocks: tuple[Block, ...]) -> list[dict[str, object]]:
    """Write content blocks; empty ones, and reasoning that Anthropic did not seal, are refused by it, so they go."""
    parts: list[dict[str, object]] = []
    for block in blocks:
        if isinstance(block, CachePoint):
            if parts and parts[-1]["type"] not in ("thinking", "redacted_thinking"):
                parts[-1] = {**parts[-1], "cache_control": _cache_control(block)}
        elif part := _encode_block(block):
            parts.append(part)
    return parts


def encode_call(call: ToolCall) -> dict[str, object]:
    """Write a tool call; an id from elsewhere may hold signs that Anthropic refuses."""
    call_id = _NOT_IN_IDS.sub("_", call.id) or "call_0"
    return {"type": "tool_use", "id": call_id, "name": call.name, "input": tool_input(call.arguments)}


def encode_thinking(block: Thinking) -> dict[str, object]:
    """Write a block of reasoning for a client, whoever sealed it."""
    sealed = block.signature.written_by(NAME) if block.signature else ""
    if block.redacted:
        return {"type": "redacted_thinking", "data": sealed}
    return {"type": "thinking", "thinking": block.text, "signature": sealed}


def picture_in_words(media: Media) -> str:
    """A picture that a model made, as a Markdown image: an answer of Anthropic's holds words and calls only.

    Raises: UpstreamFailed for anything that Markdown cannot show.
    """
    url = media.url or data_url(media)
    if media.kind != "image" or not url:
        raise UpstreamFailed(f"answer: found {media.kind} content, which Anthropic's language has no place for")
    return f"![{media.name or 'image'}]({url})"


def cache_point(part: dict[str, object]) -> CachePoint | None:
    """The end of a cached prefix, if this object is one."""
    control = part.get("cache_control")
    return CachePoint(word(control, "ttl")) if isinstance(control, dict) else None


def _seals_next(block: Thinking) -> bool:
    """Whether it only carries another vendor's seal of the tool call after it (see the Encoder)."""
    return not block.text and not block.redacted and block.signature is not None and block.signature.origin != NAME


def _cache_control(point: CachePoint) -> dict[str, object]:
    return {"type": "ephemeral", **({"ttl": point.ttl} if point.ttl else {})}


def _decode_block(part: dict[str, object], place: str) -> Block:
    kind = word(part, "type")
    if kind == "text" and isinstance(part.get("text"), str):
        return Text(word(part, "text"))
    if kind == "thinking":
        sealed = word(part, "signature")
        return Thinking(word(part, "thinking"), read_signature(sealed, NAME) if sealed else None)
    if kind == "redacted_thinking" and word(part, "data"):
        return Thinking("", read_signature(word(part, "data"), NAME), redacted=True)
    if kind == "tool_use" and word(part, "name"):
        return ToolCall(word(part, "id"), word(part, "name"), encode_json(part.get("input") or {}).decode())
    if kind == "tool_result":
        content = part.get("content")
        inner = [] if content is None else decode_content(content, f"{place}.content")
        said = tuple(block for block in inner if isinstance(block, Text | Media | Foreign))
        return ToolResult(word(part, "tool_use_id"), said, part.get("is_error") is True)
    return (_decode_media(part, kind) if kind in ("image", "document") else None) or Foreign(NAME, part)


def _decode_media(part: dict[str, object], kind: str) -> Text | Media | None:
    source, name = table(part, "source"), word(part, "title")
    data, media_type = word(source, "data"), word(source, "media_type")
    if source.get("type") == "text" and data:
        said = _document_words(part, "title", "context")
        return Text(f"{said}\n\n{data}" if said else data)
    if source.get("type") == "base64" and data:
        return Media(kind, media_type, data, name=name)
    if url := word(source, "url"):
        return Media(kind, url=url, name=name)
    file_id = word(source, "file_id")
    return Media(kind, file_id=file_id, name=name) if file_id else None


def _document_words(part: dict[str, object], *names: str) -> str:
    """What a client says of a document beside its bytes, as words: no other language has members for it."""
    if word(part, "type") != "document":
        return ""
    return "\n".join(f"Document {name}: {said}" for name in names if (said := word(part, name)))


def _encode_block(block: Block) -> dict[str, object] | None:
    if isinstance(block, Text | Refusal):
        return {"type": "text", "text": block.text} if block.text.strip() else None
    if isinstance(block, Thinking):
        return encode_thinking(block) if block.signature and block.signature.origin == NAME else None
    if isinstance(block, ToolCall):
        return encode_call(block)
    if isinstance(block, ToolResult):
        result: dict[str, object] = {"type": "tool_result", "tool_use_id": _NOT_IN_IDS.sub("_", block.call_id)}
        if content := encode_content(block.content):
            result["content"] = content
        return {**result, "is_error": True} if block.is_error else result
    if isinstance(block, Media):
        return _encode_media(block)
    if isinstance(block, Foreign) and block.dialect == NAME:
        return block.value
    raise _no_place(block)


def _encode_media(media: Media) -> dict[str, object]:
    if media.kind not in ("image", "document"):
        raise _no_place(media)
    source: dict[str, object]
    if media.data and media.media_type.startswith("text/"):
        try:
            words = base64.b64decode(media.data, validate=True).decode()
        except ValueError:
            raise _no_place(media) from None
        source = {"type": "text", "media_type": "text/plain", "data": words}
    elif media.data:
        source = {"type": "base64", "media_type": media.media_type, "data": media.data}
    else:
        source = {"type": "url", "url": media.url} if media.url else {"type": "file", "file_id": media.file_id}
    title = {"title": media.name} if media.name and media.kind == "document" else {}
    return {"type": media.kind, "source": source, **title}


def _no_place(block: Block) -> InvalidRequest:
    kind = block.kind if isinstance(block, Media) else type(block).__name__.lower()
    if isinstance(block, Foreign) and "audio" in block.value:
        kind = "audio"
    return InvalidRequest.at("messages", f"{kind} content that this model's provider has no place for", "other content")
