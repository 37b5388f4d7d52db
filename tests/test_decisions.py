"""Decisions: what is remembered of a policy's ruling, and that nothing stale outlives what it hung on."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Config, decode_config
from gateway.decisions import Decisions
from gateway.errors import InvalidRequest, NoRoute, UnknownModel
from gateway.inference import InferenceRequest
from gateway.routing.health import Snapshot, State
from gateway.routing.identity import Identities, Shown
from gateway.routing.route import Route
from gateway.routing.scope import ScopeStatement
from gateway.routing.select import reasons_of

SPKI, ROOT, OTHER, STRANGE = "11" * 32, "22" * 32, "33" * 32, "44" * 32
HASH = "sha256:" + "ab" * 32
REQUEST = InferenceRequest("openai_chat", "m", ())
POLICIES: list[dict[str, Any]] = [
    {"id": "hard", "require_tier": "hardened"},
    {"id": "quick", "max_latency_ms": 100},
    {"id": "cheap", "max_cost_per_request_usd": "0.001"},
    {"id": "only", "models": ["m"]},
    {"id": "clean", "require_drift_clean": True, "preferred_providers": ["b"]},
]


def configured(**changes: Any) -> Config:
    providers = [{"id": name, "family": "vllm", "base_url": f"https://{name}.example/v1"} for name in "abc"]
    document = {
        "providers": [*providers, {"id": "plain", "family": "vllm", "base_url": "http://plain.example/v1"}],
        "models": [
            {"id": "m", "providers": ["a", "b"], "fallback": ["n"], "content_hash": HASH},
            {"id": "n", "provider": "c", "aliases": ["nn"]},
            {"id": "p", "provider": "plain"},
            {"id": "any", "prefix": "any/", "provider": "a"},
        ],
        "policies": POLICIES,
        "baselines": {"providers": {name: {"spki": SPKI, "root": ROOT} for name in "abc"}, "models": {"m": HASH}},
    }
    return decode_config(document | changes, {})


class World:
    """A configuration, and what is met meanwhile."""

    def __init__(self, config: Config | None = None) -> None:
        self.identities = Identities()
        self.latency: dict[str, float] = {}
        self.costs: dict[str, int] = {}
        self.looked = 0
        self.decisions = Decisions(self.identities, self._health, self._cost)
        self.config = config or configured()
        self.decisions.use(self.config.models, self.config.rules)

    def _health(self, route: Route) -> Snapshot | None:
        self.looked += 1
        taken = self.latency.get(route.connector.id)
        return None if taken is None else Snapshot(State.CLOSED, 1.0 - taken / 240, 1.0, taken, taken, 0, 1)

    def _cost(self, route: Route, _request: InferenceRequest | None) -> int | None:
        return self.costs.get(route.connector.id)

    def asks(self, policy: str, model: str = "m", pin: str | None = None, now: float = 1e9) -> list[str]:
        """The providers that would be tried."""
        found = self.decisions.decide(self.decisions.policy(policy), model, pin, REQUEST, now)
        return [route.connector.id for route in found.routes]

    def drift(self, provider: str) -> None:
        assert self.identities.meet(provider, Shown(STRANGE, (STRANGE,)), clean=True)


def test_what_was_found_is_remembered_until_something_changes() -> None:
    it = World()
    assert it.asks("hard") == ["a", "b", "c"]
    it.drift("b")
    assert it.asks("hard") == ["a", "c"]
    it.decisions.use(it.config.models, configured(interdicted={"providers": ["c"]}).rules)
    assert it.asks("hard") == ["a"]
    assert it.asks("default") == ["a", "b"]
    it.decisions.use(it.config.models, it.config.rules)
    assert it.asks("hard") == ["a", "c"]
    moved = configured(baselines={"providers": {"b": {"spki": OTHER, "root": OTHER}}})
    it.decisions.use(moved.models, moved.rules)
    assert it.asks("hard") == ["b"]


def test_a_model_with_one_provider_under_no_cap_is_not_looked_at_again() -> None:
    it = World()
    for _ in range(3):
        assert it.asks("hard", "nn") == ["c"]
        assert it.asks("default", "p") == ["plain"]
    assert it.looked == 0
    assert it.asks("hard") and it.looked > 0


def test_latency_and_price_are_those_of_each_call() -> None:
    it = World()
    assert it.asks("quick") == ["a", "b", "c"]
    it.latency = {"a": 0.2, "c": 0.05}
    assert it.asks("quick") == ["b", "c"]
    assert it.asks("quick", pin="a") == ["a"]
    assert it.asks("cheap") == []
    it.costs = {"b": 1000, "c": 1001}
    assert it.asks("cheap") == ["b"]
    assert it.asks("cheap", pin="a") == []


def test_health_orders_the_providers_of_a_model_and_the_policy_goes_before_it() -> None:
    """R72."""
    it = World()
    it.latency = {"a": 30.0, "b": 1.0}
    assert it.asks("default") == ["b", "a", "c"]
    it.latency = {"a": 1.0, "b": 30.0}
    assert it.asks("default") == ["a", "b", "c"]
    assert it.asks("clean") == ["b", "a", "c"]


def test_a_hash_that_is_declared_anew_is_a_drift() -> None:
    other = configured(
        models=[
            {"id": "m", "providers": ["a", "b"], "content_hash": "sha256:" + "cd" * 32},
            {"id": "n", "provider": "c"},
        ]
    )
    assert World(other).asks("hard") == []
    assert World(other).asks("default") == ["a", "b"]


def test_a_name_by_a_prefix_is_no_catalogued_model() -> None:
    it = World()
    assert (it.asks("default", "any/x"), it.asks("hard", "any/x")) == (["a"], [])


def test_what_cannot_be_decided_is_refused_in_words() -> None:
    it = World()
    with pytest.raises(InvalidRequest, match="wanted one of default, clinical-strict, hard"):
        it.asks("nobody")
    with pytest.raises(UnknownModel):
        it.asks("default", "x")
    with pytest.raises(NoRoute, match="model m is served by a, b only"):
        it.asks("default", pin="c")


def test_no_call_is_ever_routed_to_whom_the_policy_refuses() -> None:
    """Whatever is asked, in whatever order things are met: each ruling is that of what is known at that moment."""
    dice = random.Random(3)
    it, routed = World(), 0
    for at in range(3000):
        event = dice.random()
        if event < 0.02:
            it.drift(dice.choice("abc"))
        elif event < 0.04:
            it.decisions.use(it.config.models, configured(baselines={"providers": {
                name: {"spki": dice.choice([SPKI, OTHER]), "root": ROOT} for name in dice.sample("abc", 2)
            }}).rules)  # fmt: skip
        elif event < 0.06:
            blocked = {"providers": dice.sample("abc", dice.randrange(2))}
            it.decisions.use(it.config.models, configured(interdicted=blocked).rules)
        elif event < 0.3:
            it.latency[dice.choice("abc")] = dice.choice([0.01, 0.5])
            it.costs[dice.choice("abc")] = dice.choice([5, 5000])
        policy = it.decisions.policy(dice.choice(["default", *(row["id"] for row in POLICIES)]))
        model, pin = dice.choice([("m", None), ("m", "a"), ("m", "b"), ("nn", None), ("p", None), ("any/y", None)])
        found = it.decisions.decide(policy, model, pin, REQUEST, float(at))
        known = it.decisions.candidates(model, pin, REQUEST)
        good = {
            (one.route.model.id, one.route.connector.id)
            for one in known
            if not reasons_of(policy, one, float(at), pinned=pin is not None)
        }
        assert {(route.model.id, route.connector.id) for route in found.routes} == good
        assert pin is None or {route.connector.id for route in found.routes} <= {pin}
        routed += len(found.routes)
    assert routed > 1000


def test_a_ruling_that_hangs_on_a_scope_ends_with_it() -> None:
    it = World()
    rules = replace(it.config.rules, statements=(ScopeStatement(HASH, "clinical", 1000, "board"),))
    it.decisions.use(it.config.models, rules)
    assert [it.asks("clinical-strict", now=now) for now in (1.0, 999.9, 1000.0)] == [["a", "b"], ["a", "b"], []]
    pinned = [it.asks("clinical-strict", pin="a", now=now) for now in (1.0, 999.9, 1000.0)]
    assert pinned == [["a"], ["a"], []]
