"""Select: which candidates for a call a policy lets through, and in which order they are tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.routing.policy import RoutingPolicy, usd_text
from gateway.routing.route import Route
from gateway.routing.tier import Identity, Known, Tier, tier_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider, and what is known of it.

    - `origin`: the country of its supplier; `scopes`: what it is vouched for, and until when
    - `latency_ms`: the 95th percentile, None of one that was not asked lately; `score`: of its health, 1 is well
    - `cost`: micro-USD, the most that this call can cost there; None if its price is unknown
    """

    route: Route
    known: Known
    origin: str | None = None
    scopes: Mapping[str, int] = field(default_factory=dict)
    latency_ms: float | None = None
    score: float = 1.0
    cost: int | None = None

    @property
    def tier(self) -> Tier:
        """Of what is known of it."""
        return tier_of(self.known)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a candidate does not qualify: the policy's field that says so, and the words."""

    field: str
    words: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A candidate that does not qualify, by all the reasons that there are."""

    route: Route
    reasons: tuple[Reason, ...]

    @property
    def passing(self) -> bool:
        """Whether time alone may mend it."""
        return all(reason.field == "max_latency_ms" for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Selection:
    """The routes that qualify, the one to try first in front, and the candidates that do not."""

    routes: tuple[Route, ...]
    refused: tuple[Refused, ...] = ()


def lasting_reasons(policy: RoutingPolicy, one: Candidate, now: float) -> list[Reason]:
    """Why the policy refuses it, of what does not change from call to call."""
    tier, known, model = one.tier, one.known, one.route.model
    if tier is Tier.INTERDICTED:
        return [Reason("interdicted", known.interdicted or "interdicted")]
    found = []
    if policy.require_tier is not None and tier < policy.require_tier:
        found.append(Reason("require_tier", f"tier is {tier.word}, wanted {policy.require_tier.word}{_why(one)}"))
    if policy.require_drift_clean and (known.drift is not None or known.identity is not Identity.KNOWN):
        words = f"{known.drift or _UNCLEAN[known.identity]}, wanted one without drift"
        found.append(Reason("require_drift_clean", words))
    for scope in policy.witness_scopes:
        if one.scopes.get(scope, 0) <= now:
            past = "has expired" if scope in one.scopes else "is not vouched for"
            found.append(Reason("witness_scopes", f"scope {scope} {past} of its content hash"))
    if policy.allowed_origins and one.origin not in policy.allowed_origins:
        countries = ", ".join(policy.allowed_origins)
        found.append(Reason("allowed_origins", f"its origin is {one.origin or 'unknown'}, wanted {countries}"))
    if policy.models is not None and model.id not in policy.models:
        found.append(Reason("models", f"model {model.id} is not in the policy's list"))
    return found


def passing_reasons(policy: RoutingPolicy, one: Candidate, *, pinned: bool) -> list[Reason]:
    """Why the policy refuses it for this call. Who pins the provider waives the cap on its latency, and no other."""
    found = []
    if policy.max_latency_ms is not None and not pinned and (one.latency_ms or 0) > policy.max_latency_ms:
        words = f"took {one.latency_ms:.0f} ms lately (p95), wanted at most {policy.max_latency_ms} ms"
        found.append(Reason("max_latency_ms", words))
    if policy.max_cost is not None and (one.cost is None or one.cost > policy.max_cost):
        price = "an unknown price" if one.cost is None else f"up to {usd_text(one.cost)} USD"
        found.append(
            Reason("max_cost_per_request_usd", f"costs {price}, wanted at most {usd_text(policy.max_cost)} USD")
        )
    return found


def reasons_of(policy: RoutingPolicy, one: Candidate, now: float, *, pinned: bool = False) -> tuple[Reason, ...]:
    """All reasons; none of one that qualifies, nor more than one of what is interdicted."""
    lasting = lasting_reasons(policy, one, now)
    blocked = any(reason.field == "interdicted" for reason in lasting)
    return tuple(lasting if blocked else lasting + passing_reasons(policy, one, pinned=pinned))


def select(policy: RoutingPolicy, candidates: Sequence[Candidate], now: float, *, pinned: bool = False) -> Selection:
    """What of `candidates` qualifies, in their order of models; providers of one model in the policy's order, then by
    health, the listed order among equals. `pinned`: the caller named the provider.
    """
    judged = [(one, reasons_of(policy, one, now, pinned=pinned)) for one in candidates]
    good = [one for one, reasons in judged if not reasons]
    refused = tuple(Refused(_told(one), reasons) for one, reasons in judged if reasons)
    return Selection(tuple(_told(one) for one in _ordered(policy, good)), refused)


def valid_until(policy: RoutingPolicy, candidates: Iterable[Candidate], now: float) -> float:
    """Until when time alone changes nothing: the next end of a scope that the policy asks for."""
    ends = [one.scopes.get(scope, 0) for one in candidates for scope in policy.witness_scopes]
    return min((end for end in ends if end > now), default=math.inf)


def _ordered(policy: RoutingPolicy, candidates: list[Candidate]) -> list[Candidate]:
    models = list(dict.fromkeys(one.route.model.id for one in candidates))
    chain = {name: at for at, name in enumerate(policy.preferred_providers)}

    def place(one: Candidate) -> tuple[int, int, float]:
        # Rounded, so that a few milliseconds do not send all calls to and fro between equals.
        return models.index(one.route.model.id), chain.get(one.route.connector.id, len(chain)), -round(one.score, 2)

    return sorted(candidates, key=place)


def _told(one: Candidate) -> Route:
    return replace(one.route, tier=one.tier)


def _why(one: Candidate) -> str:
    """What keeps it from a better tier, where that is to be said."""
    if one.known.drift is not None:
        return f": {one.known.drift}"
    if not one.known.catalogued:
        return ": the model is not in the catalog"
    return f": {_UNCLEAN[one.known.identity]}" if one.known.identity in _UNCLEAN else ""


_UNCLEAN = {
    Identity.NONE: "it is reached without TLS, so nothing names it",
    Identity.UNKNOWN: "its TLS identity has neither pin nor baseline",
}
