"""Rates that nodes share, against a real redis-server: exact for all of them, and not lost while it is away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.config import decode_config
from gateway.config_rates import RateSettings, decode_rates
from gateway.errors import RatesUnavailable
from gateway.rates import LocalRates
from gateway.redis_rates import PAUSE, RedisRates
from tee.errors import Malformed
from tests.test_rate_limits import asked, left
from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.minting import minted_key
from tests.worlds.redis import PASSWORD, SERVER, RedisWorld, redis_world
from tests.worlds.workers import wait_for

DEMO = '[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
PATIENCE = 60.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisWorld]:
    if SERVER is None:
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":  # .ci/run installs it
            pytest.fail("no redis-server")
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
    with redis_world(tmp_path_factory.mktemp("redis")) as world:
        yield world


def scene(play: Callable[[RedisRates, RedisRates], Awaitable[None]], settings: RateSettings) -> None:
    """Two nodes on one Redis."""

    async def run() -> None:
        first, second = (RedisRates(settings, LocalRates()) for _ in range(2))
        try:
            await play(first, second)
        finally:
            await first.close()
            await second.close()

    asyncio.run(run())


def test_a_crowd_on_two_nodes_gets_exactly_the_limit(redis: RedisWorld) -> None:
    async def play(first: RedisRates, second: RedisRates) -> None:
        limits = [("key:crowd:requests", 50), ("tenant:crowd:requests", 30)]
        taken = await asyncio.gather(*((first, second)[at % 2].take(limits, 1) for at in range(200)))
        assert sum(each.wait == 0 for each in taken) == 30
        assert not any(each.alone for each in taken)
        refused = next(each for each in taken if each.wait)
        assert 0 < refused.wait <= 61 and refused.blame == 1 and refused.tightest.limit == 30
        other = (await first.take(limits[:1], 0)).tightest
        assert other.remaining == 20, "what one limit refuses, the other does not count"
        assert first.warning is None

    scene(play, RateSettings(redis.url))


def test_corrections_are_shared(redis: RedisWorld) -> None:
    async def play(first: RedisRates, second: RedisRates) -> None:
        name, _ = limited = ("key:corrected:tokens", 1000)
        taken = await first.take([limited], 100, 400)
        assert taken.more == 400 and taken.tightest.remaining == 500
        first.correct([name], taken, -450)
        await first.close()
        assert (await second.take([limited], 0)).tightest.remaining == 950
        second.correct([name], taken, 940)
        await second.close()
        late = await second.take([limited], 100, 400)
        assert late.wait > 0 and late.tightest.remaining == 10

    scene(play, RateSettings(redis.url))


def test_windows_end_in_redis_too(redis: RedisWorld) -> None:
    """Written a minute ago, as the server's own clock has it."""
    now = int(redis.tell("TIME").split(b"\r\n")[2])
    redis.tell(f"HSET saferouter:rates:old {now - 62} 7 {now - 30} 2")

    async def play(first: RedisRates, _second: RedisRates) -> None:
        taken = await first.take([("old", 10)], 9)
        assert taken.tightest.remaining == 8 and 0 < taken.wait <= 31
        assert (await first.take([("old", 10)], 8)).wait == 0

    scene(play, RateSettings(redis.url))
    assert b":2\r\n" in redis.tell("HLEN saferouter:rates:old"), "what has ended is gone"
    ttl = int(redis.tell("TTL saferouter:rates:old").strip(b":\r\n"))
    assert 0 < ttl <= 62


def test_while_redis_is_away_each_node_counts_its_part_or_refuses(tmp_path: Path) -> None:
    if SERVER is None:
        pytest.skip("no redis-server on this machine")
    world = RedisWorld(tmp_path)

    async def play(first: RedisRates, second: RedisRates) -> None:
        want = [("key:alone:requests", 10)]
        alone = await first.take(want, 1)
        assert alone.alone and alone.tightest.limit == 5
        assert first.warning is not None and "1/2" in first.warning and PASSWORD not in first.warning
        first.correct(["key:alone:requests"], alone, 4)
        assert (await first.take(want, 1)).wait > 0
        assert (await second.take(want, 1)).wait == 0, "another node's part is its own"
        await asyncio.to_thread(world.start)
        try:
            async with asyncio.timeout(PATIENCE):
                while (shared := await first.take(want, 1)).alone:
                    await asyncio.sleep(PAUSE / 10)
            assert shared.tightest.limit == 10 and first.warning is None
        finally:
            world.kill()

    scene(play, RateSettings(world.url, nodes=2))

    async def refused(first: RedisRates, _second: RedisRates) -> None:
        with pytest.raises(RatesUnavailable):
            await first.take([("key:alone:requests", 10)], 1)

    scene(refused, RateSettings(world.url, refuse=True))


def test_two_gateways_share_a_limit_and_warn_while_they_cannot(
    redis: RedisWorld, tmp_path: Path, chip_file: Path
) -> None:
    """Two gateways know other keys, so it is the tenant's limit that they share, by its id."""
    config = f'rates_url = "{redis.url}"\nrates_nodes = 2\n{DEMO}'
    with (
        RunningGateway(tmp_path / "one", config=config, chip=chip_file, environ={"SAFEROUTER_WORKERS": "2"}) as one,
        RunningGateway(tmp_path / "two", config=config, chip=chip_file) as two,
    ):
        keys = [minted_key(each, {"requests_per_minute": 6}, {}, "shared") for each in (one, two)]
        answers = [asked(gateway, key) for _ in range(3) for gateway, key in ((one, keys[0]), (two, keys[1]))]
        assert [left(answer, "requests") for answer in answers] == [5, 4, 3, 2, 1, 0]
        assert [asked(one, keys[0]).status_code, asked(two, keys[1]).status_code] == [429, 429]
        redis.kill()
        for gateway in (one, two):
            wait_for(lambda at=gateway: "warning" in readiness(at), PATIENCE, "no warning")  # type: ignore[misc]
            assert "1/2 of each limit" in readiness(gateway)["warning"]
        alone = [asked(one, keys[0]) for _ in range(4)]
        assert [answer.status_code for answer in alone] == [200, 200, 200, 429], "both workers of a node count together"
        redis.start()
        for gateway in (one, two):
            wait_for(lambda at=gateway: "warning" not in readiness(at), PATIENCE, "still warns")  # type: ignore[misc]
        wait_for(lambda: asked(two, keys[1]).headers.get("x-ratelimit-limit-requests") == "6", PATIENCE, "not shared")
        for gateway in (one, two):
            assert PASSWORD not in gateway.log.read_text()


def readiness(gateway: RunningGateway) -> dict[str, str]:
    found: dict[str, str] = httpx2.get(f"{gateway.url}/readyz", timeout=60, **PLAIN).json()
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates_url": "http://127.0.0.1:6379"},
        {"rates_url": f"redis://:{PASSWORD}@127.0.0.1:6379/0?ssl_cert_reqs=none"},
        {"rates_url": f"redis://:{PASSWORD}@127.0.0.1:port/0"},
        {"rates_url": f"redis://:{PASSWORD}@127.0.0.1/one"},
        {"rates_url": "redis://127.0.0.1", "rates_nodes": 0},
        {"rates_url": "redis://127.0.0.1", "rates_away": "allow"},
        {"rates_nodes": 2},
    ],
)
def test_a_wrong_place_is_refused_without_being_quoted(wrong: dict[str, object]) -> None:
    with pytest.raises(Malformed) as refused:
        decode_rates(wrong)
    assert PASSWORD not in str(refused.value)


def test_the_password_steers_nothing_that_is_shown_or_attested(redis_free: str = "redis://u:{}@h:1/2") -> None:
    document = {"providers": [{"id": "m", "family": "mock"}], "models": [{"id": "m", "provider": "m"}]}
    one, two = (decode_config({**document, "rates_url": redis_free.format(word)}, {}) for word in (PASSWORD, "other"))
    assert PASSWORD not in repr(one) and one.digests() == two.digests()
    assert one.digests() != decode_config({**document, "rates_url": "redis://h:1/3"}, {}).digests()
