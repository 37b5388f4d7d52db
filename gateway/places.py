"""Places: how many calls are open in all processes of a gateway, in memory that they share."""

from __future__ import annotations

import mmap
import os

WIDTH = 8  # bytes of a count; aligned, so that it is written at once


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


def own_places() -> Places:
    """The places of a gateway that is one process."""
    return Places(memoryview(bytearray(WIDTH)).cast("Q"))


def new_counts(slots: int) -> int:
    """Memory for that many processes; the file descriptor lends it to them."""
    handle = os.memfd_create("saferouter-places")
    os.ftruncate(handle, slots * WIDTH)
    return handle


def map_counts(handle: int) -> memoryview:
    """The counts behind a file descriptor."""
    return memoryview(mmap.mmap(handle, 0)).cast("Q")
