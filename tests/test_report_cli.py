"""`saferouter report verify` on every shared vector: the manifest's verdict, and the name of the failing check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tee.cli import app
from tests.conftest import find_vectors, read_manifest
from tests.snp_vectors import DERIVED_FAILS, REASON_CHECKS, Case, all_cases

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
    assert "FAIL hw.certificate       found VEK: nothing, wanted the VCEK or VLEK" in result.output


def test_show_prints_the_fields(folder: Path) -> None:
    result = RUNNER.invoke(app, ["report", "show", str(folder / "snp/turin-v5-vcek-microsoft/report.bin")])
    assert result.exit_code == 0
    assert "version              5" in result.output
    assert "chip_id              59790fb1c39f35c1" in result.output
