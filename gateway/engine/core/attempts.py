"""The attempts of one request: endpoint after endpoint, until one answers or none is left that could."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.dialects.dialect import CUT
from gateway.engine.core.errors import StreamAborted, error_of
from gateway.engine.core.flight import Flight, Target
from gateway.engine.core.report import Outcome
from gateway.errors import GatewayError, InvalidRequest, NoRoute, UpstreamFailed
from gateway.inference import Failure, Finish, Start, StreamEvent, Usage
from gateway.routing.retry import Move, RetryPolicy, Verdict, counts_as, judge_failure, judge_status

MAX_ATTEMPTS = 16  # of one request, over all endpoints: a caller must not become a storm
T = TypeVar("T")
Ask = Callable[[Target], Awaitable[T]]
_AT_ONCE: float | None = 0.0
# Another endpoint may be able to say, or be allowed, what this one is not; of its health that tells nothing.
_NOT_HERE = Verdict(Move.LEAVE, may_wait=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may take: an attempt until its answer begins, in seconds, and all of it, by the clock."""

    first_seconds: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer of which something has come: what it was, and the rest, until the clock says `deadline`."""

    head: tuple[StreamEvent, ...]
    rest: AsyncGenerator[StreamEvent, None]
    deadline: float


async def first_answer(
    flight: Flight, targets: Sequence[Target], policy: RetryPolicy, patience: Patience, ask: Ask[T]
) -> T:
    """Ask the targets in their order until one answers; its attempt stays open.

    Raises: the GatewayError of the first one that was really asked: it was the first choice.
    """
    shown: GatewayError | None = None
    left = MAX_ATTEMPTS
    for place, target in enumerate(targets):
        last = place == len(targets) - 1
        # Whoever is to be left alone is asked once, where nobody else is left: a breaker steers and never refuses.
        most = policy.attempts if target.health.admits(time.monotonic()) else 1
        failed, pause = 0, _AT_ONCE
        while pause is not None:
            await asyncio.sleep(pause)
            failed, left = failed + 1, left - 1
            await flight.begin(target)
            try:
                return await _within(patience, ask(target))
            except GatewayError as error:
                verdict, now = judge(error), time.monotonic()
                target.rests_until = now + verdict.rest
                pause = _pause(verdict, policy, failed, last) if failed < most and left > 0 else None
                if pause is not None and now + pause >= patience.deadline:
                    pause = None
                spent = last or left <= 0 or now >= patience.deadline
                over = verdict.move is Move.RETURN or (pause is None and spent)
                health = None if verdict is _NOT_HERE else counts_as(verdict)
                await flight.end(Outcome.FAILED if over else Outcome.RETRIED, health, error)
                shown = error if shown is None or judge(shown) is _NOT_HERE else shown
                if over:
                    raise (error if verdict.move is Move.RETURN else shown) from None
    raise AssertionError("no targets were given")


async def _within(patience: Patience, asked: Awaitable[T]) -> T:
    """The answer, in time. Raises: UpstreamFailed."""
    try:
        async with asyncio.timeout(min(patience.first_seconds, patience.deadline - time.monotonic())):
            return await asked
    except TimeoutError:
        raise UpstreamFailed("The provider did not answer in time.", code="upstream_timeout") from None


async def open_answer(
    events: AsyncGenerator[StreamEvent, None], flight: Flight, deadline: float, *, stream: bool
) -> Opened:
    """Read until something of an answer is there; all of it, if it is not to be streamed. Raises: GatewayError."""
    head: list[StreamEvent] = []
    try:
        async for event in events:
            if isinstance(event, Failure):
                raise error_of(event)
            flight.see(event)
            head.append(event)
            if stream and not isinstance(event, Start | Usage):
                flight.answered()
                return Opened(tuple(head), events, deadline)
        if not any(isinstance(event, Finish) for event in head):
            raise error_of(CUT)
    except BaseException:
        await events.aclose()
        raise
    flight.answered()
    return Opened(tuple(head), events, deadline)


async def follow(opened: Opened, flight: Flight) -> AsyncGenerator[StreamEvent, None]:
    """The whole answer. Raises: StreamAborted where it breaks off, since no other endpoint can take over unseen."""
    finished = False
    for known in opened.head:
        finished = finished or isinstance(known, Finish)
        yield known
    clock = _Clock(opened.deadline - time.monotonic())
    try:
        while (event := await clock.next(opened.rest)) is not None:
            if isinstance(event, Failure):
                raise error_of(event)
            flight.see(event)
            finished = finished or isinstance(event, Finish)
            yield event
        if not finished:
            raise error_of(CUT)
    except GatewayError as error:
        raise StreamAborted(error.message, code=error.code, retry_after=error.retry_after) from error
    finally:
        clock.stop()


def judge(error: GatewayError) -> Verdict:
    """Whether another attempt may help, and where."""
    if isinstance(error, InvalidRequest) or (isinstance(error, NoRoute) and error.code != "no_credential"):
        return _NOT_HERE
    if isinstance(error, UpstreamFailed | NoRoute) and error.status == type(error).status:
        return judge_failure(error.code)
    return judge_status(error.status, error.code, error.retry_after)


class _Clock:
    """The end of a stream's time: one timer for all its events, which cancels whoever waits for the next one."""

    def __init__(self, seconds: float) -> None:
        self._waiting: asyncio.Task[object] | None = None
        self._over = False
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._end)

    async def next(self, events: AsyncGenerator[StreamEvent, None]) -> StreamEvent | None:
        """The next event, None after the last. Raises: UpstreamFailed when the time is over."""
        task = self._waiting = asyncio.current_task()
        assert task is not None
        others = task.cancelling()
        try:
            if not self._over:
                return await anext(events, None)
        except asyncio.CancelledError:
            if not self._over or task.uncancel() > others:
                raise  # somebody else's
        finally:
            self._waiting = None
        raise UpstreamFailed("The provider did not end its answer in time.", code="upstream_timeout")

    def stop(self) -> None:
        """The stream has ended."""
        self._timer.cancel()

    def _end(self) -> None:
        self._over = True
        if self._waiting is not None:
            self._waiting.cancel()


def _pause(verdict: Verdict, policy: RetryPolicy, failed: int, last: bool) -> float | None:
    """The seconds before the same endpoint is asked again; None: it is not."""
    waits = verdict.move is Move.ROTATE and verdict.may_wait and last
    if verdict.move is not Move.AGAIN and not waits:
        return None
    return policy.pause(failed, verdict.rest, random.random())
