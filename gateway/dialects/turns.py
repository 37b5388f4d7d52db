"""What languages share that know no system role among the turns, and whose tools are called with an object."""

from __future__ import annotations

from gateway.inference import Message
from gateway.jsonbody import read_json_object


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
