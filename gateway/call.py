"""One admitted call on its way, and what has left of its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.dialects.sse import count_events
from gateway.draft import ReceiptDraft, Returned
from gateway.errors import GatewayError
from gateway.metering import Meter
from gateway.money.bill import Bill
from gateway.money.estimate import tokens_left
from gateway.routing.policy import RoutingPolicy
from gateway.routing.route import Route
from gateway.storage.calls import Progress
from gateway.translate import Exchange

JSON_TYPE, STREAM_TYPE = "application/json", "text/event-stream; charset=utf-8"
CLIENT_LEFT = 499  # the status that activity shows for a call that was cut; nobody receives it
OUR_FAULT = 500  # what a client receives for a fault of ours (http/problems.py)


@dataclass(frozen=True, slots=True)
class Demands:
    """What the caller's headers ask of routing and of the answer."""

    policy: str | None = None
    provider: str | None = None
    attestation: bool = True
    checkpoints: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # all that came, the caller's key too


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose route is decided and whose record is open."""

    draft: ReceiptDraft
    exchange: Exchange
    route: Route
    meter: Meter
    leaf: int | None
    demands: Demands
    policy: RoutingPolicy
    bills: tuple[Bill | None, ...] = ()  # of each candidate

    def attestation(self) -> dict[str, Any]:
        """The block that every answer carries (SPEC §7.3)."""
        return {
            "model_content_hash": self.route.model.registered_hash,
            "provider_id": self.route.connector.id,
            "policy_id": self.policy.id,
            "route_decision_id": self.draft.decision_id,
            "rekor_index": self.leaf,
            "mirror_id": self.route.model.mirror,
            "tier_observed": self.route.tier.word,
            "receipt_id": self.draft.receipt_id,
        }

    def attestation_wanted(self) -> dict[str, Any] | None:
        """The block, unless the caller asked to have none."""
        return self.attestation() if self.demands.attestation else None


@dataclass(slots=True)
class Sent:
    """What has left so far: exact size, running hash, and of a stream its events and newest signed checkpoint."""

    status: int
    content_type: str
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    events: int = 0
    checkpoint: dict[str, Any] | None = None
    shortest: int = 0  # event, in bytes, of which several that left together count as equal

    def add(self, raw: bytes) -> None:
        """Count bytes that have left."""
        size, events = len(raw), self._events_in(raw)
        self.size += size
        self.hash.update(raw)
        self.events += events
        if events and (not self.shortest or size < self.shortest * events):
            self.shortest = size // events

    def tokens(self) -> int:
        """How many tokens of an answer may be in what has left."""
        return tokens_left(self.size, self.events, self.shortest)

    def progress(self, receipt_id: str) -> Progress:
        """What left, for the database while the stream goes on."""
        checkpoint = "" if self.checkpoint is None else json.dumps(self.checkpoint)
        sent = self.size, self.hash.hexdigest(), self.events
        return Progress(receipt_id, self.status, self.content_type, *sent, checkpoint)

    def followed_by(self, tail: bytes, complete: bool) -> Returned:
        """What will have left once `tail` has: signed before it does."""
        total = self.hash.copy()
        total.update(tail)
        events = self.events + self._events_in(tail)
        sent = self.size + len(tail), total.hexdigest(), complete
        return Returned(self.status, self.content_type, *sent, events, self.checkpoint)

    def returned(self, complete: bool) -> Returned:
        """What left, as a receipt says it."""
        return self.followed_by(b"", complete)

    def _events_in(self, raw: bytes) -> int:
        return count_events(raw) if self.content_type == STREAM_TYPE else 0


def whole(status: int, body: bytes) -> Returned:
    """A buffered answer, returned whole."""
    return Returned(status, JSON_TYPE, len(body), hashlib.sha256(body).hexdigest(), complete=True)


class StreamedBody(Protocol):
    """A body that is made while it is sent."""

    ended: bool
    """Whether what `chunks` gave last ends the stream."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in order; the last ones only once the receipt is durable."""

    def stop(self, error: GatewayError) -> None:
        """End it at its next event, with this error in its client's language."""

    async def close(self) -> None:
        """Let go of the upstream; if the stream had not ended, its receipt says so. May be called twice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the client."""

    status: int
    content_type: str
    receipt_id: str
    body: bytes | StreamedBody
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # what else is said of how it came about
