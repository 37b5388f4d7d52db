"""Anthropic Messages to Anthropic Messages: bytes pass unchanged and are only tapped; message_delta gains our block."""

from __future__ import annotations

import re

from gateway.dialects.anthropic_messages_fields import read_failure, read_usage, write_failure
from gateway.dialects.dialect import CUT, Attestation, Seen, Verbatim
from gateway.dialects.fields import table, word
from gateway.dialects.splice import attach_to_frame, forward_body
from gateway.dialects.sse import MAX_FRAME, FrameSplitter, count_unreadable, is_whole_frame, parse_frame
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, InferenceRequest
from gateway.jsonbody import encode_json, read_json_object

# Nearly all frames of a stream; nothing in them is worth decoding.
_PLAIN = b"event: content_block_delta\n"
_PLAIN_FRAMES = re.compile(rb"(?:event: content_block_delta\ndata: [^\n]*+(?<=\})\n\n)*+")


class MessagesPassage:
    """Passes a provider's stream through, and holds back its message_delta or error, where the attestation goes."""

    def __init__(self, _request: InferenceRequest, _created: int, max_frame: int = MAX_FRAME) -> None:
        self._splitter = FrameSplitter(max_frame)
        self._max_held = max_frame
        self._usage: dict[str, object] = {}
        self._chat_id = ""
        self._held: list[bytes] = []
        self._held_size = 0
        self._last = -1  # where in `_held` the newest message_delta stands
        self._stopped = self._failed = False
        self._skipped = 0

    def push(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, and give those that may go to the client now.

        Raises: UpstreamFailed if a frame, or all that follows the end, is longer than the bound.
        """
        plain = b""
        if not self._held:
            plain, chunk = self._splitter.take_plain(chunk, _plain_end)
        return plain + b"".join([self._pass(frame) for frame in self._splitter.push(chunk)])

    def closing(self, attestation: Attestation | None, cut: Failure | None = None) -> bytes:
        """What was held back, with the attestation in its message_delta; where that is missing, an error after it."""
        ours: dict[str, object] = (
            {} if attestation is None else {"_sf_attestation": attestation, "attestation": attestation}
        )
        if cut is not None:
            return _error_frame(cut, ours)
        leftover, tail = self._splitter.finish(), b""
        if is_whole_frame(leftover) or self._tap(leftover):
            leftover, tail = b"", self._pass(leftover)
        ended = self._last >= 0 and (self._stopped or self._failed)
        if ended and attestation is not None:
            self._held[self._last] = attach_to_frame(self._held[self._last], attestation)
        tail += b"".join(self._held)
        # Half a frame before an error of ours would swallow the first line of it, so that goes last.
        return (tail if ended else tail + _error_frame(CUT, ours)) + leftover

    def seen(self) -> Seen:
        """What was learnt so far."""
        return Seen(read_usage(self._usage), self._chat_id, self._stopped and not self._failed, self._skipped)

    def _pass(self, frame: bytes) -> bytes:
        kind = self._kind(frame)
        if kind in ("message_delta", "error"):
            self._last = len(self._held)
        elif not self._held or kind.startswith("content_block"):
            released = b"".join(self._held) + frame
            if self._held:
                # It was not the end after all.
                self._held, self._held_size, self._last, self._stopped = [], 0, -1, False
            return released
        self._hold(frame)
        return b""

    def _kind(self, frame: bytes) -> str:
        if frame.startswith(_PLAIN):
            self._skipped += count_unreadable(frame)
            return "content_block_delta"
        return self._tap(frame)

    def _tap(self, frame: bytes) -> str:
        """Learn from one frame; its type, empty if it says nothing."""
        event = parse_frame(frame)
        fields = read_json_object(event.data) if event.data else None
        if fields is None:
            self._skipped += bool(event.data and not event.data.startswith("[DONE]"))
            return ""
        if read_failure(fields, event.event) is not None:
            self._failed = True
            return "error"
        message = table(fields, "message")
        self._usage |= {
            name: value
            for source in (table(message, "usage"), table(fields, "usage"))
            for name, value in source.items()
            if value is not None
        }
        self._chat_id = self._chat_id or word(message, "id")
        self._stopped = self._stopped or bool(word(table(fields, "delta"), "stop_reason"))
        return word(fields, "type")

    def _hold(self, frame: bytes) -> None:
        self._held_size += len(frame)
        if self._held_size > self._max_held:
            raise UpstreamFailed(
                f"stream: found more than {self._max_held} bytes after its end, wanted the end",
                code="upstream_endless",
            )
        self._held.append(frame)


def answer_facts(fields: dict[str, object]) -> Seen:
    """What a buffered answer says of itself."""
    whole = read_failure(fields) is None and bool(word(fields, "stop_reason"))
    return Seen(read_usage(table(fields, "usage")), word(fields, "id"), whole)


def _plain_end(data: bytes) -> int:
    match = _PLAIN_FRAMES.match(data)
    return match.end() if match else 0


def _error_frame(failure: Failure, ours: dict[str, object]) -> bytes:
    error = {**write_failure(failure, failure.status or 500), **ours}
    return b"event: error\ndata: " + encode_json(error) + b"\n\n"


VERBATIM = Verbatim(forward_body, MessagesPassage, answer_facts, ("anthropic-beta",))
