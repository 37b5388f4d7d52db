"""The way to the attester: one request at a time, on a thread of its own, and no more of them than the rate allows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager

from tee.evidence import Evidence


class Turnstile:
    """Turns are taken in the order of asking; who leaves the queue takes no request from the device.

    The thread is a daemon: an ioctl may block for a minute, and neither the event loop nor a stop may wait for it.
    """

    def __init__(self, attest: Callable[[bytes], Evidence], per_minute: int) -> None:
        self._attest = attest
        self._spacing = 60 / per_minute
        self._turn = asyncio.Lock()
        self._asked_at = float("-inf")  # of the last request, by the monotonic clock
        self._asking = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within it nobody else asks the device, and the rate allows a first request."""
        async with self._turn:
            await self.slot()
            yield

    async def slot(self) -> None:
        """Wait, within a turn, until the rate allows one more request."""
        while (left := self._asked_at + self._spacing - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def ask(self, report_data: bytes) -> Evidence:
        """One request, within a turn and its slot. Raises what `attest` raises."""
        done: Future[Evidence] = Future()
        done.set_running_or_notify_cancel()  # so that a cancelled caller cannot spoil the thread's last word
        self._asked_at, self._asking = time.monotonic(), True
        threading.Thread(target=self._work, args=(report_data, done), name="attester", daemon=True).start()
        try:
            return await asyncio.wrap_future(done)
        finally:
            self._asking = False

    def close(self) -> None:
        """Nothing will be asked any more: whoever waits need not wait for the rate."""
        self._spacing = 0.0

    @property
    def busy_seconds(self) -> float:
        """How long the device has been silent on the request that it has; 0 where it has none."""
        return time.monotonic() - self._asked_at if self._asking else 0.0

    @property
    def answer_seconds(self) -> float:
        """Room for an answer: a device that bears the rate needs no longer."""
        return min(self._spacing, 1.0)

    def seconds_until(self, ahead: int) -> float:
        """When, at the rate, a request behind `ahead` waiting others starts."""
        return max(0.0, self._asked_at + self._spacing - time.monotonic()) + ahead * self._spacing

    def _work(self, report_data: bytes, done: Future[Evidence]) -> None:
        # Here and not in `ask`: a thread that starts late must not bring two requests together.
        self._asked_at = time.monotonic()
        try:
            evidence = self._attest(report_data)
        except BaseException as error:  # the rim of this thread: whoever waits must learn of it
            done.set_exception(error)
        else:
            done.set_result(evidence)
