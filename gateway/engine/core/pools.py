"""The pools of an engine, in memory: what they are, how their endpoints fare, and who is asked next."""

from __future__ import annotations

import time

from gateway.engine.core.errors import NoAvailableEndpoint, PoolNotFound
from gateway.engine.core.flight import Target
from gateway.engine.core.pool import Endpoint, ExecutionTarget, ProviderPool, check_pool
from gateway.routing.balance import Candidate, order_candidates, rank_of
from gateway.routing.health import BreakerPolicy, Health


class Pools:
    """Pools by their ids. A request keeps the pool that it began with, whatever happens here meanwhile."""

    def __init__(self, breaker: BreakerPolicy) -> None:
        self._breaker = breaker
        self._pools: dict[str, ProviderPool] = {}
        self._targets: dict[str, list[Target]] = {}
        self._turns: dict[str, int] = {}

    def upsert(self, pool: ProviderPool) -> None:
        """Add a pool, or replace it; what is known of endpoints that stay is kept. Raises: Malformed."""
        check_pool(pool)
        known = {target.endpoint.endpoint_id: target for target in self._targets.get(pool.pool_id, ())}
        self._targets[pool.pool_id] = [self._target(known.get(each.endpoint_id), each) for each in pool.endpoints]
        self._pools[pool.pool_id] = pool

    def remove(self, pool_id: str) -> bool:
        """Forget a pool; whether there was one."""
        self._targets.pop(pool_id, None)
        self._turns.pop(pool_id, None)
        return self._pools.pop(pool_id, None) is not None

    def get(self, pool_id: str) -> ProviderPool | None:
        """The pool of this id."""
        return self._pools.get(pool_id)

    def listed(self) -> list[ProviderPool]:
        """All pools."""
        return list(self._pools.values())

    def find(self, pool_id: str) -> ProviderPool:
        """The pool of this id. Raises: PoolNotFound."""
        pool = self._pools.get(pool_id)
        if pool is None:
            raise PoolNotFound.named(pool_id)
        return pool

    def order(self, where: ExecutionTarget, model: str) -> list[Target]:
        """The endpoints that may serve the model, the one to ask first in front.

        Raises: PoolNotFound, NoAvailableEndpoint.
        """
        pool = self.find(where.pool_id)
        targets = [each for each in self._targets[pool.pool_id] if each.endpoint.enabled]
        if where.hint is not None and where.hint.strip():
            targets = [each for each in targets if each.endpoint.matches(where.hint)]
        targets = [each for each in targets if each.endpoint.model_policy.resolve(model) is not None]
        if not targets:
            wanted = "is enabled, serves this model" + (", and is what the hint means" if where.hint else "")
            raise NoAvailableEndpoint(f"pool {pool.pool_id}: found no endpoint, wanted one that {wanted}")
        turn = self._turns[pool.pool_id] = self._turns.get(pool.pool_id, -1) + 1
        if len(targets) == 1:
            return targets
        now = time.monotonic()
        by_id = {each.endpoint.endpoint_id: each for each in targets}
        candidates = [_candidate(each, now) for each in targets]
        return [by_id[each.id] for each in order_candidates(pool.load_balancing, candidates, turn)]

    def _target(self, known: Target | None, endpoint: Endpoint) -> Target:
        if known is None or known.endpoint.base_url != endpoint.base_url:
            return Target(endpoint, Health(self._breaker))
        rests_until = known.rests_until if known.endpoint.api_key == endpoint.api_key else 0.0
        return Target(endpoint, known.health, rests_until)


def _candidate(target: Target, now: float) -> Candidate:
    health, endpoint = target.health.snapshot(now), target.endpoint
    return Candidate(
        endpoint.endpoint_id,
        endpoint.weight,
        health.in_flight,
        None if health.p50 is None else health.p50 * 1000,
        endpoint.micro_usd_per_million,
        rank_of(target.health, now, resting=now < target.rests_until),
    )
