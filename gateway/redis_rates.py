"""Rates that several nodes share: counted in Redis, by Redis's clock; while it is away, each node counts its part."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.config_rates import RateSettings
from gateway.errors import RatesUnavailable
from gateway.rates import RateStore
from gateway.tenancy.rates import Limits, Taken, Window, take_from

LOG = logging.getLogger("saferouter")
PREFIX = "saferouter:rates:"
TIMEOUT = 1.0  # seconds: Redis answers in one thousandth of it, and a call waits for this
PAUSE = 2.0  # seconds in which a Redis that failed is not asked: else each call would wait for it
CONNECTIONS = 32  # of one process: a script takes a fraction of a millisecond

# Both count in hashes of seconds, like Window. A script is atomic, and its clock is the same for all nodes.
_CLOCK = """
local now = redis.call('TIME')
local second = tonumber(now[1])
"""
_TAKE = (
    _CLOCK
    + """
local amount, more, rows = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i, key in ipairs(KEYS) do
  local room, cells = tonumber(ARGV[2 + i]) - amount, redis.call('HGETALL', key)
  rows[i] = {}
  for j = 1, #cells, 2 do
    if tonumber(cells[j]) < second - 60 then
      redis.call('HDEL', key, cells[j])
    else
      room = room - tonumber(cells[j + 1])
      table.insert(rows[i], tonumber(cells[j]))
      table.insert(rows[i], tonumber(cells[j + 1]))
    end
  end
  more = math.min(more, room)
end
if more >= 0 and amount + more > 0 then
  for _, key in ipairs(KEYS) do
    redis.call('HINCRBY', key, second, amount + more)
    redis.call('EXPIRE', key, 62)
  end
end
return {second, tonumber(now[2]), rows}
"""
)
_CORRECT = (
    _CLOCK
    + """
local by, at = tonumber(ARGV[1]), tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  if by > 0 then
    redis.call('HINCRBY', key, second, by)
    redis.call('EXPIRE', key, 62)
  else
    local back = math.min(-by, tonumber(redis.call('HGET', key, at) or '0'))
    if back > 0 then redis.call('HINCRBY', key, at, -back) end
  end
end
"""
)


class RedisRates:
    """A RateStore in Redis, with another to fall back upon."""

    def __init__(self, settings: RateSettings, alone: RateStore) -> None:
        """`alone` counts for this node."""
        # Here, so that a gateway which is alone does not carry it.
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as NotConnected
        from redis.exceptions import RedisError

        assert settings.url is not None
        self._settings = settings
        self._alone = alone
        self._failures = (RedisError, OSError, TimeoutError)
        # Once more where a connection had died while it was idle.
        retry = Retry(NoBackoff(), 1, supported_errors=(NotConnected,))
        pool: Any = BlockingConnectionPool.from_url(
            settings.url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=retry,
        )
        self._redis = Redis.from_pool(pool)
        self._take = self._redis.register_script(_TAKE)
        self._correct = self._redis.register_script(_CORRECT)
        self._ask_again = 0.0  # by the monotonic clock
        self._away: str | None = None
        self._correcting: set[asyncio.Task[None]] = set()

    async def take(self, limits: Limits, amount: int, more: int = 0) -> Taken:
        """As `take_from`, for all nodes. Raises RatesUnavailable where the operator will not have a guess."""
        numbers = [amount, more, *(limit for _, limit in limits)]
        answer = await self._ask(self._take, [PREFIX + name for name, _ in limits], numbers)
        if answer is None:
            return await self._take_alone(limits, amount, more)
        second, micros, rows = answer
        # What the script has done to Redis's numbers is done again to a copy of them.
        windows = [Window(zip(row[::2], row[1::2], strict=True)) for row in rows]
        return take_from(windows, limits, amount, more, second + micros / 1e6)

    def correct(self, names: Sequence[str], taken: Taken, by: int) -> None:
        """Count so much more than was taken, or less; where Redis is away then, that is lost."""
        if taken.alone:
            self._alone.correct(names, taken, by)
            return
        keys = [PREFIX + name for name in names]
        task = asyncio.create_task(self._send_correction(keys, [by, taken.second]))
        self._correcting.add(task)
        task.add_done_callback(self._correcting.discard)

    async def watch(self) -> None:
        """Background work: look whether Redis is there, so that a gateway without calls knows it too."""
        while True:
            await self._ask(self._redis.ping)
            await asyncio.sleep(PAUSE)

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*self._correcting, return_exceptions=True)
        await self._redis.aclose()

    @property
    def warning(self) -> str | None:
        """What an operator should know."""
        if self._away is None:
            return None
        return f"Redis of rates_url does not answer ({self._away}): {self._settings.while_away}."

    async def _ask(self, ask: Any, *arguments: Any) -> Any:
        """The answer; None where there is none, of which nothing but the kind is told: words may hold the URL."""
        if time.monotonic() < self._ask_again:
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await ask(*arguments)
        except self._failures as error:
            self._ask_again = time.monotonic() + PAUSE
            self._note(type(error).__name__)
            return None
        self._note(None)
        return answer

    async def _send_correction(self, keys: list[str], numbers: list[int]) -> None:
        await self._ask(self._correct, keys, numbers)

    async def _take_alone(self, limits: Limits, amount: int, more: int) -> Taken:
        """This node's part: so all nodes together stay below the limits. Raises RatesUnavailable."""
        if self._settings.refuse:
            raise RatesUnavailable("The gateway cannot tell how much of your rate is left.", retry_after=PAUSE)
        parts = [(name, max(1, limit // self._settings.nodes)) for name, limit in limits]
        return replace(await self._alone.take(parts, amount, more), alone=True)

    def _note(self, failure: str | None) -> None:
        """The operator is told once of each change."""
        if failure is not None and self._away is None:
            LOG.error("Redis of rates_url does not answer (%s): %s.", failure, self._settings.while_away)
        if failure is None and self._away is not None:
            LOG.warning("Redis of rates_url answers again: the limits are shared.")
        self._away = failure


def rate_store(settings: RateSettings, alone: RateStore) -> RateStore:
    """The counts of all nodes, if they have a place; else those of this node."""
    return alone if settings.url is None else RedisRates(settings, alone)
