"""Fold the events of a whole answer into its blocks: what a buffered answer is written from."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import UpstreamFailed
from gateway.inference import (
    Block,
    Embedding,
    Failure,
    Finish,
    Media,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Start,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThoughtSignature,
    ToolCall,
    ToolCallDelta,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `blocks` stand in the order in which the model began them; `finish` is a plain stop if none
    was said.
    """

    start: Start
    blocks: tuple[Block, ...]
    finish: Finish
    usage: Usage
    failure: Failure | None

    @property
    def text(self) -> str:
        """All text of the answer."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))


def fold_events(events: list[StreamEvent]) -> Reply:
    """Fold. Adjacent deltas of one kind join; a signature ends its block; tool calls join by index.

    Raises: UpstreamFailed for vectors, which are no message.
    """
    start, finish, usage, failure = Start("", ""), None, Usage(0, 0), None
    pieces: list[list[StreamEvent]] = []
    calls: dict[int, list[StreamEvent]] = {}
    for event in events:
        if isinstance(event, Start):
            start = event
        elif isinstance(event, Finish):
            finish = event
        elif isinstance(event, Usage):
            usage = event
        elif isinstance(event, Failure):
            failure = event
        elif isinstance(event, Embedding):
            raise no_place_for_vectors()
        elif isinstance(event, ToolCallDelta) and event.index in calls:
            calls[event.index].append(event)
        elif pieces and _continues(pieces[-1][-1], event):
            pieces[-1].append(event)
        else:
            pieces.append([event])
            if isinstance(event, ToolCallDelta):
                calls[event.index] = pieces[-1]
    blocks = tuple(_block(piece) for piece in pieces)
    said = tuple(block for block in blocks if block is not None)
    return Reply(start, said, finish or Finish("tool_calls" if calls else "stop"), usage, failure)


def no_place_for_vectors() -> UpstreamFailed:
    """Embeddings where a message was asked for."""
    return UpstreamFailed("answer: found embeddings, which a message has no place for")


def _continues(last: StreamEvent, event: StreamEvent) -> bool:
    if isinstance(event, TextDelta):
        return isinstance(last, TextDelta) and last.signature is None
    if isinstance(event, ReasoningDelta):
        return isinstance(last, ReasoningDelta) and last.signature is None and not event.redacted
    return isinstance(event, RefusalDelta) and isinstance(last, RefusalDelta)


def _block(piece: list[StreamEvent]) -> Block | None:
    """One block of its deltas, which are all of one kind; None if they say nothing."""
    first = piece[0]
    if isinstance(first, Media):
        return first
    if isinstance(first, ToolCallDelta):
        return _call([delta for delta in piece if isinstance(delta, ToolCallDelta)])
    text = "".join(delta.text for delta in piece if isinstance(delta, TextDelta | ReasoningDelta | RefusalDelta))
    if isinstance(first, RefusalDelta):
        return Refusal(text) if text else None
    signature = _last_signature(piece)
    if not text and signature is None:
        return None
    return Text(text, signature) if isinstance(first, TextDelta) else Thinking(text, signature, _redacted(first))


def _call(deltas: list[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        next((delta.id for delta in deltas if delta.id), f"call_{deltas[0].index}"),
        next((delta.name for delta in deltas if delta.name), ""),
        "".join(delta.arguments for delta in deltas),
        deltas[0].custom,
        _last_signature(list(deltas)),
    )


def _redacted(event: StreamEvent) -> bool:
    return isinstance(event, ReasoningDelta) and event.redacted


def _last_signature(piece: list[StreamEvent]) -> ThoughtSignature | None:
    return next(
        (
            delta.signature
            for delta in reversed(piece)
            if isinstance(delta, TextDelta | ReasoningDelta | ToolCallDelta) and delta.signature is not None
        ),
        None,
    )
