"""OpenAI Responses: events to the stream that a client reads, or to its buffered answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.dialects.dialect import Attestation
from gateway.dialects.fields import rows
from gateway.dialects.fold import no_place_for_vectors
from gateway.dialects.openai_objects import write_failure
from gateway.dialects.openai_responses_fields import (
    ID_PREFIX,
    INCOMPLETE,
    block_of,
    full_name,
    tools_inside,
    write_ending,
    write_event,
    write_failed,
    write_head,
    write_usage,
)
from gateway.dialects.openai_responses_parts import reasoning_item
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
)
from gateway.jsonbody import encode_json, read_json_object

MAX_ANSWER = 64 * 1024 * 1024
"""Characters of one answer, which its last event repeats whole; as long as a buffered one may be."""


@dataclass(slots=True)
class _Part:
    """The open part of the open message, or the open reasoning: `kind` is text, refusal or reasoning."""

    kind: str
    item_id: str
    at: int  # the item's index
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """A call that is being written."""

    id: str
    names: dict[str, object]  # its name, and its namespace if it has one
    custom: bool
    item_id: str
    at: int
    arguments: list[str] = field(default_factory=list)


class Encoder:
    """Writes a Responses stream: one item after another, each closed before the next begins.

    Only a call whose arguments are not whole yet stays open beside a later item, because providers may interleave
    their calls and nothing says where one ends.
    """

    def __init__(self, request: InferenceRequest, token: str, created: int) -> None:
        self._request, self._token, self._created, self._model = request, token, created, request.model
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._failure: Failure | None = None
        self._sequence = self._size = 0
        self._items: list[dict[str, object]] = []  # whole ones; one still open as it began
        self._parts: list[dict[str, object]] = []  # whole parts of the open message
        self._part: _Part | None = None
        self._calls: dict[int, _Call] = {}  # by our index of the call
        self._ended_calls: set[int] = set()
        self._nameless: dict[int, ToolCallDelta] = {}  # calls whose name is still to come
        tools = [inner for tool in rows(request.extra.get("tools")) for inner in tools_inside(tool)]
        self._namespaced = {full_name(tool): tool for tool in tools if "namespace" in tool}

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; Finish, Usage and Failure wait for the end.

        Raises: UpstreamFailed beyond `MAX_ANSWER`, and for what has no place in this language.
        """
        if isinstance(event, Start):
            self._model, self._created = event.model or self._model, event.created or self._created
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Finish):
            self._finish = event
        elif isinstance(event, Failure):
            self._failure = event
        elif isinstance(event, TextDelta):
            return self._say("text", event.text)
        elif isinstance(event, RefusalDelta):
            return self._say("refusal", event.text)
        elif isinstance(event, ReasoningDelta):
            return self._think(event)
        elif isinstance(event, ToolCallDelta):
            return self._call(event)
        elif isinstance(event, Embedding):
            raise no_place_for_vectors()
        else:
            return self._show(event)
        return b""

    def finish(self, attestation: Attestation | None) -> bytes:
        """The last event, with the attestation in its response; after a failure, one more that makes clients raise."""
        begun = self._opening()
        if self._failure is not None:
            # What a failure left open stays open: clients run a call as soon as its item is done.
            return begun + write_failed(self.response(None), self._sequence, self._failure, attestation)
        end = begun + self._settle(all_calls=True)
        if self._finish is None:
            return end
        response = self.response(attestation)
        return end + self._event(f"response.{response['status']}", response=response)

    def response(self, attestation: Attestation | None) -> dict[str, object]:
        """The whole response as it stands."""
        usage = None if self._finish is None else write_usage(self._usage or Usage(0, 0))
        said = {**self._head(), **write_ending(self._finish, None), "output": self._items, "usage": usage}
        return {**said, **block_of(attestation)}

    def settle(self) -> None:
        """Close what is open, for a buffered answer."""
        self._settle(all_calls=True)

    @property
    def _status(self) -> str:
        """Of an item that ends now: the answer may have been cut short."""
        return "incomplete" if self._finish is not None and self._finish.reason in INCOMPLETE else "completed"

    def _head(self) -> dict[str, object]:
        return write_head(self._request, ID_PREFIX + self._token, self._created, self._model)

    def _opening(self) -> bytes:
        if self._sequence:
            return b""
        begun = {**self._head(), **write_ending(None, None), "output": [], "usage": None}
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def _event(self, kind: str, **members: object) -> bytes:
        self._sequence += 1
        return write_event(kind, self._sequence - 1, **members)

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_ANSWER:
            raise UpstreamFailed(
                f"stream: found an answer longer than {MAX_ANSWER} characters, wanted its end",
                code="upstream_endless",
            )

    def _next_id(self, prefix: str) -> str:
        return f"{prefix}_{self._token}{len(self._items):04x}"

    def _add(self, item: dict[str, object]) -> bytes:
        self._items.append(item)
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _done(self, at: int, item: dict[str, object]) -> bytes:
        self._items[at] = item
        return self._event("response.output_item.done", output_index=at, item=item)

    # Messages: one item of text and refusals.

    def _say(self, kind: str, text: str) -> bytes:
        if not text:
            return b""
        self._grow(text)
        written = b""
        if self._part is None or self._part.kind != kind:
            written = self._open_part(kind)
        part = self._part
        assert part is not None
        part.text.append(text)
        logprobs: dict[str, object] = {"logprobs": []} if kind == "text" else {}
        name = "output_text" if kind == "text" else "refusal"
        return written + self._event(f"response.{name}.delta", **self._place(part), delta=text, **logprobs)

    def _open_part(self, kind: str) -> bytes:
        if self._part is not None and self._part.kind in ("text", "refusal"):
            before = self._close_part()
            item_id, at = str(self._items[-1]["id"]), len(self._items) - 1
        else:
            before = self._opening() + self._settle()
            item_id, at = self._next_id("msg"), len(self._items)
            before += self._add(_message(item_id, [], "in_progress"))
        self._part = _Part(kind, item_id, at)
        empty = _content(kind, "")
        return before + self._event("response.content_part.added", **self._place(self._part), part=empty)

    def _place(self, part: _Part) -> dict[str, object]:
        return {"item_id": part.item_id, "output_index": part.at, "content_index": len(self._parts)}

    def _close_part(self) -> bytes:
        part = self._part
        assert part is not None
        content, text = _content(part.kind, "".join(part.text)), "".join(part.text)
        place = self._place(part)
        self._parts.append(content)
        if part.kind == "text":
            done = self._event("response.output_text.done", **place, text=text, logprobs=[])
        else:
            done = self._event("response.refusal.done", **place, refusal=text)
        return done + self._event("response.content_part.done", **place, part=content)

    # Reasoning: shown as its summary, which all clients read.

    def _think(self, event: ReasoningDelta) -> bytes:
        if event.redacted:
            before = self._opening() + self._settle()
            return before + self._whole(reasoning_item(Thinking("", event.signature, True), self._next_id("rs")))
        if not event.text and event.signature is None:
            return b""
        self._grow(event.text)
        written = b""
        if self._part is None or self._part.kind != "reasoning":
            written = self._opening() + self._settle()
            item_id = self._next_id("rs")
            written += self._add({"id": item_id, "type": "reasoning", "summary": []})
            self._part = _Part("reasoning", item_id, len(self._items) - 1)
        if event.text:
            written += self._think_aloud(self._part, event.text)
        return written if event.signature is None else written + self._close_reasoning(event)

    def _think_aloud(self, part: _Part, text: str) -> bytes:
        place = {"item_id": part.item_id, "output_index": part.at, "summary_index": 0}
        written = b""
        if not part.text:
            empty = {"type": "summary_text", "text": ""}
            written = self._event("response.reasoning_summary_part.added", **place, part=empty)
        part.text.append(text)
        return written + self._event("response.reasoning_summary_text.delta", **place, delta=text)

    def _close_reasoning(self, sealed: ReasoningDelta | None = None) -> bytes:
        part = self._part
        assert part is not None
        self._part, text, written = None, "".join(part.text), b""
        if text:
            place = {"item_id": part.item_id, "output_index": part.at, "summary_index": 0}
            summary = {"type": "summary_text", "text": text}
            written = self._event("response.reasoning_summary_text.done", **place, text=text)
            written += self._event("response.reasoning_summary_part.done", **place, part=summary)
        block = Thinking(text, sealed.signature if sealed else None)
        return written + self._done(part.at, reasoning_item(block, part.item_id))

    # Calls.

    def _call(self, event: ToolCallDelta) -> bytes:
        self._grow(event.arguments)
        written = b""
        if event.index not in self._calls:
            if event.index in self._ended_calls:
                return b""  # its arguments were whole
            event = _joined(self._nameless.pop(event.index, None), event)
            if not event.name:
                self._nameless[event.index] = event
                return b""
            written = self._open_call(event)
        call = self._calls[event.index]
        if not event.arguments:
            return written
        call.arguments.append(event.arguments)
        kind = "custom_tool_call_input" if call.custom else "function_call_arguments"
        place = {"item_id": call.item_id, "output_index": call.at}
        return written + self._event(f"response.{kind}.delta", **place, delta=event.arguments)

    def _open_call(self, event: ToolCallDelta) -> bytes:
        written = self._opening() + self._settle()
        if event.signature is not None:
            seal = reasoning_item(Thinking("", event.signature), self._next_id("rs"), of_call=True)
            written += self._whole(seal)
        item_id, at = self._next_id("ctc" if event.custom else "fc"), len(self._items)
        name = event.name or ""
        names = self._namespaced.get(name, {"name": name})
        call = _Call(event.id or f"call_{event.index}", names, event.custom, item_id, at)
        self._calls[event.index] = call
        return written + self._add(_call_item(call, "in_progress"))

    def _close_call(self, index: int) -> bytes:
        call = self._calls.pop(index)
        self._ended_calls.add(index)
        item = _call_item(call, self._status)
        place = {"item_id": call.item_id, "output_index": call.at}
        if call.custom:
            done = self._event("response.custom_tool_call_input.done", **place, input=item["input"])
        else:
            members = {"name": call.names["name"], "arguments": item["arguments"]}
            done = self._event("response.function_call_arguments.done", **place, **members)
        return done + self._done(call.at, item)

    # Whole items, and the end of open ones.

    def _show(self, media: Media) -> bytes:
        if media.kind != "image" or not media.data:
            raise UpstreamFailed(f"answer: found {media.kind} content, which Responses has no place for")
        self._grow(media.data)
        before = self._opening() + self._settle()
        item_id = self._next_id("ig")
        return before + self._whole(
            {"id": item_id, "type": "image_generation_call", "status": "completed", "result": media.data}
        )

    def _whole(self, item: dict[str, object]) -> bytes:
        return self._add(item) + self._done(len(self._items) - 1, item)

    def _settle(self, *, all_calls: bool = False) -> bytes:
        """Close the open message or reasoning, and the calls that are whole, or all of them at the end."""
        written = b""
        if self._part is not None and self._part.kind == "reasoning":
            written = self._close_reasoning()
        elif self._part is not None:
            written, part = self._close_part(), self._part
            written += self._done(part.at, _message(part.item_id, self._parts, self._status))
            self._part, self._parts = None, []
        for index, call in [*self._calls.items()]:
            if all_calls or (not call.custom and read_json_object("".join(call.arguments)) is not None):
                written += self._close_call(index)
        return written


def encode_answer(
    events: list[StreamEvent], request: InferenceRequest, token: str, created: int, attestation: Attestation | None
) -> bytes:
    """Write a buffered answer from the events of a whole stream; an error object if it ended in Failure."""
    if failure := next((event for event in events if isinstance(event, Failure)), None):
        return encode_json({**write_failure(failure), **block_of(attestation)})
    encoder = Encoder(request, token, created)
    for event in events:
        encoder.encode(event)
    encoder.settle()
    return encode_json(encoder.response(attestation))


def _message(item_id: str, content: list[dict[str, object]], status: str) -> dict[str, object]:
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _content(kind: str, text: str) -> dict[str, object]:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(call: _Call, status: str) -> dict[str, object]:
    item: dict[str, object] = {"id": call.item_id, "status": status, "call_id": call.id}
    item |= {name: call.names[name] for name in ("name", "namespace") if name in call.names}
    arguments = "".join(call.arguments)
    if call.custom:
        return {**item, "type": "custom_tool_call", "input": arguments}
    # A call that is not asked for anything has an empty object: clients parse it.
    return {**item, "type": "function_call", "arguments": arguments if arguments or status != "completed" else "{}"}


def _joined(earlier: ToolCallDelta | None, event: ToolCallDelta) -> ToolCallDelta:
    if earlier is None:
        return event
    return ToolCallDelta(
        event.index,
        event.id or earlier.id,
        event.name,
        earlier.arguments + event.arguments,
        event.custom or earlier.custom,
        event.signature or earlier.signature,
    )
