"""What every wire language offers to the pipeline."""

from __future__ import annotations

from typing import Protocol

from gateway.inference import StreamEvent


class Decoder(Protocol):
    """Reads the stream of a provider: bytes in any chunking, events out."""

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give the events that they complete. Raises: UpstreamFailed beyond a bound."""

    def finish(self) -> list[StreamEvent]:
        """Say that the stream has ended, and give what was still open; Failure if it ended too early."""


class Encoder(Protocol):
    """Writes the stream that a client reads: one event in, whole frames out."""

    def encode(self, event: StreamEvent) -> bytes:
        """Render one event; empty if this language has no place for it."""

    def finish(self) -> bytes:
        """Render the end of the stream."""
