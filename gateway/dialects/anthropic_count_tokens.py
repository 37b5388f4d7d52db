"""Anthropic's question for the number of tokens: passed on verbatim, or answered here by an estimate that says so."""

from __future__ import annotations

from dataclasses import replace

from gateway.dialects.anthropic_messages import PROVIDER as MESSAGES
from gateway.dialects.anthropic_messages import SURFACE as MESSAGES_SURFACE
from gateway.dialects.anthropic_messages_fields import read_failure
from gateway.dialects.anthropic_messages_request import decode_count
from gateway.dialects.dialect import Seen
from gateway.dialects.fields import count
from gateway.inference import Block, Foreign, InferenceRequest, Media, Text, Thinking, Tool, ToolCall, ToolResult
from gateway.jsonbody import encode_json

NAME = "anthropic_count_tokens"
# Vendors' tokens hold 3 to 4 bytes of English and of code, and clients shorten a chat that grows too long: better
# early than late. A picture of the size that vendors scale to is about 1600.
_BYTES_PER_TOKEN = 3
_MEDIA_TOKENS = 1600
_MESSAGE_TOKENS = 4


def estimate_tokens(request: InferenceRequest) -> bytes:
    """An answer in Anthropic's shape, marked `estimated`: counted in bytes, for no tokenizer of the model is here."""
    tokens = 0
    for message in request.messages:
        tokens += _MESSAGE_TOKENS + sum(_tokens(block) for block in message.content)
    for tool in request.tools or ():
        value = tool.value if isinstance(tool, Foreign) else _shown(tool)
        tokens += _MESSAGE_TOKENS + _of_bytes(len(encode_json(value)))
    return encode_json({"input_tokens": tokens, "estimated": True})


def answer_facts(fields: dict[str, object]) -> Seen:
    """What an answer says of itself: nothing was used."""
    return Seen(None, "", read_failure(fields) is None and count(fields.get("input_tokens")) is not None)


def _tokens(block: Block) -> int:
    if isinstance(block, Media):
        return _MEDIA_TOKENS
    if isinstance(block, ToolResult):
        return _MESSAGE_TOKENS + sum(_tokens(part) for part in block.content)
    if isinstance(block, ToolCall):
        return _MESSAGE_TOKENS + _of_bytes(len(block.name) + len(block.arguments.encode(errors="replace")))
    if isinstance(block, Text | Thinking):
        return _of_bytes(len(block.text.encode(errors="replace")))
    return _of_bytes(len(encode_json(block.value))) if isinstance(block, Foreign) else 0


def _of_bytes(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)


def _shown(tool: Tool) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}


_VERBATIM = MESSAGES_SURFACE.verbatim
assert _VERBATIM is not None
SURFACE = replace(
    MESSAGES_SURFACE, name=NAME, decode_request=decode_count, verbatim=replace(_VERBATIM, facts=answer_facts)
)
PROVIDER = replace(MESSAGES, name=NAME, path=lambda _model, _stream: "/v1/messages/count_tokens")
