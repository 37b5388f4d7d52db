"""Which failure is whose, and how long to wait for what."""

from __future__ import annotations

import pytest

from gateway.routing.retry import (
    MAX_RETRY_AFTER,
    RATE_LIMITED_SECONDS,
    REFUSED_KEY_SECONDS,
    Move,
    RetryPolicy,
    Verdict,
    counts_as,
    judge_failure,
    judge_status,
    read_retry_after,
)

NOON = 1795262400.0  # Sat, 21 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("status", "move"),
    [
        *((status, Move.RETURN) for status in (200, 201, 400, 404, 405, 413, 422)),
        *((status, Move.AGAIN) for status in (408, 409, 424, 425, 500, 502, 503, 504, 529)),
        *((status, Move.ROTATE) for status in (401, 402, 403, 429)),
    ],
)
def test_a_status_says_what_may_follow(status: int, move: Move) -> None:
    assert judge_status(status, None, None).move is move


def test_a_key_rests_for_as_long_as_was_asked() -> None:
    assert judge_status(429, None, 7.0) == Verdict(Move.ROTATE, 7.0)
    assert judge_status(429, None, None) == Verdict(Move.ROTATE, RATE_LIMITED_SECONDS)
    assert judge_status(429, None, 0.0) == Verdict(Move.ROTATE, 0.0)
    assert judge_status(503, None, 3.0) == Verdict(Move.AGAIN, 3.0)


def test_no_waiting_mends_a_key_that_is_refused_or_an_account_without_money() -> None:
    for verdict in (judge_status(401, None, None), judge_status(429, "insufficient_quota", None)):
        assert verdict == Verdict(Move.ROTATE, REFUSED_KEY_SECONDS, may_wait=False)


def test_a_timeout_is_not_waited_for_twice() -> None:
    assert judge_failure("upstream_timeout").move is Move.LEAVE
    assert judge_failure("upstream_failed").move is Move.AGAIN


def test_health_is_of_the_target_not_of_the_key() -> None:
    assert counts_as(judge_status(400, None, None)) is True
    assert counts_as(judge_status(429, None, None)) is None
    assert counts_as(judge_status(503, None, None)) is counts_as(judge_failure("upstream_timeout")) is False


def test_pauses_double_up_to_the_cap_and_are_spread() -> None:
    policy = RetryPolicy(attempts=9, base_milliseconds=1000, cap_milliseconds=5000)
    assert [policy.pause(failed, 0.0, 1.0) for failed in (1, 2, 3, 4, 50)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert policy.pause(2, 0.0, 0.0) == 1.0


def test_a_pause_is_at_least_what_was_asked_and_never_beyond_the_cap() -> None:
    policy = RetryPolicy(base_milliseconds=100, cap_milliseconds=5000)
    assert policy.pause(1, 3.0, 0.5) == 3.0
    assert policy.pause(1, 5.1, 0.5) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("0", 0.0),
        ("999999", MAX_RETRY_AFTER),
        ("Sat, 21 Nov 2026 12:00:20 GMT", 20.0),
        ("Sat, 21 Nov 2026 11:59:00 GMT", 0.0),
        ("Sat, 21 Nov 3026 12:00:00 GMT", MAX_RETRY_AFTER),
        ("Sat, 21 Nov 2026 12:00:20", None),
        ("Sat, 21 Nov 99999 12:00:20 GMT", None),
        ("-3", None),
        ("\u0661", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOON) == seconds
