"""OpenAI Responses to OpenAI Responses: bytes pass unchanged and are only tapped; the last event gains our block."""

from __future__ import annotations

import json
import re

from gateway.dialects.dialect import CUT, Attestation, Seen, Verbatim
from gateway.dialects.fields import table, word
from gateway.dialects.openai_responses_fields import read_error, read_usage, write_failed, write_head
from gateway.dialects.splice import attach_attestation, attach_inside, attach_to_frame, forward_body
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, count_events, count_unreadable, is_whole_frame, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, InferenceRequest, Usage
from gateway.jsonbody import encode_json, read_json_object

_NOT_STORED = b'"store":false,'
# Nearly all frames of a stream; nothing in them is worth decoding.
_PLAIN = (b"event: response.output_text.delta\n", b"event: response.function_call_arguments.delta\n")
_PLAIN_FRAMES = re.compile(
    rb"(?:event: response\.(?:output_text|function_call_arguments)\.delta\ndata: [^\n]*+(?<=\})\n\n)*+"
)
_WHOLE = frozenset({"response.completed", "response.incomplete"})
_FAILED = frozenset({"response.failed", "response.cancelled", "error"})


def forward_unstored(body: bytes, request: InferenceRequest, upstream_model: str) -> bytes:
    """The bytes for the provider, which stores what it answers unless it is told not to: so it always is."""
    forwarded = forward_body(body, request, upstream_model)
    if "store" not in request.extra:
        opening = forwarded.index(b"{") + 1
        return forwarded[:opening] + _NOT_STORED + forwarded[opening:]
    return forwarded if request.extra["store"] is False else encode_json({**json.loads(forwarded), "store": False})


class ResponsesPassage:
    """Passes a provider's stream through, and holds back its last event, where the attestation goes."""

    def __init__(self, request: InferenceRequest, created: int, max_frame: int = MAX_FRAME) -> None:
        self._request, self._created = request, created
        self._splitter = FrameSplitter(max_frame)
        self._max_held = max_frame
        self._usage: Usage | None = None
        self._id = self._model = ""
        self._held: list[bytes] = []
        self._held_size = 0
        self._last = -1  # where in `_held` the newest last event stands
        self._whole = self._failed = False
        self._skipped = 0
        self._frames = 0  # an event's sequence_number is at most the number of frames so far

    def push(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, and give those that may go to the client now.

        Raises: UpstreamFailed if a frame, or all that follows the end, is longer than the bound.
        """
        plain = b""
        if not self._held:
            plain, chunk = self._splitter.take_plain(chunk, _plain_end)
            self._frames += count_events(plain)
        return plain + b"".join([self._pass(frame) for frame in self._splitter.push(chunk)])

    def closing(self, attestation: Attestation | None, cut: Failure | None = None) -> bytes:
        """What was held back, with the attestation in its last event; where that is missing, a failure after it."""
        if cut is not None:
            return self._failure(cut, attestation)
        leftover, tail = self._splitter.finish(), b""
        if is_whole_frame(leftover) or self._tap(leftover):
            leftover, tail = b"", self._pass(leftover)
        ended = self._last >= 0
        if ended and attestation is not None:
            self._held[self._last] = attach_to_frame(self._held[self._last], attestation, _attach)
        tail += b"".join(self._held)
        # Half a frame before an event of ours would swallow the first line of it, so that goes last.
        return (tail if ended else tail + self._failure(CUT, attestation)) + leftover

    def seen(self) -> Seen:
        """What was learnt so far."""
        return Seen(self._usage, self._id, self._whole and not self._failed, self._skipped)

    def _pass(self, frame: bytes) -> bytes:
        self._frames += 1
        kind = self._kind(frame)
        if kind in _WHOLE or kind in _FAILED:
            # OpenAI says a failure twice, as `error` and as response.failed: the block goes into the first.
            self._last = len(self._held) if self._last < 0 else self._last
        elif not self._held or kind.startswith("response."):
            released = b"".join(self._held) + frame
            if self._held:
                # It was not the end after all.
                self._held, self._held_size, self._last, self._whole = [], 0, -1, False
            return released
        self._hold(frame)
        return b""

    def _kind(self, frame: bytes) -> str:
        if frame.startswith(_PLAIN):
            self._skipped += count_unreadable(frame)
            return "response.delta"
        return self._tap(frame)

    def _tap(self, frame: bytes) -> str:
        """Learn from one frame; its type, empty if it says nothing."""
        data = parse_frame(frame).data
        fields = read_json_object(data or "null")
        if fields is None:
            self._skipped += bool(data and not data.startswith("[DONE]"))
            return ""
        response, kind = table(fields, "response"), word(fields, "type")
        kind = "error" if read_error(fields) is not None else kind
        self._usage = read_usage(response) or self._usage
        self._id, self._model = self._id or word(response, "id"), self._model or word(response, "model")
        self._whole = self._whole or kind in _WHOLE
        self._failed = self._failed or kind in _FAILED
        return kind

    def _failure(self, failure: Failure, attestation: Attestation | None) -> bytes:
        """The last events of a response that the provider left without."""
        head = write_head(self._request, self._id, self._created, self._model or self._request.model)
        return write_failed({**head, "output": [], "usage": None}, self._frames + 1, failure, attestation)

    def _hold(self, frame: bytes) -> None:
        self._held_size += len(frame)
        if self._held_size > self._max_held:
            raise UpstreamFailed(
                f"stream: found more than {self._max_held} bytes after its end, wanted the end",
                code="upstream_endless",
            )
        self._held.append(frame)


def _plain_end(data: bytes) -> int:
    match = _PLAIN_FRAMES.match(data)
    return match.end() if match else 0


def _attach(data: bytes, attestation: Attestation) -> bytes:
    inside = isinstance((read_json_object(data) or {}).get("response"), dict)
    return attach_inside(data, "response", attestation) if inside else attach_attestation(data, attestation)


def answer_facts(fields: dict[str, object]) -> Seen:
    """What a buffered answer says of itself."""
    ended = word(fields, "status") in ("completed", "incomplete", "")  # some compatible servers leave it out
    whole = not fields.get("error") and ended and isinstance(fields.get("output"), list)
    return Seen(read_usage(fields), word(fields, "id"), whole)


VERBATIM = Verbatim(forward_unstored, ResponsesPassage, answer_facts)
