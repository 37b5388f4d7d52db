"""Reply: a whole answer, what it took, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from gateway.models.contract.conversation import Block


class AssistantRole(StrEnum):
    """Who replies: there is one."""

    ASSISTANT = "assistant"


class StopReason(StrEnum):
    """Why an answer ended."""

    COMPLETE = "complete"
    TOOL_CALLS = "tool_calls"
    MAX_OUTPUT = "max_output"
    REFUSAL = "refusal"
    ABORTED = "aborted"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. Those read from and written to a cache are not part of `input_tokens`: prices differ, and add up."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


EMPTY_USAGE = Usage(0, 0)
"""Where a fold begins."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: thinking, then text, then tool calls."""

    role: ClassVar[AssistantRole] = AssistantRole.ASSISTANT
    model: str
    blocks: tuple[Block, ...]
    usage: Usage
    stop: StopReason
