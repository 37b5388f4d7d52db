"""How many tokens a prompt may have, where no tokenizer of its model is here: counted in bytes."""

from __future__ import annotations

from gateway.inference import Block, Foreign, InferenceRequest, Media, Text, Thinking, Tool, ToolCall, ToolResult
from gateway.jsonbody import encode_json

# Vendors' tokens hold 3 to 4 bytes of English and of code, and clients shorten a chat that grows too long: better
# early than late. A picture of the size that vendors scale to is about 1600.
BYTES_PER_TOKEN = 3
_MEDIA_TOKENS = 1600
_MESSAGE_TOKENS = 4


def estimate_prompt(request: InferenceRequest) -> int:
    """The tokens of all messages and tools, rather too many than too few."""
    tokens = 0
    for message in request.messages:
        tokens += _MESSAGE_TOKENS + sum(_tokens(block) for block in message.content)
    for tool in request.tools or ():
        value = tool.value if isinstance(tool, Foreign) else _shown(tool)
        tokens += _MESSAGE_TOKENS + _of_bytes(len(encode_json(value)))
    return tokens


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
    return -(-size // BYTES_PER_TOKEN)


def _shown(tool: Tool) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
