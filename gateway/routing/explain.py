"""Explain: why a call would go to whom, and which single change would alter that; each is tried before it is named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.routing.policy import MICRO, RoutingPolicy
from gateway.routing.select import Candidate, reasons_of, select
from gateway.routing.tier import Identity, Tier


@dataclass(frozen=True, slots=True)
class Change:
    """One change: to a field of the policy, or to what is known of the candidate; and the world with it."""

    name: str
    to: Any
    policy: RoutingPolicy
    candidate: Candidate

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"change": self.name, "to": self.to}


def explain(
    policy: RoutingPolicy, candidates: Sequence[Candidate], now: float, *, pinned: bool = False
) -> dict[str, Any]:
    """What would become of a call, with each candidate's reasons and the changes that would turn its own outcome."""
    routes = select(policy, candidates, now, pinned=pinned).routes
    chosen = None
    if routes:
        first = routes[0]
        chosen = {"model": first.model.id, "provider": first.connector.id, "tier": first.tier.word}
    rows = [_row(policy, one, now, pinned) for one in candidates]
    return {"policy": policy.reference, "routed": bool(routes), "chosen": chosen, "candidates": rows}


def turning(policy: RoutingPolicy, one: Candidate, now: float, *, pinned: bool = False) -> list[Change]:
    """The single changes that let a refused candidate through, or keep a good one out."""
    refused = bool(reasons_of(policy, one, now, pinned=pinned))
    tried = _relaxations(policy, one, now) if refused else _demands(policy, one)
    return [each for each in tried if bool(reasons_of(each.policy, each.candidate, now, pinned=pinned)) != refused]


def _row(policy: RoutingPolicy, one: Candidate, now: float, pinned: bool) -> dict[str, Any]:
    reasons = reasons_of(policy, one, now, pinned=pinned)
    return {
        "model": one.route.model.id,
        "provider": one.route.connector.id,
        "tier": one.tier.word,
        "qualifies": not reasons,
        "reasons": [reason.words for reason in reasons],
        "would_change": [each.to_json() for each in turning(policy, one, now, pinned=pinned)],
    }


def _relaxations(policy: RoutingPolicy, one: Candidate, now: float) -> Iterator[Change]:
    """Each demand taken back as far as this candidate needs, and each thing known of it mended."""

    def demand(name: str, to: Any, **fields: Any) -> Change:
        return Change(name, to, replace(policy, **fields), one)

    def mended(name: str, to: str, **facts: Any) -> Change:
        return Change(name, to, policy, replace(one, known=replace(one.known, **facts)))

    known = one.known
    if one.tier > Tier.INTERDICTED:
        yield demand("require_tier", one.tier.word, require_tier=one.tier)
    held = tuple(scope for scope in policy.witness_scopes if one.scopes.get(scope, 0) > now)
    yield demand("witness_scopes", list(held), witness_scopes=held)
    origins = (*policy.allowed_origins, one.origin) if one.origin else ()
    yield demand("allowed_origins", list(origins), allowed_origins=origins)
    yield demand("require_drift_clean", False, require_drift_clean=False)
    latency = None if one.latency_ms is None else math.ceil(one.latency_ms)
    yield demand("max_latency_ms", latency, max_latency_ms=latency)
    amount = None if one.cost is None else one.cost / MICRO
    yield demand("max_cost_per_request_usd", amount, max_cost=one.cost)
    models = None if policy.models is None else (*policy.models, one.route.model.id)
    yield demand("models", None if models is None else list(models), models=models)
    if known.interdicted is not None:
        yield mended("interdicted", "lifted", interdicted=None)
    if known.identity in (Identity.UNKNOWN, Identity.DRIFTED):
        yield mended("baseline of the provider", "the identity that it shows now", identity=Identity.KNOWN)
    if known.hash_drifted:
        yield mended("baseline of the model", "the content hash that is declared now", hash_drifted=False)


def _demands(policy: RoutingPolicy, one: Candidate) -> Iterator[Change]:
    """Each demand on tier, drift and price made one step harder than this candidate bears."""
    for tier in Tier:
        if tier > one.tier:
            yield Change("require_tier", tier.word, replace(policy, require_tier=tier), one)
            break
    if not policy.require_drift_clean:
        yield Change("require_drift_clean", True, replace(policy, require_drift_clean=True), one)
    if one.cost:
        yield Change("max_cost_per_request_usd", (one.cost - 1) / MICRO, replace(policy, max_cost=one.cost - 1), one)
    if one.latency_ms is not None and one.latency_ms > 1:
        most = math.ceil(one.latency_ms) - 1
        yield Change("max_latency_ms", most, replace(policy, max_latency_ms=most), one)
