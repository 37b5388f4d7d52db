"""OpenAI chat: streams in both directions, provider's bytes to events and events to the client's bytes."""

from __future__ import annotations

from gateway.dialects.dialect import Attestation
from gateway.dialects.fields import rows, table, word
from gateway.dialects.fold import no_place_for_vectors
from gateway.dialects.media import media_of_url
from gateway.dialects.openai_chat_fields import FAILED_FINISHES, chunk_usage, finish_word, first_text, read_start
from gateway.dialects.openai_chat_parts import (
    NAME,
    REASONING_FIELDS,
    encode_image,
    reasoning_detail,
    seal_of_call,
)
from gateway.dialects.openai_objects import read_failure, write_failure, write_usage
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
    Thinking,
    ToolCallDelta,
    Usage,
    read_signature,
)
from gateway.jsonbody import encode_json, read_json_object

MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful; the reader remembers each."""

DONE = b"data: [DONE]\n\n"
ID_PREFIX = "chatcmpl-"


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
        custom = "custom" in entry
        call = table(entry, "custom" if custom else "function")
        call_id, name = word(entry, "id"), word(call, "name")
        arguments = _as_text(call.get("input" if custom else "arguments"))
        sealed = word(table(table(entry, "extra_content"), "google"), "thought_signature")
        if not (call_id or name or arguments or sealed):
            return None
        index, is_new = self._place(entry.get("index"), call_id, name)
        said_name = name if name and index not in self._named else None
        if said_name:
            self._named.add(index)
        signature = read_signature(sealed, "gemini") if sealed else None
        return ToolCallDelta(index, self._ids[index] if is_new else None, said_name, arguments, custom, signature)

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
    """Reads a chat stream. Usage comes once, after Finish or before Failure; nothing follows that, nor `[DONE]`."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._tools = ToolCallReader()
        self.skipped = 0
        self._usage: Usage | None = None
        self._started = False
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
        cut = Failure("the provider's stream ended before the answer did", "upstream_cut")
        return [*events, *self._used(), cut]

    def _read_frame(self, frame: bytes) -> list[StreamEvent]:
        event = parse_frame(frame)
        data = event.data.strip()
        if self._ended or not data:
            return []
        if data.startswith("[DONE]"):
            return self._end()
        chunk = read_json_object(data)
        if chunk is None:
            self.skipped += 1
            return []
        failure = read_failure(chunk, event.event)
        if failure is None:
            return self._read_chunk(chunk)
        self._ended = True
        return [*self._used(), failure]

    def _read_chunk(self, chunk: dict[str, object]) -> list[StreamEvent]:
        self._usage = chunk_usage(chunk) or self._usage
        events: list[StreamEvent] = []
        if not self._started and (start := read_start(chunk)):
            self._started = True
            events.append(start)
        for choice in rows(chunk.get("choices")):
            # Events carry no choice number: only the first of several answers is translated.
            if choice.get("index") in (None, 0) and not self._ended:
                events += self._read_choice(choice)
        return events

    def _read_choice(self, choice: dict[str, object]) -> list[StreamEvent]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            events = read_message(delta, self._tools)
        else:
            text = word(choice, "text")  # where text completions have it
            events = [TextDelta(text)] if text else []
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or not reason or self._finished:
            return events
        if reason in FAILED_FINISHES:
            self._ended = True
            return [*events, *self._used(), Failure("the provider gave up in the middle of the answer", reason)]
        self._finished = True
        return [*events, Finish(finish_word(reason, self._tools.any), reason)]

    def _end(self) -> list[StreamEvent]:
        self._ended = True
        events: list[StreamEvent] = []
        if not self._finished:
            events.append(Finish("tool_calls" if self._tools.any else "stop"))
        return events + self._used()

    def _used(self) -> list[StreamEvent]:
        return [self._usage] if self._usage else []


class Encoder:
    """Writes a chat stream. The first event is preceded by the chunk that names the role, as OpenAI does it."""

    def __init__(self, request: InferenceRequest, token: str, created: int) -> None:
        self._head: dict[str, object] = {
            "id": ID_PREFIX + token, "object": "chat.completion.chunk", "created": created, "model": request.model
        }  # fmt: skip
        self._include_usage = request.include_usage
        self._usage: Usage | None = None
        self._failure: Failure | None = None
        self._opened = self._finished = False
        self._thoughts = 0  # blocks of reasoning that have ended
        self._custom: set[int] = set()  # calls whose input is text: only the first delta of one need say so

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Usage and Failure wait for the end. Raises: UpstreamFailed for what has no place here."""
        if isinstance(event, Start):
            self._head |= {
                "model": event.model or self._head["model"],
                "created": event.created or self._head["created"],
            }
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, Finish):
            self._finished = True
            return self._opening() + self._chunk({}, event.reason)
        elif isinstance(event, Embedding):
            raise no_place_for_vectors()
        elif delta := self._delta(event):
            return self._opening() + self._chunk(delta, None)
        return b""

    def finish(self, attestation: Attestation | None) -> bytes:
        """The attestation, then usage and `[DONE]`; after a failure its error instead, and no `[DONE]`."""
        end = b"" if attestation is None else attestation_frame(self._head, attestation)
        if self._failure is not None:
            return end + _frame(write_failure(self._failure))
        if self._include_usage:
            end += _frame({**self._head, "choices": [], "usage": write_usage(self._usage or Usage(0, 0))})
        return end + DONE if self._finished else end

    def _opening(self) -> bytes:
        opening = b"" if self._opened else self._chunk({"role": "assistant", "content": ""}, None)
        self._opened = True
        return opening

    def _chunk(self, delta: dict[str, object], reason: str | None) -> bytes:
        chunk = {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        return _frame({**chunk, "usage": None} if self._include_usage else chunk)

    def _delta(self, event: TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | Media) -> dict[str, object]:
        if isinstance(event, TextDelta):
            return {"content": event.text} if event.text else {}
        if isinstance(event, RefusalDelta):
            return {"refusal": event.text}
        if isinstance(event, Media):
            return {"images": [encode_image(event)]}
        if isinstance(event, ToolCallDelta):
            if event.custom:
                self._custom.add(event.index)
            return {"tool_calls": [_call_delta(event, event.index in self._custom)]}
        detail = reasoning_detail(Thinking(event.text, event.signature, event.redacted), self._thoughts)
        self._thoughts += event.signature is not None
        return {"reasoning_content": event.text, "reasoning_details": [detail]}


def attestation_frame(head: dict[str, object], attestation: Attestation) -> bytes:
    """The frame that carries the attestation: a named event that is also a valid, empty chunk.

    Clients that parse every event take it for a chunk without text; a bare event breaks about half of them.
    """
    chunk = {
        **head,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        "_sf_attestation": attestation,
        "attestation": attestation,
    }
    return b"event: sf_attestation\n" + _frame(chunk)


def read_message(message: dict[str, object], tools: ToolCallReader) -> list[StreamEvent]:
    """Read a `delta`, or the `message` of a buffered answer. What is not of the expected kind is passed over."""
    events: list[StreamEvent] = [*_read_reasoning(message)]
    if text := word(message, "content"):
        events.append(TextDelta(text))
    if refusal := word(message, "refusal"):
        events.append(RefusalDelta(refusal))
    for image in rows(message.get("images")):
        media = media_of_url("image", word(table(image, "image_url"), "url"))
        events += [media] if media else []
    entries = rows(message.get("tool_calls"))
    if isinstance(message.get("function_call"), dict):
        entries.append({"index": 0, "function": message["function_call"]})
    return events + [call for entry in entries if (call := tools.read(entry))]


def _read_reasoning(message: dict[str, object]) -> list[ReasoningDelta]:
    """Reasoning under any name; what stands in `reasoning_details` too is read there, because of the seals."""
    deltas = []
    for detail in rows(message.get("reasoning_details")):
        redacted = detail.get("type") == "reasoning.encrypted"
        sealed = word(detail, "data" if redacted else "signature")
        text = "" if redacted else word(detail, "text") or word(detail, "summary")
        if text or sealed:
            deltas.append(ReasoningDelta(text, read_signature(sealed, NAME) if sealed else None, redacted))
    text = first_text(message, *REASONING_FIELDS)
    if text and not any(delta.text for delta in deltas):
        deltas.insert(0, ReasoningDelta(text))
    return deltas


def _call_delta(event: ToolCallDelta, custom: bool) -> dict[str, object]:
    kind, arguments = ("custom", "input") if custom else ("function", "arguments")
    call: dict[str, object] = {"index": event.index}
    inner: dict[str, object] = {arguments: event.arguments}
    if event.id is not None:
        call |= {"id": event.id, "type": kind}
    if event.name is not None:
        inner["name"] = event.name
    return {**call, kind: inner, **seal_of_call(event.signature)}


def _as_text(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else encode_json(arguments).decode("utf-8")


def _frame(value: dict[str, object]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"
