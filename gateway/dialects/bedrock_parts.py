"""Bedrock Converse: turns, content blocks and tools, from the blocks of a request to JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import count

from gateway.dialects.bedrock_fields import NAME
from gateway.dialects.turns import no_place, tool_input, tool_schema
from gateway.inference import (
    Block,
    CachePoint,
    Media,
    Message,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)  # what Claude takes; Bedrock itself would take dots and colons
_NOTHING: dict[str, object] = {"text": "(nothing)"}  # Bedrock refuses a result without content
# Kind of Media, and its type -> Bedrock's word for the format.
_FORMATS = {
    "image": {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"},
    "document": {
        "application/pdf": "pdf",
        "text/csv": "csv",
        "text/html": "html",
        "text/plain": "txt",
        "text/markdown": "md",
        "application/msword": "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    },
    "video": {
        "video/mp4": "mp4",
        "video/webm": "webm",
        "video/quicktime": "mov",
        "video/x-matroska": "mkv",
        "video/mpeg": "mpeg",
        "video/3gpp": "three_gp",
    },
    "audio": {
        "audio/mpeg": "mp3",
        "audio/mp3": "mp3",
        "audio/wav": "wav",
        "audio/ogg": "ogg",
        "audio/flac": "flac",
        "audio/aac": "aac",
        "audio/opus": "opus",
        "audio/mp4": "m4a",
        "audio/webm": "webm",
    },
}


def encode_turns(messages: list[Message], *, caches: bool) -> list[dict[str, object]]:
    """Write the turns: neighbours of one role join. Raises: InvalidRequest for content that Bedrock has no place for.

    `caches` says whether the model knows cache points.
    """
    documents = count(1)
    turns: list[dict[str, object]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        parts = encode_content(message.content, documents, caches=caches)
        if turns and turns[-1]["role"] == role:
            earlier = turns[-1]["content"]
            assert isinstance(earlier, list)
            earlier += parts
        elif parts:
            turns.append({"role": role, "content": parts})
    return turns


def encode_content(blocks: tuple[Block, ...], documents: Iterator[int], *, caches: bool) -> list[dict[str, object]]:
    """Write content blocks; blank ones, and reasoning that Bedrock did not seal, are refused by it, so they go."""
    parts: list[dict[str, object]] = []
    for block in blocks:
        if isinstance(block, CachePoint):
            if caches and parts and not parts[-1].keys() & {"reasoningContent", "cachePoint"}:
                parts.append(cache_point(block))
        elif part := _encode_block(block, documents):
            parts.append(part)
    return parts


def encode_tool(tool: Tool, *, strict: bool) -> dict[str, object]:
    """Write one tool. `strict` says whether the model knows the word."""
    spec: dict[str, object] = {"name": tool.name, "inputSchema": {"json": tool_schema(tool)}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict and strict and not tool.custom:
        spec["strict"] = True
    return {"toolSpec": spec}


def cache_point(point: CachePoint) -> dict[str, object]:
    """Write the end of a cached prefix; five minutes need no saying."""
    return {"cachePoint": {"type": "default", **({"ttl": "1h"} if point.ttl == "1h" else {})}}


def _call_id(call_id: str) -> str:
    """An id as it is, or for one that Bedrock refuses another that is the same each time."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return "call_" + hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _encode_block(block: Block, documents: Iterator[int]) -> dict[str, object] | None:
    if isinstance(block, Text | Refusal):
        return {"text": block.text} if block.text.strip() else None
    if isinstance(block, Thinking):
        return _encode_thinking(block)
    if isinstance(block, ToolCall):
        call = {"toolUseId": _call_id(block.id), "name": block.name, "input": tool_input(block.arguments)}
        return {"toolUse": call}
    if isinstance(block, ToolResult):
        content = encode_content(block.content, documents, caches=False) or [_NOTHING]
        status = {"status": "error"} if block.is_error else {}
        return {"toolResult": {"toolUseId": _call_id(block.call_id), "content": content, **status}}
    if isinstance(block, Media):
        return _encode_media(block, documents)
    raise no_place(block)


def _encode_thinking(block: Thinking) -> dict[str, object] | None:
    if block.signature is None or block.signature.origin != NAME:
        return None
    if block.redacted:
        return {"reasoningContent": {"redactedContent": block.signature.value}}
    return {"reasoningContent": {"reasoningText": {"text": block.text, "signature": block.signature.value}}}


def _encode_media(media: Media, documents: Iterator[int]) -> dict[str, object]:
    """Bytes in base64. Documents are numbered: a name must be unique, and the model would read it as words."""
    form = _FORMATS.get(media.kind, {}).get(media.media_type.lower())
    if form is None or not media.data:
        raise no_place(media)
    name = {"name": f"document-{next(documents)}"} if media.kind == "document" else {}
    return {media.kind: {"format": form, **name, "source": {"bytes": media.data}}}
