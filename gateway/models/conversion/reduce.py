"""fold_reply: the emissions of an answer as one Reply."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.models.contract.conversation import Block, TextBlock, ThinkingBlock, ToolCallBlock
from gateway.models.contract.emission import (
    Emission,
    StopEmission,
    TextEmission,
    ThinkingEmission,
    ToolCallDeltaEmission,
    ToolCallStartEmission,
    UsageEmission,
)
from gateway.models.contract.reply import EMPTY_USAGE, Reply, StopReason


def fold_reply(model: str, emissions: Iterable[Emission]) -> Reply:
    """Thinking, then text, then tool calls in the order in which they began. The latest usage counts, and the stop
    that was said; where none was, calls make it TOOL_CALLS. Done and Error add nothing.
    """
    thinking, text, usage, stop = "", "", EMPTY_USAGE, None
    names: dict[str, str] = {}
    arguments: dict[str, str] = {}
    for emission in emissions:
        match emission:
            case ThinkingEmission(delta):
                thinking += delta
            case TextEmission(delta):
                text += delta
            case ToolCallStartEmission(call_id, name):
                names[call_id] = name
                arguments.setdefault(call_id, "")
            case ToolCallDeltaEmission(call_id, delta):
                arguments[call_id] = arguments.get(call_id, "") + delta
            case UsageEmission(said):
                usage = said
            case StopEmission(reason):
                stop = reason
    blocks: list[Block] = [ThinkingBlock(thinking)] if thinking else []
    blocks += [TextBlock(text)] if text else []
    blocks += [ToolCallBlock(each, names.get(each, ""), read_arguments(arguments[each])) for each in arguments]
    usual = StopReason.TOOL_CALLS if arguments else StopReason.COMPLETE
    return Reply(model, tuple(blocks), usage, stop or usual)


def read_arguments(text: str) -> object:
    """The arguments of a call as JSON; the text itself where it is none, nothing at all as no arguments."""
    try:
        return json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return text
