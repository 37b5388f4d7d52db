"""UTF-8 in pieces: what a character's first bytes wait for comes with the next piece."""

from __future__ import annotations

import codecs


class Utf8Decoder:
    """Text out of bytes as they arrive; a byte order mark at the start goes, what is invalid becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")

    def push(self, chunk: bytes) -> str:
        """The text that is whole now."""
        return self._decoder.decode(chunk)

    def finish(self) -> str:
        """U+FFFD for what never became whole."""
        return self._decoder.decode(b"", final=True)
