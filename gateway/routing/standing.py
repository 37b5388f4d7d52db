"""How providers stand by what was recorded of attempts: one answer for all processes, and for all gateways of a record.

What steers calls is each worker's own `health.py`, which is quicker and remembers less; both judge alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.routing.health import percentile, score_of
from gateway.routing.retry import counts_as, judge_failure, judge_status

UNTOLD = "cancelled"  # the failure of an attempt for whose answer nobody waited any more


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt, as it speaks of its provider. `milliseconds` are those until its answer had begun, or failed;
    `status` is the provider's; `cut` by the provider, or `left` by the caller.
    """

    provider: str
    status: int | None
    failure: str | None
    milliseconds: int
    cut: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A provider lately. Latencies are of successes, in milliseconds; a `score` of 1: nothing failed."""

    provider: str
    successes: int
    failures: int
    p50: int | None
    p95: int | None
    last_error: str | None
    score: float


def standing_of(providers: Iterable[str], attempts: Sequence[Tried]) -> list[Standing]:
    """How each of the providers stands; `attempts` are the newest first."""
    return [_standing(name, [each for each in attempts if each.provider == name]) for name in providers]


def _standing(provider: str, attempts: Sequence[Tried]) -> Standing:
    judged = [(each, _judge(each)) for each in attempts]
    taken = sorted(each.milliseconds for each, well in judged if well)
    failed = [each for each, well in judged if well is False]
    p50, p95 = percentile(taken, 0.5), percentile(taken, 0.95)
    score = score_of(len(taken), len(taken) + len(failed), (p95 or 0) / 1000)
    last = _word(failed[0]) if failed else None
    return Standing(provider, len(taken), len(failed), p50, p95, last, round(max(0.0, score), 4))


def _judge(attempt: Tried) -> bool | None:
    """Whether it went well; None where it says nothing of the provider."""
    if attempt.left or attempt.failure == UNTOLD:
        return None
    if attempt.failure is not None:
        return counts_as(judge_failure(attempt.failure))
    if attempt.status is None:
        return None
    return counts_as(judge_status(attempt.status, None, None)) and not attempt.cut


def _word(failed: Tried) -> str:
    """Why it failed, in our words: a provider's own may quote a prompt."""
    return failed.failure or ("cut" if failed.cut else f"status {failed.status}")
