"""Step 3, route: whom a call may be sent to under its policy; remembered until something that it hangs on changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import Forbidden, GatewayError, InvalidRequest, NoRoute
from gateway.inference import InferenceRequest
from gateway.routing.health import Snapshot
from gateway.routing.identity import Identities
from gateway.routing.interdicted import Interdicted
from gateway.routing.policy import RoutingPolicy
from gateway.routing.route import ModelTable, Route
from gateway.routing.rules import RoutingRules
from gateway.routing.scope import scopes_of
from gateway.routing.select import Candidate, Selection, select, valid_until
from gateway.routing.tier import Known, tier_of

MAX_KEPT = 4096  # decisions: after a prefix the names of models are callers' text
MAX_WORDS = 2000  # characters of a refusal's message

Estimate = Callable[[Route, InferenceRequest | None], int | None]
"""The most that a call can cost there, micro-USD; None where a price is unknown, or the request is."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was found for one policy, model and pin. `settled` is None where each call is judged by itself."""

    candidates: tuple[Candidate, ...]
    settled: Selection | None
    generation: tuple[int, int]
    until: float


class Decisions:
    """Decides for one configuration at a time, by what this process knows of the providers."""

    def __init__(
        self, identities: Identities, health: Callable[[Route], Snapshot | None], estimate: Estimate | None = None
    ) -> None:
        self._identities = identities
        self._health = health
        self._estimate: Estimate = estimate or (lambda _route, _request: None)
        self._more = Interdicted()
        self._changes = 0
        self._kept: dict[tuple[str, str, str | None], _Kept] = {}

    def use(self, models: ModelTable, rules: RoutingRules) -> None:
        """Decide by this configuration from now on."""
        self._models, self._rules = models, rules
        self._policies = {policy.id: policy for policy in rules.policies}
        self._identities.use(models.connectors.values(), rules.baselines)
        self._changes += 1
        self._kept.clear()

    def interdict(self, more: Interdicted) -> None:
        """Block these too, beside those that are configured; they replace the ones named before."""
        self._more = more
        self._changes += 1

    def policy(self, name: str) -> RoutingPolicy:
        """The policy of that id. Raises InvalidRequest."""
        found = self._policies.get(name)
        if found is None:
            names = ", ".join(self._policies)
            raise InvalidRequest(
                f"policy: found {name[:64]!r}, wanted one of {names}", code="unknown_policy", param="policy"
            )
        return found

    def decide(
        self, policy: RoutingPolicy, model: str, pin: str | None, request: InferenceRequest, now: float
    ) -> Selection:
        """Who may answer, and who may not and why; of provider `pin` only, if named. Raises UnknownModel, NoRoute."""
        generation = self._changes, self._identities.generation
        kept = self._kept.get((policy.id, model, pin))
        if kept is None or kept.generation != generation or now >= kept.until:
            kept = self._judge(policy, model, pin, generation, now)
        if kept.settled is not None:
            return kept.settled
        return select(policy, [self._as_now(one, request) for one in kept.candidates], now, pinned=pin is not None)

    def candidates(self, model: str, pin: str | None, request: InferenceRequest | None) -> list[Candidate]:
        """All that is known now of whoever could answer. Raises UnknownModel, NoRoute."""
        return [self._as_now(one, request) for one in self._candidates(model, pin)]

    def observed(self, policy: RoutingPolicy, route: Route) -> Route:
        """The route, by what is known once it has answered: no better than the decision found it."""
        if policy.clean:
            return route  # its connection was judged before a byte was sent, whatever others have met since
        tier = tier_of(self._known(route))
        return replace(route, tier=tier) if tier < route.tier else route

    def _judge(
        self, policy: RoutingPolicy, model: str, pin: str | None, generation: tuple[int, int], now: float
    ) -> _Kept:
        candidates = self._candidates(model, pin)
        selection = select(policy, candidates, now, pinned=pin is not None)
        served = Counter(route.model.id for route in selection.routes)
        each = policy.max_cost is not None or (policy.max_latency_ms is not None and pin is None)
        settled = None if each or max(served.values(), default=1) > 1 else selection
        kept = _Kept(tuple(candidates), settled, generation, valid_until(policy, candidates, now))
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[policy.id, model, pin] = kept
        return kept

    def _candidates(self, name: str, pin: str | None) -> list[Candidate]:
        """The model at each of its providers, then those that may stand in for it. Raises UnknownModel, NoRoute."""
        route = self._models.route(name)
        served = self._models.served_by(route)
        if pin is not None and pin not in (each.connector.id for each in served):
            names = ", ".join(each.connector.id for each in served)
            raise NoRoute(f"provider: model {route.model.id} is served by {names} only.", param="provider")
        others = [each for other in self._models.fallbacks(route) for each in self._models.served_by(other)]
        return [self._candidate(each) for each in (*served, *others) if pin in (None, each.connector.id)]

    def _candidate(self, route: Route) -> Candidate:
        origin = self._rules.suppliers.get(route.model.supplier or "")
        scopes = scopes_of(route.model.content_hash, self._rules.statements)
        return Candidate(route, self._known(route), origin, scopes)

    def _known(self, route: Route) -> Known:
        baseline = self._rules.baselines.models.get(route.model.id)
        return Known(
            identity=self._identities.identity(route.connector),
            catalogued=route.model.prefix is None,
            hash_drifted=baseline is not None and baseline != route.model.content_hash,
            interdicted=self._rules.interdicted.blocks(route) or self._more.blocks(route),
        )

    def _as_now(self, one: Candidate, request: InferenceRequest | None) -> Candidate:
        """The candidate with what changes from call to call."""
        cost, health = self._estimate(one.route, request), self._health(one.route)
        if health is None:
            return replace(one, cost=cost)
        latency = None if health.p95 is None else health.p95 * 1000
        return replace(one, cost=cost, latency_ms=latency, score=health.score)


def describe(route: Route) -> dict[str, Any]:
    """A route as the record of a call shows it."""
    return {
        "provider_id": route.connector.id,
        "upstream_model": route.model.upstream_model,
        "tier_observed": route.tier.word,
    }


def describe_refused(selection: Selection) -> list[dict[str, Any]]:
    """The candidates that did not qualify, and why."""
    return [describe(one.route) | {"reasons": [reason.words for reason in one.reasons]} for one in selection.refused]


def refusal(policy: RoutingPolicy, selection: Selection) -> GatewayError:
    """The error of a call for which nobody qualifies: 503 where time may mend it, else 403."""
    rows = [
        f"{one.route.model.id} at {one.route.connector.id}: {', '.join(reason.words for reason in one.reasons)}"
        for one in selection.refused
    ]
    words = f"Policy {policy.id} lets nobody answer this. {'; '.join(rows)}"[:MAX_WORDS] + "."
    if any(one.passing for one in selection.refused):
        return NoRoute(words, param="policy")
    return Forbidden(words, code="policy_refused", param="policy")
