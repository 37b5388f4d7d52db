"""One request on its way: its attempts, its tags, its report, and whom the host wants told of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.engine.core.errors import UpstreamRefused
from gateway.engine.core.pool import Endpoint, ProviderPool
from gateway.engine.core.report import (
    AttemptFinishedEvent,
    AttemptReport,
    AttemptStartedEvent,
    GatewayHooks,
    Outcome,
    RequestKind,
    RequestReport,
)
from gateway.errors import GatewayError
from gateway.inference import StreamEvent, Usage
from gateway.routing.health import Health


@dataclass(slots=True)
class Target:
    """An endpoint of a pool, with what is known of it; `rests_until` is when its key may be used again."""

    endpoint: Endpoint
    health: Health
    rests_until: float = 0.0


class Flight:
    """What the engine remembers of one request. An attempt begins and ends here, and one report is made."""

    def __init__(
        self, kind: RequestKind, pool: ProviderPool, tags: Mapping[str, str], hooks: tuple[GatewayHooks, ...]
    ) -> None:
        self.request_id = "req-" + secrets.token_hex(12)
        self._kind = kind
        self._pool = pool
        self._tags = dict(tags)
        self._hooks = hooks
        self._started_at = datetime.now(UTC)
        self._started = self._attempt_started = time.monotonic()
        self._attempts: list[AttemptReport] = []
        self._target: Target | None = None
        self._open = False
        self._usage: Usage | None = None
        self._first: float | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The tags of pool, endpoint and request, merged: the request's win."""
        endpoint = self._target.endpoint.metadata if self._target is not None else {}
        return {**self._pool.metadata, **endpoint, **self._tags}

    async def begin(self, target: Target) -> None:
        """An attempt begins."""
        self._target = target
        event = AttemptStartedEvent(
            self.request_id, self._pool.pool_id, target.endpoint.endpoint_id, len(self._attempts), self.metadata
        )
        for hooks in self._hooks:
            await hooks.on_attempt_started(event)
        self._attempt_started, self._first, self._usage = time.monotonic(), None, None
        target.health.begin(self._attempt_started)
        self._open = True

    def answered(self) -> None:
        """The answer begins."""
        self._first = time.monotonic()

    def see(self, event: StreamEvent) -> None:
        """Take note of an event of the answer."""
        if isinstance(event, Usage):
            self._usage = event

    def count(self, usage: Usage | None) -> None:
        """Take note of tokens that were told otherwise."""
        self._usage = usage

    async def end(self, outcome: Outcome, health: bool | None, error: BaseException | None = None) -> None:
        """The attempt, if one is open, has ended; `health` is what that says of the endpoint, None for nothing."""
        if not self._open or self._target is None:
            return
        self._open = False
        now = time.monotonic()
        self._target.health.end(now, health, (self._first or now) - self._attempt_started)
        status = error.status if isinstance(error, UpstreamRefused) else None
        took = _milliseconds(now - self._attempt_started)
        report = AttemptReport(self._target.endpoint.endpoint_id, outcome, took, status, _words(error))
        self._attempts.append(report)
        event = AttemptFinishedEvent(self.request_id, self._pool.pool_id, len(self._attempts) - 1, report)
        for hooks in self._hooks:
            await hooks.on_attempt_finished(event)

    def report(self, outcome: Outcome, error: BaseException | None = None) -> RequestReport:
        """What became of the request, now that it is over."""
        first = None if self._first is None else _milliseconds(self._first - self._started)
        return RequestReport(
            request_id=self.request_id,
            kind=self._kind,
            pool_id=self._pool.pool_id,
            endpoint_id=None if self._target is None else self._target.endpoint.endpoint_id,
            provider_kind=None if self._target is None else self._target.endpoint.provider_kind,
            outcome=outcome,
            attempts=tuple(self._attempts),
            usage=self._usage,
            latency_ms=_milliseconds(time.monotonic() - self._started),
            first_event_ms=first,
            started_at=self._started_at,
            metadata=self.metadata,
            error=_words(error),
        )

    async def tell(self, report: RequestReport) -> RequestReport:
        """Hand the report to the host."""
        for hooks in self._hooks:
            await hooks.on_request_finished(report)
        return report


def _words(error: BaseException | None) -> str | None:
    """What an error says. A foreign one is only named: its words may quote a prompt."""
    if error is None or isinstance(error, GatewayError):
        return None if error is None else error.message
    return type(error).__name__


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
