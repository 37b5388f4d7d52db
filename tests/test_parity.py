"""The browser's verifier says exactly what tee says of reports: complete verdicts, compared word by word."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import canonicalize, digest_bytes, encode_canonical, parse_json
from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence
from tee.policy import decode_policy, parse_policy
from tee.snp.bulletins import BUILT_IN, open_tcb_data
from tee.snp.certs import parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.report import parse_report
from tee.verify import verify_report
from tests.conftest import find_vectors, read_manifest
from tests.snp_vectors import Case, all_cases
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

VECTORS = Path(__file__).parent / "vectors"
PARTS = ("report", "vek", "intermediate", "ark", "crl")


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One node process for the whole module."""
    with browser_core() as exchange:
        yield exchange


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    return all_cases(read_manifest(folder))


def _parts(evidence: Evidence) -> dict[str, bytes | None]:
    ends = evidence.endorsements
    return dict(zip(PARTS, (evidence.report, ends.vek, ends.intermediate, ends.ark, ends.crl), strict=True))


def _same_report(ask: Ask, evidence: Evidence, now: dt.datetime, policy: Json | None, *, mock: bool = False) -> Json:
    """Both sides' verdict on a bare report, which must be one."""
    request = {name: b64(raw) for name, raw in _parts(evidence).items()}
    found = ask({"kind": "report", "now": now.isoformat(), "policy": policy, "accept_mock": mock} | request)
    decoded = None if policy is None else decode_policy(policy)
    assert found == as_document(verify_report(evidence, now=now, policy=decoded, accept_mock=mock))
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
            {"tcb_status": "up-to-date"},
            {"tcb_accept": ["AMD-SB-3015", "AMD-SB-3019", "AMD-SB-3016"]},
            {"tcb_floor": {"Milan": {}, "Genoa": {"snp": 255}}, "launch_tcb_floor": {"Turin": {"fmc": 9}}},
            {"pins": {"chip_ids": [report.chip_id.hex()], "host_data": [report.host_data.hex()]}},
            {"pins": {"family_ids": ["ab" * 16], "csp_ids": ["AWS", "Other"]}},
            {"pins": {"csp_ids": ["AWS"]}},
            {"measurements": ["00" * 48, *strict["measurements"]]},
        ]
        for demand in demands:
            _same_report(ask, evidence, case.at, strict | {"revocation": "when-given"} | demand)


def test_tcb_status_and_updates(ask: Ask) -> None:
    """Every vector of TCB data: the whole verdict, or the words of the refusal."""
    shared = json.loads((VECTORS / "collateral.json").read_text())
    for path in sorted((VECTORS / "tcb").glob("*.json")):
        vector = json.loads(path.read_text())
        request = {name: vector[name] for name in ("now", "policy", "accept_mock", "report")}
        request |= {name: shared[vector[name]] for name in PARTS[1:]}
        envelope = (vector["envelope"] or "").encode()
        found = ask({"kind": "report", "tcb": b64(envelope), **request})
        assert found == or_malformed(lambda r=request, e=envelope: _with_update(r, e)), path.name  # type: ignore[misc]


def _with_update(request: Json, envelope: bytes) -> Json:
    policy = decode_policy(request["policy"])
    data = open_tcb_data(envelope, policy.releases) if envelope and policy.releases else BUILT_IN
    report, vek, intermediate, ark, crl = (base64.b64decode(request[part]) for part in PARTS)
    evidence = Evidence(report, Endorsements(vek, intermediate, ark, crl))
    now = dt.datetime.fromisoformat(request["now"])
    return as_document(verify_report(evidence, now=now, policy=policy, accept_mock=True, tcb=data))


def test_single_changed_bytes(ask: Ask, folder: Path, cases: list[Case]) -> None:
    """One byte of one part is changed; the real reports serve as originals."""
    chance = random.Random(8785)
    real = [case for case in cases if case.record["role"] == "real"]
    lists = {line: (folder / f"crl/vcek-{line}.crl.der").read_bytes() for line in ("milan", "genoa")}
    for _ in range(MUTATIONS):
        case = chance.choice(real)
        parts = _parts(_with_crl(case.evidence(folder), lists.get(case.record["product"].lower())))
        name = chance.choice([part for part in PARTS if parts[part] is not None])
        parts[name] = with_changed_byte(parts[name] or b"", chance)
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
        for table in [raw, *(with_changed_byte(raw, chance, 200) for _ in range(20) if raw)]:
            found = ask({"kind": "table", "table": b64(table)})
            assert found == or_malformed(lambda table=table: _table(table)), row["id"]  # type: ignore[misc]


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
        found = ask({"kind": "policy", "document": b64(raw)})
        assert found == or_malformed(lambda raw=raw: {"loads": bool(parse_policy(raw).measurements)}), raw  # type: ignore[misc]


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
    {"tcb_status": "\u00e4"},
    {"tcb_status": 1},
    {"tcb_accept": ["AMD-SB-3019\n"]},
    {"tcb_accept": {}},
    {"releases": {}},
    {"releases": {"keys": []}},
    {"releases": {"keys": ["ab" * 32] * 2, "threshold": 1}},
    {"releases": {"keys": ["ab" * 32], "threshold": 2}},
    {"releases": {"keys": ["ab" * 32], "threshold": True}},
    {"releases": {"key": []}},
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
    raws += [with_changed_byte(text.encode(), chance) for _ in range(MUTATIONS)]
    raws += [text.encode()[:size] for size in range(len(text.encode()))]
    for raw in raws:
        found = ask({"kind": "json", "document": b64(raw)})
        assert found == or_malformed(lambda raw=raw: _encodings(parse_json(raw, "test"))), raw  # type: ignore[misc]


def _encodings(value: Any) -> Json:
    def attempt(encode: Callable[[Any], bytes]) -> Any:
        try:
            return encode(value).hex()
        except Malformed as error:
            return {"malformed": error.field, "found": error.found, "wanted": error.wanted}

    return {"strict": attempt(encode_canonical), "published": attempt(canonicalize)}
