"""What languages share that say less than a client may ask: no names, no system role among turns, own tools only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.errors import InvalidRequest
from gateway.inference import Block, Foreign, InferenceRequest, Media, Message, Text, Thinking, Tool, ToolChoice
from gateway.jsonbody import read_json_object

TOOL_FAILED = "The tool failed."
"""What a model is told in a language that has no member for it."""

_EMPTY_SCHEMA: dict[str, object] = {"type": "object", "properties": {}}
_TEXT_SCHEMA: dict[str, object] = {
    "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]
}  # fmt: skip


def system_apart(messages: tuple[Message, ...]) -> tuple[list[Message], list[Message]]:
    """System messages, wherever they stood, and the turns, each led by its speaker's name. A chat of nothing else asks
    its last one as the user.
    """
    messages = with_names(messages)
    system = [message for message in messages if message.role in ("system", "developer")]
    turns = [message for message in messages if message.role not in ("system", "developer")]
    return (system, turns) if turns else (system[:-1], [Message("user", message.content) for message in system[-1:]])


def with_names(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, each led by the name of its speaker in words: a chat of several people needs it."""
    return tuple(_with_name(message) if message.name and message.content else message for message in messages)


def _with_name(message: Message) -> Message:
    """Thinking stays first, where its vendors demand it."""
    said = message.content
    at = next((at for at, block in enumerate(said) if not isinstance(block, Thinking)), len(said))
    return replace(message, content=(*said[:at], Text(f"{message.name}:"), *said[at:]), name=None)


def check_choice(request: InferenceRequest, dialect: str = "") -> None:
    """Refuse a choice that `dialect` cannot say, or that leaves no tool to call; unnamed, it is one that no client
    speaks. Raises: InvalidRequest.
    """
    choice = request.tool_choice
    if isinstance(choice, Foreign) and choice.dialect != dialect:
        old = "functions" in choice.value
        wanted = "`tools` and `tool_choice`" if old else "one that this model's provider has"
        raise InvalidRequest.at("functions" if old else "tool_choice", f"a form that only {choice.dialect} has", wanted)
    left = any(isinstance(tool, Tool) or tool.dialect == dialect for tool in request.tools or ())
    if isinstance(choice, ToolChoice) and choice.mode == "required" and not left:
        raise InvalidRequest.at("tool_choice", "a demand for a call", "a tool that this model's provider can be given")


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
