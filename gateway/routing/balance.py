"""Balance: in which order the places that can serve a call are tried. Pure: what is known of each is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.routing.health import AILING, Health, State

STRATEGIES = ("round_robin", "weighted", "least_busy", "latency", "cost", "priority")

_GOLDEN = 0.6180339887498949  # its multiples, modulo 1, fill the line most evenly: any run of turns is fair


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that can serve a call, and what is known of it.

    - `weight`: its share under `weighted`; one of 0 is tried only after the others
    - `open_calls`: calls on their way there now
    - `latency_ms`: how long it usually takes; None before its first answer
    - `cost`: micro-USD for a million tokens; None if unknown
    - `rank`: how unwell it is (`rank_of`); whatever the strategy says, the unwell come later
    """

    id: str
    weight: int = 1
    open_calls: int = 0
    latency_ms: float | None = None
    cost: int | None = None
    rank: int = 0


def rank_of(health: Health, now: float, *, resting: bool) -> int:
    """How unwell a place is: 0 for well, 1 for ailing, 2 for what is to be left alone; `resting`: its key is."""
    if resting or not health.admits(now):
        return 2
    if health.state(now) is State.HALF_OPEN:
        return 0  # its probe, without which nobody would learn that it is back
    return int(health.score(now) < AILING)


def order_candidates(strategy: str, candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    """All candidates, the one to try first in front. `turn` counts the calls; ties go round by it.

    - `round_robin`: each in its turn; `priority`: as they are listed
    - `weighted`: first in proportion to the weights, then the heaviest
    - `least_busy`: the fewest open calls for its weight
    - `latency`: the shortest expected wait, which grows with the open calls, so that not all run to one place; an
      unknown one is tried as soon as it is idle, for else it would stay unknown
    - `cost`: the cheapest; unknown costs last

    Raises: ValueError for another strategy, which only our own code can ask for.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: found another, wanted one of {', '.join(STRATEGIES)}")
    return sorted(_by_strategy(strategy, candidates, turn), key=lambda one: one.rank)


def _by_strategy(strategy: str, candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    if strategy == "priority" or not candidates:
        return list(candidates)
    start = turn % len(candidates)
    turned = [*candidates[start:], *candidates[:start]]
    if strategy == "weighted":
        return _by_weight(candidates, turned, turn)
    return sorted(turned, key=_KEYS[strategy])  # stable: those that tie stay in turn


def _by_weight(candidates: Sequence[Candidate], turned: list[Candidate], turn: int) -> list[Candidate]:
    rest = sorted(turned, key=lambda each: -each.weight)
    left = turn * _GOLDEN % 1 * sum(each.weight for each in candidates)
    for chosen in candidates:
        left -= chosen.weight
        if left < 0:
            return [chosen, *(each for each in rest if each is not chosen)]
    return rest  # nobody has any weight


def _busy(one: Candidate) -> tuple[bool, float]:
    return one.weight <= 0, one.open_calls / max(one.weight, 1)


def _wait(one: Candidate) -> tuple[bool, float]:
    if one.latency_ms is None:
        return one.open_calls > 0, 0.0
    return False, one.latency_ms * (one.open_calls + 1)


def _cost(one: Candidate) -> tuple[bool, float]:
    return one.cost is None, one.cost or 0


_KEYS: dict[str, Callable[[Candidate], tuple[bool, float]]] = {
    "round_robin": lambda _one: (False, 0.0),
    "least_busy": _busy,
    "latency": _wait,
    "cost": _cost,
}
