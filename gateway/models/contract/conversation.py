"""Conversation: what a model is asked, in nobody's wire language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

JsonSchema = dict[str, object]
"""A JSON Schema, whatever stands in it."""


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Words."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """Reasoning. `signature` is its provider's seal, opaque: give it back unchanged."""

    kind: ClassVar[str] = "thinking"
    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallBlock:
    """The model's call of a tool. `input` is any JSON value, or the raw text where the model wrote none."""

    kind: ClassVar[str] = "tool_call"
    id: str
    name: str
    input: object


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a tool gave back: text as it is, any other JSON value as its JSON."""

    kind: ClassVar[str] = "tool_result"
    call_id: str
    output: object
    is_error: bool | None = None


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """A picture, in base64."""

    kind: ClassVar[str] = "image"
    media_type: str
    data_base64: str


@dataclass(frozen=True, slots=True)
class CommandBlock:
    """A program that the host runs, and its arguments: between the host and its shell. No wire language has it, so it
    stays behind.
    """

    kind: ClassVar[str] = "command"
    command: str
    args: tuple[str, ...] | None = None


Block = TextBlock | ThinkingBlock | ToolCallBlock | ToolResultBlock | ImageBlock | CommandBlock
"""One piece of a turn, told by `kind`."""


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user said."""

    role: ClassVar[str] = "user"
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """What the model said."""

    role: ClassVar[str] = "assistant"
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """What tools gave back."""

    role: ClassVar[str] = "tool"
    blocks: tuple[Block, ...]


Turn = UserTurn | AssistantTurn | ToolTurn
"""One turn, told by `role`."""


@dataclass(frozen=True, slots=True)
class ToolDescriptor:
    """A tool that the model may call."""

    name: str
    description: str
    parameters: JsonSchema


@dataclass(frozen=True, slots=True)
class Conversation:
    """The whole question: instructions, turns, tools."""

    turns: tuple[Turn, ...]
    system: str | None = None
    tools: tuple[ToolDescriptor, ...] | None = None
