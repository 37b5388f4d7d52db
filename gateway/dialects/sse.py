"""Server-sent events without input or output: cut a byte stream into frames, and read one frame (WHATWG HTML §9.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import UpstreamFailed

MAX_FRAME = 4 * 1024 * 1024
"""Bytes of one frame. The largest honest ones carry a whole tool call or a picture in base64."""

# A CRLF is one line end and must never be taken for a CR and an LF, which would be a blank line: hence no alternative
# that matches a CR before an LF. (A literal first byte also makes the search three times as fast as a group.)
_LINE_END = re.compile(rb"\n|\r\n?")
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n?)|\r\r\n?")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One parsed frame. `data` is empty for comments and blank frames, which a client never sees."""

    event: str
    data: str


class FrameSplitter:
    """Cuts a stream into frames, each verbatim with the blank line that ends it.

    Joining all frames and the leftover gives the stream again, and the cuts do not depend on how it was chunked. A
    carriage return at the very end of the input waits for one more byte, because a line feed may belong to it.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._scanned = 0
        self._overlong = False

    def push(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and give the frames that they complete.

        Raises: UpstreamFailed once a frame has been longer than the bound: not at once, since of the same bytes what
        came whole before it is still to be given, but at every push and at the end from then on.
        """
        if self._overlong:
            raise self._too_long()
        self._buffer += chunk
        frames: list[bytes] = []
        start = 0
        while end := self._find_end(start):
            if end - start > self._max_frame:
                self._give_up()
                return frames
            frames.append(bytes(self._buffer[start:end]))
            start = self._scanned = end
        del self._buffer[:start]
        self._scanned -= start
        if len(self._buffer) > self._max_frame:
            self._give_up()
        return frames

    def take_plain(self, chunk: bytes, plain_end: Callable[[bytes], int]) -> tuple[bytes, bytes]:
        """Take the frames at the beginning of the next bytes that need no look, in one piece, if all lines end in LF:
        they, and the bytes that are still to be pushed. `plain_end` says where those frames end, 0 if there are none.
        """
        if b"\n\n" not in chunk or b"\r" in chunk or b"\r" in self._buffer:
            return b"", chunk
        data = bytes(self._buffer) + chunk if self._buffer else chunk
        end = 0 if self._overlong or len(data) > self._max_frame else plain_end(data)
        if end == 0:
            return b"", chunk
        self._buffer.clear()
        self._scanned = 0
        return data[:end], data[end:]

    def finish(self) -> bytes:
        """Give what followed the last whole frame. Raises: UpstreamFailed if that was too long."""
        if self._overlong:
            raise self._too_long()
        leftover = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return leftover

    def _find_end(self, start: int) -> int:
        """Offset just after the blank line that ends the frame at `start`; 0 if it is not there yet."""
        match = _LINE_END.match(self._buffer, start) or _BLANK_LINE.search(self._buffer, self._scanned)
        if match is None:
            # A blank line is at most four bytes, so three of them may already be here.
            self._scanned = max(start, len(self._buffer) - 3)
            return 0
        end = match.end()
        if end == len(self._buffer) and self._buffer[-1:] == b"\r":
            self._scanned = match.start()
            return 0
        return end

    def _give_up(self) -> None:
        self._overlong = True
        self._buffer.clear()

    def _too_long(self) -> UpstreamFailed:
        return UpstreamFailed(
            f"stream: found a frame longer than {self._max_frame} bytes, wanted a blank line before that",
            code="upstream_frame_too_long",
        )


def count_events(frames: bytes) -> int:
    """How many frames these bytes end: events, and comments that a blank line ends."""
    return len(_BLANK_LINE.findall(frames)) if b"\r" in frames else frames.count(b"\n\n")


def count_unreadable(frames: bytes) -> int:
    """How many of these frames are neither comments nor end as an object of JSON does; 0 where lines end in CR too."""
    if b"\r" in frames:
        return 0
    comments = frames.count(b"\n\n:") + frames.startswith(b":")
    return frames.count(b"\n\n") - frames.count(b"}\n\n") - comments


def is_whole_frame(leftover: bytes) -> bool:
    """Whether a splitter's leftover is a frame that only waited for a possible line feed."""
    return leftover == b"\r" or leftover.endswith((b"\r\r", b"\n\r"))


def parse_frame(frame: bytes) -> ServerEvent:
    """Read one frame. Data lines are joined by LF; unknown fields and comments are ignored; nothing is refused."""
    event, data = "message", []
    for line in frame.removeprefix(_BOM).splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    return ServerEvent(event or "message", b"\n".join(data).decode("utf-8", "replace"))
