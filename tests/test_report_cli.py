"""`saferouter report verify` on every shared vector: the manifest's verdict, and the name of the failing check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner

from tee.canonical import encode_canonical
from tee.cli import app
from tee.measure.envelope import seal_envelope
from tee.snp.bulletins import PAYLOAD_TYPE
from tee.snp.report import parse_report
from tests.conftest import ROOT, find_vectors, read_manifest
from tests.snp_vectors import DERIVED_FAILS, REASON_CHECKS, Case, all_cases
from tests.worlds.gateway import run_cli

TCB_DATA = ROOT / "tee" / "tcb.json"
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


def _options(folder: Path, case: Case) -> list[str]:
    files = {name: str(folder / path) for name, path in case.files.items()}
    chain = ["--chain", files["intermediate"], "--chain", files["root"]]
    return ["report", "verify", files["report"], "--vek", files["vek"], *chain, "--at", case.at.isoformat()]


def _verify(options: list[str]) -> tuple[int, dict[str, Any]]:
    result = RUNNER.invoke(app, [*options, "--json"])
    document: dict[str, Any] = json.loads(result.output)
    return result.exit_code, document


def _fails(document: dict[str, Any]) -> list[str]:
    return [check["id"] for check in document["checks"] if check["outcome"] == "fail"]


def test_every_report_and_derived_case(folder: Path, tmp_path: Path) -> None:
    for case in all_cases(read_manifest(folder)):
        code, document = _verify(_options(folder, case))
        accepted = case.expected["crypto"] == "accept"
        assert (code, document["verdict"]) == ((0, "authentic") if accepted else (1, "rejected")), case.id
        assert _fails(document)[:1] == [DERIVED_FAILS[case.id]] if case.id in DERIVED_FAILS else True, case.id
        if "strict_policy" not in case.expected:
            continue
        policy = tmp_path / "policy.toml"
        measurement = case.record["expected"]["measurement"]
        policy.write_text(f'measurements = ["{measurement}"]\nrevocation = "when-given"\n')
        code, document = _verify([*_options(folder, case), "--policy", str(policy)])
        assert document["verdict"] == ("verified" if case.expected["strict_policy"] == "accept" else "rejected"), (
            case.id
        )
        for text in case.expected["strict_policy_reasons"]:
            assert next(name for start, name in REASON_CHECKS.items() if text.startswith(start)) in _fails(document)


# A report that goes with each table, and the certificates that the table lacks.
TABLE_REPORTS = {
    "real-veraison-genoa-pem": ("genoa-v3-vcek-veraison-tsm", []),
    "aws-shape-padded-16k": ("milan-v3-vlek-aws-us-east-2-vmpl1-trustee", ["asvk-milan", "ark-milan"]),
    # The derived case pairs this report with a VLEK; under its own VCEK, from the table, it is genuine.
    "vcek-ask-ark-der": ("vcek-report-with-vlek", []),
    "empty": ("turin-v5-vcek-microsoft", ["vek", "ask-turin", "ark-turin"]),
    "bad-offset-past-end": ("turin-v5-vcek-microsoft", ["vek", "ask-turin", "ark-turin"]),
    "bad-offset-into-header": ("turin-v5-vcek-microsoft", ["vek", "ask-turin", "ark-turin"]),
}


def test_every_certificate_table(folder: Path) -> None:
    manifest = read_manifest(folder)
    cases = {case.id: case for case in all_cases(manifest)}
    assert {row["id"] for row in manifest["cert_tables"]} == set(TABLE_REPORTS)
    for row in manifest["cert_tables"]:
        name, lacking = TABLE_REPORTS[row["id"]]
        case = cases[name]
        options = ["report", "verify", str(folder / case.files["report"]), "--table", str(folder / row["file"])]
        for part in lacking:
            file = case.files["vek"] if part == "vek" else f"roots/{part}.der"
            options += ["--vek" if part == "vek" else "--chain", str(folder / file)]
        code, document = _verify([*options, "--at", case.at.isoformat()])
        if row["expected"] == "accept":
            assert (code, document["verdict"]) == (0, "authentic"), (row["id"], document)
        else:
            assert (code, document["verdict"], _fails(document)) == (1, "rejected", ["hw.certificate"]), row["id"]


def test_missing_certificates_are_named(folder: Path) -> None:
    report = folder / "snp/turin-v5-vcek-microsoft/report.bin"
    result = RUNNER.invoke(app, ["report", "verify", str(report)])
    assert result.exit_code == 1
    assert "FAIL hw.certificate          found VEK: nothing, wanted the VCEK or VLEK" in result.output


def _show(folder: Path, case: str, *options: str) -> str:
    result = RUNNER.invoke(app, ["report", "show", str(folder / f"snp/{case}/report.bin"), *options])
    assert result.exit_code == 0
    return result.output


def test_show_speaks_in_words(folder: Path) -> None:
    shown = _show(folder, "turin-v5-vcek-microsoft")
    assert shown.startswith("Unverified")
    for line in (
        "product            Turin, family 1ah model 02h stepping 1",
        "signed by          VCEK, a key of this chip",
        "chip id            59790fb1c39f35c1",
        "guest policy       allows smt; restricts nothing; ABI at least 0.31",
        "platform           smt, ecc, alias-check-complete, iommu-write-safe (0x65)",
        "reported TCB       fmc 1, bootloader 1, tee 1, snp 4, microcode 81",
        "TCB status         up to date",
        "  AMD-SB-3027 StackWarp: answered",
    ):
        assert line in shown, line
    assert "BadRAM" not in shown  # it asks nothing of a Turin
    shown = _show(folder, "milan-v3-vlek-aws-us-east-2-vmpl1-trustee")
    assert "signed by          VLEK, a key of the cloud provider" in shown
    assert "TCB status         revoked" in shown
    wanted = "  AMD-SB-3019 EntrySign: not answered: microcode 217, wanted at least 219 on Milan B1\n"
    assert wanted in shown
    assert "AMD-SB-3045 MilanLaunchy and BadFuse: no report can answer it" in shown


def test_show_grades_no_cpu_that_the_report_does_not_name(folder: Path, tmp_path: Path) -> None:
    shown = _show(folder, "milan-v2-vcek-virtee")
    assert "product            not named: a version 2 report, so Milan or Genoa" in shown
    assert "reported TCB       bootloader 3, tee 0, snp 8, microcode 115" in shown
    assert "TCB status         not graded: a version 2 report does not name its CPU" in shown
    raw = bytearray((folder / "snp/turin-v5-vcek-microsoft/report.bin").read_bytes())
    raw[0x189] = 0x50  # Venice
    (tmp_path / "venice.bin").write_bytes(raw)
    result = RUNNER.invoke(app, ["report", "show", str(tmp_path / "venice.bin")])
    assert "product            unknown, family 1ah model 50h" in result.output
    assert "TCB status         not graded: this CPU or its TCB is not known here" in result.output


def test_show_as_json(folder: Path) -> None:
    document = json.loads(_show(folder, "genoa-v3-vcek-microsoft", "--json"))
    assert document["fields"]["TCB status"] == "needs update"
    assert document["bulletins"]["AMD-SB-3034 Fabricked"] == "withdrawn: asked until 2026-09-24"


def _policy(folder: Path, path: Path, **demands: Any) -> Path:
    """For the real Genoa, whose firmware of 2025 the policy's floor lets pass."""
    measurement = parse_report((folder / "snp/genoa-v3-vcek-microsoft/report.bin").read_bytes()).measurement.hex()
    document = {"measurements": [measurement], "revocation": "when-given", "tcb_floor": {"Genoa": {"snp": 23}}}
    path.write_text(json.dumps(document | demands))
    return path


def _genoa(folder: Path, *options: str | Path) -> tuple[int, dict[str, Any]]:
    case = next(case for case in all_cases(read_manifest(folder)) if case.id == "genoa-v3-vcek-microsoft")
    return _verify([*_options(folder, case), *map(str, options)])


def test_the_status_of_a_real_genoa(folder: Path, tmp_path: Path) -> None:
    code, document = _genoa(folder, "--policy", _policy(folder, tmp_path / "p.json"))
    (check,) = [check for check in document["checks"] if check["id"] == "guest.tcb-status"]
    assert (code, document["verdict"], check["outcome"]) == (0, "verified", "pass")
    assert check["found"].startswith("needs update: AMD-SB-3020 RMPocalypse: snp 23, wanted at least 27 on Genoa, and ")
    assert any("the firmware needs an update, which your policy" in line for line in document["not_proven"])
    strict = _policy(folder, tmp_path / "p.json", tcb_status="up-to-date")
    code, document = _genoa(folder, "--policy", strict)
    assert (code, _fails(document)) == (1, ["guest.tcb-status"])


def test_signed_tcb_data(folder: Path, tmp_path: Path) -> None:
    keys = [SigningKey(bytes([number]) * 32) for number in (1, 2)]
    releases = {"keys": [bytes(key.verify_key).hex() for key in keys], "threshold": 2, "required": False}
    policy = _policy(folder, tmp_path / "p.json", releases=releases)
    data = json.loads(TCB_DATA.read_text())

    def verify(**changes: Any) -> tuple[int, dict[str, Any]]:
        update.write_bytes(seal_envelope(encode_canonical(data | changes), PAYLOAD_TYPE, keys))
        return _genoa(folder, "--policy", policy, "--tcb", update)

    update = tmp_path / "tcb.json"
    stricter = [row | {"status_below": "revoked"} for row in data["bulletins"]]
    code, document = verify(sequence=2, bulletins=stricter)
    assert (code, _fails(document)) == (1, ["guest.tcb-status"])
    code, document = verify(sequence=2, issued=1, expires=2)
    assert code == 0
    late = "guest.tcb-status: TCB data 2 expired on 1970-01-01: bulletins since 1970-01-01 are not known here"
    assert late in document["not_proven"]


@pytest.mark.parametrize(
    ("changes", "signers", "releases", "said"),
    [
        ({"sequence": 0}, 2, True, "tcb.sequence: found 0, wanted at least 1, which is built in"),
        ({}, 1, True, "tcb.signatures: found good signatures by 1, wanted 2 of the 2 keys that you trust"),
        ({}, 2, False, "--tcb: found no keys to check it with, wanted keys and a threshold under [releases]"),
    ],
)
def test_tcb_data_that_does_not_count_is_a_usage_error(
    folder: Path, tmp_path: Path, changes: dict[str, Any], signers: int, releases: bool, said: str
) -> None:
    keys = [SigningKey(bytes([number]) * 32) for number in (1, 2)]
    named = {"releases": {"keys": [bytes(key.verify_key).hex() for key in keys], "threshold": 2, "required": False}}
    policy = _policy(folder, tmp_path / "p.json", **(named if releases else {}))
    document = json.loads(TCB_DATA.read_text()) | changes
    (tmp_path / "tcb.json").write_bytes(seal_envelope(encode_canonical(document), PAYLOAD_TYPE, keys[:signers]))
    report = folder / "snp/genoa-v3-vcek-microsoft/report.bin"
    done = run_cli("report", "verify", report, "--policy", policy, "--tcb", tmp_path / "tcb.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
