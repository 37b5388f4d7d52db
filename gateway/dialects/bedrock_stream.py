"""Bedrock Converse: the stream of an answer, from a provider's bytes to events."""

from __future__ import annotations

import base64
import binascii

from gateway.dialects.bedrock_fields import MAX_TOOL_CALLS, NAME, read_exception, read_finish, read_usage
from gateway.dialects.dialect import CUT
from gateway.dialects.eventstream import MAX_MESSAGE, EventMessage, MessageSplitter
from gateway.dialects.fields import table, word
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ThoughtSignature,
    ToolCallDelta,
    Usage,
)
from gateway.jsonbody import read_json_object


class Decoder:
    """Reads a ConverseStream. Blocks of kinds that have no event (citations, Amazon's own tools) are passed over.

    The stream ends with its bytes: what it cost comes after its stop reason, or before it.
    """

    def __init__(self, max_frame: int = MAX_MESSAGE) -> None:
        self._splitter = MessageSplitter(max_frame)
        self._calls: dict[int, int] = {}  # index of a block -> ours, while the block is open
        self._unsaid: set[int] = set()  # open calls without arguments so far
        self._seals: dict[int, str] = {}  # of an open block of reasoning
        self._hidden: dict[int, list[str]] = {}  # pieces of an open block of redacted reasoning
        self._call_count = 0
        self._kept, self._max_kept = 0, max_frame
        self._usage: Usage | None = None
        self.skipped = 0
        self._finished = self._ended = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed for damaged messages, or beyond a bound."""
        return [event for message in self._splitter.push(chunk) for event in self.read_message(message)]

    def finish(self) -> list[StreamEvent]:
        """The stream has ended: Failure if it had no stop reason, or ended within a message. Raises: UpstreamFailed."""
        if self._ended:
            return []
        self._ended = True
        whole = self._splitter.finish()
        return [] if self._finished and whole else [CUT]

    def read_message(self, message: EventMessage) -> list[StreamEvent]:
        """The events of one message. Raises: UpstreamFailed beyond a bound."""
        if self._ended:
            return []
        fields = read_json_object(message.payload)
        kind = message.text(":message-type")
        if kind == "event" and fields is not None:
            return self._read(message.text(":event-type"), fields)
        if kind not in ("exception", "error"):
            self.skipped += 1
            return []
        self._ended = True
        if kind == "exception":
            return [read_exception(message.text(":exception-type"), fields)]
        return [read_exception(message.text(":error-code"), {"message": message.text(":error-message")})]

    def _read(self, kind: str, fields: dict[str, object]) -> list[StreamEvent]:
        index = fields.get("contentBlockIndex")
        index = index if isinstance(index, int) else 0
        if self._finished and kind != "metadata":
            return []
        if kind == "contentBlockStart":
            return self._open(index, table(table(fields, "start"), "toolUse"))
        if kind == "contentBlockDelta":
            return self._delta(index, table(fields, "delta"))
        if kind == "contentBlockStop":
            return self._close(index)
        if kind == "messageStop":
            return self._stop(word(fields, "stopReason"))
        return self._count(table(fields, "usage")) if kind == "metadata" else []

    def _open(self, index: int, call: dict[str, object]) -> list[StreamEvent]:
        if not call:
            return []
        if self._call_count == MAX_TOOL_CALLS:
            raise UpstreamFailed(f"toolUse: found more than {MAX_TOOL_CALLS}, wanted at most so many")
        events = self._close(index)
        ours = self._calls[index] = self._call_count
        self._call_count += 1
        self._unsaid.add(index)
        return [*events, ToolCallDelta(ours, word(call, "toolUseId") or f"call_{ours}", word(call, "name"), "")]

    def _delta(self, index: int, delta: dict[str, object]) -> list[StreamEvent]:
        if word(delta, "text"):
            return [TextDelta(word(delta, "text"))]
        arguments = word(table(delta, "toolUse"), "input")
        if arguments and index in self._calls:
            self._unsaid.discard(index)
            return [ToolCallDelta(self._calls[index], None, None, arguments)]
        thought = table(delta, "reasoningContent")
        self._keep(word(thought, "signature") + word(thought, "redactedContent"))
        if sealed := word(thought, "signature"):
            self._seals[index] = self._seals.get(index, "") + sealed
        if hidden := word(thought, "redactedContent"):
            self._hidden.setdefault(index, []).append(hidden)
        return [ReasoningDelta(word(thought, "text"))] if word(thought, "text") else []

    def _keep(self, text: str) -> None:
        """What is kept until its block ends is bounded like a message: a seal is a part of one elsewhere."""
        self._kept += len(text)
        if self._kept > self._max_kept:
            raise UpstreamFailed(f"stream: found seals of more than {self._max_kept} bytes, wanted at most so many")

    def _close(self, index: int) -> list[StreamEvent]:
        """A block ends: a seal is given whole, and a call that had no arguments has empty ones."""
        events: list[StreamEvent] = []
        if sealed := self._seals.pop(index, ""):
            events.append(ReasoningDelta("", ThoughtSignature(NAME, sealed)))
        if pieces := self._hidden.pop(index, []):
            events.append(ReasoningDelta("", ThoughtSignature(NAME, _joined(pieces)), redacted=True))
        ours = self._calls.pop(index, None)
        if ours is not None and index in self._unsaid:
            self._unsaid.discard(index)
            events.append(ToolCallDelta(ours, None, None, "{}"))
        return events

    def _stop(self, reason: str) -> list[StreamEvent]:
        events = [event for index in [*self._calls, *self._seals, *self._hidden] for event in self._close(index)]
        end = read_finish(reason, self._call_count)
        self._finished, self._ended = isinstance(end, Finish), isinstance(end, Failure)
        return [*events, end, *([self._usage] if self._usage and self._finished else [])]

    def _count(self, fields: dict[str, object]) -> list[StreamEvent]:
        self._usage = read_usage(fields) or self._usage
        return [self._usage] if self._usage else []


def _joined(pieces: list[str]) -> str:
    """Base64 of all pieces as one; each was closed for itself."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except binascii.Error:
        raise UpstreamFailed("redactedContent: found text that is not base64, wanted base64") from None
