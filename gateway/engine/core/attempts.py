"""The attempts of one request: endpoint after endpoint, until one answers or none is left that could."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.dialects.dialect import CUT
from gateway.engine.core.errors import StreamAborted, UpstreamRefused
from gateway.engine.core.flight import Flight, Target
from gateway.engine.core.report import Outcome
from gateway.errors import GatewayError, InvalidRequest, NoRoute, UpstreamFailed
from gateway.inference import Failure, Finish, Start, StreamEvent, Usage
from gateway.routing.retry import Move, RetryPolicy, Verdict, counts_as, judge_failure, judge_status

T = TypeVar("T")
Ask = Callable[[Target], Awaitable[T]]
# Another endpoint may be able to say, or be allowed, what this one is not; of its health that tells nothing.
_NOT_HERE = Verdict(Move.LEAVE)


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer of which something has come: what it was, and the rest."""

    head: tuple[StreamEvent, ...]
    rest: AsyncGenerator[StreamEvent, None]


async def first_answer(flight: Flight, targets: Sequence[Target], policy: RetryPolicy, ask: Ask[T]) -> T:
    """Ask the targets in their order until one answers; its attempt stays open. Raises: the last one's GatewayError."""
    for place, target in enumerate(targets):
        last = place == len(targets) - 1
        for failed in range(1, max(policy.attempts, 1) + 1):
            await flight.begin(target)
            try:
                return await ask(target)
            except GatewayError as error:
                verdict = judge(error)
                target.rests_until = time.monotonic() + verdict.rest
                pause = None if failed >= policy.attempts else _pause(verdict, policy, failed, last)
                over = pause is None and (last or verdict.move is Move.RETURN)
                health = None if verdict is _NOT_HERE else counts_as(verdict)
                await flight.end(Outcome.FAILED if over else Outcome.RETRIED, health, error)
                if over:
                    raise
            if pause is None:
                break
            await asyncio.sleep(pause)
    raise AssertionError("no targets were given")


async def open_answer(events: AsyncGenerator[StreamEvent, None], flight: Flight, *, stream: bool) -> Opened:
    """Read until something of an answer is there; all of it, if it is not to be streamed. Raises: GatewayError."""
    head: list[StreamEvent] = []
    try:
        async for event in events:
            if isinstance(event, Failure):
                raise _error_of(event)
            flight.see(event)
            head.append(event)
            if stream and not isinstance(event, Start | Usage):
                flight.answered()
                return Opened(tuple(head), events)
        if not any(isinstance(event, Finish) for event in head):
            raise _error_of(CUT)
    except BaseException:
        await events.aclose()
        raise
    flight.answered()
    return Opened(tuple(head), events)


async def follow(opened: Opened, flight: Flight) -> AsyncGenerator[StreamEvent, None]:
    """The whole answer. Raises: StreamAborted where it breaks off, since no other endpoint can take over unseen."""
    finished = False
    for event in opened.head:
        finished = finished or isinstance(event, Finish)
        yield event
    try:
        async for event in opened.rest:
            if isinstance(event, Failure):
                raise _error_of(event)
            flight.see(event)
            finished = finished or isinstance(event, Finish)
            yield event
        if not finished:
            raise _error_of(CUT)
    except GatewayError as error:
        raise StreamAborted(error.message, code=error.code, retry_after=error.retry_after) from error


def judge(error: GatewayError) -> Verdict:
    """Whether another attempt may help, and where."""
    if isinstance(error, UpstreamRefused):
        return judge_status(error.status, error.code, error.retry_after)
    if isinstance(error, InvalidRequest | NoRoute):
        return _NOT_HERE
    if error.code == "upstream_refused_key":
        return judge_status(401, None, None)
    return judge_failure(error.code) if isinstance(error, UpstreamFailed) else judge_status(error.status, None, None)


def _pause(verdict: Verdict, policy: RetryPolicy, failed: int, last: bool) -> float | None:
    """The seconds before the same endpoint is asked again; None: it is not."""
    waits = verdict.move is Move.ROTATE and verdict.may_wait and last
    if verdict.move is not Move.AGAIN and not waits:
        return None
    return policy.pause(failed, verdict.rest, random.random())


def _error_of(failure: Failure) -> GatewayError:
    if failure.status is not None:
        return UpstreamRefused(failure, failure.status, retry_after=failure.retry_after)
    return UpstreamFailed(failure.message, code=failure.code, retry_after=failure.retry_after)
