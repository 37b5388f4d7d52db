"""The record of one target, and its breaker, on a clock of the test's own."""

from __future__ import annotations

import pytest

from gateway.routing.health import AILING, REMEMBERED, BreakerPolicy, Health, State

POLICY = BreakerPolicy(failures=3, window_seconds=30, rest_seconds=10)


def call(health: Health, now: float, ok: bool | None, seconds: float = 0.0) -> None:
    health.begin(now)
    health.end(now, ok, seconds)


def opened(at: float = 0.0) -> Health:
    health = Health(POLICY)
    for _ in range(3):
        call(health, at, ok=False)
    assert health.state(at) is State.OPEN
    return health


def test_nothing_is_known_of_a_new_target_and_it_is_trusted() -> None:
    found = Health(POLICY).snapshot(0.0)
    assert (found.state, found.score, found.success_rate, found.p50) == (State.CLOSED, 1.0, None, None)


def test_rates_and_percentiles_are_of_what_is_recent() -> None:
    health = Health(POLICY)
    call(health, 0.0, ok=False)
    for number in range(20):
        call(health, 31.0, ok=True, seconds=number + 1.0)
    found = health.snapshot(31.0)
    assert (found.success_rate, found.p50, found.p95, found.outcomes) == (1.0, 11.0, 20.0, 20)
    assert health.snapshot(62.0).outcomes == 0


def test_a_slow_target_scores_less_than_a_fast_one_and_more_than_one_that_fails() -> None:
    fast, slow, failing = Health(POLICY), Health(POLICY), Health(POLICY)
    for _ in range(8):
        call(fast, 0.0, ok=True, seconds=0.1)
        call(slow, 0.0, ok=True, seconds=1000.0)
        call(failing, 0.0, ok=False)
    assert fast.score(0.0) > slow.score(0.0) > AILING > failing.score(0.0)


def test_one_failure_makes_no_target_ailing() -> None:
    health = Health(POLICY)
    call(health, 0.0, ok=False)
    assert 1.0 > health.score(0.0) > AILING


def test_the_record_is_bounded() -> None:
    health = Health(POLICY)
    for _ in range(3 * REMEMBERED):
        call(health, 0.0, ok=True)
    assert health.snapshot(0.0).outcomes == REMEMBERED


def test_what_tells_nothing_of_the_target_is_not_counted() -> None:
    health = Health(POLICY)
    for _ in range(10):
        call(health, 0.0, ok=None)
    assert health.snapshot(0.0).outcomes == health.in_flight == 0


def test_calls_in_flight_are_counted() -> None:
    health = Health(POLICY)
    health.begin(0.0)
    health.begin(0.0)
    health.end(1.0, ok=True)
    assert health.in_flight == health.snapshot(1.0).in_flight == 1


def test_a_breaker_stays_closed_while_most_calls_succeed() -> None:
    health = Health(POLICY)
    for _ in range(4):
        call(health, 0.0, ok=True)
    for _ in range(3):
        call(health, 0.0, ok=False)
    assert health.state(0.0) is State.CLOSED
    call(health, 0.0, ok=False)
    assert health.state(0.0) is State.OPEN


def test_failures_of_long_ago_open_nothing() -> None:
    health = Health(POLICY)
    for now in (0.0, 20.0, 40.0, 60.0):
        call(health, now, ok=False)
    assert health.state(60.0) is State.CLOSED


def test_an_open_breaker_admits_nobody_and_then_one() -> None:
    health = opened()
    assert not health.admits(9.9)
    assert health.state(10.0) is State.HALF_OPEN
    assert health.admits(10.0)
    health.begin(10.0)
    assert not health.admits(10.0)


@pytest.mark.parametrize(("ok", "after"), [(True, State.CLOSED), (False, State.OPEN)])
def test_the_probe_decides(ok: bool, after: State) -> None:
    health = opened()
    health.begin(10.0)
    health.end(12.0, ok)
    assert health.state(12.0) is after
    assert health.admits(12.0) is ok
    assert health.state(21.9) is after  # an opened one rests as long again


def test_a_target_that_came_back_starts_anew() -> None:
    health = opened()
    call(health, 10.0, ok=True)
    call(health, 10.0, ok=False)
    assert health.state(10.0) is State.CLOSED


def test_a_probe_without_an_outcome_leaves_room_for_another() -> None:
    health = opened()
    call(health, 10.0, ok=None)
    assert health.admits(10.0)


def test_a_call_that_began_before_the_breaker_opened_does_not_lengthen_its_rest() -> None:
    health = Health(POLICY)
    health.begin(0.0)
    for _ in range(3):
        call(health, 0.0, ok=False)
    health.end(5.0, ok=False)
    assert health.state(10.0) is State.HALF_OPEN
