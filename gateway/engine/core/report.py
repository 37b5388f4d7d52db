"""What became of a request: its report, and the events by which a host follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gateway.engine.core.pool import ProviderKind
from gateway.inference import Usage


class RequestKind(StrEnum):
    """What was asked for."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"


class Outcome(StrEnum):
    """How a request or an attempt ended. Only an attempt is `retried`; `aborted` is what the host did not read to the
    end.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One endpoint's try. `status_code` is the provider's, where it refused; `error` never quotes a prompt of ours."""

    endpoint_id: str
    status: Outcome
    latency_ms: int
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RequestReport:
    """What became of one request.

    - `endpoint_id`, `provider_kind`: of the endpoint that answered, or was tried last; None if none was
    - `usage`: tokens, where the provider told them; of a stream that was cut, those told until then
    - `latency_ms`: from the call of the engine to the last byte; `first_event_ms`: to the first word of the answer
    - `metadata`: the tags of pool, endpoint and request, the later winning over the earlier
    """

    request_id: str
    kind: RequestKind
    pool_id: str
    endpoint_id: str | None
    provider_kind: ProviderKind | None
    outcome: Outcome
    attempts: tuple[AttemptReport, ...]
    usage: Usage | None
    latency_ms: int
    first_event_ms: int | None
    started_at: datetime
    metadata: Mapping[str, str]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptStartedEvent:
    """An endpoint is about to be asked. `attempt_index` counts from 0; `metadata` is as in the report."""

    request_id: str
    pool_id: str
    endpoint_id: str
    attempt_index: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AttemptFinishedEvent:
    """An endpoint has answered to the end, or has failed."""

    request_id: str
    pool_id: str
    attempt_index: int
    attempt: AttemptReport


class GatewayHooks(Protocol):
    """How a host follows what the engine does. What a hook raises reaches the caller of the engine."""

    async def on_attempt_started(self, event: AttemptStartedEvent) -> None:
        """Before an endpoint is asked."""

    async def on_attempt_finished(self, event: AttemptFinishedEvent) -> None:
        """After its answer ended, or failed."""

    async def on_request_finished(self, report: RequestReport) -> None:
        """Once for each request to a pool that exists, whatever became of it."""
