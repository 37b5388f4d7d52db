"""What the processes of a gateway share in memory: how many calls each has open, and how many callers each took."""

from __future__ import annotations

import mmap
import os
import time

WIDTH = 8  # bytes of a count; aligned, so that it is written at once
ABSENT = (1 << 64) - 1  # callers taken by a worker that is not there: it is never its turn
PATIENCE = 0.005  # seconds that a caller waits for the worker whose turn it is


class Places:
    """Each process writes its own count and reads all: the limit holds for the gateway without a question to anybody.

    A count is written before the sum is read, so two that come at once may both be refused, never both be too many.
    """

    def __init__(self, counts: memoryview, slot: int = 0) -> None:
        self._counts = counts
        self._slot = slot

    def hold(self, number: int) -> None:
        """Say how many calls are open here."""
        self._counts[self._slot] = number

    def taken(self) -> int:
        """How many are open everywhere."""
        return sum(self._counts)


class Turns:
    """Whose turn it is to accept: his who took fewest. Else whoever wakes first would keep a whole burst of callers."""

    def __init__(self, counts: memoryview, slot: int) -> None:
        self._counts = counts
        self._slot = slot
        present = [count for count in counts if count != ABSENT]
        counts[slot] = min(present, default=0)  # a late one does not have to catch up
        self._since = self._last = float("-inf")

    def mine(self) -> bool:
        """Whether to take the caller that waits now; out of turn if nobody else does."""
        if self._counts[self._slot] <= min(self._counts):
            return True
        now = time.monotonic()
        if now - self._last > PATIENCE:
            self._since = now  # another caller than the last time
        self._last = now
        return now - self._since > PATIENCE

    def took(self) -> None:
        """One more."""
        self._counts[self._slot] += 1
        self._since = float("-inf")


def own_places() -> Places:
    """The places of a gateway that is one process."""
    return Places(memoryview(bytearray(WIDTH)).cast("Q"))


def new_counts(slots: int) -> int:
    """Memory for that many processes, of which none is there yet; the file descriptor lends it to them."""
    handle = os.memfd_create("saferouter-places")
    os.write(handle, bytes(slots * WIDTH) + b"\xff" * (slots * WIDTH))
    return handle


def map_counts(handle: int) -> tuple[memoryview, memoryview]:
    """Behind that file descriptor: open calls, and callers taken."""
    counts = memoryview(mmap.mmap(handle, 0)).cast("Q")
    slots = len(counts) // 2
    return counts[:slots], counts[slots:]
