"""The browser's verifier says exactly what tee says of NitroTPM documents, word by word."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import parse_json
from tee.evidence import Endorsements, Evidence
from tee.keys.binding import parse_nonce
from tee.policy import decode_policy
from tee.verify import verify_quote, verify_report
from tests.vectors import faults_nitro, nitro
from tests.worlds.transcript import MUTATIONS, Ask, Json, as_document, b64, browser_core, or_malformed

FOLDER = Path(__file__).resolve().parent / "vectors"
SHARED: dict[str, str] = json.loads((FOLDER / "collateral.json").read_text())
VECTORS = sorted((FOLDER / "quote").glob("*-nitro-*.json"))


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with browser_core() as exchange:
        yield exchange


def _same(ask: Ask, vector: Json, text: str) -> Json:
    """Both sides' verdict on this quote under the vector's settings; it must be one."""
    raw = re.sub(r"\$\{([^}]*)\}", lambda match: SHARED[match[1]], text).encode()
    line = {name: vector[name] for name in ("now", "policy", "accept_mock", "nonce", "audience")}
    found = ask({"kind": "quote", "document": b64(raw)} | line)

    def judge() -> Json:
        settings: dict[str, Any] = {
            "now": dt.datetime.fromisoformat(vector["now"]),
            "policy": None if vector["policy"] is None else decode_policy(vector["policy"]),
            "nonce": None if vector["nonce"] is None else parse_nonce(vector["nonce"]),
        }
        settings |= {"audience": vector["audience"], "accept_mock": vector["accept_mock"]}
        return as_document(verify_quote(parse_json(raw, "quote"), **settings))

    assert found == or_malformed(judge)
    return found


def test_every_vector_in_the_same_words(ask: Ask) -> None:
    assert len(VECTORS) > 200
    for path in VECTORS:
        vector = json.loads(path.read_text())
        assert _same(ask, vector, vector["document"])["verdict"] == vector["expect"]["verdict"], path.name


def _with_document(vector: Json, raw: bytes) -> str:
    quote = json.loads(vector["document"])
    return json.dumps(quote | {"platform_evidence": [{"kind": "nitrotpm", "document_b64": b64(raw)}]})


def test_documents_with_changed_bytes(ask: Ask) -> None:
    """Half of them signed again after the change, so that what lies behind the signature is read as well."""
    vector = json.loads(VECTORS[0].read_text())
    row = json.loads(vector["document"])["platform_evidence"][0]
    whole = base64.b64decode(row["document_b64"])
    report = base64.b64decode(json.loads(vector["document"])["report_b64"])
    body = nitro.payload(nitro.members(report, faults_nitro.NONCE_BYTES))
    chance = random.Random(12)
    outcomes = set()
    for turn in range(2 * MUTATIONS):
        raw = nitro.sign1(_changed(body, chance)) if turn % 2 else _changed(whole, chance)
        outcomes.add(_same(ask, vector, _with_document(vector, raw))["sentence"].split(":")[0])
    assert len(outcomes) > 1


def _changed(raw: bytes, chance: random.Random) -> bytes:
    """One byte exchanged, cut out or put in; more often where heads and names lie than inside certificates."""
    at = chance.randrange(len(raw) if chance.random() < 0.5 else 400)
    value = bytes((chance.choice((0, 1, 0x18, 0x40, 0x58, 0x9F, 0xA0, 0xBF, 0xF6, 0xFF, chance.randrange(256))),))
    return raw[:at] + (b"" if chance.random() < 0.1 else value) + raw[at + (chance.random() < 0.9) :]


def test_certificates_with_changed_bytes(ask: Ask) -> None:
    """Each in a document that is signed again: names, dates and extensions of hostile certificates."""
    vector = json.loads(VECTORS[0].read_text())
    report = base64.b64decode(json.loads(vector["document"])["report_b64"])
    values = nitro.members(report, faults_nitro.NONCE_BYTES)
    bundle = [*nitro.PKI.bundle(), nitro.PKI.leaf.der()]
    chance = random.Random(13)
    for _ in range(MUTATIONS):
        at = chance.randrange(len(bundle))
        rows = [_changed(row, chance) if index == at else row for index, row in enumerate(bundle)]
        authorities = nitro.array(*map(nitro.octets, rows[:-1]))
        changed = values | {"cabundle": authorities, "certificate": nitro.octets(rows[-1])}
        _same(ask, vector, _with_document(vector, nitro.sign1(nitro.payload(changed))))


@pytest.mark.parametrize("name", ["800-firmware-measurement", "801-ec2-measurement"])
def test_bare_reports_in_the_same_words(ask: Ask, name: str) -> None:
    vector = json.loads((FOLDER / "report" / f"{name}.json").read_text())
    roles = {role: SHARED[vector[role]] for role in ("vek", "intermediate", "ark", "crl")}
    line = {name: vector[name] for name in ("now", "policy", "accept_mock", "report")}
    found = ask({"kind": "report"} | line | roles)

    blobs = {role: base64.b64decode(text) for role, text in roles.items()}
    evidence = Evidence(
        base64.b64decode(vector["report"]),
        Endorsements(blobs["vek"], blobs["intermediate"], blobs["ark"], blobs["crl"]),
    )
    now, policy = dt.datetime.fromisoformat(vector["now"]), decode_policy(vector["policy"])
    assert found == as_document(verify_report(evidence, now=now, policy=policy, accept_mock=True))
    assert ("on EC2" in str(found["not_proven"])) is name.endswith("ec2-measurement")
