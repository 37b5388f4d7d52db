"""Policies and tiers as values: what each field decides, who is tried in which order, and what explain says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.connectors.connector import Connector
from gateway.routing.explain import explain, turning
from gateway.routing.identity import Baselines, Identities, Shown, TlsIdentity
from gateway.routing.interdicted import Interdicted
from gateway.routing.policy import BUILT_IN, DEFAULT, RoutingPolicy, decode_policies, decode_policy
from gateway.routing.route import PublicModel, Route
from gateway.routing.scope import CONTEXT, ScopeWitness, parse_statement, scopes_of
from gateway.routing.select import Candidate, reasons_of, select
from gateway.routing.tier import Identity, Known, Tier, tier_of
from tee.canonical import encode_canonical
from tee.errors import Malformed

NOW = 1_800_000_000.0
HASH = "sha256:" + "ab" * 32
GOOD = Known(Identity.KNOWN)


def candidate(model: str = "m", provider: str = "p", known: Known = GOOD, **facts: Any) -> Candidate:
    row = PublicModel(model, provider, f"their-{model}", supplier="acme", content_hash=HASH)
    return Candidate(Route(row, Connector(provider, "vllm", "openai_chat", "https://p.example/v1")), known, **facts)


def policy(**fields: Any) -> RoutingPolicy:
    return decode_policy({"id": "p", **fields}, "policy")


TIERS = [
    (Known(Identity.KNOWN), Tier.HARDENED),
    (Known(Identity.NONE), Tier.QUARANTINE),
    (Known(Identity.UNKNOWN), Tier.QUARANTINE),
    (Known(Identity.DRIFTED), Tier.QUARANTINE),
    (Known(Identity.KNOWN, hash_drifted=True), Tier.QUARANTINE),
    (Known(Identity.KNOWN, catalogued=False), Tier.QUARANTINE),
    (Known(Identity.KNOWN, interdicted="blocked"), Tier.INTERDICTED),
    (Known(Identity.KNOWN, evidence=HASH), Tier.SEALED),
    (Known(Identity.NONE, evidence=HASH), Tier.SEALED),
    (Known(Identity.DRIFTED, evidence=HASH), Tier.QUARANTINE),
    (Known(Identity.KNOWN, interdicted="blocked", evidence=HASH), Tier.INTERDICTED),
]


@pytest.mark.parametrize(("known", "tier"), TIERS)
def test_a_tier_is_no_better_than_what_is_known(known: Known, tier: Tier) -> None:
    """R47, R82."""
    assert tier_of(known) is tier


def test_tiers_are_ordered() -> None:
    assert Tier.INTERDICTED < Tier.QUARANTINE < Tier.HARDENED < Tier.SEALED


# Of each field: a policy that lets the first candidate through, and not the second.
DECIDES: dict[str, tuple[dict[str, Any], Candidate, Candidate]] = {
    "require_tier": ({"require_tier": "hardened"}, candidate(), candidate(known=Known(Identity.UNKNOWN))),
    "require_tier sealed": (
        {"require_tier": "sealed"},
        candidate(known=replace(GOOD, evidence=HASH)),
        candidate(),
    ),
    "witness_scopes": (
        {"witness_scopes": ["clinical"]},
        candidate(scopes={"clinical": int(NOW) + 1}),
        candidate(scopes={"clinical": int(NOW)}),
    ),
    "allowed_origins": ({"allowed_origins": ["FR", "DE"]}, candidate(origin="FR"), candidate(origin=None)),
    "require_drift_clean": ({"require_drift_clean": True}, candidate(), candidate(known=Known(Identity.DRIFTED))),
    "require_drift_clean without TLS": (
        {"require_drift_clean": True},
        candidate(),
        candidate(known=Known(Identity.NONE)),
    ),
    "require_drift_clean of the hash": (
        {"require_drift_clean": True},
        candidate(),
        candidate(known=replace(GOOD, hash_drifted=True)),
    ),
    "max_latency_ms": ({"max_latency_ms": 800}, candidate(latency_ms=800.0), candidate(latency_ms=801.0)),
    "max_latency_ms unknown": ({"max_latency_ms": 800}, candidate(), candidate(latency_ms=5000.0)),
    "max_cost_per_request_usd": (
        {"max_cost_per_request_usd": 0.05},
        candidate(cost=50_000),
        candidate(cost=50_001),
    ),
    "max_cost_per_request_usd unknown": (
        {"max_cost_per_request_usd": "0.05"},
        candidate(cost=0),
        candidate(cost=None),
    ),
    "models": ({"models": ["m", "n"]}, candidate("n"), candidate("o")),
    "interdicted": ({}, candidate(), candidate(known=replace(GOOD, interdicted="provider p is interdicted"))),
}


@pytest.mark.parametrize("name", DECIDES)
def test_each_field_decides(name: str) -> None:
    """R52, R70: what does not qualify is refused for the reason that the field gives."""
    fields, good, bad = DECIDES[name]
    ruling = policy(**fields)
    assert reasons_of(ruling, good, NOW) == ()
    (reason,) = reasons_of(ruling, bad, NOW)
    assert reason.field == name.split()[0]
    assert select(ruling, [bad, good], NOW).routes == (replace(good.route, tier=good.tier),)


def test_providers_of_one_model_are_tried_in_the_order_of_the_policy_then_by_health() -> None:
    """R72, C6: and other models only after all of them."""
    rows = [
        candidate("m", "ill", score=0.2),
        candidate("m", "well", score=0.9),
        candidate("m", "fair", score=0.6),
        candidate("other", "best", score=1.0),
    ]

    def order(ruling: RoutingPolicy) -> list[str]:
        return [route.connector.id for route in select(ruling, rows, NOW).routes]

    assert order(DEFAULT) == ["well", "fair", "ill", "best"]
    assert order(policy(preferred_providers=["best", "ill"])) == ["ill", "well", "fair", "best"]
    assert order(policy(preferred_providers=["nobody"])) == ["well", "fair", "ill", "best"]


def test_a_pin_waives_the_cap_on_latency_and_nothing_else() -> None:
    """R19."""
    slow = candidate(latency_ms=9000.0, cost=2, known=Known(Identity.UNKNOWN))
    assert reasons_of(policy(max_latency_ms=1), slow, NOW, pinned=True) == ()
    for fields in ({"max_cost_per_request_usd": "0.000001"}, {"require_tier": "hardened"}, {"models": ["x"]}):
        assert len(reasons_of(policy(max_latency_ms=1, **fields), slow, NOW, pinned=True)) == 1


def drawn(dice: random.Random) -> tuple[RoutingPolicy, list[Candidate]]:
    """A policy and candidates of any kind."""

    def some(values: list[Any]) -> Any:
        return dice.choice([None, None, *values])

    fields = {
        "require_tier": some(["quarantine", "hardened", "sealed"]),
        "witness_scopes": some([["a"], ["a", "b"]]),
        "allowed_origins": some([["FR"], ["FR", "US"]]),
        "require_drift_clean": some([True]),
        "max_latency_ms": some([10, 100]),
        "max_cost_per_request_usd": some(["0.00001", "0.0001"]),
        "preferred_providers": some([["p2", "p0"]]),
        "models": some([["m0"], ["m0", "m1"]]),
    }
    rows = [
        candidate(
            f"m{dice.randrange(3)}",
            f"p{dice.randrange(4)}",
            Known(
                dice.choice(list(Identity)),
                catalogued=dice.random() < 0.8,
                hash_drifted=dice.random() < 0.2,
                interdicted=some(["blocked"]) if dice.random() < 0.3 else None,
                evidence=HASH if dice.random() < 0.2 else None,
            ),
            origin=some(["FR", "US", "CN"]),
            scopes={name: int(NOW) + dice.choice([-1, 1]) for name in ("a", "b") if dice.random() < 0.7},
            latency_ms=some([5.0, 50.0, 500.0]),
            cost=some([1, 50, 500]),
            score=dice.random(),
        )
        for _ in range(dice.randrange(1, 5))
    ]
    return decode_policy({"id": "p", **fields}, "policy"), rows


def allows(ruling: RoutingPolicy, one: Candidate) -> bool:
    """The policy's words again, written without a look at how the gateway does it."""
    tier, known = tier_of(one.known), one.known
    return (
        tier is not Tier.INTERDICTED
        and (ruling.require_tier is None or tier >= ruling.require_tier)
        and all(one.scopes.get(scope, 0) > NOW for scope in ruling.witness_scopes)
        and (not ruling.allowed_origins or one.origin in ruling.allowed_origins)
        and (not ruling.require_drift_clean or (known.identity is Identity.KNOWN and not known.hash_drifted))
        and (ruling.max_latency_ms is None or one.latency_ms is None or one.latency_ms <= ruling.max_latency_ms)
        and (ruling.max_cost is None or (one.cost is not None and one.cost <= ruling.max_cost))
        and (ruling.models is None or one.route.model.id in ruling.models)
    )


def test_nobody_whom_the_policy_refuses_is_ever_among_the_routes() -> None:
    """And nobody whom it allows is missing."""
    dice = random.Random(7)
    seen = {True: 0, False: 0}
    for _ in range(1200):
        ruling, rows = drawn(dice)
        selection = select(ruling, rows, NOW)
        told = [(route.model.id, route.connector.id, route.tier) for route in selection.routes]
        good = [(one.route.model.id, one.route.connector.id, one.tier) for one in rows if allows(ruling, one)]
        assert sorted(told) == sorted(good)
        assert len(selection.refused) == len(rows) - len(good)
        assert all(one.reasons for one in selection.refused)
        seen[bool(good)] += 1
    assert min(seen.values()) > 100


def test_each_change_that_explain_names_does_turn_the_outcome() -> None:
    """Of the policy's fields by an operator who writes what explain says; of the rest by what is known then."""
    dice, turned = random.Random(8), set()
    for _ in range(600):
        ruling, rows = drawn(dice)
        for one, row in zip(rows, explain(ruling, rows, NOW)["candidates"], strict=True):
            assert row["qualifies"] == allows(ruling, one)
            for change in turning(ruling, one, NOW):
                assert change.to_json() in row["would_change"]
                sent = {name: value for name, value in ruling.to_json().items() if name not in ("object", "digest")}
                changed = decode_policy(sent | {change.name: change.to}, "policy") if change.name in sent else ruling
                assert allows(changed, change.candidate) != row["qualifies"], (change, one)
                turned.add((change.name, row["qualifies"]))
    assert {name for name, qualified in turned if not qualified} == {
        *("require_tier", "witness_scopes", "allowed_origins", "require_drift_clean", "max_latency_ms", "models"),
        *("max_cost_per_request_usd", "interdicted", "baseline of the provider", "baseline of the model"),
    }
    assert {name for name, qualified in turned if qualified} == {
        *("require_tier", "require_drift_clean", "max_latency_ms", "max_cost_per_request_usd"),
    }


def test_a_policy_survives_being_shown_and_read_again() -> None:
    whole = policy(
        version=3,
        display_name="All of it",
        require_tier="sealed",
        witness_scopes=["clinical"],
        allowed_origins=["FR"],
        require_drift_clean=True,
        max_latency_ms=10,
        max_cost_per_request_usd=0.000001,
        preferred_providers=["a", "b"],
        models=["m"],
        leak_scan="refuse",
    )
    for each in (whole, *BUILT_IN):
        shown = each.to_json()
        assert decode_policy({key: shown[key] for key in shown if key not in ("object", "digest")}, "p") == each
    assert whole.digest != policy(version=4).digest
    assert whole.to_json()["max_cost_per_request_usd"] == 0.000001


def test_a_configured_policy_replaces_the_built_in_one_of_its_id() -> None:
    rows = decode_policies([{"id": "default", "version": 2, "require_tier": "hardened"}], "policies")
    assert [each.id for each in rows] == ["default", "clinical-strict"]
    assert rows[0].require_tier is Tier.HARDENED


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"colour": "blue"}, "colour"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"require_tier": "interdicted"}, "require_tier"),
        ({"require_tier": "best"}, "require_tier"),
        ({"require_tier": 2}, "require_tier"),
        ({"witness_scopes": [1]}, "witness_scopes"),
        ({"witness_scopes": ["a", "a"]}, "witness_scopes"),
        ({"allowed_origins": ["fr"]}, "allowed_origins"),
        ({"allowed_origins": ["FRA"]}, "allowed_origins"),
        ({"require_drift_clean": 1}, "require_drift_clean"),
        ({"max_latency_ms": 0}, "max_latency_ms"),
        ({"max_latency_ms": 1.5}, "max_latency_ms"),
        ({"max_cost_per_request_usd": -1}, "max_cost_per_request_usd"),
        ({"max_cost_per_request_usd": "0.0000001"}, "max_cost_per_request_usd"),
        ({"max_cost_per_request_usd": "NaN"}, "max_cost_per_request_usd"),
        ({"max_cost_per_request_usd": "a lot"}, "max_cost_per_request_usd"),
        ({"max_cost_per_request_usd": True}, "max_cost_per_request_usd"),
        ({"models": [f"m{at}" for at in range(65)]}, "models"),
        ({"leak_scan": "maybe"}, "leak_scan"),
        ({"display_name": "two\nlines"}, "display_name"),
    ],
)
def test_a_policy_that_does_not_say_what_it_means_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as caught:
        policy(**fields)
    assert caught.value.field == f"policy.{place}"


def test_who_is_interdicted_is_so_by_any_name() -> None:
    route = candidate().route
    for blocked in ({"m"}, {"their-m"}, {HASH}):
        assert Interdicted(models=frozenset(blocked)).blocks(route) == "model m is interdicted"
    assert Interdicted(providers=frozenset({"p"})).blocks(route) == "provider p is interdicted"
    assert Interdicted(suppliers=frozenset({"acme"})).blocks(route) == "supplier acme is interdicted"
    assert (Interdicted(models=frozenset({"x"})) | Interdicted(suppliers=frozenset({"y"}))).blocks(route) is None


# TLS identities.

SPKI, ROOT, OTHER = "11" * 32, "22" * 32, "33" * 32


def met(*shown: Shown | None, pins: frozenset[str] = frozenset(), known: bool = True, clean: bool = True) -> Any:
    """What is said of each handshake, and the identity at the end."""
    row = Connector("p", "vllm", "openai_chat", "https://p.example/v1", pins=pins)
    identities = Identities()
    baselines = Baselines({"p": TlsIdentity(SPKI, ROOT)}) if known else Baselines()
    identities.use([row], baselines)
    words = [identities.meet("p", each, clean=clean) for each in shown]
    return [word is None for word in words], identities.identity(row)


SAME, RENEWED, MOVED = Shown(SPKI, ("a", ROOT)), Shown(OTHER, ("a", ROOT)), Shown(SPKI, ("a", OTHER))
STRANGER = Shown(OTHER, ("a", OTHER))


def test_a_renewed_key_or_another_root_is_no_drift_and_both_together_are() -> None:
    assert met(SAME, RENEWED, MOVED) == ([True, True, True], Identity.KNOWN)
    assert met(STRANGER) == ([False], Identity.DRIFTED)
    assert met(None) == ([False], Identity.KNOWN)  # nothing is known against it, and nothing for it


def test_a_drift_stays_until_there_is_another_baseline() -> None:
    assert met(STRANGER, SAME, clean=False) == ([True, True], Identity.DRIFTED)


def test_what_is_pinned_is_demanded_of_every_connection() -> None:
    for pin in (SPKI, "a", ROOT):
        assert met(SAME, pins=frozenset({pin}), clean=False)[0] == [True]
    assert met(STRANGER, None, pins=frozenset({SPKI}), clean=False) == ([False, False], Identity.DRIFTED)
    assert met(STRANGER, SAME, pins=frozenset({SPKI})) == ([False, True], Identity.KNOWN)


def test_without_a_baseline_nothing_is_clean_and_the_first_identity_is_told_once() -> None:
    assert met(SAME, known=False) == ([False], Identity.UNKNOWN)
    identities, told = Identities(), list[tuple[str, Shown]]()
    identities.on_first = lambda provider, shown: told.append((provider, shown))
    identities.use([Connector("p", "vllm", "openai_chat", "https://p.example")], Baselines())
    assert [identities.meet("p", each, clean=False) for each in (SAME, STRANGER)] == [None, None]
    assert told == [("p", SAME)]


# Witnesses' words.

SIGNER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = SIGNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
WITNESS = ScopeWitness("board", KEY, ("clinical",))


def statement(context: bytes = CONTEXT, **changes: Any) -> dict[str, Any]:
    told = {"model_content_hash": HASH, "scope": "clinical", "expires": int(NOW)} | changes
    return told | {"key": KEY, "signature": SIGNER.sign(context + encode_canonical(told)).hex()}


def parsed(document: Mapping[str, Any]) -> Any:
    return parse_statement(encode_canonical(dict(document)), [WITNESS], "scope")


def test_a_witnesss_word_holds_for_this_content_until_it_expires() -> None:
    words = [parsed(statement()), parsed(statement(expires=int(NOW) + 9)), parsed(statement(expires=5))]
    assert scopes_of(HASH, words) == {"clinical": int(NOW) + 9}
    assert scopes_of("sha256:" + "cd" * 32, words) == scopes_of(None, words) == {}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (statement(context=b""), "signature"),
        (statement(context=b"saferouter/keyset/v1\n"), "signature"),
        (statement() | {"expires": int(NOW) + 1}, "signature"),
        (statement() | {"model_content_hash": "sha256:" + "cd" * 32}, "signature"),
        (statement() | {"signature": "00" * 64}, "signature"),
        (statement() | {"signature": "00" * 63}, "signature"),
        (statement() | {"key": "00" * 32}, "key"),
        (statement() | {"key": KEY.upper()}, "key"),
        (statement(scope="finance"), "scope"),
        (statement(scope=""), "scope"),
        (statement(expires=-1), "expires"),
        (statement(expires="never"), "expires"),
        (statement(model_content_hash="ab" * 32), "model_content_hash"),
        (statement() | {"note": "x"}, "note"),
        ({name: value for name, value in statement().items() if name != "expires"}, "expires"),
    ],
)
def test_a_word_that_is_not_the_witnesss_own_is_refused(document: dict[str, Any], place: str) -> None:
    with pytest.raises(Malformed) as caught:
        parsed(document)
    assert caught.value.field == f"scope.{place}"
