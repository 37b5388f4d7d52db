"""Step 3, route: whom a call may be sent to under its policy; remembered until something that it hangs on changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import Forbidden, GatewayError, InvalidRequest, NoRoute
from gateway.inference import InferenceRequest
from gateway.routing.health import Snapshot
from gateway.routing.identity import Identities
from gateway.routing.policy import RoutingPolicy
from gateway.routing.route import ModelTable, Route
from gateway.routing.rules import RoutingRules
from gateway.routing.scope import scopes_of
from gateway.routing.select import Candidate, Refused, Selection, select, valid_until
from gateway.routing.tier import Known, Tier, tier_of
from tee.canonical import encode_canonical

MAX_KEPT = 4096  # decisions: after a prefix the names of models are callers' text
MAX_WORDS = 2000  # characters of a refusal's message

Estimate = Callable[[Route, InferenceRequest | None], int | None]
"""The most that a call can cost there, micro-USD; None where a price is unknown, or the request is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who may answer, in order. `told`: the members of the receipt's event, each in its canonical form, which stay the
    same from call to call.
    """

    routes: tuple[Route, ...]
    refused: tuple[Refused, ...]
    told: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was found for one policy, model and pin. `settled` is None where each call is judged by itself."""

    candidates: tuple[Candidate, ...]
    settled: Decision | None
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
        self._changes = 0
        self._kept: dict[tuple[str, str, str | None], _Kept] = {}

    def use(self, models: ModelTable, rules: RoutingRules) -> None:
        """Decide by this configuration from now on."""
        self._models, self._rules = models, rules
        self._policies = {policy.id: policy for policy in rules.policies}
        self._identities.use(models.connectors.values(), rules.baselines)
        self._changes += 1
        self._kept.clear()

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
    ) -> Decision:
        """Who may answer, and who may not and why; of provider `pin` only, if named. Raises UnknownModel, NoRoute."""
        generation = self._changes, self._identities.generation
        kept = self._kept.get((policy.id, model, pin))
        if kept is None or kept.generation != generation or now >= kept.until:
            kept = self._judge(policy, model, pin, generation, now)
        if kept.settled is not None:
            return kept.settled
        candidates = [self._as_now(one, request) for one in kept.candidates]
        return decided(policy, select(policy, candidates, now, pinned=pin is not None))

    def candidates(self, model: str, pin: str | None, request: InferenceRequest | None) -> list[Candidate]:
        """All that is known now of whoever could answer. Raises UnknownModel, NoRoute."""
        return [self._as_now(one, request) for one in self._candidates(model, pin)]

    def observed(self, policy: RoutingPolicy, route: Route) -> Route:
        """The route, by what is known once it has answered: no better than the decision found it."""
        if policy.clean or route.tier <= Tier.QUARANTINE:
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
        settled = None if each or max(served.values(), default=1) > 1 else decided(policy, selection)
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
            interdicted=self._rules.interdicted.blocks(route),
        )

    def _as_now(self, one: Candidate, request: InferenceRequest | None) -> Candidate:
        """The candidate with what changes from call to call."""
        cost, health = self._estimate(one.route, request), self._health(one.route)
        if health is None:
            return replace(one, cost=cost)
        latency = None if health.p95 is None else health.p95 * 1000
        return replace(one, cost=cost, latency_ms=latency, score=health.score)


def decided(policy: RoutingPolicy, selection: Selection) -> Decision:
    """A selection as the record of a call shows it: of one for which nobody qualifies, why not."""
    routes, refused = selection.routes, selection.refused
    told: dict[str, Any] = {"policy": policy.reference}
    if routes:
        told |= {"policy_id": policy.id, **_describe(routes[0])}
    if len(routes) > 1:
        told["fallback"] = [_describe(route) for route in routes[1:]]
    if refused or not routes:
        told["refused"] = [_describe(one.route) | {"reasons": [each.words for each in one.reasons]} for one in refused]
    return Decision(routes, refused, {name: encode_canonical(value) for name, value in told.items()})


def of_model(policy: RoutingPolicy, decision: Decision, model: str) -> Decision:
    """Only the first that serves this very model, and none in its place."""
    routes = tuple(route for route in decision.routes if route.model.id == model)[:1]
    return decided(policy, Selection(routes, tuple(one for one in decision.refused if one.route.model.id == model)))


def _describe(route: Route) -> dict[str, Any]:
    return {
        "provider_id": route.connector.id,
        "upstream_model": route.model.upstream_model,
        "tier_observed": route.tier.word,
    }


def refusal(policy: RoutingPolicy, decision: Decision) -> GatewayError:
    """The error of a call for which nobody qualifies: 503 where time may mend it, else 403."""
    rows = [
        f"{one.route.model.id} at {one.route.connector.id}: {', '.join(reason.words for reason in one.reasons)}"
        for one in decision.refused
    ]
    words = f"Policy {policy.id} lets nobody answer this. {'; '.join(rows)}"[:MAX_WORDS] + "."
    if any(one.passing for one in decision.refused):
        return NoRoute(words, param="policy")
    return Forbidden(words, code="policy_refused", param="policy")
