"""OpenAI chat to OpenAI chat: bytes pass unchanged and are only tapped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from gateway.dialects.dialect import CUT, Attestation, Seen, Verbatim
from gateway.dialects.fields import rows, word
from gateway.dialects.openai_chat_fields import FAILED_FINISHES, chunk_usage
from gateway.dialects.openai_chat_stream import attestation_frame
from gateway.dialects.openai_objects import read_failure, read_usage, write_failure
from gateway.dialects.splice import renamed
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, count_unreadable, is_whole_frame, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import GATEWAY_FIELDS, Failure, InferenceRequest, Usage
from gateway.jsonbody import encode_json, read_json_object

_USAGE_OPTION = b'"stream_options":{"include_usage":true},'
# OpenAI writes `"usage":null` and `"finish_reason":null` into every chunk; only a value makes them worth decoding.
_TELLING = [re.compile(sign) for sign in (rb'"usage"\s*+:\s*+[^n\s]', rb'"finish_reason"\s*+:\s*+"', rb'"error"')]
_JSON_LINES = re.compile(rb"(?:data: ?+\{[^\n]*+(?<=\})\n\n)*+")
_LONGEST_END = 4  # bytes of CR LF CR LF
# Azure opens with a frame without an id; a provider that never sends one must not cost a decode per frame.
_ID_ATTEMPTS = 4


def forward_body(body: bytes, request: InferenceRequest, upstream_model: str) -> bytes:
    """The bytes for the provider: the client's own wherever possible. `request` is `decode_request(body)`.

    A stream is always asked for usage, because metering needs it. Splices where it can, re-serialises where it must:
    for members of the gateway, a client's own `stream_options`, or a model name that stands in no unique place.
    """
    wants_usage = request.stream and not request.include_usage
    edits_needed = any(name in request.extra for name in GATEWAY_FIELDS)
    if edits_needed or (wants_usage and "stream_options" in request.extra):
        return _edited(body, wants_usage, upstream_model)
    if upstream_model != request.model:
        spliced = renamed(body, upstream_model)
        if spliced is None:
            return _edited(body, wants_usage, upstream_model)
        body = spliced
    if wants_usage:
        opening = body.index(b"{") + 1
        body = body[:opening] + _USAGE_OPTION + body[opening:]
    return body


class VerbatimStream:
    """Passes a provider's stream through, and holds back its end so that our frame can go before it.

    Feed `push`, forward what it returns, then send `closing(...)`. Held back are the usage-only chunk, `[DONE]`, and
    whatever follows them; everything else leaves at once and byte for byte. What was learnt on the way:

    - `usage`: the last one seen; `finish_reason`: the provider's last word
    - `chat_id`, `created`, `model`: of the first chunk that had an id, empty or 0 before
    - `skipped`: frames of it that hold no JSON, and went to the client as they came
    - `done_seen`: whether `[DONE]` came; `failure`: an error in the middle of the stream
    """

    def __init__(self, keep_usage_chunk: bool, max_frame: int = MAX_FRAME, choices: int = 1) -> None:
        self._choices = choices
        self._finished: set[object] = set()
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.chat_id = ""
        self.created = 0
        self.model = ""
        self.skipped = 0
        self.done_seen = False
        self.failure: Failure | None = None
        self._keep_usage_chunk = keep_usage_chunk
        self._splitter = FrameSplitter(max_frame)
        self._max_held = max_frame
        self._held: list[bytes] = []
        self._held_size = 0
        self._last_whole = b""
        self._id_attempts = _ID_ATTEMPTS

    @property
    def whole(self) -> bool:
        """Whether the provider said that the answer is whole: `[DONE]`, or a finish of every choice, and no failure."""
        return self.failure is None and (self.done_seen or len(self._finished) >= self._choices)

    def push(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, and give those that may go to the client now.

        Raises: UpstreamFailed if a frame, or all that follows the end, is longer than the bound.
        """
        first = plain = b""
        if self._id_attempts:  # the first frame is read for the answer's name; those behind it need not be
            cut = chunk.find(b"\n\n") + 2
            first, chunk = self._pass_all(chunk[:cut]), chunk[cut:]
        if not (self._held or self._id_attempts or self.done_seen):
            plain, chunk = self._splitter.take_plain(chunk, _plain_end)
        return first + plain + self._pass_all(chunk)

    def finish(self) -> None:
        """The provider's stream has ended; bytes after its last whole frame will follow ours."""
        leftover = self._splitter.finish()
        if is_whole_frame(leftover):
            self._last_whole += self._pass(leftover)
        elif leftover:
            # Sent before our frame it would swallow its first line; a client ignores it at the end of a stream.
            chunk = None if self.done_seen else self._tap(leftover)
            if not _is_usage_only(chunk) or self._keep_usage_chunk:
                self._hold(leftover)

    def closing(self, attestation_frame: bytes) -> bytes:
        """The last bytes for the client: our frame (may be empty), then what was held back, as the provider sent it."""
        self.finish()
        tail = self._last_whole + attestation_frame + self._release()
        self._last_whole = b""
        return tail

    def _pass_all(self, chunk: bytes) -> bytes:
        return b"".join([self._pass(frame) for frame in self._splitter.push(chunk)])

    def _pass(self, frame: bytes) -> bytes:
        if not self.done_seen:
            if not self._held and not self._id_attempts and not _is_telling(frame):
                self.skipped += count_unreadable(frame)
                return frame
            chunk = self._tap(frame)
            if _is_usage_only(chunk):
                if self._keep_usage_chunk:
                    self._hold(frame)
                return b""
            if not self.done_seen and (not self._held or (chunk and chunk.get("choices"))):
                # The answer goes on after all, so that usage was not the end.
                return self._release() + frame
        self._hold(frame)
        return b""

    def _tap(self, frame: bytes) -> dict[str, object] | None:
        event = parse_frame(frame)
        data = event.data.strip()
        if not data:
            return None
        if data.startswith("[DONE]"):
            self.done_seen = True
            return None
        chunk = read_json_object(data)
        if chunk is None:
            self.skipped += 1
        else:
            self._learn(chunk, event.event)
        return chunk

    def _learn(self, chunk: dict[str, object], event: str) -> None:
        self.usage = chunk_usage(chunk) or self.usage
        self.failure = self.failure or read_failure(chunk, event)
        for choice in rows(chunk.get("choices")):
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self.finish_reason = reason
                self._finished.add(choice.get("index", 0))
                if reason in FAILED_FINISHES and self.failure is None:
                    self.failure = Failure(f"The provider ended with {reason[:64]}.")
        if self._id_attempts:
            self._learn_identity(chunk)

    def _learn_identity(self, chunk: dict[str, object]) -> None:
        self._id_attempts -= 1
        chat_id, created, model = chunk.get("id"), chunk.get("created"), chunk.get("model")
        if isinstance(chat_id, str) and chat_id:
            self._id_attempts = 0
            self.chat_id = chat_id
            self.created = created if isinstance(created, int) else 0
            self.model = model if isinstance(model, str) else ""

    def _hold(self, frame: bytes) -> None:
        self._held_size += len(frame)
        if self._held_size > self._max_held:
            raise UpstreamFailed(
                f"stream: found more than {self._max_held} bytes after its end, wanted the end",
                code="upstream_endless",
            )
        self._held.append(frame)

    def _release(self) -> bytes:
        released = b"".join(self._held)
        self._held, self._held_size = [], 0
        return released


class ChatPassage:
    """A VerbatimStream as the pipeline uses it: with the attestation before its end, and cuts told to the client."""

    def __init__(
        self,
        request: InferenceRequest,
        created: int,
        max_frame: int = MAX_FRAME,
        write_block: Callable[[dict[str, object], Attestation], bytes] = attestation_frame,
    ) -> None:
        self._write_block = write_block
        self._stream = VerbatimStream(request.include_usage, max_frame, request.choices)
        self._created = created
        self.push = self._stream.push  # unwrapped, because every chunk of every stream comes through here

    def closing(self, attestation: Attestation | None, cut: Failure | None = None) -> bytes:
        """The last bytes: our frame before the provider's own end; where that is missing, an error after it."""
        stream = self._stream
        head = {
            "id": stream.chat_id,
            "object": "chat.completion.chunk",
            "created": stream.created or self._created,
            "model": stream.model,
        }
        ours = b"" if attestation is None else self._write_block(head, attestation)
        if cut is not None:
            return ours + _error_frame(cut)
        tail = stream.closing(ours)
        return tail if stream.failure is not None or stream.whole else tail + _error_frame(CUT)

    def seen(self) -> Seen:
        """What was learnt so far."""
        return Seen(self._stream.usage, self._stream.chat_id, self._stream.whole, self._stream.skipped)


def answer_facts(fields: dict[str, object]) -> Seen:
    """What a buffered answer says of itself."""
    words = [word(choice, "finish_reason") for choice in rows(fields.get("choices"))]
    gave_up = bool(fields.get("error")) or any(reason in FAILED_FINISHES for reason in words)
    return Seen(read_usage(fields.get("usage")), word(fields, "id"), not gave_up)


def _plain_end(data: bytes) -> int:
    """Where the frames end that are a line of JSON each, and not telling."""
    lines = _JSON_LINES.match(data)
    end = lines.end() if lines else 0
    for sign in _TELLING:
        if found := sign.search(data, 0, end):
            end = data.rfind(b"\n\n", 0, found.start()) + 2
    return end if end > 1 else 0


def _is_telling(frame: bytes) -> bool:
    """Whether a frame may hold more than text, at a tenth of the cost of decoding it. Plain deltas do not.

    JSON has no raw line ends, so one inside a frame means several lines: an event name, or data in pieces.
    """
    return (
        any(sign.search(frame) for sign in _TELLING)
        or b"[DONE]" in frame
        or frame.find(b"\n", 0, -_LONGEST_END) >= 0
        or frame.find(b"\r", 0, -_LONGEST_END) >= 0
    )


def _is_usage_only(chunk: dict[str, object] | None) -> bool:
    """Whether a chunk tells what was used and nothing else. OpenAI's list of choices is empty then, others lack it."""
    return chunk is not None and not chunk.get("choices") and isinstance(chunk.get("usage"), dict)


def _edited(body: bytes, wants_usage: bool, upstream_model: str) -> bytes:
    fields = json.loads(body)
    edited = {name: value for name, value in fields.items() if name not in GATEWAY_FIELDS} | {"model": upstream_model}
    if wants_usage:
        edited["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    return encode_json(edited)


def _error_frame(failure: Failure) -> bytes:
    return b"data: " + encode_json(write_failure(failure)) + b"\n\n"


VERBATIM = Verbatim(forward_body, ChatPassage, answer_facts)
