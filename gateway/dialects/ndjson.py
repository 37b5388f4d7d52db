"""Newline-delimited JSON without input or output: cut a byte stream into lines."""

from __future__ import annotations

from gateway.errors import UpstreamFailed

MAX_LINE = 4 << 20
"""Bytes of one line. The largest honest ones carry a whole tool call."""


class LineSplitter:
    """Cuts a stream into lines, without their ends and without blank ones. Chunking does not matter."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._buffer = bytearray()
        self._scanned = 0
        self._fault: UpstreamFailed | None = None

    def push(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and give the lines that they complete.

        Raises: UpstreamFailed if a line is longer than the bound; from then on every push raises.
        """
        if self._fault is not None:
            raise self._fault
        self._buffer += chunk
        lines: list[bytes] = []
        start = 0
        while (end := self._buffer.find(b"\n", self._scanned)) >= 0:
            self._bound(end - start)
            lines.append(bytes(self._buffer[start:end]).strip())
            start = self._scanned = end + 1
        del self._buffer[:start]
        self._scanned = len(self._buffer)
        self._bound(len(self._buffer))
        return [line for line in lines if line]

    def finish(self) -> bytes:
        """Give what followed the last line end: the last line, if its sender left out the end."""
        leftover = bytes(self._buffer).strip()
        self._buffer.clear()
        self._scanned = 0
        return leftover

    def _bound(self, size: int) -> None:
        if size > self._max_line:
            self._buffer.clear()
            self._fault = UpstreamFailed(
                f"stream: found a line longer than {self._max_line} bytes, wanted a line feed before that",
                code="upstream_frame_too_long",
            )
            raise self._fault
