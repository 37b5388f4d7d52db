"""The browser's verifier says exactly what tee says of quotes and answers, word by word."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from tee.attest.mock import MockChip, mock_measurement, new_chip_secrets
from tee.canonical import digest, digest_bytes, encode_canonical, parse_json
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import identity_message, subject_of
from tee.log.history import parse_links
from tee.log.receipt import sign_receipt
from tee.log.receipt_log import Surroundings
from tee.log.stream import sign_stream_checkpoint
from tee.log.witnesses import parse_witness_policy
from tee.policy import decode_policy
from tee.quote import encode_base64
from tee.verify import verify_answer, verify_quote
from tests.test_vectors import FOLDER, PLACEHOLDER, SHARED
from tests.worlds.small_log import SmallLog
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
RECEIPT_KEY, IDENTITY_KEY, STREAM_KEY = (SigningKey(bytes([seed]) * 32) for seed in (2, 4, 5))
REQUEST, RESPONSE = b'{"model":"demo"}', b'{"choices":[],"attestation":{"rekor_index":5}}'
ROUTE = {"type": "route", "salt": "5a" * 32, "decision_id": "d"}


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
        ROUTE,
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


def _new_quote(chip: MockChip, now: dt.datetime, log: Json | None = None, stream_key: SigningKey | None = None) -> Json:
    some = "sha256:" + "c" * 64
    workload = {
        "version": 1,
        "audience": ORIGIN,
        "build": {"version": "0", "repo_url": "", "repo_commit": "", "image_digest": None, "source_digest": some},
        "configuration": dict.fromkeys(("providers", "models", "policies", "prices", "settings"), some),
        "seed_measurement": some,
        "identity_key": IDENTITY_KEY.verify_key.encode().hex(),
        "http_signature_key": None,
        "stream_key": stream_key.verify_key.encode().hex() if stream_key else "00" * 32,
        "log": log,
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
    receipt, request, response, proof = (given.pop(name, None) for name in ("receipt", "request", "response", "proof"))
    links, witnesses = given.pop("links", None), given.get("witnesses")
    past, headers = given.pop("past", None), given.pop("headers", None)
    policy, nonce, now = given["policy"], given["nonce"], given["now"]
    line = given | {"nonce": nonce and nonce.hex(), "now": now.isoformat(), "document": b64(raw)}
    line |= {"links": b64(links), "witnesses": b64(witnesses)}
    bodies = {"receipt": b64(receipt), "request": b64(request), "response": b64(response), "proof": b64(proof)}
    bodies |= {"past": b64(past), "headers": b64(headers)}
    found = ask({"kind": "quote"} | line if receipt is None else {"kind": "answer"} | line | bodies)

    def judge() -> Json:
        document = parse_json(raw, "quote")
        given["policy"] = None if policy is None else decode_policy(policy)
        given["witnesses"] = None if witnesses is None else parse_witness_policy(witnesses)
        joined = None if links is None else parse_links(parse_json(links, "links"), "links")
        verdict = verify_quote(document, **given)
        if receipt is not None:
            earlier = past and parse_json(past, "quote")
            beside = (verify_quote(earlier, **given | {"nonce": None}), earlier) if earlier else None
            around = Surroundings(given["witnesses"], joined)
            given_too: Json = {"earlier": beside, "headers": headers, "around": around}
            verdict = verify_answer(verdict, document, receipt, request, response, proof, **given_too)
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
    ("log", {"checkpoint": "", "startup": {"index": 2**80, "leaf_b64": "", "proof": []}}),
    ("workload.log", {"origin": "a", "vkey": "b+c"}),
    ("workload.log", {"origin": "a"}),
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
        assert found["verdict"] == "rejected"


@dataclass(frozen=True)
class Logged:
    """A quote whose start is in a small log."""

    log: SmallLog
    quote: Json
    entry: Json

    def shown(self, leaf: bytes, note: str | None = None) -> Json:
        """The quote with another leaf in its place in the log, under another note where one is given."""
        log = SmallLog(leaves=[*self.log.leaves[:2], leaf, *self.log.leaves[3:]])
        start = {"index": 2, "leaf_b64": encode_base64(leaf), "proof": [b64(value) for value in log.proof(2).hashes]}
        return self.quote | {"log": {"checkpoint": note or log.checkpoint().encode().decode(), "startup": start}}


@pytest.fixture(scope="module")
def logged(world: World) -> Logged:
    log = SmallLog(leaves=[b"leaf %d" % number for number in range(5)])
    quote = _new_quote(world.chip, world.now, {"origin": log.origin, "vkey": log.key.encode()})
    workload = quote["workload"]
    body = {name: workload[name] for name in ("audience", "build", "configuration")}
    body |= {"keyset_digest": digest(quote["keyset"]), "workload_digest": digest(workload)}
    body |= {"measurement": world.policy["measurements"][0], "report_digest": "sha256:" + "0" * 64}
    entry = {"body": body, "index": 2, "prev": "00" * 32, "time": int(world.now.timestamp()), "type": "startup", "v": 1}
    return Logged(log, quote, entry)


def _outcomes(found: Json, *ids: str) -> list[str]:
    return [next(check["outcome"] for check in found["checks"] if check["id"] == name) for name in ids]


def test_a_start_in_its_log(ask: Ask, world: World, logged: Logged) -> None:
    raw = json.dumps(logged.shown(encode_canonical(logged.entry))).encode()
    found = _same_quote(ask, world, raw)
    assert (found["verdict"], _outcomes(found, "log.inclusion", "log.startup")) == ("verified", ["pass", "pass"])
    assert _outcomes(found, "log.witness", "log.consistency") == ["skip", "skip"]
    assert _outcomes(_same_quote(ask, world, json.dumps(logged.quote).encode()), "log.inclusion") == ["fail"]
    for name, value in logged.entry["body"].items():
        for other in (None, 1, "x" * 1000, {"a": [1]}, value + "0" if isinstance(value, str) else value | {"a": 1}):
            leaf = encode_canonical(logged.entry | {"body": logged.entry["body"] | {name: other}})
            found = _same_quote(ask, world, json.dumps(logged.shown(leaf)).encode())
            assert _outcomes(found, "log.inclusion", "log.startup") == ["pass", "fail"]
    unread = logged.shown(encode_canonical(logged.entry)) | {"report_b64": "AAAA"}
    found = _same_quote(ask, world, json.dumps(unread).encode())
    assert _outcomes(found, "log.inclusion", "log.startup") == ["pass", "skip"]


def test_logs_with_a_changed_byte(ask: Ask, world: World, logged: Logged) -> None:
    chance = random.Random(9)
    leaf = encode_canonical(logged.entry)
    note = logged.log.checkpoint().encode()
    for _ in range(MUTATIONS):
        changed = with_changed_byte(leaf, chance)
        _same_quote(ask, world, json.dumps(logged.shown(changed)).encode())
        wrong = with_changed_byte(note, chance).decode(errors="surrogateescape")
        _same_quote(ask, world, json.dumps(logged.shown(leaf, wrong)).encode())
        vkey = with_changed_byte(logged.log.key.encode().encode(), chance).decode(errors="replace")
        workload = logged.quote["workload"] | {"log": {"origin": logged.log.origin, "vkey": vkey}}
        _same_quote(ask, world, json.dumps(logged.shown(leaf) | {"workload": workload}).encode())


def test_odd_notes(ask: Ask, world: World, logged: Logged) -> None:
    leaf = encode_canonical(logged.entry)
    good = logged.log.checkpoint().encode().decode()
    text, _, lines = good.partition("\n\n")
    origin, size, root = text.split("\n")
    for note in (
        "",
        "\n",
        "\n\n",
        "\n\n\n",
        f"{text}\n\n\n{lines}",
        f"\n\n{lines}",
        f"{text}\n{lines}",
        f"{good}\n",
        f"{good}\u2014 \n",
        f"{good}\u2014 a\n",
        f"{good}\u2014  AAAAAAA=\n",
        f"{good}\u2014 a AAAAAAA=\n",
        f"{good}\u2014 a AAAAAAA\n",
        f"{good}\u2014 a b AAAAAAA=\n",
        f"{good}\u2014 {chr(0x1F600) * 256} AAAAAAA=\n",
        f"{good}\u2014 {chr(0x1F600) * 257} AAAAAAA=\n",
        *(f"{good}\u2014 a{chr(space)}b AAAAAAA=\n" for space in (0x85, 0xA0, 0x1680, 0x180E, 0x200B, 0x2028, 0xFEFF)),
        f"{good}\u2014 a+b AAAAAAA=\n",
        f"{good}\x7f",
        f"{good}\t",
        f"{origin}\n{size}\n{root}\n\n{lines}".replace("\n5\n", "\n05\n"),
        f"{origin}\n{10**15}\n{root}\n\n{lines}",
        f"{origin}\n{2**53 - 1}\n{root}\n\n{lines}",
        f"{origin}\n{10**16}\n{root}\n\n{lines}",
        f"{origin}\n\u0665\n{root}\n\n{lines}",
        f"{origin}\n5\n{root[:-1]}\n\n{lines}",
        f"\n5\n{root}\n\n{lines}",
        f"{good}{'x' * (64 << 10)}",
        lines * 2,
    ):
        _same_quote(ask, world, json.dumps(logged.shown(leaf, note)).encode())


@dataclass(frozen=True)
class Answered:
    """A quote, a receipt under its keys, and the receipt's place in the quote's log."""

    quote: bytes
    given: Json
    document: Json
    entry: Json
    before: list[bytes]

    def proof(self, entry: Json | None = None, document: Json | None = None, **changes: Any) -> Json:
        """What the gateway serves, with another leaf, document or log where one is given."""
        document = document or self.document
        leaf = encode_canonical(self.entry | {"body": {"commitment": digest(document)}} | (entry or {}))
        log = replace(self.log(leaf), **changes)
        receipt, route = (
            {"leaf_b64": encode_base64(log.leaves[at]), "proof": log.proof(at).encode().decode()} for at in (6, 5)
        )
        return {"document": document, "receipt": receipt, "route": route}

    def log(self, receipt: bytes) -> SmallLog:
        """The log of the quote, some leaves later."""
        route = {"type": "route", "index": 5, "body": {"commitment": digest(ROUTE)}}
        return SmallLog(leaves=[*self.before, encode_canonical(self.entry | route), receipt, b"leaf"])


@pytest.fixture(scope="module")
def answered(world: World, logged: Logged) -> Answered:
    document = {name: value for name, value in world.receipt.items() if name != "signature"}
    receipt = sign_receipt(document | {"workload_keyset_digest": digest(logged.quote["keyset"])}, RECEIPT_KEY)
    named = {"receipt_id": "rcpt-1", "receipt_digest": digest(receipt), "salt": "ab" * 32}
    entry = logged.entry | {"type": "receipt", "index": 6}
    start = encode_canonical(logged.entry)
    before = [*logged.log.leaves[:2], start, *logged.log.leaves[3:]]
    quote = json.dumps(logged.shown(start)).encode()
    given = {"receipt": json.dumps(receipt).encode(), "request": REQUEST, "response": RESPONSE}
    return Answered(quote, given, named, entry, before)


def test_a_receipt_in_its_log(ask: Ask, world: World, answered: Answered) -> None:
    def judge(proof: Any, **changes: Any) -> Json:
        raw = proof if isinstance(proof, bytes | None) else json.dumps(proof).encode()
        return _same_quote(ask, world, answered.quote, **(answered.given | {"proof": raw} | changes))

    good, log = answered.proof(), answered.log(b"")
    found = judge(good)
    places = ("receipt.log", "receipt.route", "receipt.witness", "receipt.consistency")
    assert (found["verdict"], _outcomes(found, *places)) == ("verified", ["pass", "pass", "skip", "skip"])
    log.leaves[6] = base64.b64decode(good["receipt"]["leaf_b64"])
    link = {"from": 5, "to": 8, "proof": [b64(value) for value in log.consistency(5, 8)]}
    for links in ([link], [link | {"proof": []}], [], [link | {"to": 9}], [link | {"from": 5.5}], [link] * 5, None, 1):
        judge(good, links=json.dumps(links).encode())
    assert _outcomes(judge(good, links=json.dumps([link]).encode()), "receipt.consistency") == ["pass"]
    found = judge(None)
    assert (found["verdict"], _outcomes(found, *places)) == ("verified", ["skip"] * 4)
    assert "receipt.log: no proof from the log was given" in found["not_proven"]
    assert _outcomes(judge(good, receipt=b"{}"), "receipt.log") == ["skip"]
    for response in (b"", b"data: {}", b'data:{"attestation":{"rekor_index":5}}\r\n', b'{"rekor_index":', b"\xff{"):
        judge(good, response=response)
    indices: list[Any] = [4, "5", True, 5.0, 2**60, [], {"a": 1}, None]
    for index in indices:
        judge(good, response=json.dumps({"_sf_attestation": {"rekor_index": index}}).encode())
    text = good["receipt"]["proof"]
    other = answered.document | {"receipt_digest": "sha256:" + "0" * 64}
    for fault in (
        b"",
        b"x" * ((1 << 19) + 1),
        {},
        good | {"document": answered.document | {"salt": "cd" * 32}},
        answered.proof(document=other),
        answered.proof(document=answered.document | {"extra": 1}),
        answered.proof(entry={"type": "route"}),
        answered.proof(entry={"type": "startup", "body": {}}),
        answered.proof(entry={"index": 7}),
        answered.proof(origin="other.example.com"),
        *(
            good | {"receipt": good["receipt"] | {"proof": changed}}
            for changed in (
                None,
                "",
                "\ud800",
                "\u00e4" + text,
                text.replace("index 6", "index 7"),
                text.replace("index 6", "index 06"),
                text.replace("index 6", "extra AAAA\nindex 6"),
                text.replace("v1", "v2"),
                text.replace("\n\n", f"\n{'A' * 43}=\n\n", 1),
                text.replace("\n\n", "\n\n\n", 1),
                text.replace("\n\n", f"\n{'AAAA' * 64}\n\n", 1),
                text.replace("\n\n", "\nAAAA" * 64 + "\n\n", 1),
                text.replace("\n\n", "\n"),
                text.replace("\n8\n", "\n9\n"),
            )
        ),
    ):
        found = judge(fault)
        assert (found["verdict"], _outcomes(found, "receipt.log")) == ("rejected", ["fail"]), fault
    route = good["route"]
    shapes: list[Any] = [None, {}, 1, good["receipt"], route | {"leaf_b64": "AAAA"}, route | {"proof": "\ud800"}]
    for shown in shapes:
        found = judge(good | {"route": shown})
        assert (found["verdict"], _outcomes(found, *places[:2])) == ("rejected", ["pass", "fail"]), shown
    chance = random.Random(11)
    for _ in range(MUTATIONS):
        judge(with_changed_byte(json.dumps(good).encode(), chance))
        judge(good, response=with_changed_byte(RESPONSE, chance))


def test_an_answer_s_place_by_every_vector(ask: Ask, world: World) -> None:
    """Where the vectors have one outcome, both sides have one wording."""
    for path in sorted((FOLDER / "place").glob("*.json")):
        vector = json.loads(path.read_text())
        answer = {name: vector["answer"][f"{name}_b64"] for name in ("receipt", "proof", "headers")}
        answer |= {name: vector[name] for name in ("request", "response", "witnesses")}
        if "malformed" in vector["expect"]:
            continue
        links, past = vector["answer"]["consistency"], vector["answer"]["checkpoint_quote"]
        raw, earlier = (
            PLACEHOLDER.sub(lambda match: SHARED[match[1]], text).encode()
            for text in (vector["document"], json.dumps(past))
        )
        given = {name: None if text is None else base64.b64decode(text) for name, text in answer.items()}
        given |= {"links": None if links is None else json.dumps(links).encode(), "policy": vector["policy"]}
        given["past"] = earlier if past else None
        found = _same_quote(ask, world, raw, now=dt.datetime.fromisoformat(vector["now"]), **given)
        assert found["verdict"] == vector["expect"]["verdict"], path.name


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


@pytest.mark.parametrize(
    ("files", "check_id"),
    [
        ("answer/*-stream-*", "receipt.stream"),
        ("head/*", "receipt.http-signature"),
        ("answer/*-scan-*", "receipt.format"),
    ],
)
def test_every_vector_of_a_signature_beside_in_full(ask: Ask, world: World, files: str, check_id: str) -> None:
    words = set()
    for path in sorted(FOLDER.glob(files)):
        vector = json.loads(path.read_text())
        text = base64.b64decode(SHARED[vector["quote"]]).decode()
        raw = PLACEHOLDER.sub(lambda match: SHARED[match[1]], text).encode()
        bodies = ("receipt", "request", "response", "headers")
        given: Json = {name: base64.b64decode(vector[name]) for name in bodies if vector.get(name) is not None}
        given |= {"policy": vector["policy"], "now": dt.datetime.fromisoformat(vector["now"])}
        found = _same_quote(ask, world, raw, **given)
        words |= {json.dumps(check) for check in found["checks"] if check["id"] == check_id}
    assert len(words) > 25


def test_a_stream_of_an_earlier_boot(ask: Ask, world: World) -> None:
    """The receipt is of this boot, its checkpoint of the one that died, whose evidence is at hand, or is not."""
    dead, receipt = _new_quote(world.chip, world.now, stream_key=STREAM_KEY), dict(world.receipt)
    del receipt["signature"]
    checkpoint = {
        "receipt_id": "rcpt-1",
        "workload_keyset_digest": digest(dead["keyset"]),
        "events": 0,
        "bytes": len(RESPONSE) - 1,
        "body_hash": digest_bytes(RESPONSE[:-1]),
        "time": receipt["served_at"],
    }
    signed = sign_stream_checkpoint(checkpoint, STREAM_KEY)
    stream = receipt["event_log"][-1] | {"events": 0, "checkpoint": signed}
    whole = sign_receipt(receipt | {"event_log": [*receipt["event_log"][:-1], stream]}, RECEIPT_KEY)
    given = {"receipt": json.dumps(whole).encode(), "request": REQUEST, "response": RESPONSE}

    def outcome(earlier: Json | None, **changes: Any) -> str:
        past = None if earlier is None else json.dumps(earlier).encode()
        found = _same_quote(ask, world, json.dumps(world.quote).encode(), **given | {"past": past} | changes)
        return str(next(check["outcome"] for check in found["checks"] if check["id"] == "receipt.stream"))

    assert outcome(dead) == "pass"
    assert outcome(None) == "skip"
    assert outcome(_new_quote(world.chip, world.now)) == "fail"
    assert outcome(dead | {"identity_signature": "00" * 64}) == "skip"  # evidence that is refused vouches for nothing


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
