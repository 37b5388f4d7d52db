"""Make attempts until one holds: at one target after another, while nothing of an answer has left for the caller."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.config import Limits
from gateway.connectors.connector import Connector
from gateway.dialects.dialect import ProviderSide
from gateway.errors import GatewayError, UpstreamFailed
from gateway.first_event import read_to_first_event
from gateway.routing.balance import rank_of
from gateway.routing.health import BreakerPolicy, Health, Snapshot
from gateway.routing.retry import (
    FAILURES,
    Move,
    RetryPolicy,
    Verdict,
    counts_as,
    judge_failure,
    judge_status,
    read_retry_after,
)
from gateway.routing.standing import UNTOLD
from gateway.stopwatch import note_attempt
from gateway.upstream import Upstream, UpstreamAnswer
from tee.aws.sigv4 import AwsCredentials

MAX_ATTEMPTS = 16  # of one call, over all targets and keys: a caller must not become a storm
MAX_TARGETS = 4096  # of whom the health is known: behind a prefix any caller may name more
T = TypeVar("T")
_HOLDS, _LEAVES = Verdict(Move.RETURN), Verdict(Move.LEAVE, may_wait=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a target is sent: `body` to `url`, and `headers` beside those of the connector."""

    provider: ProviderSide
    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a provider that may answer a call.

    `prepare` gives what it is to be sent, and is called only if it is tried. An `alternative` is another model than the
    one that was asked for: where it refuses the request, the next one is tried. `clean`: only over a connection to the
    provider's known identity.
    """

    connector: Connector
    model: str
    prepare: Callable[[], Asked]
    alternative: bool = False
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that ended: where in the plan, its status or the code of its failure, and when it began (seconds of
    the loop's clock).
    """

    target: int
    status: int | None
    failure: str | None
    milliseconds: int
    began: float


@dataclass(frozen=True, slots=True)
class Reached(Generic[T]):
    """An answer, or a provider's refusal that is the caller's to read.

    Of a stream `body` has come, the rest of `answer` is to be read until `deadline` (of the loop's clock), and `done`
    to be called: whether it went well, None if that cannot be told; the first word counts. Else `body` is whole, and
    `made` is what was read of it; None of a refusal.
    """

    target: int
    answer: UpstreamAnswer
    deadline: float
    done: Callable[[bool | None], None]
    streams: bool = False
    body: bytes = b""
    made: T | None = None


@dataclass(slots=True)
class _Call(Generic[T]):
    """One call: its plan, and what is left of its bounds."""

    plan: Sequence[Target]
    stream: bool
    read: Callable[[int, bytes], T]
    started: Callable[[int], object]
    finished: Callable[[Attempt], object]
    deadline: float
    left: int = MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    """How one attempt ended: with something to show, or in an error."""

    verdict: Verdict
    reached: Reached[T] | None = None
    error: GatewayError | None = None

    @property
    def holds(self) -> bool:
        """Whether it is an answer, not a refusal."""
        return self.reached is not None and (self.reached.streams or self.reached.made is not None)


class Attempts:
    """Tries targets, and remembers how each has answered and which keys rest. One for a process: workers share none."""

    def __init__(
        self,
        upstream: Upstream,
        unseal: Callable[[Connector], Awaitable[str | AwsCredentials | None]],
        limits: Limits,
        retry: RetryPolicy,
        breaker: BreakerPolicy,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._upstream = upstream
        self._unseal = unseal
        self._limits = limits
        self._retry = retry
        self._breaker = breaker
        self._draw = draw
        self._health: dict[tuple[str, str], Health] = {}
        self._rests: dict[tuple[object, ...], float] = {}  # by key: until when

    async def reach(
        self,
        plan: Sequence[Target],
        read: Callable[[int, bytes], T],
        *,
        stream: bool,
        started: Callable[[int], object] = lambda _target: None,
        finished: Callable[[Attempt], object] = lambda _attempt: None,
    ) -> Reached[T]:
        """Try the targets of `plan`, by preference those that are well; `started` and `finished` are told of each try.

        `read(target, body)` makes of a buffered answer what the caller wants; UpstreamFailed from it is a failure like
        any other. Where all fail, the failure of the earliest in the plan is given or raised: it is the one that was
        asked for. Raises GatewayError.
        """
        call = _Call(plan, stream, read, started, finished, _now() + self._limits.total_seconds)
        ended: dict[int, _Ended[T]] = {}
        order = self._order(plan)
        for at in order:
            if call.left <= 0 or (ended and _now() >= call.deadline):
                break
            one = await self._walk(call, at, last=at == order[-1])
            if one.holds or (one.verdict.move is Move.RETURN and not plan[at].alternative):
                return _shown(one)
            ended[at] = one
        return _shown(ended[min(ended)])

    def health(self) -> dict[tuple[str, str], Snapshot]:
        """How the targets are that were tried here, by provider and its own name of the model."""
        now = _now()
        return {place: health.snapshot(now) for place, health in self._health.items()}

    def health_of(self, provider: str, model: str) -> Snapshot | None:
        """The same of one; None of one that was never tried here."""
        health = self._health.get((provider, model))
        return None if health is None else health.snapshot(_now())

    def _order(self, plan: Sequence[Target]) -> list[int]:
        """The places of the plan: first who is well, then who is ailing, last who is to be left alone."""
        if len(plan) == 1:
            return [0]
        now = _now()
        return sorted(range(len(plan)), key=lambda at: self._rank(plan[at], now))

    def _rank(self, target: Target, now: float) -> int:
        health = self._health_of(target.connector, target.model)
        return rank_of(health, now, resting=self._rest_of(self._pick(target.connector)) > now)

    async def _walk(self, call: _Call[T], at: int, *, last: bool) -> _Ended[T]:
        """One target: its keys, and pauses between attempts. `last`: nobody else is left."""
        target = call.plan[at]
        try:
            asked = target.prepare()
        except GatewayError as error:
            return _Ended(_HOLDS if at == 0 else _LEAVES, error=error)
        # Whoever is to be left alone is tried once, where nobody else is left: a breaker steers and never refuses.
        most = self._retry.attempts if self._health_of(target.connector, target.model).admits(_now()) else 1
        failed, used = 0, set()
        while True:
            key = self._pick(target.connector)
            used.add(_place(key))
            ended = await self._once(call, at, asked, key)
            verdict = ended.verdict
            if verdict.move is Move.RETURN or call.left <= 0:
                return ended
            if verdict.move is Move.ROTATE:
                self._rests[_place(key)] = _now() + verdict.rest
                fresh = self._pick(target.connector)
                if _place(fresh) not in used and self._rest_of(fresh) <= _now():
                    continue
            failed += 1
            pause = self._pause(verdict, failed, last) if failed < most else None
            if pause is None or _now() + pause >= call.deadline:
                return ended
            await asyncio.sleep(pause)

    def _pause(self, verdict: Verdict, failed: int, last: bool) -> float | None:
        """The seconds before the next attempt on the same target; None: there shall be none."""
        again = verdict.move is Move.AGAIN or (last and verdict.may_wait)
        return self._retry.pause(failed, verdict.rest, self._draw()) if again else None

    async def _once(self, call: _Call[T], at: int, asked: Asked, key: Connector) -> _Ended[T]:
        """One attempt, bounded in time, told to `finished` and to the target's health."""
        watch = _Watch(self._health_of(key, call.plan[at].model), _now())
        until = min(call.deadline, watch.began + self._limits.first_token_seconds) if call.stream else call.deadline
        call.left -= 1
        call.started(at)
        ended: _Ended[T] | None = None
        try:
            async with asyncio.timeout_at(until):
                ended = await self._ask(call, at, asked, key, watch)
        except TimeoutError:
            error = UpstreamFailed("The provider did not answer in time.", code="upstream_timeout")
            ended = _Ended(judge_failure(error.code), error=error)
        except GatewayError as error:
            ended = _Ended(_judge_error(error), error=error)
        finally:
            watch.begun = _now()
            if ended is None or ended.reached is None or not ended.reached.streams:
                watch.done(None if ended is None else counts_as(ended.verdict))
            attempt = _attempt(at, ended, watch)
            note_attempt(key.id, attempt.status, attempt.failure)
            call.finished(attempt)
        return ended

    async def _ask(self, call: _Call[T], at: int, asked: Asked, key: Connector, watch: _Watch) -> _Ended[T]:
        """Send, and read until the answer has begun. Raises GatewayError."""
        clean = call.plan[at].clean
        answer = await self._upstream.call(key, asked.url, asked.body, await self._unseal(key), asked.headers, clean)
        streams = False
        try:
            if answer.status == 200 and answer.kind == asked.provider.stream_type:
                body = await read_to_first_event(answer, asked.provider.decoder(self._limits.frame))
                streams = True
            else:
                body = await answer.read()
            answers = not streams and 200 <= answer.status < 300
            made = call.read(at, body) if answers else None
            reached = Reached(at, answer, call.deadline, watch.done, streams, body, made)
            return _Ended(_HOLDS if streams or answers else _judge_refusal(asked.provider, answer, body), reached)
        finally:
            if not streams:
                await answer.close()

    def _health_of(self, connector: Connector, model: str) -> Health:
        """The record of one target."""
        place = connector.id, model
        if place not in self._health:
            if len(self._health) >= MAX_TARGETS:
                del self._health[next(iter(self._health))]
            self._health[place] = Health(self._breaker)
        return self._health[place]

    def _pick(self, connector: Connector) -> Connector:
        """The first of a provider's keys that does not rest; else the one that will have rested first."""
        if not connector.spares:
            return connector
        now, keys = _now(), (connector, *connector.spares)
        return min(keys, key=lambda key: max(now, self._rest_of(key)))

    def _rest_of(self, key: Connector) -> float:
        return self._rests.get(_place(key), 0.0)


class _Watch:
    """One attempt, as the health of its target counts it."""

    def __init__(self, health: Health, now: float) -> None:
        self._health = health
        self.began = self.begun = now
        self._open = True
        health.begin(now)

    def done(self, ok: bool | None) -> None:
        """It ended so; only the first word on it counts."""
        if self._open:
            self._open = False
            self._health.end(_now(), ok, self.begun - self.began)


def _judge_error(error: GatewayError) -> Verdict:
    if isinstance(error, UpstreamFailed) and error.status != UpstreamFailed.status:
        return judge_status(error.status, error.code, error.retry_after)
    return judge_failure(error.code)


def _judge_refusal(provider: ProviderSide, answer: UpstreamAnswer, body: bytes) -> Verdict:
    """The verdict on a refusal: by what its body says where that is more than its status."""
    if answer.status < 400:
        return _LEAVES  # a redirection, which is not followed
    said = provider.decode_error(body, answer.status)
    rest = read_retry_after(answer.retry_after, time.time())
    return judge_status(said.status or answer.status, said.code, said.retry_after if rest is None else rest)


def _attempt(at: int, ended: _Ended[T] | None, watch: _Watch) -> Attempt:
    milliseconds = int((watch.begun - watch.began) * 1000)
    if ended is None:
        return Attempt(at, None, UNTOLD, milliseconds, watch.began)
    if ended.reached is not None:
        return Attempt(at, ended.reached.answer.status, None, milliseconds, watch.began)
    # A provider's own code may be any text, even a piece of an answer: ours alone are words of a record.
    code = UpstreamFailed.code if ended.error is None else ended.error.code
    code = code if code in FAILURES else UpstreamFailed.code
    return Attempt(at, None, code, milliseconds, watch.began)


def _shown(ended: _Ended[T]) -> Reached[T]:
    if ended.reached is not None:
        return ended.reached
    assert ended.error is not None
    raise ended.error


def _place(key: Connector) -> tuple[str, tuple[str, ...], str | None]:
    """Which key this is: where it is found."""
    return key.id, key.credential_env, key.credential_file


def _now() -> float:
    return asyncio.get_running_loop().time()
