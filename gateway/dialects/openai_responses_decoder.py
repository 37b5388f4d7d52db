"""OpenAI Responses: a provider's stream, or its buffered answer, to events."""

from __future__ import annotations

from gateway.dialects.fields import count, rows, table, word
from gateway.dialects.openai_responses_fields import read_error, read_finish, read_reasoning, read_usage
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Failure,
    Media,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from gateway.jsonbody import read_json_object

MAX_ITEMS = 4096
"""In one answer. Long runs of tools make some hundreds; the reader remembers each."""

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class ItemReader:
    """Turns output items into deltas, whether they come in pieces, whole at their end, or both.

    Items of kinds that have no event (web searches, MCP calls) are passed over.
    """

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}  # index of an item -> ours
        self._heard: dict[int, set[str]] = {}  # index of an item -> what was said of it in pieces

    @property
    def any_call(self) -> bool:
        """Whether a call was seen."""
        return bool(self._calls)

    def knows(self, index: int) -> bool:
        """Whether the item was seen."""
        return index in self._heard

    def piece(self, index: int, kind: str, text: str) -> list[StreamEvent]:
        """Some more of an item: of its `text`, `refusal`, `summary`, `thought` or `arguments`."""
        heard = self._hear(index)
        # Some providers show one reasoning twice, raw and as its summary.
        if not text or {"summary": "thought", "thought": "summary"}.get(kind) in heard:
            return []
        heard.add(kind)
        if kind == "arguments":
            return [ToolCallDelta(self._calls[index], None, None, text)] if index in self._calls else []
        return [_delta(kind, text)]

    def begin(self, index: int, item: dict[str, object]) -> list[StreamEvent]:
        """An item begins: a call is told at once."""
        self._hear(index)
        kind = word(item, "type")
        if kind not in _CALLS or index in self._calls:
            return []
        ours = self._calls[index] = len(self._calls)
        call_id = word(item, "call_id") or word(item, "id") or f"call_{ours}"
        return [ToolCallDelta(ours, call_id, word(item, "name"), "", kind == "custom_tool_call")]

    def end(self, index: int, item: dict[str, object]) -> list[StreamEvent]:
        """An item is whole: what was not said in pieces, and the seal of reasoning."""
        kind, heard = word(item, "type"), set(self._hear(index))
        if kind in _CALLS:
            begun = self.begin(index, item)
            return begun if "arguments" in heard else begun + self.piece(index, "arguments", word(item, _CALLS[kind]))
        if kind == "reasoning":
            text, seal, of = read_reasoning(item)
            text = "" if heard & {"summary", "thought"} else text
            return [ReasoningDelta(text, seal, of == "redacted")] if text or seal else []
        if kind == "image_generation_call" and word(item, "result"):
            return [Media("image", f"image/{word(item, 'output_format') or 'png'}", word(item, "result"))]
        events: list[StreamEvent] = []
        for part in rows(item.get("content")) if kind == "message" else []:
            said = "refusal" if part.get("type") == "refusal" else "text"
            events += [] if said in heard else self.piece(index, said, word(part, said))
        return events

    def _hear(self, index: int) -> set[str]:
        if index not in self._heard and len(self._heard) == MAX_ITEMS:
            raise UpstreamFailed(f"output: found more than {MAX_ITEMS} items, wanted at most so many")
        return self._heard.setdefault(index, set())


class Decoder:
    """Reads a Responses stream by the `type` of its events; unknown ones are passed over."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._items = ItemReader()
        self.skipped = 0
        self._started = self._ended = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed beyond a bound."""
        events: list[StreamEvent] = []
        for frame in self._splitter.push(chunk):
            events += self._read_frame(frame)
        return events

    def finish(self) -> list[StreamEvent]:
        """The stream has ended. Without response.completed, or its like, it is a Failure."""
        events = self._read_frame(self._splitter.finish())
        if self._ended:
            return events
        self._ended = True
        return [*events, Failure("the provider's stream ended before the answer did", "upstream_cut")]

    def _read_frame(self, frame: bytes) -> list[StreamEvent]:
        data = parse_frame(frame).data.strip()
        if self._ended or not data or data.startswith("[DONE]"):
            return []
        fields = read_json_object(data)
        if fields is None:
            self.skipped += 1
            return []
        failure = read_error(fields)
        if failure is None:
            return self._read(fields)
        self._ended = True
        return [failure]

    def _read(self, fields: dict[str, object]) -> list[StreamEvent]:
        kind, index = word(fields, "type"), fields.get("output_index")
        index = index if isinstance(index, int) else 0
        if kind in _ENDS:
            return self._end(table(fields, "response"))
        if kind == "response.output_item.added":
            return self._items.begin(index, table(fields, "item"))
        if kind == "response.output_item.done":
            return self._items.end(index, table(fields, "item"))
        if kind == "response.reasoning_summary_part.added" and fields.get("summary_index") not in (None, 0):
            return self._items.piece(index, "summary", "\n\n")
        if kind.endswith(".delta") and (said := _PIECES.get(kind)):
            return self._items.piece(index, said, word(fields, "delta"))
        return self._start(table(fields, "response"))

    def _start(self, response: dict[str, object]) -> list[StreamEvent]:
        if self._started or not word(response, "id"):
            return []
        self._started = True
        return [_start_of(response)]

    def _end(self, response: dict[str, object]) -> list[StreamEvent]:
        """The last event repeats the whole output: of items that did not come by themselves it is the only word."""
        events = self._start(response)
        for index, item in enumerate(rows(response.get("output"))):
            if not self._items.knows(index):
                events += self._items.end(index, item)
        self._ended = True
        return events + _ending(response, self._items.any_call)


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a provider's buffered answer as the events that a stream would have given.

    Raises: UpstreamFailed if it is neither an answer nor an error object.
    """
    answer = read_json_object(body)
    if answer is None:
        raise UpstreamFailed("answer: found bytes that are no JSON object, wanted a response")
    output, failed = answer.get("output"), answer.get("status") in ("failed", "cancelled")
    if not failed and (failure := read_error(answer)):
        return [failure]
    if not isinstance(output, list) and not failed:
        raise UpstreamFailed("answer.output: found nothing, wanted a list of items")
    items = ItemReader()
    events: list[StreamEvent] = [_start_of(answer)] if word(answer, "id") else []
    for index, item in enumerate(rows(output)):
        events += items.end(index, item)
    return events + _ending(answer, items.any_call)


def _start_of(response: dict[str, object]) -> Start:
    return Start(word(response, "id"), word(response, "model"), count(response.get("created_at")) or 0)


def _ending(response: dict[str, object], has_calls: bool) -> list[StreamEvent]:
    finish, usage = read_finish(response, has_calls), read_usage(response)
    if isinstance(finish, Failure):
        return [*([usage] if usage else []), finish]
    return [finish, *([usage] if usage else [])]


def _delta(kind: str, text: str) -> StreamEvent:
    if kind == "text":
        return TextDelta(text)
    return RefusalDelta(text) if kind == "refusal" else ReasoningDelta(text)


_PIECES = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "thought",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "arguments",
}
