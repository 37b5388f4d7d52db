"""Damaged frames of a stream: skipped and counted, since the answer goes on, but not without end."""

from __future__ import annotations

from gateway.inference import Failure

MAX_SKIPPED = 16
"""In one stream. A line may be lost on the way; who sends more of them speaks another language."""


class Damaged:
    """Counts the frames that are no JSON object."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def skip(self) -> Failure | None:
        """One more; the Failure that it is if there are too many."""
        self.count += 1
        if self.count <= MAX_SKIPPED:
            return None
        return Failure(
            f"the provider sent more than {MAX_SKIPPED} frames that are no JSON object", "upstream_malformed"
        )
