"""The verifier page in a browser: the same verdict as Python's, and what a reader sees of it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import FilePayload, expect

from tee.canonical import encode_canonical
from tee.policy import parse_policy
from tee.snp.report import parse_report
from tee.verify import verify_report
from tests.conftest import ROOT, find_vectors, read_manifest
from tests.snp_vectors import DERIVED_FAILS, Case, all_cases
from tests.web.conftest import SITE, NewPage
from tests.web.reading import choose_policy, choose_report, verify

REAL = (
    "milan-v3-vcek-dstack",
    "milan-v2-vcek-debug-gosevguest",
    "genoa-v3-vcek-microsoft",
    "turin-v5-vcek-microsoft",
    "milan-v3-vlek-aws-us-east-2-vmpl1-trustee",
    "bad-milan-v2-wrong-vcek-kinvolk",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, Case]:
    return {case.id: case for case in all_cases(read_manifest(folder))}


def policy_for(report: bytes) -> bytes:
    measurement = parse_report(report).measurement.hex()
    return json.dumps({"measurements": [measurement], "revocation": "when-given"}).encode()


@pytest.mark.parametrize("case_id", REAL)
@pytest.mark.parametrize("with_policy", [False, True], ids=["authenticity", "policy"])
def test_real_reports_get_pythons_verdict_check_by_check(
    new_page: NewPage, folder: Path, cases: dict[str, Case], case_id: str, with_policy: bool
) -> None:
    case = cases[case_id]
    evidence = case.evidence(folder)
    policy = policy_for(evidence.report) if with_policy else None
    expected = verify_report(evidence, now=case.at, policy=parse_policy(policy) if policy else None).to_json()
    page = new_page()
    choose_report(page, folder, case)
    if policy:
        choose_policy(page, policy)
    result = verify(page)
    assert result["checks"] == expected["checks"]
    assert (result["verdict"], result["mock"]) == (expected["verdict"], False)
    # A bare report names no keys and answers no nonce: whatever the policy, this is never green.
    assert result["state"] == {"verified": "partial", "authentic": "partial", "rejected": "fail"}[result["verdict"]]


@pytest.mark.parametrize("case_id", sorted(DERIVED_FAILS))
def test_derived_faults_get_pythons_verdict(
    new_page: NewPage, folder: Path, cases: dict[str, Case], case_id: str
) -> None:
    case = cases[case_id]
    expected = verify_report(case.evidence(folder), now=case.at, policy=None).to_json()
    page = new_page()
    choose_report(page, folder, case)
    page.get_by_label("What report.bin is").select_option("report")  # a wrong length is not recognised
    result = verify(page)
    assert result["checks"] == expected["checks"]
    assert (result["verdict"], result["state"]) == ("rejected", "fail")


def test_one_measurement_means_the_strict_defaults(new_page: NewPage, folder: Path, cases: dict[str, Case]) -> None:
    page = new_page()
    choose_report(page, folder, cases["turin-v5-vcek-microsoft"])
    report = (folder / cases["turin-v5-vcek-microsoft"].files["report"]).read_bytes()
    page.get_by_label("Launch measurement").fill(parse_report(report).measurement.hex())
    result = verify(page)
    assert result["verdict"] == "rejected"  # the strict defaults demand a revocation list
    assert "AMD has not revoked the intermediate" in result["headline"]
    assert result["questions"] == {"genuine": "skip", "debug": "pass", "build": "pass", "keys": "skip", "fresh": "skip"}


def test_a_host_certificate_table_serves_as_certificates(
    new_page: NewPage, folder: Path, cases: dict[str, Case]
) -> None:
    case = cases["genoa-v3-vcek-veraison-tsm"]
    page = new_page()
    page.get_by_label("Stored evidence").check()
    page.locator("#files").set_input_files([folder / case.files["report"], folder / case.files["cert_table"]])
    page.get_by_label("Judge as of").fill(case.at.isoformat())
    result = verify(page)
    assert result["verdict"] == "authentic"
    assert result["questions"]["genuine"] == "pass"


def test_without_certificates_there_is_no_verdict(new_page: NewPage, folder: Path, cases: dict[str, Case]) -> None:
    page = new_page()
    page.get_by_label("Stored evidence").check()
    page.locator("#files").set_input_files([folder / cases["turin-v5-vcek-microsoft"].files["report"]])
    result = verify(page)
    assert result["verdict"] == "none"
    assert "chip certificate: found none" in page.locator(".verdict").inner_text()


def test_the_single_file_works_from_disk(
    new_page: NewPage, standalone: str, folder: Path, cases: dict[str, Case]
) -> None:
    case = cases["genoa-v3-vcek-microsoft"]
    expected = verify_report(case.evidence(folder), now=case.at, policy=None).to_json()
    page = new_page(standalone)
    assert page.locator("#own-origin").inner_text() == "a file on this device"
    choose_report(page, folder, case)
    assert verify(page)["checks"] == expected["checks"]


def test_the_same_sources_build_the_same_bytes(builder: ModuleType) -> None:
    page = builder.build()
    assert page == builder.build()
    assert b"'self'" not in page.split(b"</head>")[0].split(b"<style>")[0]
    assert page.count(b"<script") == page.count(b"<style") == 1


def test_the_pages_checks_are_those_of_tee(builder: ModuleType) -> None:
    source = (SITE / "src" / "checks.js").read_text()
    assert source == builder.encode_checks(), "run `make web`"
    tcb = (SITE / "src" / "tcb.js").read_text()
    assert tcb == builder.encode_tcb_data(), "run `make web`"
    rows = source.split("export const CHECKS = ")[1].rstrip(";\n").replace(",\n]", "\n]")
    assert json.loads(rows) == json.loads((ROOT / "tee" / "checks.json").read_text())


def test_the_bundler_refuses_what_it_does_not_know(builder: ModuleType, tmp_path: Path) -> None:
    for source in (
        "export default 1;\n",
        'import x from "./y.js";\n',
        "export { a };\n",
        "const a = import('./b.js');\n",
    ):
        (tmp_path / "page.js").write_text(source)
        with pytest.raises(builder.BuildError):
            builder.bundle(tmp_path)
    (tmp_path / "page.js").write_text('import { a } from "./other.js";\n')
    (tmp_path / "other.js").write_text("export const b = 1;\n")
    with pytest.raises(builder.BuildError, match="does not export a"):
        builder.bundle(tmp_path)


def test_the_raw_bytes_are_those_that_were_judged(new_page: NewPage, folder: Path, cases: dict[str, Case]) -> None:
    case = cases["turin-v5-vcek-microsoft"]
    page = new_page()
    choose_report(page, folder, case)
    verify(page)
    raw = page.locator("[data-raw='report.bin']")
    raw.locator("summary").click()
    assert raw.locator("pre").inner_text() == case.evidence(folder).report.hex()
    with page.expect_download() as download:
        raw.get_by_role("button", name="Save as report.bin").click()
    assert Path(download.value.path()).read_bytes() == case.evidence(folder).report


def test_the_command_line_names_the_same_files_and_time(
    new_page: NewPage, folder: Path, cases: dict[str, Case]
) -> None:
    page = new_page()
    case = cases["turin-v5-vcek-microsoft"]
    choose_report(page, folder, case)
    sentence = verify_report(case.evidence(folder), now=case.at, policy=None).sentence()
    verify(page)
    command = page.get_by_label("Command", exact=True).inner_text()
    assert command == (
        "saferouter report verify report.bin --vek vek.der --chain ask-turin.der --chain ark-turin.der"
        " --at 2026-03-07T01:04:33Z"
    )
    assert page.locator(".cli-sentence").inner_text().strip('“”"') == sentence


def test_a_hostile_file_name_stays_one_word_of_text(new_page: NewPage, folder: Path, cases: dict[str, Case]) -> None:
    page = new_page()
    choose_report(page, folder, cases["turin-v5-vcek-microsoft"])
    report = (folder / cases["turin-v5-vcek-microsoft"].files["report"]).read_bytes()
    name = "-x <img src=y onerror=alert(1)>'; rm .bin"
    page.locator("#files").set_input_files({"name": name, "mimeType": "", "buffer": report})
    expect(page.locator("#evidence-files")).to_contain_text(name)
    verify(page)
    assert page.locator("img").count() == 0
    assert (
        "verify './-x <img src=y onerror=alert(1)>'\\''; rm .bin' "
        in page.get_by_label("Command", exact=True).inner_text()
    )


def test_files_are_told_apart_by_content(new_page: NewPage, folder: Path) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    blobs = {
        "a": (folder / "crl" / "vcek-milan.crl.der").read_bytes(),
        "b": (folder / "roots" / "ark-milan.der").read_bytes(),
        "c": (folder / "certtable" / "vcek-ask-ark-der.bin").read_bytes(),
        "d": encode_canonical({"measurements": ["00" * 48]}),
        "e": encode_canonical(request),
        "f": b'data: {"id":"x","choices":[]}\n\ndata: [DONE]\n\n',
        "g": encode_canonical({"receipt_id": "r", "event_log": []}),
        "h": b"\x00\x01",
        "i": b'{"format":{"a":1}}',
        "response.json": b"{}",
    }
    page = new_page()
    page.locator("#files").set_input_files(
        [FilePayload(name=name, mimeType="", buffer=raw) for name, raw in blobs.items()]
    )
    expect(page.locator(".files li")).to_have_count(9)
    roles = {
        row.locator("select").get_attribute("aria-label"): row.get_attribute("data-role")
        for row in page.locator(".files li").all()
    }
    assert roles == {
        "What a is": "crl",
        "What b is": "certificate",
        "What c is": "table",
        "What d is": "policy",
        "What e is": "request",
        "What g is": "receipt",
        "What h is": "unknown",
        "What i is": "unknown",
        "What response.json is": "response",  # one response only: the later replaces "f"
    }


def test_a_time_without_a_zone_is_utc(new_page: NewPage, folder: Path, cases: dict[str, Case]) -> None:
    page = new_page()
    choose_report(page, folder, cases["turin-v5-vcek-microsoft"])
    page.get_by_label("Judge as of").fill("2126-03-07 01:04")
    result = verify(page)
    validity = next(check for check in result["checks"] if check["id"] == "hw.validity")
    assert validity["found"] == dt.datetime(2126, 3, 7, 1, 4).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert validity["outcome"] == "fail"
    assert "a time asserted by you" in page.locator(".context").inner_text()
