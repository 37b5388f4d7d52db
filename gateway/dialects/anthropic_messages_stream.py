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
from gateway.dialects.anthropic_messages_parts import picture_in_words
from gateway.dialects.custom_inputs import CustomInputs
from gateway.dialects.dialect import Attestation
from gateway.dialects.fields import table, word
from gateway.dialects.fold import no_place_for_vectors
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Embedding,
    Failure,
    Finish,
    InferenceRequest,
    Media,
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

MAX_WAITING = 8 * 1024 * 1024
"""Bytes of what must wait for an open tool call to end: two whole frames of a provider."""

_PIECE_COST = 256  # bytes of memory that a piece takes besides its text


class Decoder:
    """Reads a Messages stream. Blocks of kinds that have no event (server tools, citations) are passed over."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._usage: dict[str, object] = {}
        self._calls: dict[int, int] = {}  # index of a block -> ours, while the block is open
        self._unsaid: dict[int, str] = {}  # arguments of an open call that stood in its start, if no delta follows
        self._seals: dict[int, str] = {}  # of an open block of reasoning
        self._call_count = 0
        self.skipped = 0
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
        if fields is None:
            self.skipped += 1
            return []
        failure = read_failure(fields, event.event)
        if failure is None:
            return self._read(fields)
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


_Piece = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | Media


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
        self._calling: int | None = None  # our index of the call whose block is open
        self._arguments: list[str] = []  # of that call, until somebody asks whether they are whole
        self._arguments_size = 0
        self._whole: bool | None = None  # the answer, which stays: asked once per call, it costs no more than reading
        self._ended_calls: set[int] = set()
        self._named_calls: set[int] = set()
        self._waiting: list[list[_Piece]] = []  # blocks to come, each with its pieces, in the order of their first
        self._waiting_calls: dict[int, list[_Piece]] = {}
        self._waiting_size = 0
        self._inputs = CustomInputs()

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Finish, Usage and Failure wait for the end, a Usage at the start for message_start.

        Raises: UpstreamFailed for what has no place in this language, and for more than may wait.
        """
        if isinstance(event, Start):
            self._model = event.model or self._model
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Finish):
            self._finish = event
            return b"".join(map(self._say, self._inputs.close()))
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, ToolCallDelta):
            return self._say(self._inputs.wrap(event))
        elif isinstance(event, Embedding):
            raise no_place_for_vectors()
        else:
            if isinstance(event, Media):
                picture_in_words(event)  # refused now: at the end it would be too late
            self._refused = self._refused or isinstance(event, RefusalDelta)
            return self._say(event)
        return b""

    def finish(self, attestation: Attestation | None) -> bytes:
        """message_delta with the attestation in it, and message_stop; after a failure an error that carries it."""
        ours = {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
        if self._failure is not None:
            # What waited stays unsaid: a call that was cut must not look like one to run.
            error = _frame({**write_failure(self._failure, self._failure.status or 500), **ours})
            return self._opening() + self._stop() + error
        end = self._opening() + self._release(ended=True) + self._stop()
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
        if self._calling is not None:
            self._ended_calls.add(self._calling)
        self._open, self._calling = "", None
        return _frame({"type": "content_block_stop", "index": self._index})

    def _piece(self, kind: str, name: str, text: str) -> bytes:
        return _frame({"type": "content_block_delta", "index": self._index, "delta": {"type": kind, name: text}})

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        before = b"" if self._open == "text" else self._begin("text", {"text": ""})
        return before + self._piece("text_delta", "text", text)

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        sealed = event.signature.written_by(NAME) if event.signature else ""
        if event.redacted:
            return self._begin("redacted_thinking", {"data": sealed}) + self._stop()
        if not event.text and not sealed:
            return b""
        written = b"" if self._open == "thinking" else self._begin("thinking", {"thinking": "", "signature": ""})
        if event.text:
            written += self._piece("thinking_delta", "thinking", event.text)
        if sealed:
            written += self._piece("signature_delta", "signature", sealed) + self._stop()
        return written

    def _say(self, event: _Piece) -> bytes:
        """Write a piece whose block is open or may open; any other waits, since one block is open at a time."""
        if isinstance(event, ToolCallDelta):
            if event.index == self._calling:
                return self._more(event.arguments)
            if event.index in self._ended_calls:
                return self._late(event)
            if event.name:
                self._named_calls.add(event.index)
        elif self._calling is None and not self._waiting:
            return self._write(event)
        self._wait(event)
        return self._release(ended=False)

    def _wait(self, event: _Piece) -> None:
        self._waiting_size += _PIECE_COST + len(_text_of(event))
        if self._waiting_size > MAX_WAITING:
            raise UpstreamFailed(f"tool_calls: found more than {MAX_WAITING} bytes beside an open call, wanted its end")
        if isinstance(event, ToolCallDelta):
            if event.index not in self._waiting_calls:
                self._waiting_calls[event.index] = []
                self._waiting.append(self._waiting_calls[event.index])
            self._waiting_calls[event.index].append(event)
        elif self._waiting and not isinstance(self._waiting[-1][0], ToolCallDelta):
            self._waiting[-1].append(event)
        else:
            self._waiting.append([event])

    def _release(self, *, ended: bool) -> bytes:
        """Write the blocks whose turn has come, at the end all of them."""
        written = b""
        while self._waiting and (ended or self._may_begin(self._waiting[0][0])):
            pieces = self._waiting.pop(0)
            self._waiting_size -= sum(_PIECE_COST + len(_text_of(piece)) for piece in pieces)
            calls = [piece for piece in pieces if isinstance(piece, ToolCallDelta)]
            written += self._begin_call(calls) if calls else b"".join(map(self._write, pieces))
        return written

    def _may_begin(self, first: _Piece) -> bool:
        """A call begins once its name is known, and everything once the open call is whole."""
        if isinstance(first, ToolCallDelta) and first.index not in self._named_calls:
            return False
        if self._calling is not None and self._whole is None:
            self._whole = read_json_object("".join(self._arguments)) is not None
            self._arguments = []
        return self._calling is None or self._whole is True

    def _write(self, event: _Piece) -> bytes:
        if isinstance(event, ReasoningDelta):
            return self._reasoning(event)
        if isinstance(event, Media):
            words = picture_in_words(event)
            return self._begin("text", {"text": ""}) + self._piece("text_delta", "text", words) + self._stop()
        return self._text(_text_of(event))

    def _begin_call(self, pieces: list[ToolCallDelta]) -> bytes:
        index = pieces[0].index
        del self._waiting_calls[index]
        call_id = next((piece.id for piece in pieces if piece.id), f"call_{index}")
        name = next((piece.name for piece in pieces if piece.name), "")
        seal = next((piece.signature for piece in pieces if piece.signature), None)
        block: dict[str, object] = {"id": call_id, "name": name, "input": {}}
        written = self._seal_of_next(seal) + self._begin("tool_use", block)
        self._calling, self._arguments, self._arguments_size, self._whole = index, [], 0, None
        return written + self._more("".join(piece.arguments for piece in pieces))

    def _more(self, arguments: str) -> bytes:
        """Some more arguments of the open call."""
        if not arguments:
            return b""
        if self._whole is None:
            self._arguments.append(arguments)
            self._arguments_size += _PIECE_COST + len(arguments)
            if self._arguments_size > MAX_WAITING:
                self._arguments, self._whole = [], False  # others wait for the end, which is always right
        return self._piece("input_json_delta", "partial_json", arguments)

    def _late(self, event: ToolCallDelta) -> bytes:
        """Arguments of a call that was whole: blanks change nothing, and anything else would have changed the call."""
        if event.arguments.strip():
            raise UpstreamFailed("tool_calls: found arguments after the end of their call, wanted none")
        return b""

    def _seal_of_next(self, signature: ThoughtSignature | None) -> bytes:
        """Another vendor's seal of a tool call: Anthropic's own has no place, but blocks of thinking come back."""
        return self._reasoning(ReasoningDelta("", signature)) if signature else b""


def _text_of(event: _Piece) -> str:
    if isinstance(event, ToolCallDelta):
        return event.arguments
    return event.url or event.data if isinstance(event, Media) else event.text


def _frame(value: dict[str, object]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + encode_json(value) + b"\n\n"
