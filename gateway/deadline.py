"""A deadline that is moved for every message and hardly ever comes: moving it is an assignment, not a timer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls once a time is over. The loop's timer is only set anew where it would come too late, or came too early."""

    __slots__ = ("_at", "_call", "_due", "_loop", "_timer")

    def __init__(self, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._at = self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Call in so many seconds, whatever was set before."""
        self._at = self._loop.time() + seconds
        if self._due > self._at:
            self._arm()

    def clear(self) -> None:
        """Call not at all. A timer that still runs will find nothing to do."""
        self._at = math.inf

    def end(self) -> None:
        """Clear it for good, and hold nothing any more."""
        self._at = self._due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._at
        self._timer = self._loop.call_at(self._at, self._tick)

    def _tick(self) -> None:
        self._timer, self._due = None, math.inf
        if self._loop.time() >= self._at:
            self._at = math.inf
            self._call()
        elif self._at < math.inf:
            self._arm()
