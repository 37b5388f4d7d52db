"""Arbitrary and mutated bytes raise nothing but Malformed, in every parser of evidence."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tee.attest.mock import MockChip, new_chip_secrets
from tee.canonical import digest, parse_json
from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import parse_keyset, parse_workload, subject_of
from tee.log.receipt import parse_receipt
from tee.measure.manifest import parse_manifest
from tee.policy import decode_policy, parse_policy
from tee.quote import BUNDLE_FORMAT, FORMAT, encode_base64, parse_bundle, parse_quote
from tee.snp import der
from tee.snp.certs import decode_pem_or_der, parse_certificate, parse_crl, parse_vek_extensions
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.report import encode_report, parse_report
from tee.verify import verify_quote, verify_report
from tests.vectors.documents import jcs
from tests.vectors.faults_manifest import predicate, statement

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
VCEK = "63da758d-e664-4564-adc5-f4b93be8accd"


@cache
def seeds() -> dict[str, bytes]:
    """One good input for each parser, all of one mock chip."""
    evidence = MockChip(new_chip_secrets(), bytes(48)).attest(bytes(64))
    ends = evidence.endorsements
    workload: dict[str, Any] = {
        "version": 1,
        "audience": "https://gw.example.com",
        "build": dict.fromkeys(("version", "repo_url", "repo_commit", "image_digest"))
        | {"source_digest": "sha256:" + "0" * 64},
        "configuration": dict.fromkeys(("providers", "models", "policies", "prices", "settings"), "sha256:" + "0" * 64),
        "seed_measurement": "sha256:" + "0" * 64,
        "identity_key": "00" * 32,
        "http_signature_key": None,
        "stream_key": None,
        "log": None,
        "platform_evidence": [],
    }
    keyset: dict[str, Any] = {
        "subject": subject_of(digest(workload)),
        "not_after": 1800000000,
        "receipt_signing_keys": [{"key_id": "r", "algo": "ed25519", "public_key": "11" * 32}],
        "e2ee_public_keys": [],
        "tls_public_keys": [],
    }
    quote: dict[str, Any] = {
        "format": FORMAT,
        "tee_type": "mock",
        "report_b64": encode_base64(evidence.report),
        "endorsements": {
            "kind": "mock",
            "vek_b64": encode_base64(ends.vek),
            "ask_b64": encode_base64(ends.intermediate),
            "ark_b64": encode_base64(ends.ark),
            "crl_b64": encode_base64(ends.crl or b""),
        },
        "statement": encode_statement(digest(keyset), None).decode(),
        "keyset": keyset,
        "workload": workload,
        "identity_signature": "00" * 64,
        "platform_evidence": [],
        "log": None,
    }
    receipt = {
        "api_version": "aci/1",
        "receipt_id": "rcpt-1",
        "chat_id": None,
        "model": "m",
        "endpoint": "/v1/chat/completions",
        "method": "POST",
        "served_at": 1790000000,
        "event_log": [{"type": "request.received", "body_hash": "sha256:" + "0" * 64}],
        "key_id": "r",
        "workload_keyset_digest": digest(keyset),
        "signature": "00" * 64,
    }
    header = bytes.fromhex(VCEK.replace("-", "")) + (48).to_bytes(4, "little") + len(ends.vek).to_bytes(4, "little")
    return {
        "report": evidence.report,
        "certificate": ends.vek,
        "authority": ends.ark,
        "crl": ends.crl or b"",
        "table": header + bytes(24) + ends.vek,
        "pem": b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "policy-json": json.dumps(
            {
                "measurements": ["0" * 96],
                "tcb_floor": {"Turin": {"fmc": 1}},
                "releases": {"keys": ["0" * 64, "1" * 64], "threshold": 2, "minimum_sequence": 1},
            }
        ).encode(),
        "policy-toml": b'measurements = ["' + b"0" * 96 + b'"]\n[platform]\nforbid = ["smt"]\n',
        "quote": json.dumps(quote).encode(),
        "bundle": json.dumps({"format": BUNDLE_FORMAT, "origin": "https://gw.example.com", "quote": quote}).encode(),
        "receipt": json.dumps(receipt).encode(),
        "keyset": json.dumps(keyset).encode(),
        "workload": json.dumps(workload).encode(),
        "manifest": jcs(statement(predicate(tcb_floor={"Milan": {"snp": 29}}))),
    }


PARSERS: dict[str, Callable[[bytes], object]] = {
    "report": parse_report,
    "certificate": lambda raw: parse_vek_extensions(parse_certificate(raw, "VEK")),
    "authority": lambda raw: parse_certificate(raw, "ARK"),
    "crl": parse_crl,
    "table": lambda raw: certificates_of(parse_certificate_table(raw)),
    "pem": lambda raw: decode_pem_or_der(raw, "file"),
    "policy-json": parse_policy,
    "policy-toml": parse_policy,
    "quote": parse_quote,
    "bundle": parse_bundle,
    "receipt": parse_receipt,
    "keyset": lambda raw: parse_keyset(parse_json(raw, "keyset")),
    "workload": lambda raw: parse_workload(parse_json(raw, "workload")),
    "manifest": lambda raw: parse_manifest(raw, "manifest"),
}


def test_every_seed_is_accepted() -> None:
    assert seeds().keys() == PARSERS.keys()
    for name, parse in PARSERS.items():
        parse(seeds()[name])


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_bytes_raise_nothing_but_malformed(name: str, data: st.DataObject) -> None:
    raw = bytearray(seeds()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not raw:
            break
    with suppress(Malformed):
        PARSERS[name](bytes(raw))


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(raw=st.binary(max_size=1300))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_malformed(name: str, raw: bytes) -> None:
    with suppress(Malformed):
        PARSERS[name](raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["quote", "bundle", "receipt", "keyset", "workload", "policy-json"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_documents_with_any_value_anywhere_raise_nothing_but_malformed(name: str, data: st.DataObject) -> None:
    document = json.loads(seeds()[name])
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON)
        break
    with suppress(Malformed):
        PARSERS[name](json.dumps(document).encode())
    if name == "quote":
        verdict = verify_quote(document, now=NOW, policy=None, nonce=bytes(32), audience="x", accept_mock=True)
        assert verdict.outcome == "rejected"
    if name == "policy-json":
        with suppress(Malformed):
            decode_policy(document)


@given(raw=st.binary(max_size=64))
def test_der_readers(raw: bytes) -> None:
    for read in (
        lambda: der.read_all(raw, "x"),
        lambda: der.parse_oid(der.Element(der.OID, raw, raw), "x"),
        lambda: der.parse_integer(der.Element(der.INTEGER, raw, raw), "x"),
        lambda: der.parse_text(der.Element(der.IA5_STRING, raw, raw), "x"),
        lambda: der.parse_bits(der.Element(der.BIT_STRING, raw, raw), "x"),
        lambda: der.parse_time(der.Element(der.UTC_TIME, raw, raw), "x"),
        lambda: der.parse_time(der.Element(der.GENERALIZED_TIME, raw, raw), "x"),
    ):
        with suppress(Malformed):
            read()


@given(report=st.binary(max_size=1300), vek=st.binary(max_size=200), at=st.integers(0, 1183), byte=st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_the_verdict_on_mutated_evidence_is_never_an_exception(report: bytes, vek: bytes, at: int, byte: int) -> None:
    good = seeds()
    flipped = bytearray(good["report"])
    flipped[at] ^= byte
    ends = Endorsements(good["certificate"], good["authority"], good["authority"], good["crl"])
    for raw, leaf in ((report, good["certificate"]), (bytes(flipped), good["certificate"]), (good["report"], vek)):
        evidence = Evidence(raw, Endorsements(leaf, ends.intermediate, ends.ark, ends.crl))
        assert verify_report(evidence, now=NOW, policy=None).outcome == "rejected"


def test_a_report_survives_parse_and_encode() -> None:
    assert encode_report(parse_report(seeds()["report"])) == seeds()["report"]


def test_statement_binds_every_byte_of_the_nonce() -> None:
    known = {report_data_of(encode_statement("sha256:" + "0" * 64, bytes([n]) * 32)) for n in range(256)}
    assert len(known) == 256
