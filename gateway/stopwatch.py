"""Where the time of the call goes that the current task carries, and what is learnt of it on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.inference import Usage
from gateway.rates import RateTicket


@dataclass(slots=True)
class Stopwatch:
    """One call, by the monotonic clock, in seconds."""

    surface: str = ""
    began: float = field(default_factory=time.monotonic)
    waited_body: float = 0.0  # for the caller's body
    waited_provider: float = 0.0
    waited_durable: float = 0.0  # until what was written was on disk
    to_first_byte: float | None = None
    overhead: float = 0.0  # of the time to the first byte what was none of these waits
    status: int = 0  # 0: the caller got none
    receipt_id: str = ""
    model: str = ""  # as the caller wrote it: any text
    provider: str = ""
    usage: Usage | None = None
    stream: bool = False
    complete: bool = False
    attempts: list[tuple[str, str]] = field(default_factory=list)  # provider and outcome, in order
    broken_lines: int = 0
    findings: list[tuple[str, str, int]] = field(default_factory=list)  # of the leak scan: kind, outcome, how many
    rates: RateTicket | None = None  # what the call took of its key's and its tenant's
    owed: bool = False  # the call's record is open
    then: Callable[[], None] | None = None  # what is to be done once it is closed, where the call ended before

    def sent(self) -> None:
        """A piece of the answer has left."""
        if self.to_first_byte is None:
            self.to_first_byte = time.monotonic() - self.began
            self.overhead = max(0.0, self.to_first_byte - self.waited_body - self.waited_provider - self.waited_durable)


_CURRENT: ContextVar[Stopwatch] = ContextVar("stopwatch")


def start_stopwatch(surface: str) -> Stopwatch:
    """The stopwatch of a call that begins now in the current task."""
    watch = Stopwatch(surface)
    _CURRENT.set(watch)
    return watch


def stopwatch() -> Stopwatch:
    """That of the current task; one that nobody reads where no call was started."""
    return _CURRENT.get(None) or start_stopwatch("")


@contextmanager
def waiting_for_provider() -> Iterator[None]:
    """Within it the call waits for its provider."""
    watch, began = stopwatch(), time.monotonic()
    try:
        yield
    finally:
        watch.waited_provider += time.monotonic() - began


def note_attempt(provider: str, status: int | None, failure: str | None) -> None:
    """One attempt of the call has ended: with this status, or in a failure of which this is our own word."""
    stopwatch().attempts.append((provider, failure or f"{(status or 0) // 100}xx"))
