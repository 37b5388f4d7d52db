"""The browser's verifier says exactly what tee says of quotes and answers, word by word."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from nacl.signing import SigningKey

from tee.attest.mock import MockChip, mock_measurement, new_chip_secrets
from tee.canonical import digest, digest_bytes, parse_json
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import identity_message, subject_of
from tee.log.receipt import sign_receipt
from tee.policy import decode_policy
from tee.quote import encode_base64
from tee.verify import verify_answer, verify_quote
from tests.worlds.transcript import (
    MUTATIONS,
    Ask,
    Json,
    as_document,
    b64,
    browser_core,
    or_malformed,
    with_changed_byte,
)

ORIGIN = "https://gw.example.com"
NONCE = bytes(range(32))
RECEIPT_KEY, IDENTITY_KEY = (SigningKey(bytes([seed]) * 32) for seed in (2, 4))
REQUEST, RESPONSE = b'{"model":"demo"}', b'{"choices":[]}'


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One node process for the whole module."""
    with browser_core() as exchange:
        yield exchange


@dataclass(frozen=True)
class World:
    """A mock chip's quote and a receipt under its keys."""

    chip: MockChip
    now: dt.datetime
    policy: Json
    quote: Json
    receipt: Json


@pytest.fixture(scope="module")
def world() -> World:
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    measurement = mock_measurement("sha256:" + "5" * 64)
    chip = MockChip(new_chip_secrets(), measurement)
    quote = _new_quote(chip, now)
    event_log = [
        {"type": "request.received", "body_hash": digest_bytes(REQUEST)},
        {"type": "upstream.verified", "result": "none"},
        {"type": "response.returned", "body_hash": digest_bytes(RESPONSE)},
        {"type": "stream", "complete": True, "bytes": len(RESPONSE)},
    ]
    receipt = {
        "api_version": "aci/1",
        "receipt_id": "rcpt-1",
        "chat_id": None,
        "model": "demo",
        "endpoint": "/v1/chat/completions",
        "method": "POST",
        "served_at": int(now.timestamp()),
        "event_log": event_log,
        "key_id": "receipt-1",
        "workload_keyset_digest": digest(quote["keyset"]),
    }
    return World(chip, now, {"measurements": [measurement.hex()]}, quote, sign_receipt(receipt, RECEIPT_KEY))


def _new_quote(chip: MockChip, now: dt.datetime) -> Json:
    some = "sha256:" + "c" * 64
    workload = {
        "version": 1,
        "audience": ORIGIN,
        "build": {"version": "0", "repo_url": "", "repo_commit": "", "image_digest": None, "source_digest": some},
        "configuration": dict.fromkeys(("providers", "models", "policies", "prices", "settings"), some),
        "seed_measurement": some,
        "identity_key": IDENTITY_KEY.verify_key.encode().hex(),
        "http_signature_key": None,
        "stream_key": "00" * 32,
        "log": None,
        "platform_evidence": [],
    }
    receipt_key = {"key_id": "receipt-1", "algo": "ed25519", "public_key": RECEIPT_KEY.verify_key.encode().hex()}
    keyset = {
        "subject": subject_of(digest(workload)),
        "not_after": int(now.timestamp()) + 3600,
        "receipt_signing_keys": [receipt_key],
        "e2ee_public_keys": [{"key_id": "hpke-1", "algo": "x", "public_key": ""}],
        "tls_public_keys": [{"domain": "gw.example.com", "spki_sha256": "c0" * 32}],
    }
    statement = encode_statement(digest(keyset), NONCE)
    evidence = chip.attest(report_data_of(statement))
    ends = evidence.endorsements
    return {
        "format": "saferouter/quote/v1",
        "tee_type": "mock",
        "report_b64": encode_base64(evidence.report),
        "endorsements": {
            "kind": "mock",
            "vek_b64": encode_base64(ends.vek),
            "ask_b64": encode_base64(ends.intermediate),
            "ark_b64": encode_base64(ends.ark),
            "crl_b64": b64(ends.crl),
        },
        "statement": statement.decode(),
        "keyset": keyset,
        "workload": workload,
        "identity_signature": IDENTITY_KEY.sign(identity_message(digest(keyset))).signature.hex(),
        "platform_evidence": [],
        "log": None,
    }


def _same_quote(ask: Ask, world: World, raw: bytes, **changes: Any) -> Json:
    """Both sides' verdict on a quote, or on an answer where a receipt is given; it must be one."""
    given: Json = {"policy": world.policy, "nonce": NONCE, "audience": ORIGIN, "accept_mock": True, "now": world.now}
    given |= changes
    receipt, request, response = (given.pop(name, None) for name in ("receipt", "request", "response"))
    policy, nonce, now = given["policy"], given["nonce"], given["now"]
    line = given | {"nonce": nonce and nonce.hex(), "now": now.isoformat(), "document": b64(raw)}
    bodies = {"receipt": b64(receipt), "request": b64(request), "response": b64(response)}
    found = ask({"kind": "quote"} | line if receipt is None else {"kind": "answer"} | line | bodies)

    def judge() -> Json:
        document = parse_json(raw, "quote")
        given["policy"] = None if policy is None else decode_policy(policy)
        verdict = verify_quote(document, **given)
        if receipt is not None:
            verdict = verify_answer(verdict, document, receipt, request, response)
        return as_document(verdict)

    assert found == or_malformed(judge)
    return found


def test_quotes(ask: Ask, world: World) -> None:
    raw = json.dumps(world.quote).encode()
    found = _same_quote(ask, world, raw)
    assert (found["verdict"], found["mock"]) == ("verified", True), found["sentence"]
    week = dt.timedelta(days=7)
    settings: list[Json] = [
        {"accept_mock": False},
        {"nonce": None},
        {"nonce": bytes(32)},
        {"audience": None},
        {"audience": "https://other.example.com"},
        {"policy": None},
        {"policy": {"measurements": ["00" * 48], "revocation": "when-given"}},
        {"now": world.now + week},
        {"now": world.now - week},
    ]
    for setting in settings:
        outcome = _same_quote(ask, world, raw, **setting)["verdict"]
        assert (outcome == "verified") is (setting in ({"nonce": None}, {"audience": None})), setting


_QUOTE_FAULTS: list[tuple[str, Any]] = [
    ("format", "saferouter/quote/v2"),
    ("format", None),
    ("statement", 7),
    ("statement", "x" * 1025),
    ("statement", "\U0001f600" * 1024),
    ("statement", "{}"),
    ("statement", '{"nonce":null}'),
    ("statement", '{"nonce":"AB"}'),
    ("statement", '{"nonce":null,"nonce":null}'),
    ("statement", "null"),
    ("report_b64", "AAAA"),
    ("report_b64", "AAB="),
    ("report_b64", " AAAA"),
    ("report_b64", "AAAA="),
    ("report_b64", {}),
    ("endorsements", []),
    ("endorsements.crl_b64", None),
    ("endorsements.vek_b64", None),
    ("endorsements.ark_b64", ""),
    ("keyset", None),
    ("keyset.subject", "urn:saferouter:workload:other"),
    ("keyset.subject", "unprintable \u200b"),
    ("keyset.not_after", 0),
    ("keyset.not_after", 1800000000.0),
    ("keyset.not_after", True),
    ("keyset.not_after", 2**60),
    ("keyset.extra", 1.5),
    ("keyset.extra", [{"deep": 2**53}]),
    ("keyset.extra", {"ü": 1}),
    ("keyset.extra", "\ud800"),
    ("keyset.receipt_signing_keys", {}),
    ("keyset.receipt_signing_keys", [{}] * 17),
    ("keyset.receipt_signing_keys", [{"key_id": "a", "algo": "ed25519", "public_key": "00" * 32}] * 2),
    ("keyset.receipt_signing_keys", [{"key_id": "a", "algo": "rsa", "public_key": "00" * 32}]),
    ("keyset.e2ee_public_keys", [{"key_id": ""}]),
    ("keyset.tls_public_keys", [{"spki_sha256": "it's"}]),
    ("keyset.tls_public_keys", [{}]),
    ("workload.version", 2),
    ("workload.version", True),
    ("workload.audience", "https://evil.example.com"),
    ("workload.extra", 1),
    ("workload.build.source_digest", "sha256:00"),
    ("workload.configuration.prices", 5),
    ("workload.identity_key", "00" * 32),
    ("workload.identity_key", "ff" * 32),
    ("workload.stream_key", "zz"),
    ("identity_signature", "00" * 64),
    ("identity_signature", "00"),
    ("stale", None),
    ("stale", {"since": "2026-01-31T12:00:00Z", "reason": "x", "a": 1}),
    ("stale", {"since": "2026-02-30T12:00:00Z", "reason": "x"}),
    ("stale", {"since": "2026-01-31T12:00:00Z", "reason": "\u200b"}),
    ("log", 1.5),
    ("log", 2**80),
]


@pytest.mark.parametrize(("path", "value"), _QUOTE_FAULTS, ids=lambda part: ascii(part)[:24])
def test_a_quote_with_one_fault(ask: Ask, world: World, path: str, value: Any) -> None:
    document = json.loads(json.dumps(world.quote))
    *above, name = path.split(".")
    target = document
    for step in above:
        target = target[step]
    target[name] = value
    for nonce in (NONCE, None):
        found = _same_quote(ask, world, json.dumps(document).encode(), nonce=nonce)
        assert found["verdict"] == ("verified" if path == "log" else "rejected")


def test_a_mark_of_stale_evidence_is_listed_as_not_proven(ask: Ask, world: World) -> None:
    document = world.quote | {"stale": {"since": "2026-01-31T12:00:00Z", "reason": "the device is dead"}}
    found = _same_quote(ask, world, json.dumps(document).encode(), nonce=None)
    assert found["verdict"] == "verified"
    assert found["not_proven"][0] == (
        "that the attestation device still works: the gateway marks this evidence stale since 2026-01-31T12:00:00Z: "
        "the device is dead"
    )
    receipt = json.dumps(world.receipt).encode()
    whole = {"receipt": receipt, "request": REQUEST, "response": RESPONSE}
    answered = _same_quote(ask, world, json.dumps(document).encode(), nonce=None, **whole)
    assert answered["not_proven"][0] == found["not_proven"][0]


def test_a_statement_that_utf8_cannot_carry_is_a_failed_check(ask: Ask, world: World) -> None:
    document = world.quote | {"statement": "\ud800"}
    assert _same_quote(ask, world, json.dumps(document).encode())["verdict"] == "rejected"


def test_quotes_without_a_member(ask: Ask, world: World) -> None:
    for name in world.quote:
        document = {other: value for other, value in world.quote.items() if other != name}
        assert _same_quote(ask, world, json.dumps(document).encode())["verdict"] == "rejected"


def test_quotes_with_a_changed_byte(ask: Ask, world: World) -> None:
    chance = random.Random(4)
    raw = json.dumps(world.quote).encode()
    places = range(len(raw))
    for _ in range(MUTATIONS):
        changed = bytearray(raw)
        changed[chance.choice(places)] = chance.choice(b'0aZ"\\{}[]:,=. \x01')
        _same_quote(ask, world, bytes(changed))


def test_answers(ask: Ask, world: World) -> None:
    raw, receipt = json.dumps(world.quote).encode(), json.dumps(world.receipt).encode()
    whole = {"receipt": receipt, "request": REQUEST, "response": RESPONSE}
    assert _same_quote(ask, world, raw, **whole)["verdict"] == "verified"
    for change in (
        {"request": None},
        {"response": b"other"},
        {"receipt": b"{}"},
        {"receipt": b"\xff"},
        {"nonce": None},
    ):
        _same_quote(ask, world, raw, **(whole | change))
    _same_quote(ask, world, b"{}", **whole)
    faults: list[Json] = [
        {"event_log": []},
        {"event_log": world.receipt["event_log"][:2] * 2},
        {"event_log": [{"type": "request.received"}]},
        {"event_log": [{"type": "upstream.verified", "result": "verified"}, {"type": "stream", "complete": 1}]},
        {"event_log": [{"type": "upstream.verified", "result": {}}]},
        {"key_id": "receipt-2"},
        {"model": 1},
        {"served_at": -1},
        {"served_at": 1.0},
        {"extra": 0.5},
        {"extra": "\ud800"},
        {"workload_keyset_digest": "sha256:" + "0" * 64},
        {"signature": "00" * 64},
    ]
    for fault in faults:
        changed = json.dumps(world.receipt | fault).encode()
        assert _same_quote(ask, world, raw, **(whole | {"receipt": changed}))["verdict"] == "rejected", fault
    chance = random.Random(7)
    for _ in range(MUTATIONS):
        _same_quote(ask, world, raw, **(whole | {"receipt": with_changed_byte(receipt, chance)}))
