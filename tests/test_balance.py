"""Balance: in which order candidates are tried."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.balance import STRATEGIES, Candidate, order_candidates, rank_of
from gateway.routing.health import BreakerPolicy, Health

THREE = [Candidate("a"), Candidate("b"), Candidate("c")]
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.text(max_size=3),
        st.integers(0, 9),
        st.integers(0, 9),
        st.none() | st.floats(0, 9),
        st.none() | st.integers(0, 9),
        st.integers(0, 2),
    ),
    max_size=6,
)


def names(strategy: str, candidates: list[Candidate], turn: int = 0) -> str:
    return "".join(one.id for one in order_candidates(strategy, candidates, turn))


def test_round_robin_goes_round() -> None:
    """R102: each in its turn, and the others after it in the same order."""
    assert [names("round_robin", THREE, turn) for turn in range(4)] == ["abc", "bca", "cab", "abc"]


def test_priority_is_as_listed() -> None:
    assert [names("priority", THREE, turn) for turn in range(3)] == ["abc"] * 3


def test_weights_are_shares_in_any_run_of_turns() -> None:
    heavy = [Candidate("a", weight=6), Candidate("b", weight=3), Candidate("c", weight=1)]
    for start in (0, 7, 1000):
        first = Counter(names("weighted", heavy, turn)[0] for turn in range(start, start + 100))
        assert abs(first["a"] - 60) <= 3 and abs(first["b"] - 30) <= 3 and abs(first["c"] - 10) <= 3
    assert {names("weighted", heavy, turn)[1:] for turn in range(50)} == {"bc", "ac", "ab"}


def test_no_weight_means_last() -> None:
    drained = [Candidate("a", weight=0), Candidate("b"), Candidate("c", weight=0)]
    assert all(names("weighted", drained, turn)[0] == "b" for turn in range(20))
    assert names("weighted", [Candidate("a", weight=0), Candidate("b", weight=0)], 1) == "ba"
    assert names("least_busy", [Candidate("a", weight=0), Candidate("b", open_calls=9)]) == "ba"


def test_the_least_busy_for_its_weight() -> None:
    busy = [Candidate("a", open_calls=4), Candidate("b", weight=4, open_calls=8), Candidate("c", open_calls=3)]
    assert names("least_busy", busy) == "bca"
    assert [names("least_busy", THREE, turn)[0] for turn in range(3)] == ["a", "b", "c"]


def test_the_shortest_wait_grows_with_its_calls() -> None:
    fast, slow = Candidate("f", latency_ms=100), Candidate("s", latency_ms=250)
    assert names("latency", [slow, fast]) == "fs"
    assert names("latency", [slow, Candidate("f", latency_ms=100, open_calls=2)]) == "sf"
    assert names("latency", [fast, Candidate("n")]) == "nf"
    assert names("latency", [fast, Candidate("n", open_calls=1)]) == "fn"


def test_the_cheapest_and_unknown_costs_last() -> None:
    assert names("cost", [Candidate("u"), Candidate("d", cost=9), Candidate("c", cost=0)]) == "cdu"


def test_the_unwell_come_later_whatever_the_strategy() -> None:
    unwell = [Candidate("a", rank=2, cost=1), Candidate("b", rank=1, cost=2), Candidate("c", cost=3)]
    for strategy in STRATEGIES:
        assert names(strategy, unwell) == "cba"


def test_how_unwell_a_place_is() -> None:
    """Failing makes it ailing, then one to be left alone; when that is over, its probe goes first."""
    health = Health(BreakerPolicy(failures=8, rest_seconds=10))
    assert (rank_of(health, 0, resting=False), rank_of(health, 0, resting=True)) == (0, 2)
    seen = []
    for now in range(8):
        health.begin(now)
        health.end(now, ok=False)
        seen.append(rank_of(health, now, resting=False))
    assert seen == sorted(seen) and set(seen) == {0, 1, 2}
    assert (rank_of(health, 16.9, resting=False), rank_of(health, 17, resting=False)) == (2, 0)
    health.begin(17)
    assert rank_of(health, 17, resting=False) == 2  # one probe is enough


def test_another_strategy_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="strategy"):
        order_candidates("fastest", THREE, 0)


@given(st.sampled_from(STRATEGIES), CANDIDATES, st.integers(0, 1 << 40))
def test_every_candidate_stands_once(strategy: str, candidates: list[Candidate], turn: int) -> None:
    assert Counter(order_candidates(strategy, candidates, turn)) == Counter(candidates)
