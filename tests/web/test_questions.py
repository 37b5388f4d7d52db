"""How checks become the state of a question and the headline: fail, then not checked, then mock, then pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.web.conftest import NewPage

CHECKS = json.loads((ROOT / "tee" / "checks.json").read_text())
RECEIPT = {row["id"] for row in CHECKS if row["question"] == "answer"}
OPTIONAL = {"guest.mitigations", "guest.pins", "code.release", "channel.binding", "receipt.log"}
OPTIONAL |= {row["id"] for row in CHECKS if row["id"].startswith("log.")}
PASSING = {"genuine": "pass", "debug": "pass", "build": "pass", "keys": "pass", "fresh": "pass"}
# What a forged chip says of itself answers nothing.
UNGROUNDED = dict.fromkeys(PASSING, "skip") | {"genuine": "fail"}

SCRIPT = """async (verdict) => {
    const { answerQuestions, headline } = await import("./src/questions.js");
    const states = answerQuestions(verdict).map((row) => [row.id, row.state]);
    return { states: Object.fromEntries(states), headline: headline(verdict).state };
}"""


def verdict(word: str = "verified", *, mock: bool = False, receipt: bool = False, **changed: str) -> dict[str, Any]:
    """A full verdict in which everything required passed, but for `changed` (dots and dashes as underscores)."""
    outcomes = {row["id"]: "skip" if row["id"] in OPTIONAL else "pass" for row in CHECKS}
    outcomes |= {
        row["id"]: changed[key] for row in CHECKS if (key := row["id"].replace(".", "_").replace("-", "_")) in changed
    }
    demanded = set(outcomes) - OPTIONAL - {"upstream.provenance"} - ({"hw.root"} if mock else set())
    shown = [name for name in outcomes if receipt or name not in RECEIPT]
    return {
        "verdict": word,
        "scope": "full",
        "mock": mock,
        "checks": [{"id": n, "outcome": outcomes[n], "found": "", "wanted": "", "reason": "r"} for n in shown],
        "not_proven": [],
        "required": [name for name in shown if name in demanded],
        "sentence": "",
    }


CASES: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "everything holds": (verdict(), "pass", PASSING),
    "everything holds on a mock": (verdict(mock=True, hw_root="skip"), "mock", PASSING | {"genuine": "mock"}),
    "a failure": (verdict("rejected", guest_debug="fail"), "fail", PASSING | {"debug": "fail"}),
    "a chip that is not genuine": (verdict("rejected", mock=True, hw_chain="fail"), "fail", UNGROUNDED),
    "an answer under keys of another": (
        verdict("rejected", receipt=True, bind_workload="fail"),
        "fail",
        PASSING | {"keys": "fail", "answer": "skip"},
    ),
    "a required check skipped": (verdict("rejected", hw_revocation="skip"), "fail", PASSING | {"genuine": "skip"}),
    "the same on a mock": (verdict("rejected", mock=True, hw_revocation="skip"), "fail", PASSING | {"genuine": "skip"}),
    "stored evidence": (
        {**verdict(bind_nonce="skip"), "required": []},
        "partial",
        PASSING | {"fresh": "skip"},
    ),
    "only authentic": ({**verdict("authentic"), "scope": "authenticity"}, "partial", PASSING),
    "no platform evidence, and none demanded": (
        {
            **verdict(bind_platform_evidence="skip", code_platform_evidence="skip", code_boot_image="skip"),
            "required": ["hw.signature"],
        },
        "pass",
        PASSING,
    ),
    "an image that was demanded and is not named": (
        verdict("rejected", bind_platform_evidence="skip", code_platform_evidence="skip", code_boot_image="skip"),
        "fail",
        PASSING | {"build": "skip"},
    ),
    "another image": (verdict("rejected", code_boot_image="fail"), "fail", PASSING | {"build": "fail"}),
    "an answer": (verdict(receipt=True, upstream_provenance="skip"), "pass", PASSING | {"answer": "pass"}),
    "an answer without its response": (
        verdict("rejected", receipt=True, receipt_response="skip"),
        "fail",
        PASSING | {"answer": "skip"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_states_follow_the_checks(new_page: NewPage, name: str) -> None:
    given, headline, states = CASES[name]
    assert new_page().evaluate(SCRIPT, given) == {"states": states, "headline": headline}


def test_an_unknown_verdict_is_never_green(new_page: NewPage) -> None:
    for word in ("", "Verified", "ok"):
        assert new_page().evaluate(SCRIPT, verdict(word))["headline"] == "partial"
    assert new_page().evaluate(SCRIPT, {**verdict(), "checks": [], "required": []})["headline"] == "partial"
