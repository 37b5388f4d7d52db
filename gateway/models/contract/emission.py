"""Emission: one step of an answer on its way; the last is Done or Error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gateway.models.contract.errors import GatewayError
from gateway.models.contract.reply import Reply, StopReason, Usage


@dataclass(frozen=True, slots=True)
class TextEmission:
    """Some more text."""

    kind: ClassVar[str] = "text"
    delta: str


@dataclass(frozen=True, slots=True)
class ThinkingEmission:
    """Some more reasoning."""

    kind: ClassVar[str] = "thinking"
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCallStartEmission:
    """A tool call begins."""

    kind: ClassVar[str] = "tool_call_start"
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDeltaEmission:
    """Some more of the arguments of the call `id`: JSON text that concatenates."""

    kind: ClassVar[str] = "tool_call_delta"
    id: str
    args_delta: str


@dataclass(frozen=True, slots=True)
class UsageEmission:
    """Tokens so far; the last one counts."""

    kind: ClassVar[str] = "usage"
    usage: Usage


@dataclass(frozen=True, slots=True)
class StopEmission:
    """Why the model stopped."""

    kind: ClassVar[str] = "stop"
    stop: StopReason


@dataclass(frozen=True, slots=True)
class DoneEmission:
    """The whole answer: the end of a success."""

    kind: ClassVar[str] = "done"
    reply: Reply


@dataclass(frozen=True, slots=True)
class ErrorEmission:
    """What went wrong: the end of a failure."""

    kind: ClassVar[str] = "error"
    error: GatewayError


Emission = (
    TextEmission
    | ThinkingEmission
    | ToolCallStartEmission
    | ToolCallDeltaEmission
    | UsageEmission
    | StopEmission
    | DoneEmission
    | ErrorEmission
)
"""One step of an answer, told by `kind`."""


def is_terminal(emission: Emission) -> bool:
    """Whether nothing follows."""
    return isinstance(emission, DoneEmission | ErrorEmission)
