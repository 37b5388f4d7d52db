"""Real AMD reports, derived faults and certificate tables: the manifest's verdict on every one."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence, Outcome
from tee.policy import decode_policy, policy_for_measurements
from tee.snp.certs import parse_certificate
from tee.snp.certtable import certificates_of, parse_certificate_table
from tee.snp.product import PRODUCTS
from tee.snp.report import encode_report, parse_report
from tee.verify import verify_report
from tests.conftest import find_vectors, read_manifest
from tests.snp_vectors import DERIVED_FAILS, NOT_REVOKED, REASON_CHECKS, Case, all_cases


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    return all_cases(read_manifest(folder))


def test_every_crypto_verdict_is_the_manifests(folder: Path, cases: list[Case]) -> None:
    for case in cases:
        verdict = verify_report(case.evidence(folder), now=case.at, policy=None)
        assert verdict.outcome == {"accept": "authentic", "reject": "rejected"}[case.expected["crypto"]], case.id
        if case.id in DERIVED_FAILS:
            assert verdict.failures()[0] == DERIVED_FAILS[case.id], case.id
    assert {case.id for case in cases} > set(DERIVED_FAILS)


def test_strict_policy_names_the_manifests_reasons(folder: Path, cases: list[Case]) -> None:
    """Policy checks fail exactly where the manifest gives a reason; provisional firmware is one of them."""
    judged = 0
    for case in cases:
        reasons = case.expected.get("strict_policy_reasons")
        if reasons is None:
            continue
        evidence = case.evidence(folder)
        measurement = parse_report(evidence.report).measurement.hex()
        policy = decode_policy({"measurements": [measurement], "revocation": "when-given"})
        verdict = verify_report(evidence, now=case.at, policy=policy)
        wanted = {check for text in reasons for start, check in REASON_CHECKS.items() if text.startswith(start)}
        assert len(wanted) == len(reasons), reasons
        if case.id not in NOT_REVOKED:
            wanted.add("guest.tcb-status")
        assert {name for name in verdict.failures() if name.startswith(("guest.", "code."))} == wanted, case.id
        assert (verdict.outcome == "verified") is (case.expected["strict_policy"] == "accept"), case.id
        judged += 1
    assert judged == 9


def test_full_scope_requires_revocation(folder: Path, cases: list[Case]) -> None:
    turin = next(case for case in cases if case.id == "turin-v5-vcek-microsoft")
    evidence = turin.evidence(folder)
    policy = policy_for_measurements(parse_report(evidence.report).measurement.hex())
    verdict = verify_report(evidence, now=turin.at, policy=policy)
    assert verdict.outcome == "rejected"
    assert verdict.missing() == ("hw.revocation",)


@pytest.mark.parametrize(
    ("days", "outcome"), [(0, Outcome.FAIL), (2, Outcome.PASS), (360, Outcome.PASS), (380, Outcome.FAIL)]
)
def test_a_revocation_list_counts_only_within_its_window(
    folder: Path, cases: list[Case], days: int, outcome: Outcome
) -> None:
    case = next(case for case in cases if case.id == "milan-v2-vcek-virtee")
    plain = case.evidence(folder)
    crl = (folder / "crl/vcek-milan.crl.der").read_bytes()
    ends = plain.endorsements
    evidence = Evidence(plain.report, Endorsements(ends.vek, ends.intermediate, ends.ark, crl))
    at = dt.datetime(2025, 5, 6, tzinfo=dt.UTC) + dt.timedelta(days=days)
    assert verify_report(evidence, now=at, policy=None).check("hw.revocation").outcome is outcome


def test_a_list_of_another_product_is_refused(folder: Path, cases: list[Case]) -> None:
    case = next(case for case in cases if case.id == "milan-v2-vcek-virtee")
    plain = case.evidence(folder)
    crl = (folder / "crl/vcek-genoa.crl.der").read_bytes()
    ends = plain.endorsements
    evidence = Evidence(plain.report, Endorsements(ends.vek, ends.intermediate, ends.ark, crl))
    check = verify_report(evidence, now=case.at, policy=None).check("hw.revocation")
    assert (check.outcome, check.found) == (Outcome.FAIL, "a list that ARK-Milan did not sign")


def test_expired_vlek_is_refused_today(folder: Path, cases: list[Case]) -> None:
    case = next(case for case in cases if "vlek" in case.id and case.record["role"] == "real")
    now = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    assert verify_report(case.evidence(folder), now=now, policy=None).failures() == ("hw.validity",)


def test_parsed_fields_are_the_manifests(folder: Path, cases: list[Case]) -> None:
    for case in cases:
        expected: dict[str, Any] = case.record.get("expected", {})
        if not expected:
            continue
        raw = case.evidence(folder).report
        report = parse_report(raw)
        assert encode_report(report) == raw, case.id
        assert report.policy == int(expected["policy"], 16)
        assert report.platform_info == int(expected["platform_info"], 16)
        assert ".".join(map(str, report.current_firmware)) == expected["current_fw"]
        assert ".".join(map(str, report.committed_firmware)) == expected["committed_fw"]
        for name in ("measurement", "report_data", "host_data", "chip_id", "report_id", "id_key_digest"):
            assert getattr(report, name).hex() == expected[name], (case.id, name)
        for name in ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"):
            assert getattr(report, name).hex() == expected[name]["raw_hex_le"]
        if "cpuid" in expected:
            assert report.cpuid == tuple(expected["cpuid"].values())


def test_pins_are_the_real_certificates(folder: Path) -> None:
    for product in PRODUCTS.values():
        for role, pin in (("ark", product.ark), ("ask", product.ask), ("asvk", product.asvk)):
            raw = (folder / f"roots/{role}-{product.name.lower()}.der").read_bytes()
            certificate = parse_certificate(raw, role)
            assert (certificate.subject_cn, certificate.sha256, certificate.spki_sha256) == (
                pin.common_name,
                pin.der_sha256,
                pin.spki_sha256,
            )


def test_certificate_tables(folder: Path) -> None:
    for row in read_manifest(folder)["cert_tables"]:
        raw = (folder / row["file"]).read_bytes()
        if row["expected"] == "reject":
            with pytest.raises(Malformed):
                parse_certificate_table(raw)
            continue
        entries = parse_certificate_table(raw)
        found = [(str(e.guid), len(e.payload), hashlib.sha256(e.payload).hexdigest()) for e in entries]
        assert found == [(e["guid"], e["length"], e["sha256"]) for e in row["entries"]], row["id"]
        for name, der in certificates_of(entries).items():
            parse_certificate(der, name)
