"""Faults of the decision in a receipt: the policy that a call was routed, or refused, by, and what the scan found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.documents import REQUEST, Document, digest_of, events, receipt
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


FOUND: Document = {"kind": "github-token", "count": 2, "at": ["messages[0].content", "tools[1].function.description"]}
REDACTED: Document = {"outcome": "redacted", "findings": [FOUND]}
REFUSED: Document = {"outcome": "refused", "findings": [FOUND]}
SENT = "sha256:" + "7d" * 32


def scanned(scan: Any, kind: str = "route", forwarded: str | None = SENT, tried: Any = None) -> Document:
    """A receipt that says this of the scan, and that a body of that digest was forwarded; None: none was."""
    decided = {"type": kind, "decision_id": "decision-1", "leak_scan": scan}
    log = [decided if event["type"] == "route" else event for event in events()]
    passed_on = [{"type": "request.forwarded", "body_hash": forwarded}] if forwarded else []
    log = [*log[:2], *passed_on, *log[3:]]
    return receipt(event_log=log if tried is None else [*log, {"type": "attempts", "answered": 0, "tried": tried}])


def scans() -> Iterator[Vector]:
    came = digest_of(REQUEST)
    asked = {"provider_id": "mock", "upstream_model": "demo-model", "body_hash": SENT}
    clean: Document = {"outcome": "clean", "findings": []}
    off: Document = {"outcome": "off", "findings": []}
    none = FOUND | {"at": []}
    for slug, about, document in (
        ("clean", "Nothing was found, and the request went on as it came.", scanned(clean, forwarded=came)),
        ("off", "Nothing was looked for.", scanned(off, forwarded=came)),
        ("redacted", "Two tokens were redacted.", scanned(REDACTED, tried=[asked])),
        ("redacted-kinds", "Two kinds were redacted.", scanned(REDACTED | {"findings": [FOUND, none]})),
        ("redacted-here", "The gateway answered what it had redacted.", scanned(REDACTED, forwarded=None)),
        ("refused", "The prompt was refused.", scanned(REFUSED, "route.refused", None)),
        ("refused-by-policy", "A clean prompt that a policy refused.", scanned(clean, "route.refused", None)),
    ):
        yield answer_vector(f"scan-{slug}", about, document)
    faults: list[tuple[str, str, Any]] = [
        ("null", "The scan is null.", None),
        ("word", "The scan is a word.", "clean"),
        ("no-outcome", "The scan has no outcome.", {"findings": []}),
        ("no-findings", "The scan has no findings.", {"outcome": "clean"}),
        ("extra", "The scan has a member more.", clean | {"value": "x"}),
        ("outcome-other", "An outcome that is not known.", clean | {"outcome": "not_checked"}),
        ("outcome-list", "The outcome is a list.", clean | {"outcome": ["clean"]}),
        ("findings-object", "The findings are no list.", {"outcome": "redacted", "findings": FOUND}),
        ("clean-findings", "Clean, with findings.", {"outcome": "clean", "findings": [FOUND]}),
        ("off-findings", "Off, with findings.", {"outcome": "off", "findings": [FOUND]}),
        ("redacted-nothing", "Redacted, and nothing was found.", {"outcome": "redacted", "findings": []}),
        ("finding-text", "A finding is text.", REDACTED | {"findings": ["github-token"]}),
        ("finding-extra", "A finding tells more.", REDACTED | {"findings": [FOUND | {"length": 40}]}),
        ("kind-missing", "A finding has no kind.", REDACTED | {"findings": [{"count": 1, "at": []}]}),
        ("kind-long", "A kind of 65 characters.", REDACTED | {"findings": [FOUND | {"kind": "k" * 65}]}),
        ("kind-umlaut", "A kind that is not ASCII.", REDACTED | {"findings": [FOUND | {"kind": "schl\u00fcssel"}]}),
        ("count-0", "A finding that occurs never.", REDACTED | {"findings": [FOUND | {"count": 0}]}),
        ("count-true", "A count of true.", REDACTED | {"findings": [FOUND | {"count": True}]}),
        ("count-text", "A count in words.", REDACTED | {"findings": [FOUND | {"count": "2"}]}),
        ("at-text", "The places are text.", REDACTED | {"findings": [FOUND | {"at": "messages[0]"}]}),
        ("at-many", "Seventeen places.", REDACTED | {"findings": [FOUND | {"at": ["body"] * 17}]}),
        ("at-number", "A place is a number.", REDACTED | {"findings": [FOUND | {"at": [1]}]}),
        ("at-long", "A place of 129 characters.", REDACTED | {"findings": [FOUND | {"at": ["p" * 129]}]}),
        ("refused-routed", "Refused, and routed all the same.", REFUSED),
    ]
    for slug, about, scan in faults:
        yield answer_vector(f"scan-{slug}", about, scanned(scan), RECEIPT_BROKEN)
    lies: list[tuple[str, str, Document]] = [
        ("refused-forwarded", "Refused, and forwarded all the same.", scanned(REFUSED, "route.refused")),
        ("redacted-as-it-came", "Redacted, and forwarded as it came.", scanned(REDACTED, forwarded=came)),
        (
            "redacted-first-try",
            "Redacted, but the first who was asked got it as it came.",
            scanned(REDACTED, tried=[asked | {"body_hash": came}, asked]),
        ),
        ("refused-outcome", "A refusal whose scan has no outcome.", scanned({"findings": []}, "route.refused", None)),
    ]
    for slug, about, document in lies:
        yield answer_vector(f"scan-{slug}", about, document, RECEIPT_BROKEN)
