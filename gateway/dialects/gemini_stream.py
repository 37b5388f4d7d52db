"""Gemini: what a provider answers, as events: streamed (`alt=sse`) and buffered are the same objects."""

from __future__ import annotations

import re

from gateway.dialects.fields import rows, table, word
from gateway.dialects.gemini_arguments import PartialCall
from gateway.dialects.gemini_fields import FAILED_FINISHES, NAME, block_reason, finish_word, read_failure, read_usage
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    Media,
    ReasoningDelta,
    Start,
    StreamEvent,
    TextDelta,
    ThoughtSignature,
    ToolCallDelta,
    Usage,
)
from gateway.jsonbody import encode_json, read_json_object

MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful."""

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_OUR_ID = re.compile(r"call_\d{1,4}(_[a-zA-Z0-9_-]*)?")
_MAX_ID = 32  # characters of an answer's id in its calls', which other vendors bound at 64
_KINDS = ("image", "audio", "video")


def is_our_id(call_id: str) -> bool:
    """Whether the id of a call was made here because Gemini gave none: then it wants none back."""
    return _OUR_ID.fullmatch(call_id) is not None


class Reader:
    """Reads the objects of one answer, in order. What only the provider runs (code, searches) is passed over."""

    def __init__(self) -> None:
        self._started = False
        self._answer_id = ""
        self._finish: tuple[str, str | None] | None = None  # our word, and the provider's
        self._failure: Failure | None = None
        self._usage: Usage | None = None
        self._calls = 0
        self._partial: PartialCall | None = None

    @property
    def ended(self) -> bool:
        """Whether the provider said why it stopped."""
        return self._finish is not None or self._failure is not None

    def read(self, answer: dict[str, object]) -> list[StreamEvent]:
        """The events of one object. Raises: UpstreamFailed beyond a bound."""
        self._usage = read_usage(table(answer, "usageMetadata")) or self._usage
        candidate = next(iter(rows(answer.get("candidates"))), {})
        events = self._start(answer)
        for part in rows(table(candidate, "content").get("parts")):
            events += self._part(part)
        if reason := word(candidate, "finishReason"):
            self._stop(reason, word(candidate, "finishMessage"))
        elif reason := block_reason(answer):
            self._finish = ("content_filter", reason)
        return events

    def end(self) -> list[StreamEvent]:
        """What comes last: an open call, then the end with its usage."""
        events = self._close()
        if self._failure is not None:
            return [*events, *self.used(), self._failure]
        ours, theirs = self._finish or ("stop", None)
        return [*events, Finish("tool_calls" if self._calls and ours == "stop" else ours, theirs), *self.used()]

    def used(self) -> list[StreamEvent]:
        """The usage so far: each object tells it anew."""
        return [self._usage] if self._usage else []

    def _start(self, answer: dict[str, object]) -> list[StreamEvent]:
        """Its name, if the first object has one: it stands in all of them, and nothing may come before it."""
        answer_id = word(answer, "responseId")
        if self._started or not answer_id:
            self._started = True
            return []
        self._started, self._answer_id = True, _NOT_IN_IDS.sub("", answer_id[:_MAX_ID])
        return [Start(answer_id, word(answer, "modelVersion"))]

    def _stop(self, reason: str, message: str) -> None:
        if reason in FAILED_FINISHES:
            self._failure = Failure(message or "the provider gave up in the middle of the answer", reason)
        self._finish = (finish_word(reason), reason)

    def _part(self, part: dict[str, object]) -> list[StreamEvent]:
        sealed = word(part, "thoughtSignature")
        signature = ThoughtSignature(NAME, sealed) if sealed else None
        call, media, text = part.get("functionCall"), table(part, "inlineData"), word(part, "text")
        if isinstance(call, dict):
            return self._call(call, signature)
        events = self._close() if text or media else []
        thought = part.get("thought") is True
        if media and not thought:
            kind = word(media, "mimeType").split("/")[0]
            data = word(media, "data")
            kind = kind if kind in _KINDS else "document"
            return [*events, Media(kind, word(media, "mimeType"), data)] if data else events
        if "text" not in part or not (text or signature):
            return events
        if thought:
            return [*events, ReasoningDelta(text, signature)]
        return [*events, TextDelta(text, signature)]

    def _call(self, call: dict[str, object], signature: ThoughtSignature | None) -> list[StreamEvent]:
        """A call comes whole, or is opened by its name and told in pieces, until one does not say that it goes on."""
        name, goes_on = word(call, "name"), call.get("willContinue") is True
        events: list[StreamEvent] = []
        if name:
            events = self._close()
            if self._calls == MAX_TOOL_CALLS:
                raise UpstreamFailed(f"functionCall: found more than {MAX_TOOL_CALLS}, wanted at most so many")
            call_id = word(call, "id") or f"call_{self._calls}" + (f"_{self._answer_id}" if self._answer_id else "")
            self._partial = PartialCall(call_id, name, signature, table(call, "args"))
            self._calls += 1
        if self._partial is not None:
            self._partial.add(call)
        return events if goes_on else events + self._close()

    def _close(self) -> list[StreamEvent]:
        """The open call, all at once: its pieces are places in an object, which may come in any order."""
        call, self._partial = self._partial, None
        if call is None:
            return []
        arguments = encode_json(call.arguments()).decode()
        return [ToolCallDelta(self._calls - 1, call.id, call.name, arguments, signature=call.signature)]


class Decoder:
    """Reads a stream. It has no end mark: a finish reason is the proof that it is whole."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._reader = Reader()
        self.skipped = 0
        self._over = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed for a frame beyond the bound."""
        events: list[StreamEvent] = []
        for frame in self._splitter.push(chunk):
            events += self._read_frame(frame)
        return events

    def finish(self) -> list[StreamEvent]:
        """The stream has ended; without a finish reason it is a Failure."""
        events = self._read_frame(self._splitter.finish())
        if self._over:
            return events
        self._over = True
        if self._reader.ended:
            return events + self._reader.end()
        cut = Failure("the provider's stream ended before the answer did", "upstream_cut")
        return [*events, *self._reader.used(), cut]

    def _read_frame(self, frame: bytes) -> list[StreamEvent]:
        data = parse_frame(frame).data.strip()
        if self._over or not data or data.startswith("[DONE]"):
            return []
        answer = read_json_object(data)
        if answer is None:
            self.skipped += 1
            return []
        failure = read_failure(answer)
        if failure is None:
            return self._reader.read(answer)
        self._over = True
        return [*self._reader.used(), failure]
