"""OpenAI chat: streams in both directions, provider's bytes to events and events to the client's bytes."""

from __future__ import annotations

from gateway.dialects.openai_chat_fields import (
    FAILED_FINISHES,
    chunk_usage,
    finish_word,
    first_text,
    objects_in,
    read_failure,
    write_failure,
    write_usage,
)
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, Finish, ReasoningDelta, StreamEvent, TextDelta, ToolCallDelta, Usage
from gateway.jsonbody import encode_json, read_json_object

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
"""Names under which compatible servers send reasoning; one that sends two sends the same text twice."""

MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful; the reader remembers each."""

DONE = b"data: [DONE]\n\n"


class ToolCallReader:
    """Turns `tool_calls` entries into deltas. Servers forget `index`, repeat `id`, or count every call as 0."""

    def __init__(self) -> None:
        self._ids: list[str] = []  # by our index
        self._named: set[int] = set()
        self._current: dict[int, int] = {}  # upstream index -> ours

    @property
    def any(self) -> bool:
        """Whether a call was seen."""
        return bool(self._ids)

    def read(self, entry: dict[str, object]) -> ToolCallDelta | None:
        """Read one entry of `delta.tool_calls` or `message.tool_calls`; None if it says nothing.

        Raises: UpstreamFailed beyond `MAX_TOOL_CALLS`.
        """
        call = entry.get("function")
        call = call if isinstance(call, dict) else {}
        call_id, name = first_text(entry, "id"), first_text(call, "name")
        arguments = _as_text(call.get("arguments"))
        if not (call_id or name or arguments):
            return None
        index, is_new = self._place(entry.get("index"), call_id, name)
        said_name = name if name and index not in self._named else None
        if said_name:
            self._named.add(index)
        return ToolCallDelta(index, self._ids[index] if is_new else None, said_name, arguments)

    def _place(self, upstream_index: object, call_id: str, name: str) -> tuple[int, bool]:
        if isinstance(upstream_index, int):
            known = self._current.get(upstream_index)
            another = known is not None and bool(call_id and name) and self._ids[known] != call_id
            if known is not None and not another:
                return known, False
            self._current[upstream_index] = len(self._ids)
        elif call_id and call_id in self._ids:
            return self._ids.index(call_id), False
        elif self._ids and not call_id and not name:
            return len(self._ids) - 1, False
        if len(self._ids) == MAX_TOOL_CALLS:
            raise UpstreamFailed(f"tool_calls: found more than {MAX_TOOL_CALLS}, wanted at most so many")
        self._ids.append(call_id or f"call_{len(self._ids)}")
        return len(self._ids) - 1, True


class Decoder:
    """Reads a chat stream. After Failure or `[DONE]` nothing follows; Usage comes once, after Finish."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._tools = ToolCallReader()
        self._usage: Usage | None = None
        self._finished = False
        self._ended = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed for a frame beyond the bound."""
        events: list[StreamEvent] = []
        for frame in self._splitter.push(chunk):
            events += self._read_frame(frame)
        return events

    def finish(self) -> list[StreamEvent]:
        """The stream has ended. A last frame without its blank line still counts; no ending at all is a Failure."""
        events = self._read_frame(self._splitter.finish())
        if self._ended:
            return events
        if self._finished:
            # Some servers never send `[DONE]`; the finish reason is proof enough.
            return events + self._end()
        self._ended = True
        return [*events, Failure("the provider's stream ended before the answer did", "upstream_cut")]

    def _read_frame(self, frame: bytes) -> list[StreamEvent]:
        event = parse_frame(frame)
        data = event.data.strip()
        if self._ended or not data:
            return []
        if data.startswith("[DONE]"):
            return self._end()
        chunk = read_json_object(data)
        failure = Failure("the provider sent a frame that is not a JSON object", "upstream_malformed")
        if chunk is not None:
            failure_sent = read_failure(chunk, event.event)
            if failure_sent is None:
                return self._read_chunk(chunk)
            failure = failure_sent
        self._ended = True
        return [failure]

    def _read_chunk(self, chunk: dict[str, object]) -> list[StreamEvent]:
        self._usage = chunk_usage(chunk) or self._usage
        events: list[StreamEvent] = []
        for choice in objects_in(chunk.get("choices")):
            # Events carry no choice number: only the first of several answers is translated.
            if choice.get("index") in (None, 0) and not self._ended:
                events += self._read_choice(choice)
        return events

    def _read_choice(self, choice: dict[str, object]) -> list[StreamEvent]:
        delta = choice.get("delta")
        events = read_message(delta, self._tools) if isinstance(delta, dict) else []
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or not reason or self._finished:
            return events
        if reason in FAILED_FINISHES:
            self._ended = True
            return [*events, Failure("the provider gave up in the middle of the answer", reason)]
        self._finished = True
        return [*events, Finish(finish_word(reason), reason)]

    def _end(self) -> list[StreamEvent]:
        self._ended = True
        events: list[StreamEvent] = []
        if not self._finished:
            events.append(Finish("tool_calls" if self._tools.any else "stop"))
        return [*events, self._usage] if self._usage else events


class Encoder:
    """Writes a chat stream. The first event is preceded by the chunk that names the role, as OpenAI does it."""

    def __init__(self, chat_id: str, created: int, model: str, include_usage: bool = False) -> None:
        self._head: dict[str, object] = {
            "id": chat_id, "object": "chat.completion.chunk", "created": created, "model": model
        }  # fmt: skip
        self._include_usage = include_usage
        self._opened = False

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Usage is empty unless the client asked for it."""
        if isinstance(event, Failure):
            return _frame(write_failure(event))
        if isinstance(event, Usage):
            return _frame({**self._head, "choices": [], "usage": write_usage(event)}) if self._include_usage else b""
        opening = b"" if self._opened else self._chunk({"role": "assistant", "content": ""}, None)
        self._opened = True
        if isinstance(event, Finish):
            return opening + self._chunk({}, event.reason)
        return opening + self._chunk(_delta(event), None)

    def finish(self) -> bytes:
        """The end marker."""
        return DONE

    def _chunk(self, delta: dict[str, object], reason: str | None) -> bytes:
        chunk = {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        return _frame({**chunk, "usage": None} if self._include_usage else chunk)


def read_message(message: dict[str, object], tools: ToolCallReader) -> list[StreamEvent]:
    """Read a `delta`, or the `message` of a buffered answer. What is not of the expected kind is passed over."""
    events: list[StreamEvent] = []
    if reasoning := first_text(message, *REASONING_FIELDS):
        events.append(ReasoningDelta(reasoning))
    # A refusal is what the model says instead of an answer; other languages have no other place for it.
    if text := first_text(message, "content", "refusal"):
        events.append(TextDelta(text))
    entries = list(objects_in(message.get("tool_calls")))
    if isinstance(message.get("function_call"), dict):
        entries.append({"index": 0, "function": message["function_call"]})
    return events + [call for entry in entries if (call := tools.read(entry))]


def _delta(event: TextDelta | ReasoningDelta | ToolCallDelta) -> dict[str, object]:
    if isinstance(event, TextDelta):
        return {"content": event.text}
    if isinstance(event, ReasoningDelta):
        return {"reasoning_content": event.text}
    call: dict[str, object] = {"index": event.index}
    function: dict[str, object] = {"arguments": event.arguments}
    if event.id is not None:
        call |= {"id": event.id, "type": "function"}
    if event.name is not None:
        function["name"] = event.name
    return {"tool_calls": [{**call, "function": function}]}


def _as_text(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else encode_json(arguments).decode("utf-8")


def _frame(value: dict[str, object]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"
