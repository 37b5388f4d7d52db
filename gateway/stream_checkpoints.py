"""A stream's checkpoints: what has left is signed as it leaves, so that even a cut stream leaves proof behind."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from gateway.call import Sent
from tee.canonical import encode_canonical

# Of a fast model, half a second: the signature, some 50 µs, is spread over so many events that none feels it.
EVENTS = 64
# Of a slow one: a reader who loses the stream holds at most this much that nobody has signed for.
SECONDS = 1.0


class StreamCheckpoints:
    """Signs for one stream, and says so in the stream itself where the client asked for that."""

    def __init__(self, sent: Sent, sign: Callable[[], dict[str, Any]], *, in_band: bool) -> None:
        self._sent = sent
        self._sign = sign
        self._in_band = in_band
        self._events = 0
        self._signed_at = time.monotonic()
        self._told: dict[str, Any] | None = None

    def sign_due(self) -> None:
        """Sign for what has left, if that is due."""
        fresh, now = self._sent.events - self._events, time.monotonic()
        if fresh >= EVENTS or (fresh > 0 and now - self._signed_at >= SECONDS):
            self._sent.checkpoint = self._sign()
            self._events, self._signed_at = self._sent.events, now

    def comment(self) -> bytes:
        """The newest checkpoint as an SSE comment, which no client takes for data; empty if there is none to tell."""
        newest = self._sent.checkpoint
        if not self._in_band or newest is None or newest is self._told:
            return b""
        self._told = newest
        return b": sf-checkpoint " + b64encode(encode_canonical(newest)) + b"\n\n"
