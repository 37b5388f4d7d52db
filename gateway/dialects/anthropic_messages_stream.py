"""Anthropic Messages: streams in both directions, provider's bytes to events and events to the client's bytes."""

from __future__ import annotations

from gateway.dialects.anthropic_messages_fields import (
    ID_PREFIX,
    NAME,
    read_failure,
    read_finish,
    read_usage,
    write_failure,
    write_finish,
    write_usage,
)
from gateway.dialects.dialect import Attestation
from gateway.dialects.fields import table, word
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    InferenceRequest,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ThoughtSignature,
    ToolCallDelta,
    Usage,
    read_signature,
)
from gateway.jsonbody import encode_json, read_json_object

MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful; the decoder remembers each."""


class Decoder:
    """Reads a Messages stream. Blocks of kinds that have no event (server tools, citations) are passed over."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._usage: dict[str, object] = {}
        self._calls: dict[int, int] = {}  # index of a block -> ours, while the block is open
        self._unsaid: dict[int, str] = {}  # arguments of an open call that stood in its start, if no delta follows
        self._seals: dict[int, str] = {}  # of an open block of reasoning
        self._call_count = 0
        self._started = self._finished = self._ended = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed for a frame beyond the bound."""
        events: list[StreamEvent] = []
        for frame in self._splitter.push(chunk):
            events += self._read_frame(frame)
        return events

    def finish(self) -> list[StreamEvent]:
        """The stream has ended. Without message_stop a stop reason is proof enough; without either it is a Failure."""
        events = self._read_frame(self._splitter.finish())
        if self._ended:
            return events
        if self._finished:
            return events + self._end()
        self._ended = True
        return [*events, Failure("the provider's stream ended before the answer did", "upstream_cut")]

    def _read_frame(self, frame: bytes) -> list[StreamEvent]:
        event = parse_frame(frame)
        data = event.data.strip()
        if self._ended or not data or data.startswith("[DONE]"):
            return []
        fields = read_json_object(data)
        failure = Failure("the provider sent a frame that is not a JSON object", "upstream_malformed")
        if fields is not None:
            failure_sent = read_failure(fields, event.event)
            if failure_sent is None:
                return self._read(fields)
            failure = failure_sent
        self._ended = True
        return [failure]

    def _read(self, fields: dict[str, object]) -> list[StreamEvent]:
        """Read one event by its type; unknown ones are passed over, as Anthropic's versioning asks."""
        kind, index = word(fields, "type"), fields.get("index")
        index = index if isinstance(index, int) else 0
        if kind == "message_start":
            return self._start(table(fields, "message"))
        if kind == "content_block_start":
            return self._open(index, table(fields, "content_block"))
        if kind == "content_block_delta":
            return self._delta(index, table(fields, "delta"))
        if kind == "content_block_stop":
            return self._close(index)
        if kind == "message_delta":
            return self._message_delta(fields)
        return self._end() if kind == "message_stop" else []

    def _start(self, message: dict[str, object]) -> list[StreamEvent]:
        self._count(table(message, "usage"))
        if self._started or not word(message, "id"):
            return []  # some relays repeat it
        self._started = True
        start = Start(word(message, "id"), word(message, "model"))
        usage = read_usage(self._usage)
        return [start, usage] if usage else [start]

    def _open(self, index: int, block: dict[str, object]) -> list[StreamEvent]:
        kind = word(block, "type")
        if kind == "text" and word(block, "text"):
            return [TextDelta(word(block, "text"))]
        if kind == "redacted_thinking" and word(block, "data"):
            return [ReasoningDelta("", read_signature(word(block, "data"), NAME), redacted=True)]
        if kind == "thinking":
            self._seals[index] = word(block, "signature")
            return [ReasoningDelta(word(block, "thinking"))] if word(block, "thinking") else []
        if kind != "tool_use":
            return []
        if self._call_count == MAX_TOOL_CALLS:
            raise UpstreamFailed(f"tool_use: found more than {MAX_TOOL_CALLS}, wanted at most so many")
        ours = self._calls[index] = self._call_count
        self._call_count += 1
        self._unsaid[index] = encode_json(block.get("input") or {}).decode()
        return [ToolCallDelta(ours, word(block, "id") or f"call_{ours}", word(block, "name"), "")]

    def _delta(self, index: int, delta: dict[str, object]) -> list[StreamEvent]:
        kind = word(delta, "type")
        if kind == "text_delta" and word(delta, "text"):
            return [TextDelta(word(delta, "text"))]
        if kind == "thinking_delta" and word(delta, "thinking"):
            return [ReasoningDelta(word(delta, "thinking"))]
        if kind == "signature_delta":
            self._seals[index] = self._seals.get(index, "") + word(delta, "signature")
        elif kind == "input_json_delta" and index in self._calls and word(delta, "partial_json"):
            self._unsaid.pop(index, None)
            return [ToolCallDelta(self._calls[index], None, None, word(delta, "partial_json"))]
        return []

    def _close(self, index: int) -> list[StreamEvent]:
        """A block ends: a seal is given whole, and a call that had no arguments has empty ones."""
        events: list[StreamEvent] = []
        if sealed := self._seals.pop(index, ""):
            events.append(ReasoningDelta("", read_signature(sealed, NAME)))
        ours, unsaid = self._calls.pop(index, None), self._unsaid.pop(index, None)
        return [*events, ToolCallDelta(ours, None, None, unsaid)] if ours is not None and unsaid else events

    def _message_delta(self, fields: dict[str, object]) -> list[StreamEvent]:
        self._count(table(fields, "usage"))
        delta = table(fields, "delta")
        reason = word(delta, "stop_reason")
        if not reason or self._finished:
            return []
        self._finished = True
        events = [event for index in [*self._calls] for event in self._close(index)]
        return [*events, read_finish(reason, delta.get("stop_sequence"))]

    def _count(self, usage: dict[str, object]) -> None:
        """Counts are cumulative, and one that is left out stands as it was."""
        self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _end(self) -> list[StreamEvent]:
        self._ended = True
        usage = read_usage(self._usage)
        last: list[StreamEvent] = [usage] if usage else []
        return last if self._finished else [Finish("tool_calls" if self._call_count else "stop"), *last]


class Encoder:
    """Writes a Messages stream: one block at a time, each closed before the next begins."""

    def __init__(self, request: InferenceRequest, token: str, _created: int) -> None:
        self._id = ID_PREFIX + token
        self._model = request.model
        self._usage = Usage(0, 0)
        self._finish: Finish | None = None
        self._failure: Failure | None = None
        self._opened = self._refused = False
        self._index = -1  # of the last block
        self._open = ""  # its kind while it is open, empty after
        self._calls: dict[int, int] = {}  # our index of a call -> its block's
        self._nameless: dict[int, ToolCallDelta] = {}  # calls whose name is still to come

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Finish, Usage and Failure wait for the end, a Usage at the start for message_start."""
        if isinstance(event, Start):
            self._model = event.model or self._model
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Finish):
            self._finish = event
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, TextDelta | RefusalDelta):
            self._refused = self._refused or isinstance(event, RefusalDelta)
            return self._text(event.text)
        elif isinstance(event, ReasoningDelta):
            return self._reasoning(event)
        elif isinstance(event, ToolCallDelta):
            return self._call(event)
        return b""

    def finish(self, attestation: Attestation | None) -> bytes:
        """message_delta with the attestation in it, and message_stop; after a failure an error that carries it."""
        ours = {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
        end = self._opening() + self._stop()
        if self._failure is not None:
            return end + _frame({**write_failure(self._failure, self._failure.status or 500), **ours})
        if self._finish is None:
            return end
        delta = write_finish(self._finish, self._refused)
        last: dict[str, object] = {"type": "message_delta", "delta": delta, "usage": write_usage(self._usage), **ours}
        return end + _frame(last) + _frame({"type": "message_stop"})

    def _opening(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        usage = {**write_usage(self._usage), "output_tokens": 0}
        head: dict[str, object] = {"id": self._id, "type": "message", "role": "assistant", "model": self._model}
        head |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _frame({"type": "message_start", "message": head})

    def _begin(self, kind: str, block: dict[str, object]) -> bytes:
        """Open a block, closing the one before it."""
        before = self._opening() + self._stop()
        self._index, self._open = self._index + 1, kind
        return before + _frame(
            {"type": "content_block_start", "index": self._index, "content_block": {"type": kind, **block}}
        )

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _frame({"type": "content_block_stop", "index": self._index})

    def _piece(self, index: int, kind: str, name: str, text: str) -> bytes:
        return _frame({"type": "content_block_delta", "index": index, "delta": {"type": kind, name: text}})

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        before = b"" if self._open == "text" else self._begin("text", {"text": ""})
        return before + self._piece(self._index, "text_delta", "text", text)

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        sealed = event.signature.written_by(NAME) if event.signature else ""
        if event.redacted:
            return self._begin("redacted_thinking", {"data": sealed}) + self._stop()
        if not event.text and not sealed:
            return b""
        written = b"" if self._open == "thinking" else self._begin("thinking", {"thinking": "", "signature": ""})
        if event.text:
            written += self._piece(self._index, "thinking_delta", "thinking", event.text)
        if sealed:
            written += self._piece(self._index, "signature_delta", "signature", sealed) + self._stop()
        return written

    def _call(self, event: ToolCallDelta) -> bytes:
        """A call's block opens once its name is known; until then its pieces wait."""
        written = b""
        if event.index not in self._calls:
            earlier = self._nameless.pop(event.index, ToolCallDelta(event.index, None, None, ""))
            arguments, signature = earlier.arguments + event.arguments, event.signature or earlier.signature
            event = ToolCallDelta(event.index, event.id or earlier.id, event.name, arguments, signature=signature)
            if not event.name:
                self._nameless[event.index] = event
                return b""
            block: dict[str, object] = {"id": event.id or f"call_{event.index}", "name": event.name, "input": {}}
            written = self._seal_of_next(event.signature) + self._begin("tool_use", block)
            self._calls[event.index] = self._index
        if not event.arguments:
            return written
        return written + self._piece(self._calls[event.index], "input_json_delta", "partial_json", event.arguments)

    def _seal_of_next(self, signature: ThoughtSignature | None) -> bytes:
        """Another vendor's seal of a tool call: Anthropic's own has no place, but blocks of thinking come back."""
        return self._reasoning(ReasoningDelta("", signature)) if signature else b""


def _frame(value: dict[str, object]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + encode_json(value) + b"\n\n"
