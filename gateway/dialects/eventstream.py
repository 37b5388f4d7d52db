"""Amazon's event stream (application/vnd.amazon.eventstream) without input or output: bytes to checked messages.

A message is: its length, the length of its headers, a CRC-32 of these eight bytes, headers, payload, a CRC-32 of all.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NoReturn

from gateway.errors import UpstreamFailed

MAX_MESSAGE = 16 << 20
"""Bytes of one message: Amazon's own bound on a payload."""
MAX_HEADERS = 128 << 10
"""Bytes of the headers of one message: Amazon's own bound. Real ones hold some 100."""

HeaderValue = bool | int | str | bytes
"""Bytes also of a UUID; an integer also of a time, in milliseconds since 1970."""

_PRELUDE, _CHECKSUM = 12, 4
_LEAST = _PRELUDE + _CHECKSUM
_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_INTEGERS = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8}  # type -> bytes; 8 is a time
_UUID_SIZE = 16


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One message whose checksums hold."""

    headers: dict[str, HeaderValue]
    payload: bytes

    def text(self, name: str) -> str:
        """A header that is text; empty for anything else."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class MessageSplitter:
    """Cuts a stream into messages. The cuts do not depend on how it was chunked."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._max_message = max_message
        self._buffer = bytearray()
        self._fault: UpstreamFailed | None = None

    def push(self, chunk: bytes) -> list[EventMessage]:
        """Take the next bytes and give the messages that they complete.

        Raises: UpstreamFailed for a message that is damaged or beyond a bound, once the messages before it are given.
        """
        if self._fault is not None:
            raise self._fault
        self._buffer += chunk
        messages: list[EventMessage] = []
        start = 0
        try:
            while size := self._size_at(start):
                messages.append(_read_message(bytes(self._buffer[start : start + size])))
                start += size
        except UpstreamFailed as error:
            self._fault = error
            self._buffer.clear()
            if not messages:
                raise
        del self._buffer[:start]
        return messages

    def finish(self) -> bool:
        """Whether the stream ended where a message did. Raises: UpstreamFailed as `push` would."""
        if self._fault is not None:
            raise self._fault
        return not self._buffer

    def _size_at(self, start: int) -> int:
        """The size of the message at `start`; 0 if it is not whole yet. The length is believed only once checked."""
        prelude = self._buffer[start : start + _PRELUDE]
        if len(prelude) < _PRELUDE:
            return 0
        if zlib.crc32(prelude[:8]) != _integer(prelude[8:]):
            _refuse("a message whose lengths do not match their checksum", "matching ones")
        size, headers = _integer(prelude[:4]), _integer(prelude[4:8])
        if size > self._max_message:
            _refuse(f"a message of {size} bytes", f"at most {self._max_message}", "upstream_frame_too_long")
        if headers > MAX_HEADERS or size < _LEAST + headers:
            _refuse(f"headers of {headers} bytes in a message of {size}", f"at most {MAX_HEADERS} that fit into it")
        return size if len(self._buffer) - start >= size else 0


def _read_message(raw: bytes) -> EventMessage:
    if zlib.crc32(raw[:-_CHECKSUM]) != _integer(raw[-_CHECKSUM:]):
        _refuse("a message that does not match its checksum", "a matching one")
    end = _PRELUDE + _integer(raw[4:8])
    return EventMessage(_read_headers(raw[_PRELUDE:end]), raw[end:-_CHECKSUM])


def _read_headers(raw: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    while at < len(raw):
        name, at = _take(raw, at + 1, raw[at])
        kind, at = _take(raw, at, 1)
        value, at = _read_value(raw, at, kind[0])
        headers[_text(name)] = value
    return headers


def _read_value(raw: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """The value at `at`, and where it ends."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in _INTEGERS:
        digits, at = _take(raw, at, _INTEGERS[kind])
        return int.from_bytes(digits, "big", signed=True), at
    if kind == _UUID:
        return _take(raw, at, _UUID_SIZE)
    if kind not in (_BYTES, _STRING):
        _refuse(f"a header of type {kind}", "one of 0 to 9")
    size, at = _take(raw, at, 2)
    value, at = _take(raw, at, _integer(size))
    return (value if kind == _BYTES else _text(value)), at


def _take(raw: bytes, at: int, size: int) -> tuple[bytes, int]:
    end = at + size
    if end > len(raw):
        _refuse("a header that is longer than all headers", "one that fits")
    return raw[at:end], end


def _integer(raw: bytes | bytearray) -> int:
    return int.from_bytes(raw, "big")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        _refuse("a header that is not UTF-8", "UTF-8")


def _refuse(found: str, wanted: str, code: str = "upstream_malformed") -> NoReturn:
    raise UpstreamFailed(f"stream: found {found}, wanted {wanted}", code=code)
