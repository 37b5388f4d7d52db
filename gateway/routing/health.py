"""How one target has answered lately, and the breaker that spares it: what chooses among targets reads this."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

REMEMBERED = 128  # outcomes of one target; a sort of so few costs nothing, and older ones say little
SLOW_SECONDS = 60.0  # a p95 of so long, or longer, is as bad as a score counts slowness
SLOWNESS = 0.25  # of the score: being slow is forgiven sooner than failing
TRUST = 4  # successes that every target is credited with: one failure alone proves little
N = TypeVar("N", int, float)
AILING = 0.5  # a score below this is no match for a healthy target


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a target is spared: `failures` in the last `window_seconds`, and at least half of the outcomes in them.

    After `rest_seconds` one call may probe it: its outcome closes the breaker, or opens it again.
    """

    failures: int = 5
    window_seconds: int = 30
    rest_seconds: int = 10


class State(StrEnum):
    """Of a breaker. HALF_OPEN: it has rested, and waits for the outcome of a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call that ended: when, how, and the seconds until its answer had begun."""

    at: float
    ok: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The health of a target at one moment. `p50` and `p95` are in seconds, None where no call has succeeded lately."""

    state: State
    score: float
    success_rate: float | None
    p50: float | None
    p95: float | None
    in_flight: int
    outcomes: int


class Health:
    """The rolling record of one target. Times are seconds of any clock that never goes back."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._outcomes: deque[Outcome] = deque(maxlen=REMEMBERED)
        self._opened_at: float | None = None
        self._probing = False
        self.in_flight = 0

    def state(self, now: float) -> State:
        """The breaker's state."""
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if now < self._opened_at + self._policy.rest_seconds else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may be sent there: not while the breaker rests, and one alone as its probe."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._probing)

    def begin(self, now: float) -> None:
        """A call goes there. It may go uninvited, where no other target is left; its outcome counts as a probe's."""
        self.in_flight += 1
        self._probing = self._probing or self.state(now) is State.HALF_OPEN

    def end(self, now: float, ok: bool | None, seconds: float = 0.0) -> None:
        """It ended; None: in a way that tells nothing of the target, as when the client left."""
        self.in_flight -= 1
        if ok is None:
            self._probing = False
            return
        self._outcomes.append(Outcome(now, ok, seconds))
        if self.state(now) is State.HALF_OPEN:
            self._probing = False
            self._judge_probe(now, ok)
        elif not ok and self._opened_at is None and self._is_failing(now):
            self._opened_at = now

    def score(self, now: float) -> float:
        """From 1, as of a target that never failed, down to -0.25: its successes, less what slowness costs."""
        return self.snapshot(now).score

    def snapshot(self, now: float) -> Snapshot:
        """What is known now."""
        recent = self._recent(now)
        taken = sorted(outcome.seconds for outcome in recent if outcome.ok)
        rate = len(taken) / len(recent) if recent else None
        p50, p95 = percentile(taken, 0.5), percentile(taken, 0.95)
        score = score_of(len(taken), len(recent), p95 or 0.0)
        return Snapshot(self.state(now), score, rate, p50, p95, self.in_flight, len(recent))

    def _judge_probe(self, now: float, ok: bool) -> None:
        if ok:
            self._opened_at = None
            self._outcomes.clear()  # what it was before it came back must not open the breaker again
        else:
            self._opened_at = now

    def _is_failing(self, now: float) -> bool:
        recent = self._recent(now)
        failed = sum(not outcome.ok for outcome in recent)
        return failed >= self._policy.failures and 2 * failed >= len(recent)

    def _recent(self, now: float) -> list[Outcome]:
        since = now - self._policy.window_seconds
        return [outcome for outcome in self._outcomes if outcome.at >= since]


def score_of(succeeded: int, ended: int, p95: float) -> float:
    """The score of a target that so often ended, and so often well; `p95` in seconds."""
    return (succeeded + TRUST) / (ended + TRUST) - SLOWNESS * min(p95, SLOW_SECONDS) / SLOW_SECONDS


def percentile(ordered: Sequence[N], share: float) -> N | None:
    """The nearest-rank percentile of ordered values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
