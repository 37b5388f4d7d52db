"""Our own vectors, one fault each: tee must give every one its expected verdict."""

from __future__ import annotations

import ast
import base64
import datetime as dt
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import encode_canonical, parse_json
from tee.client.answer import decode_answer
from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence, Verdict
from tee.keys.binding import parse_nonce
from tee.log.judge import Earlier, SeenLog
from tee.log.receipt_log import Surroundings
from tee.log.witnesses import parse_witness_policy
from tee.measure.releases import Releases, judge_manifests
from tee.policy import AppraisalPolicy, decode_policy, parse_policy
from tee.snp.bulletins import open_tcb_data
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.verify import verify_answer, verify_quote, verify_report

FOLDER = Path(__file__).resolve().parent / "vectors"
SHARED: dict[str, str] = json.loads((FOLDER / "collateral.json").read_text())
PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_EVERY = {"about", "stage", "expect"}
_JUDGED = _EVERY | {"now", "policy", "accept_mock"}
_QUOTED = _JUDGED | {"nonce", "audience"}
# The names of each stage's vectors; a vector with another name, or without one, fails.
NAMES = {
    "report": _JUDGED | {"report", "vek", "intermediate", "ark", "crl"},
    "quote": _QUOTED | {"document"},
    "log": _QUOTED | {"document", "witnesses", "earlier"},
    "announcement": _QUOTED | {"document", "announcement"},
    "place": _QUOTED | {"document", "answer", "request", "response", "witnesses"},
    "answer": _QUOTED | {"quote", "receipt", "request", "response"},
    "head": _QUOTED | {"quote", "receipt", "request", "response", "headers"},
    "manifest": _QUOTED | {"quote", "manifests", "seen"},
    "policy": _EVERY | {"document"},
    "json": _EVERY | {"input"},
    "table": _EVERY | {"input"},
    "tcb": _JUDGED | {"report", "vek", "intermediate", "ark", "crl", "envelope"},
}
FILES = sorted(path for path in FOLDER.glob("*/*") if path.parent.name != "__pycache__")
Vector = dict[str, Any]
Found = dict[str, Any]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _given(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _filled(text: str) -> bytes:
    """A quote's text with its collateral in place of `${name}`."""
    return PLACEHOLDER.sub(lambda match: SHARED[match[1]], text).encode()


def _settings(vector: Vector) -> dict[str, Any]:
    return {
        "now": dt.datetime.fromisoformat(vector["now"]),
        "policy": None if vector["policy"] is None else _policy(vector["policy"]),
        "accept_mock": vector["accept_mock"],
    }


def _policy(document: Any) -> AppraisalPolicy:
    return decode_policy(document)


def _verdict(verdict: Verdict) -> Found:
    return {"verdict": verdict.outcome, "fails": list(verdict.failures()), "missing": list(verdict.missing())}


def _evidence(vector: Vector) -> Evidence:
    vek, intermediate, ark = (_given(SHARED[vector[role]]) for role in ("vek", "intermediate", "ark"))
    crl = None if vector["crl"] is None else _given(SHARED[vector["crl"]])
    return Evidence(_given(vector["report"]), Endorsements(vek, intermediate, ark, crl))


def _report(vector: Vector) -> Found:
    return _verdict(verify_report(_evidence(vector), **_settings(vector)))


def _judge(vector: Vector, document: Any, releases: Releases | None = None, **given: Any) -> Verdict:
    nonce = None if vector["nonce"] is None else parse_nonce(vector["nonce"])
    given |= _settings(vector)
    return verify_quote(document, nonce=nonce, audience=vector["audience"], releases=releases, **given)


def _quote(vector: Vector) -> Found:
    return _verdict(_judge(vector, parse_json(_filled(vector["document"]), "quote")))


def _log(vector: Vector) -> Found:
    raw, row, earlier = _bytes(vector["witnesses"]), vector["earlier"], None
    witnesses = None if raw is None else parse_witness_policy(raw)
    if row is not None:
        seen = SeenLog(row["vkey"], row["size"], bytes.fromhex(row["root"]))
        earlier = Earlier(seen, None if row["proof"] is None else tuple(_given(value) for value in row["proof"]))
    document = parse_json(_filled(vector["document"]), "quote")
    return _verdict(_judge(vector, document, witnesses=witnesses, earlier=earlier))


def _announcement(vector: Vector) -> Found:
    document = parse_json(_filled(vector["document"]), "quote")
    return _verdict(_judge(vector, document, announcement=_bytes(vector["announcement"])))


def _place(vector: Vector) -> Found:
    raw, answer = _bytes(vector["witnesses"]), decode_answer(json.loads(_filled(json.dumps(vector["answer"]))))
    witnesses = None if raw is None else parse_witness_policy(raw)
    document = parse_json(_filled(vector["document"]), "quote")
    verdict = _judge(vector, document, witnesses=witnesses)
    bodies, around = (_bytes(vector["request"]), _bytes(vector["response"])), Surroundings(witnesses, answer.links)
    past = answer.checkpoint_quote
    beside: Found = {"headers": answer.headers, "around": around}
    beside["earlier"] = None if past is None else (_judge(vector | {"nonce": None}, past), past)
    return _verdict(verify_answer(verdict, document, answer.receipt, *bodies, proof=answer.proof, **beside))


def _answer(vector: Vector) -> Found:
    document = parse_json(_filled(_given(SHARED[vector["quote"]]).decode()), "quote")
    request, response, headers = (_bytes(vector.get(role)) for role in ("request", "response", "headers"))
    judged, receipt = _judge(vector, document), _given(vector["receipt"])
    return _verdict(verify_answer(judged, document, receipt, request, response, headers=headers))


def _manifest(vector: Vector) -> Found:
    policy, now = decode_policy(vector["policy"]), dt.datetime.fromisoformat(vector["now"])
    assert policy.releases
    raws, least = [text.encode() for text in vector["manifests"]], policy.minimum_sequence
    judged = judge_manifests(raws, policy.releases, now=now, minimum=least, seen=vector["seen"])
    releases = judged if raws else None
    document = parse_json(_filled(_given(SHARED[vector["quote"]]).decode()), "quote")
    return _verdict(_judge(vector, document, releases))


def _policy_file(vector: Vector) -> Found:
    parse_policy(vector["document"].encode())
    return {"loads": True}


def _json(vector: Vector) -> Found:
    return {"canonical": encode_canonical(parse_json(_given(vector["input"]), "test")).decode()}


def _table(vector: Vector) -> Found:
    entries = parse_certificate_table(_given(vector["input"]))
    certificates = certificates_of(entries)
    return {
        "entries": [[str(entry.guid), entry.name, hashlib.sha256(entry.payload).hexdigest()] for entry in entries],
        "certificates": {name: hashlib.sha256(raw).hexdigest() for name, raw in certificates.items()},
    }


def _tcb(vector: Vector) -> Found:
    """What the status found, but for what the policy accepts; vectors of one bulletin leave out what is not proven."""
    settings = _settings(vector)
    if vector["envelope"] is not None:
        settings["tcb"] = open_tcb_data(vector["envelope"].encode(), settings["policy"].releases)
    verdict = verify_report(_evidence(vector), **settings)
    status = verdict.check("guest.tcb-status").found.split("; accepted by your policy: ")[0]
    found = _verdict(verdict) | {"status": status}
    if "not_proven" not in vector["expect"]:
        return found
    lines = [line for line in verdict.not_proven if line.startswith(("AMD-SB-", "guest.tcb-status:"))]
    return found | {"not_proven": lines}


READERS: dict[str, Callable[[Vector], Found]] = {
    "report": _report,
    "quote": _quote,
    "log": _log,
    "announcement": _announcement,
    "place": _place,
    "answer": _answer,
    "head": _answer,
    "manifest": _manifest,
    "policy": _policy_file,
    "json": _json,
    "table": _table,
    "tcb": _tcb,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    stage = path.parent.name
    assert vector["stage"] == stage
    assert vector.keys() == NAMES[stage]
    try:
        found = READERS[stage](vector)
    except Malformed as error:
        found = {"malformed": error.field}
    assert found == vector["expect"], vector["about"]


def test_every_stage_has_a_good_vector_and_every_file_a_number() -> None:
    for stage in NAMES:
        assert (FOLDER / stage / "000-good.json").is_file()
    assert all(re.fullmatch(r"[0-9]{3}-[0-9a-z-]+\.json", path.name) for path in FILES)
    numbers = [(path.parent.name, path.name[:3]) for path in FILES]
    assert len(set(numbers)) == len(numbers)


def test_every_piece_of_collateral_is_read() -> None:
    used: set[str] = set()
    for path in FILES:
        vector = json.loads(path.read_text())
        used |= {vector[role] for role in ("vek", "intermediate", "ark", "crl", "quote") if vector.get(role)}
        if vector["stage"] in ("quote", "log", "announcement", "place"):
            used |= set(PLACEHOLDER.findall(vector["document"]))
    for name in used & SHARED.keys():
        if name.startswith("quote-"):
            used |= set(PLACEHOLDER.findall(_given(SHARED[name]).decode()))
    assert used == SHARED.keys()


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_the_generator_knows_neither_verifier() -> None:
    """A fault shared by generator and verifier would show in neither."""
    allowed = sys.stdlib_module_names | {"cryptography", "nacl"}
    for path in FOLDER.glob("*.py"):
        foreign = {name for name in _imported(path) if name.split(".")[0] not in allowed}
        assert all(name.split(".")[:2] == ["tests", "vectors"] for name in foreign), path.name
