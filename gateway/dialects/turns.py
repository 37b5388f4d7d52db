"""What languages share that know no system role among the turns, and whose tools are called with an object."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.errors import InvalidRequest
from gateway.inference import Block, InferenceRequest, Media, Message, Tool, ToolChoice
from gateway.jsonbody import read_json_object

_EMPTY_SCHEMA: dict[str, object] = {"type": "object", "properties": {}}
_TEXT_SCHEMA: dict[str, object] = {
    "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]
}  # fmt: skip


def system_apart(messages: tuple[Message, ...]) -> tuple[list[Message], list[Message]]:
    """System messages, wherever they stood, and the turns. A chat of nothing else asks its last one as the user."""
    system = [message for message in messages if message.role in ("system", "developer")]
    turns = [message for message in messages if message.role not in ("system", "developer")]
    return (system, turns) if turns else (system[:-1], [Message("user", message.content) for message in system[-1:]])


def tool_input(arguments: str) -> dict[str, object]:
    """The object that a tool is called with; text that is none becomes the one member of one."""
    if not arguments.strip():
        return {}
    found = read_json_object(arguments)
    return {"input": arguments} if found is None else found


def tool_schema(tool: Tool) -> dict[str, object]:
    """The schema of the object that a tool is called with; free text becomes the one string of an object."""
    return _TEXT_SCHEMA if tool.custom else tool.parameters or _EMPTY_SCHEMA


def offered_tools(request: InferenceRequest, *, can_force: bool) -> Iterator[Tool]:
    """The tools that the choice allows; those that only another vendor can run are not offered.

    Where one `can_force` a tool by name, the others stay beside it: without them a cached prompt is another one.
    """
    choice = request.tool_choice
    names = choice.names if isinstance(choice, ToolChoice) else ()
    allowed = () if can_force and len(names) == 1 else names
    for tool in request.tools or ():
        if isinstance(tool, Tool) and (not allowed or tool.name in allowed):
            yield tool


def no_place(block: Block) -> InvalidRequest:
    """The refusal of content that a provider's language cannot say."""
    kind = type(block).__name__.lower()
    if isinstance(block, Media):
        kind = f"{block.kind} content" + ("" if block.data else " that is not in the request itself")
    return InvalidRequest.at("messages", f"{kind} that this model's provider has no place for", "other content")
