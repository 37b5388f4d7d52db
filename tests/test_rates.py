"""Rates: what a minute allows, and what is told of it. Windows by numbers, then calls of a key."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RateLimited
from gateway.http.rate_headers import rate_headers, spell_seconds
from gateway.inference import InferenceRequest, Message, Text
from gateway.rates import UNSAID, LocalRates, Rates, RateTicket
from gateway.tenancy.rates import Standing, Windows
from gateway.tenancy.tenant import ApiKey, Tenant

LONGEST = 61.0  # seconds that a wait may last: a minute, of which the first second is whole
ASKED = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 5)), max_size=60)


@given(ASKED, st.integers(1, 12))
def test_no_minute_holds_more_than_the_limit_and_who_waits_as_told_is_admitted(
    asked: list[tuple[float, int]], limit: int
) -> None:
    """Against a plain list of what was admitted when."""
    windows, now, admitted = Windows(), 1000.0, list[tuple[float, int]]()
    for pause, amount in asked:
        now += pause
        taken = windows.take([("one", limit)], amount, 0, now)
        used = sum(each for at, each in admitted if at > now - 60)
        standing = taken.tightest
        if taken.wait == 0:
            admitted.append((now, amount))
            assert used + amount <= limit
            assert standing.remaining <= limit - used - amount
        else:
            assert taken.wait <= LONGEST
            assert sum(each for at, each in admitted if at > now - LONGEST) + amount > limit, "refused for nothing"
            if amount <= limit:
                now += taken.wait + 1e-6
                assert windows.take([("one", limit)], amount, 0, now).wait == 0, "the wait was a lie"
                admitted.append((now, amount))
    later = windows.take([("one", limit)], 0, 0, now + standing_reset(windows, limit, now) + 1e-6)
    assert later.tightest.remaining == limit, "the reset was a lie"


def standing_reset(windows: Windows, limit: int, now: float) -> float:
    return windows.take([("one", limit)], 0, 0, now).tightest.reset


def test_one_limit_that_is_reached_leaves_the_others_untouched() -> None:
    windows = Windows()
    both = [("key", 5), ("tenant", 1)]
    assert windows.take(both, 1, 0, 10.0).wait == 0
    refused = windows.take(both, 1, 0, 10.5)
    assert (refused.tightest.remaining, refused.wait, refused.blame) == (0, 60.5, 1)
    assert windows.take([("key", 5)], 0, 0, 10.5).tightest.remaining == 4


def test_corrections_count_at_once_and_in_the_right_second() -> None:
    windows = Windows()
    taken = windows.take([("one", 100)], 60, 0, 10.0)
    windows.correct(["one"], taken.second, -50, 20.0)
    assert windows.take([("one", 100)], 0, 0, 20.0).tightest.remaining == 90
    windows.correct(["one"], taken.second, 95, 30.0)
    late = windows.take([("one", 100)], 1, 0, 30.0)
    assert late.tightest.remaining == 0 and late.wait == 41.0, "105 are used, and the first 10 go at 71"
    windows.correct(["one"], taken.second, -5, 75.0)  # that second counts no more
    assert windows.take([("one", 100)], 0, 0, 75.0).tightest.remaining == 5


def test_windows_in_which_nothing_counts_are_dropped() -> None:
    windows = Windows()
    for at in range(3000):
        windows.take([(f"key {at}", 5)], 1, 0, at * 1.0)
    assert len(windows._windows) <= 1024 + 61


def a_key(**bounds: int | None) -> ApiKey:
    """A key, and bounds of its own or (`tenant_...`) of its tenant's."""
    tenant = {name.removeprefix("tenant_"): value for name, value in bounds.items() if name.startswith("tenant_")}
    own = {name: value for name, value in bounds.items() if not name.startswith("tenant_")}
    return replace(ApiKey("key-1", replace(Tenant("t-1", "T"), **tenant)), **own)  # type: ignore[arg-type]


def asking(said: str = "hi", max_tokens: int | None = None) -> InferenceRequest:
    return InferenceRequest("openai_chat", "m", (Message("user", (Text(said),)),), max_tokens=max_tokens)


async def entered(rates: Rates, key: ApiKey) -> RateTicket:
    ticket = await rates.enter(key)
    assert ticket is not None
    return ticket


async def left_of(rates: Rates, key: ApiKey) -> int:
    """The tokens that a call of one token leaves, and gives back."""
    ticket = await entered(rates, key)
    try:
        await ticket.reserve(asking("", 0))
    except RateLimited:
        return 0
    left = ticket.standings["tokens"].remaining
    ticket.settle(0)
    return left + 4  # of a message without a word


def test_whichever_limit_is_reached_first_refuses_and_says_whose_it_is() -> None:
    async def scene() -> None:
        rates, now = Rates(LocalRates(lambda: 100.0)), 100.0
        first = a_key(requests_per_minute=2, tenant_requests_per_minute=3)
        other = replace(first, id="key-2")
        for _ in range(2):
            await rates.enter(first)
        with pytest.raises(RateLimited, match=r"this key may use 2 requests per minute\. Try again in 61 s") as refused:
            await rates.enter(first)
        assert refused.value.retry_after == 61.0
        await rates.enter(other)
        with pytest.raises(RateLimited, match="this tenant may use 3 requests per minute"):
            await rates.enter(other)
        assert now == 100.0

    asyncio.run(scene())


def test_nothing_is_counted_for_a_key_without_limits() -> None:
    assert asyncio.run(Rates(LocalRates()).enter(a_key())) is None


@pytest.mark.parametrize(
    ("used", "partial", "left"),
    [
        (100, False, 900),
        (5010, False, 0),
        (0, False, 1000),
        (None, False, 1000 - 5 - 400),
        (11, True, 1000 - 5 - 400),
        (910, True, 90),
    ],
)
def test_what_was_reserved_becomes_what_was_used(used: int | None, partial: bool, left: int) -> None:
    """400 for an answer, and 5 for a prompt of two letters. Of an answer that was cut the last count never came."""

    async def scene() -> None:
        rates, key = Rates(LocalRates(lambda: 100.0)), a_key(tokens_per_minute=1000)
        ticket = await entered(rates, key)
        await ticket.reserve(asking(max_tokens=400))
        assert ticket.standings["tokens"].remaining == 595
        ticket.settle(used, partial=partial)
        ticket.settle(0)  # a second end changes nothing
        assert await left_of(rates, key) == left

    asyncio.run(scene())


def test_an_answer_takes_what_is_left_and_the_next_prompt_waits() -> None:
    """A client's wish for up to 32000 tokens must not shut it out of a smaller limit."""

    async def scene() -> None:
        rates, key = Rates(LocalRates(lambda: 100.0)), a_key(tokens_per_minute=5000, tenant_tokens_per_minute=800)
        ticket = await entered(rates, key)
        await ticket.reserve(asking(max_tokens=32_000))
        assert ticket.standings["tokens"] == Standing(800, 0, 61.0)
        with pytest.raises(RateLimited, match="this tenant may use 800 tokens per minute"):
            await (await entered(rates, key)).reserve(asking())
        ticket.settle(25)
        again = await entered(rates, key)
        await again.reserve(asking())
        assert again.standings["tokens"].remaining == max(0, 800 - 25 - 5 - UNSAID)

    asyncio.run(scene())


def test_a_prompt_beyond_the_limit_is_refused_for_good() -> None:
    async def scene() -> None:
        ticket = await entered(Rates(LocalRates()), a_key(tokens_per_minute=100))
        with pytest.raises(RateLimited, match="about 1004 tokens, and 100 per minute") as refused:
            await ticket.reserve(asking("abc" * 1000))
        assert refused.value.retry_after is None

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0ms"), (0.1201, "121ms"), (1.2, "1.2s"), (60.0, "1m0s"), (60.5, "1m0.5s"), (59.9999, "1m0s")],
)
def test_resets_are_spelt_as_openai_spells_them(seconds: float, words: str) -> None:
    assert spell_seconds(seconds) == words


def test_anthropics_clients_are_told_a_time() -> None:
    headers = rate_headers({"tokens": Standing(10, 3, 1.5)}, anthropic=True, now=1_790_000_000.0)
    assert headers["anthropic-ratelimit-tokens-limit"] == "10"
    assert headers["anthropic-ratelimit-tokens-remaining"] == "3"
    assert headers["anthropic-ratelimit-tokens-reset"] == "2026-09-21T14:13:22Z"
    assert headers["x-ratelimit-reset-tokens"] == "1.5s"
