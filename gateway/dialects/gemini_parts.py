"""Gemini: the turns of a request, as contents and their parts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.dialects.gemini_fields import NAME
from gateway.dialects.gemini_stream import is_our_id
from gateway.dialects.turns import tool_input
from gateway.errors import InvalidRequest
from gateway.inference import (
    Block,
    CachePoint,
    Media,
    Message,
    Refusal,
    Text,
    Thinking,
    ThoughtSignature,
    ToolCall,
    ToolResult,
)

# Google's word for a call that another model made: the first of a turn must carry some seal, from Gemini 3 on.
NO_SEAL = "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv"

# A file's type must be said, and a URL alone does not say it.
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "mp3": "audio/mpeg",
    "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac", "mp4": "video/mp4", "mov": "video/quicktime",
    "webm": "video/webm",
}  # fmt: skip
_Calls = dict[str, tuple[tuple[int, int], str]]  # id -> place and name, of the newest call that had it
_UNKNOWN = ((1 << 31, 0), "unknown")  # a result of no call stands last, under some name, since one is demanded
_SUFFIX = re.compile(r"\.([a-zA-Z0-9]{3,4})(?:[?#]|$)")


def encode_system(messages: list[Message]) -> list[dict[str, object]]:
    """Write the parts of the system prompt. Raises: InvalidRequest for anything but words."""
    return _parts((block for message in messages for block in message.content), seals=False)


def encode_contents(messages: list[Message], *, seals: bool) -> list[dict[str, object]]:
    """Write the turns; what tools gave back for one turn stands together, in the order of its calls, and their pictures
    follow. `seals` says that calls must carry one.

    Raises: InvalidRequest for content that Gemini has no place for.
    """
    contents: list[dict[str, object]] = []
    calls: _Calls = {}
    results: list[ToolResult] = []
    for number, message in enumerate(messages):
        if message.role == "tool":
            results += [block for block in message.content if isinstance(block, ToolResult)]
            continue
        contents += _results(results, calls)
        results = []
        calls |= {
            block.id: ((number, at), block.name)
            for at, block in enumerate(message.content)
            if isinstance(block, ToolCall)
        }
        if parts := _parts(message.content, seals=seals):
            contents.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
    return contents + _results(results, calls)


def _results(results: list[ToolResult], calls: _Calls) -> list[dict[str, object]]:
    """The contents of what tools gave back. Gemini knows a result by the tool's name, which chat says in the call."""
    ordered = sorted(results, key=lambda result: calls.get(result.call_id, _UNKNOWN)[0])
    answers = [_result(result, result.name or calls.get(result.call_id, _UNKNOWN)[1]) for result in ordered]
    shown = _parts((part for result in ordered for part in result.content if not isinstance(part, Text)), seals=False)
    contents: list[dict[str, object]] = [{"role": "user", "parts": answers}] if answers else []
    return [*contents, {"role": "user", "parts": shown}] if shown else contents


def _result(result: ToolResult, name: str) -> dict[str, object]:
    said = "\n".join(part.text for part in result.content if isinstance(part, Text))
    response = {"error" if result.is_error else "output": said}
    return {"functionResponse": {**_id(result.call_id), "name": name, "response": response}}


def _parts(blocks: Iterable[Block], *, seals: bool) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    for block in blocks:
        if isinstance(block, ToolCall):
            first = seals and not any("functionCall" in part for part in parts)
            parts.append(_call(block, NO_SEAL if first else ""))
        elif isinstance(block, Text | Refusal):
            seal = _seal(block.signature) if isinstance(block, Text) else {}
            parts += [{"text": block.text, **seal}] if block.text or seal else []
        elif isinstance(block, Thinking):
            seal = _seal(block.signature)
            parts += [{"text": block.text, "thought": True, **seal}] if seal else []  # of no use to it without
        elif isinstance(block, Media):
            parts.append(_media(block))
        elif not isinstance(block, CachePoint):
            raise _no_place(block)
    return parts


def _call(call: ToolCall, no_seal: str) -> dict[str, object]:
    written = {**_id(call.id), "name": call.name, "args": tool_input(call.arguments)}
    seal = _seal(call.signature) or ({"thoughtSignature": no_seal} if no_seal else {})
    return {"functionCall": written, **seal}


def _id(call_id: str) -> dict[str, object]:
    return {} if not call_id or is_our_id(call_id) else {"id": call_id}


def _seal(signature: ThoughtSignature | None) -> dict[str, object]:
    return {"thoughtSignature": signature.value} if signature and signature.origin == NAME else {}


def _media(media: Media) -> dict[str, object]:
    if media.data:
        return {"inlineData": {"mimeType": media.media_type, "data": media.data}}
    if not media.url:
        raise _no_place(media)  # a file at another vendor
    suffix = _SUFFIX.search(media.url)
    kind = media.media_type or (_TYPES.get(suffix[1].lower(), "") if suffix else "")
    return {"fileData": {"fileUri": media.url, **({"mimeType": kind} if kind else {})}}


def _no_place(block: Block) -> InvalidRequest:
    kind = block.kind if isinstance(block, Media) else type(block).__name__.lower()
    return InvalidRequest.at("messages", f"{kind} content that this model's provider has no place for", "other content")
