"""Faults of the decision in a receipt: the policy that a call was routed, or refused, by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.documents import Document, events, receipt
from tests.vectors.faults_answer import RECEIPT_BROKEN, answer_vector
from tests.vectors.world import Vector

POLICY: Document = {"id": "clinical-strict", "version": 3, "digest": "sha256:" + "5c" * 32}
ROW = {"provider_id": "mock", "upstream_model": "demo-model", "tier_observed": "quarantine", "reasons": ["tier"]}


def routed(policy: Any = POLICY, kind: str = "route", **members: Any) -> Document:
    """A receipt whose decision names this policy."""
    decided = {"type": kind, "decision_id": "decision-1", "provider_id": "mock", "policy": policy, **members}
    log = [decided if event["type"] == "route" else event for event in events()]
    return receipt(event_log=log)


def policies() -> Iterator[Vector]:
    named = routed(policy_id="clinical-strict", refused=[ROW])
    yield answer_vector("policy", "The route names its policy, and a candidate that it passed over.", named)
    yield answer_vector("policy-without-id", "The policy alone names its id.", routed())
    about = "A call that a policy refused names it."
    yield answer_vector("policy-refused", about, routed(kind="route.refused", refused=[ROW]))
    faults: list[tuple[str, str, Any]] = [
        ("null", "The policy is null.", None),
        ("list", "The policy is a list.", [POLICY]),
        ("no-id", "The policy has no id.", {"version": 3, "digest": POLICY["digest"]}),
        ("no-version", "The policy has no version.", {"id": "p", "digest": POLICY["digest"]}),
        ("no-digest", "The policy has no digest.", {"id": "p", "version": 3}),
        ("extra", "The policy has a member more.", POLICY | {"name": "p"}),
        ("id-empty", "The policy's id is empty.", POLICY | {"id": ""}),
        ("id-long", "The policy's id has 65 characters.", POLICY | {"id": "p" * 65}),
        ("id-number", "The policy's id is a number.", POLICY | {"id": 1}),
        ("id-umlaut", "The policy's id is not ASCII.", POLICY | {"id": "präzise"}),
        ("version-0", "The policy's version is 0.", POLICY | {"version": 0}),
        ("version-true", "The policy's version is true.", POLICY | {"version": True}),
        ("version-text", "The policy's version is text.", POLICY | {"version": "3"}),
        ("version-fraction", "The policy's version has a fraction.", POLICY | {"version": 1.5}),
        ("digest-upper", "The policy's digest in upper case.", POLICY | {"digest": "sha256:" + "5C" * 32}),
        ("digest-bare", "The policy's digest without its word.", POLICY | {"digest": "5c" * 32}),
    ]
    for slug, about, policy in faults:
        yield answer_vector(f"policy-{slug}", about, routed(policy), RECEIPT_BROKEN)
    about = "The route names another policy by its id alone."
    yield answer_vector("policy-id-other", about, routed(policy_id="default"), RECEIPT_BROKEN)
    yield answer_vector("policy-id-null", "The id alone is null.", routed(policy_id=None), RECEIPT_BROKEN)
    refused = routed(POLICY | {"version": -1}, kind="route.refused")
    yield answer_vector("policy-refused-version", "A refusal by a policy of version -1.", refused, RECEIPT_BROKEN)
