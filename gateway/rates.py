"""Rates: how many requests and tokens a key and its tenant may use in a minute, whichever ends first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.errors import RateLimited
from gateway.estimate import estimate_prompt
from gateway.inference import InferenceRequest
from gateway.tenancy.rates import Limits, Standing, Taken, Windows
from gateway.tenancy.tenant import ApiKey

REQUESTS, TOKENS = "requests", "tokens"
UNSAID = 1024  # tokens that are reserved for an answer to which nobody set a bound: most are shorter
MAX_KNOWN = 4096  # keys whose limits are kept at hand


class RateStore(Protocol):
    """Where it is counted what was used."""

    async def take(self, limits: Limits, amount: int, more: int = 0) -> Taken:
        """As `take_from` of the windows that the limits name. Raises GatewayError where nobody can tell."""

    def correct(self, names: Sequence[str], taken: Taken, by: int) -> None:
        """Count so much more than was taken, or less. Awaits nothing: whoever is cancelled corrects too."""

    async def close(self) -> None:
        """Let go, once what was corrected is on its way."""


class LocalRates:
    """The counts of a gateway that is alone, in its memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = Windows()
        self._clock = clock

    async def take(self, limits: Limits, amount: int, more: int = 0) -> Taken:
        """As `take_from` of the windows that the limits name."""
        return self._windows.take(limits, amount, more, self._clock())

    def correct(self, names: Sequence[str], taken: Taken, by: int) -> None:
        """Count so much more than was taken, or less."""
        self._windows.correct(names, taken.second, by, self._clock())

    async def close(self) -> None:
        """Nothing is held."""


class RateTicket:
    """What one call took."""

    __slots__ = ("_reserved", "_store", "_taken", "_tokens", "standings")

    def __init__(self, store: RateStore, tokens: Limits) -> None:
        """`tokens`: what limits those."""
        self._store = store
        self._tokens = tokens
        self._taken: Taken | None = None
        self._reserved = 0
        self.standings: dict[str, Standing] = {}  # of requests and of tokens, the limit of which least is left

    async def take(self, kind: str, limits: Limits, amount: int, more: int = 0) -> Taken:
        """Raises RateLimited."""
        taken = await self._store.take(limits, amount, more)
        self.standings[kind] = taken.tightest
        if taken.wait:
            raise self._refusal(kind, limits[taken.blame], taken.wait)
        return taken

    async def reserve(self, request: InferenceRequest) -> None:
        """Take the tokens of the prompt, and of the answer's what there is room for. Raises RateLimited."""
        if not self._tokens:
            return
        prompt, least = estimate_prompt(request), min(limit for _, limit in self._tokens)
        if prompt > least:
            raise RateLimited(
                f"This prompt has about {prompt} tokens, and {least} per minute are allowed here: make it shorter, or "
                "ask for a higher limit.",
                standings=self.standings,
            )
        more = UNSAID if request.max_tokens is None else request.max_tokens
        self._taken = await self.take(TOKENS, self._tokens, prompt, more)
        self._reserved = prompt + self._taken.more

    def settle(self, used: int | None, *, partial: bool = False) -> None:
        """The call has ended: count what it used in truth; where nobody knows, as None says, it is what was reserved.
        `partial`: its answer was cut, and its last count never came.
        """
        taken, self._taken = self._taken, None
        if taken is None or used is None:
            return
        by = (max(used, self._reserved) if partial else used) - self._reserved
        if by:
            self._store.correct([name for name, _ in self._tokens], taken, by)

    def _refusal(self, kind: str, limited: tuple[str, int], wait: float) -> RateLimited:
        whose, seconds = limited[0].partition(":")[0], math.ceil(wait)
        return RateLimited(
            f"Rate limit reached: this {whose} may use {limited[1]} {kind} per minute. Try again in {seconds} s.",
            retry_after=float(seconds),
            standings=self.standings,
        )


class Rates:
    """The limits of keys and tenants, and where their use is counted."""

    def __init__(self, store: RateStore) -> None:
        self._store = store
        self._known: dict[str, tuple[ApiKey, Limits, Limits]] = {}

    async def enter(self, key: ApiKey) -> RateTicket | None:
        """Count one request of the key; None if nothing limits it. Raises RateLimited."""
        known, requests, tokens = self._known.get(key.id) or self._learn(key)
        if known is not key:  # it was looked up again, and may have other limits
            known, requests, tokens = self._learn(key)
        if not requests and not tokens:
            return None
        ticket = RateTicket(self._store, tokens)
        if requests:
            await ticket.take(REQUESTS, requests, 1)
        return ticket

    async def close(self) -> None:
        """Let go of the counts."""
        await self._store.close()

    def _learn(self, key: ApiKey) -> tuple[ApiKey, Limits, Limits]:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        tenant = key.tenant
        requests = _limits(REQUESTS, (key.id, key.requests_per_minute), (tenant.id, tenant.requests_per_minute))
        tokens = _limits(TOKENS, (key.id, key.tokens_per_minute), (tenant.id, tenant.tokens_per_minute))
        self._known[key.id] = key, requests, tokens
        return key, requests, tokens


def _limits(kind: str, key: tuple[str, int | None], tenant: tuple[str, int | None]) -> Limits:
    rows = (("key", *key), ("tenant", *tenant))
    return [(f"{whose}:{name}:{kind}", limit) for whose, name, limit in rows if limit is not None]
