"""The browser's verifier says exactly what tee says: complete verdicts, compared word by word."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from tee.attest.mock import MockChip, mock_measurement, new_chip_secrets
from tee.canonical import canonicalize, digest, digest_bytes, encode_canonical, parse_json
from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence, Verdict
from tee.keys.binding import encode_statement, report_data_of
from tee.keys.identity import identity_message, subject_of
from tee.log.receipt import sign_receipt
from tee.policy import decode_policy, parse_policy
from tee.quote import encode_base64
from tee.snp.certs import parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.report import parse_report
from tee.verify import verify_answer, verify_quote, verify_report
from tests.conftest import find_vectors, read_manifest
from tests.snp_vectors import Case, all_cases

Json = dict[str, Any]
Ask = Callable[[Json], Json]
TRANSCRIPT = Path(__file__).parent / "web" / "transcript.mjs"
MUTATIONS = 300
PARTS = ("report", "vek", "intermediate", "ark", "crl")
ORIGIN = "https://gw.example.com"
NONCE = bytes(range(32))
RECEIPT_KEY, IDENTITY_KEY = (SigningKey(bytes([seed]) * 32) for seed in (2, 4))
REQUEST, RESPONSE = b'{"model":"demo"}', b'{"choices":[]}'


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One node process for the whole module: a line in, a line out."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    with subprocess.Popen([node, TRANSCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def exchange(request: Json) -> Json:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer: Json = json.loads(stdout.readline())
            return answer

        yield exchange
        stdin.close()


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    return all_cases(read_manifest(folder))


def _document(verdict: Verdict) -> Json:
    return verdict.to_json() | {"required": sorted(verdict.required), "sentence": verdict.sentence()}


def _or_malformed(answer: Callable[[], Json]) -> Json:
    try:
        return answer()
    except Malformed as error:
        return {"malformed": error.field, "found": error.found, "wanted": error.wanted}


def _b64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _parts(evidence: Evidence) -> dict[str, bytes | None]:
    ends = evidence.endorsements
    return dict(zip(PARTS, (evidence.report, ends.vek, ends.intermediate, ends.ark, ends.crl), strict=True))


def _same_report(ask: Ask, evidence: Evidence, now: dt.datetime, policy: Json | None, *, mock: bool = False) -> Json:
    """Both sides' verdict on a bare report, which must be one."""
    request = {name: _b64(raw) for name, raw in _parts(evidence).items()}
    found = ask({"kind": "report", "now": now.isoformat(), "policy": policy, "accept_mock": mock} | request)
    decoded = None if policy is None else decode_policy(policy)
    assert found == _document(verify_report(evidence, now=now, policy=decoded, accept_mock=mock))
    return found


def _strict_policy(report: bytes) -> Json | None:
    """The strict defaults for that report's own measurement; None where it does not parse."""
    try:
        return {"measurements": [parse_report(report).measurement.hex()]}
    except Malformed:
        return None


def _with_crl(evidence: Evidence, crl: bytes | None) -> Evidence:
    return replace(evidence, endorsements=replace(evidence.endorsements, crl=crl))


def test_every_vector_at_several_times_with_and_without_policy_and_lists(
    ask: Ask, folder: Path, cases: list[Case]
) -> None:
    lists = [None, *(path.read_bytes() for path in sorted((folder / "crl").glob("*.der")))]
    assert len(lists) >= 3
    times = [dt.datetime(year, 6, 1, tzinfo=dt.UTC) for year in (2018, 2025, 2026, 2050)]
    outcomes = set()
    for case in cases:
        plain = case.evidence(folder)
        strict = _strict_policy(plain.report)
        for crl in lists:
            for now in (case.at, *times):
                for policy in [None] if strict is None else [None, strict, strict | {"revocation": "when-given"}]:
                    outcomes.add(_same_report(ask, _with_crl(plain, crl), now, policy)["verdict"])
    assert outcomes == {"authentic", "verified", "rejected"}


def test_policies_that_demand_more(ask: Ask, folder: Path, cases: list[Case]) -> None:
    for case in cases:
        evidence = case.evidence(folder)
        strict = _strict_policy(evidence.report)
        if strict is None:
            continue
        report = parse_report(evidence.report)
        demands: list[Json] = [
            {"vmpl": 1, "allow_provisional_firmware": True},
            {"minimum_abi": "1.0", "minimum_guest_svn": 2},
            {"guest_policy": {"allow": [], "require": ["single-socket", "page-swap-disable"]}},
            {"platform": {"require": ["tsme", "ecc"], "forbid": ["smt"]}},
            {"required_mitigations": 11},
            {"tcb_floor": {"Milan": {}, "Genoa": {"snp": 255}}, "launch_tcb_floor": {"Turin": {"fmc": 9}}},
            {"pins": {"chip_ids": [report.chip_id.hex()], "host_data": [report.host_data.hex()]}},
            {"pins": {"family_ids": ["ab" * 16], "csp_ids": ["AWS", "Other"]}},
            {"pins": {"csp_ids": ["AWS"]}},
            {"measurements": ["00" * 48, *strict["measurements"]]},
        ]
        for demand in demands:
            _same_report(ask, evidence, case.at, strict | {"revocation": "when-given"} | demand)


def test_single_changed_bytes(ask: Ask, folder: Path, cases: list[Case]) -> None:
    """One byte of one part is changed; the real reports serve as originals."""
    chance = random.Random(8785)
    real = [case for case in cases if case.record["role"] == "real"]
    lists = {line: (folder / f"crl/vcek-{line}.crl.der").read_bytes() for line in ("milan", "genoa")}
    for _ in range(MUTATIONS):
        case = chance.choice(real)
        parts = _parts(_with_crl(case.evidence(folder), lists.get(case.record["product"].lower())))
        name = chance.choice([part for part in PARTS if parts[part] is not None])
        parts[name] = _changed(parts[name] or b"", chance)
        report, vek, intermediate, ark, crl = (parts[part] or b"" for part in PARTS)
        evidence = Evidence(report, Endorsements(vek, intermediate, ark, crl or None))
        now = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
        _same_report(ask, evidence, now, chance.choice([None, _strict_policy(report)]))


@pytest.mark.parametrize(
    ("part", "at"),
    [
        ("vek", "2b8104002203620004"),
        ("ark", "2a864886f70d0101"),
        ("intermediate", "02820201"),
    ],
)
def test_a_public_key_that_is_none_is_a_failed_check(
    ask: Ask, cases: list[Case], folder: Path, part: str, at: str
) -> None:
    """A point off its curve, an unknown key type and a broken modulus reject; they never raise."""
    case = next(case for case in cases if case.id == "genoa-v3-vcek-microsoft")
    evidence = case.evidence(folder)
    raw = bytearray(_parts(evidence)[part] or b"")
    raw[raw.index(bytes.fromhex(at), _spki_at(raw)) + len(at) // 2] ^= 0x40
    changed = replace(evidence, endorsements=replace(evidence.endorsements, **{part: bytes(raw)}))
    assert _same_report(ask, changed, case.at, None)["verdict"] == "rejected"


def _spki_at(certificate: bytes | bytearray) -> int:
    return certificate.index(parse_certificate(bytes(certificate), "certificate").spki)


def test_certificate_tables(ask: Ask, folder: Path) -> None:
    chance = random.Random(24)
    for row in read_manifest(folder)["cert_tables"]:
        raw = (folder / row["file"]).read_bytes()
        for table in [raw, *(_changed(raw, chance, 200) for _ in range(20) if raw)]:
            found = ask({"kind": "table", "table": _b64(table)})
            assert found == _or_malformed(lambda table=table: _table(table)), row["id"]  # type: ignore[misc]


def _table(raw: bytes) -> Json:
    entries = parse_certificate_table(raw)
    rows = [[str(entry.guid), entry.name, digest_bytes(entry.payload)[7:]] for entry in entries]
    return {
        "entries": rows,
        "certificates": {name: digest_bytes(der)[7:] for name, der in certificates_of(entries).items()},
    }


def test_policies_that_do_not_load(ask: Ask) -> None:
    measurements = ["ab" * 48]
    documents: list[Any] = [
        {"measurements": measurements},
        {},
        {"measurements": []},
        {"measurements": "ab"},
        {"measurements": [1]},
        {"measurements": ["AB" * 48]},
        *({"measurements": measurements} | extra for extra in _POLICY_FAULTS),
    ]
    texts = [json.dumps(document).encode() for document in documents]
    for raw in [*texts, b' {"measurements": ["x"], "measurements": []}', b"{" * 70, b'{"a": \xff}']:
        found = ask({"kind": "policy", "document": _b64(raw)})
        assert found == _or_malformed(lambda raw=raw: {"loads": bool(parse_policy(raw).measurements)}), raw  # type: ignore[misc]


_POLICY_FAULTS: list[Json] = [
    {"vmpl": 4},
    {"vmpl": True},
    {"vmpl": 1.0},
    {"vmpl": -1},
    {"vmpl": 2**70},
    {"vmlp": 0},
    {"minimum_abi": "1"},
    {"minimum_abi": "1.256"},
    {"minimum_abi": "1.55\n"},
    {"revocation": "never"},
    {"guest_policy": []},
    {"guest_policy": {"allow": ["debug"]}},
    {"guest_policy": {"allow": ["toString"]}},
    {"guest_policy": {"deny": []}},
    {"platform": {"require": [None]}},
    {"tcb_floor": {"Rome": {}}},
    {"tcb_floor": {"Milan": {"fmc": 1}}},
    {"tcb_floor": {"Milan": {"snp": 256}}},
    {"tcb_floor": {"Milan": {"snp": "1"}}},
    {"tcb_floor": {"Milan": []}},
    {"required_mitigations": 2**53},
    {"allow_provisional_firmware": 1},
    {"pins": {"chip_ids": ["00"]}},
    {"pins": {"csp_ids": [{}]}},
    {"pins": {"chips": []}},
    {"__proto__": {}},
]


def test_json_is_read_and_refused_alike(ask: Ask) -> None:
    chance = random.Random(64)
    text = '{"a":[1,-0,1.5e3,1E400,9007199254740993,true,null],"b\\u00e9":"\\ud83d\\ude00 ü\U0001f600\\n","":{}} '
    samples = [
        text,
        "[1.0]",
        '["\\ud800"]',
        '{"a":1,"b":{"a":1},"a":2}',
        "[NaN]",
        "[-Infinity]",
        '"\\u12',
        '"\\',
        "\ufeff",
    ]
    raws = [sample.encode() for sample in samples]
    raws += [_changed(text.encode(), chance) for _ in range(MUTATIONS)]
    raws += [text.encode()[:size] for size in range(len(text.encode()))]
    for raw in raws:
        found = ask({"kind": "json", "document": _b64(raw)})
        assert found == _or_malformed(lambda raw=raw: _encodings(parse_json(raw, "test"))), raw  # type: ignore[misc]


def _encodings(value: Any) -> Json:
    def attempt(encode: Callable[[Any], bytes]) -> Any:
        try:
            return encode(value).hex()
        except Malformed as error:
            return {"malformed": error.field, "found": error.found, "wanted": error.wanted}

    return {"strict": attempt(encode_canonical), "published": attempt(canonicalize)}


def _changed(raw: bytes, chance: random.Random, within: int | None = None) -> bytes:
    at = chance.randrange(min(len(raw), within or len(raw)))
    return raw[:at] + bytes([raw[at] ^ chance.randrange(1, 256)]) + raw[at + 1 :]


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
            "crl_b64": _b64(ends.crl),
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
    line = given | {"nonce": nonce and nonce.hex(), "now": now.isoformat(), "document": _b64(raw)}
    bodies = {"receipt": _b64(receipt), "request": _b64(request), "response": _b64(response)}
    found = ask({"kind": "quote"} | line if receipt is None else {"kind": "answer"} | line | bodies)

    def judge() -> Json:
        document = parse_json(raw, "quote")
        given["policy"] = None if policy is None else decode_policy(policy)
        verdict = verify_quote(document, **given)
        if receipt is not None:
            verdict = verify_answer(verdict, document, receipt, request, response)
        return _document(verdict)

    assert found == _or_malformed(judge)
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
        _same_quote(ask, world, raw, **(whole | {"receipt": _changed(receipt, chance)}))
