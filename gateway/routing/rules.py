"""RoutingRules: what is configured of who may be asked, beside the tables of providers and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.routing.identity import Baselines
from gateway.routing.interdicted import Interdicted
from gateway.routing.policy import BUILT_IN, RoutingPolicy
from gateway.routing.scope import ScopeStatement, ScopeWitness


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """`suppliers`: the ISO country of each, by id."""

    policies: tuple[RoutingPolicy, ...] = BUILT_IN
    interdicted: Interdicted = field(default_factory=Interdicted)
    suppliers: Mapping[str, str] = field(default_factory=dict)
    witnesses: tuple[ScopeWitness, ...] = ()
    statements: tuple[ScopeStatement, ...] = ()
    baselines: Baselines = field(default_factory=Baselines)

    def policy(self, name: str) -> RoutingPolicy | None:
        """The policy of that id."""
        return next((policy for policy in self.policies if policy.id == name), None)

    def to_json(self) -> dict[str, Any]:
        """What the workload's digest `policies` covers (SPEC §4.3)."""
        return {
            "policies": {policy.id: policy.digest for policy in self.policies},
            "interdicted": self.interdicted.to_json(),
            "suppliers": dict(self.suppliers),
            "scope_witnesses": [asdict(each) | {"scopes": list(each.scopes)} for each in self.witnesses],
            "scope_statements": [each.to_json() for each in self.statements],
            "baselines": self.baselines.to_json(),
        }
