"""The page shows the TCB status, each bulletin's row, and reads signed updates, as the CLI does."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

from playwright.sync_api import FilePayload, Page

from tee.evidence import Endorsements, Evidence
from tee.policy import decode_policy
from tee.snp.bulletins import open_tcb_data
from tee.verify import verify_report
from tests.conftest import ROOT
from tests.web.conftest import NewPage
from tests.web.reading import choose_policy, verify

VECTORS = ROOT / "tests" / "vectors"
SHARED = json.loads((VECTORS / "collateral.json").read_text())


def _vector(number: int) -> dict[str, Any]:
    (path,) = (VECTORS / "tcb").glob(f"{number}-*.json")
    vector: dict[str, Any] = json.loads(path.read_text())
    return vector


def _file(name: str, raw: bytes) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": raw}


def _evidence(vector: dict[str, Any]) -> Evidence:
    parts = [base64.b64decode(SHARED[vector[role]]) for role in ("vek", "intermediate", "ark", "crl")]
    return Evidence(base64.b64decode(vector["report"]), Endorsements(*parts))


def _choose(page: Page, vector: dict[str, Any]) -> None:
    evidence = _evidence(vector)
    ends = evidence.endorsements
    page.get_by_label("Stored evidence").check()
    files = {"report.bin": evidence.report, "vek.der": ends.vek, "ask.der": ends.intermediate, "ark.der": ends.ark}
    page.locator("#files").set_input_files(
        [_file(name, raw) for name, raw in (files | {"crl.der": ends.crl or b""}).items()]
    )
    page.get_by_label("Judge as of").fill(vector["now"])
    page.get_by_label("Accept a mock").set_checked(True)
    choose_policy(page, json.dumps(vector["policy"]).encode())


def _expected(vector: dict[str, Any]) -> dict[str, Any]:
    policy = decode_policy(vector["policy"])
    settings: dict[str, Any] = {}
    if vector["envelope"] is not None:
        assert policy.releases is not None
        settings["tcb"] = open_tcb_data(vector["envelope"].encode(), policy.releases)
    now = dt.datetime.fromisoformat(vector["now"])
    return verify_report(_evidence(vector), now=now, policy=policy, accept_mock=True, **settings).to_json()


def _rows(page: Page) -> dict[str, str]:
    rows = page.locator("[data-bulletin]").all()
    return {str(row.get_attribute("data-bulletin")): str(row.get_attribute("data-state")) for row in rows}


def test_a_revoked_machine_and_each_bulletin(new_page: NewPage) -> None:
    vector = _vector(220)
    page = new_page()
    _choose(page, vector)
    result = verify(page)
    assert result["checks"] == _expected(vector)["checks"]
    assert result["questions"]["debug"] == "fail"
    assert "The firmware's status by AMD's bulletins is one that you accept" in result["headline"]
    assert _rows(page) == {
        "AMD-SB-3015": "answered",
        "AMD-SB-3019": "not answered",
        "AMD-SB-3020": "not answered",
        "AMD-SB-3027": "not answered",
        "AMD-SB-3016": "answered",
        "AMD-SB-3034": "withdrawn",
    }


def test_a_signed_update_is_used(new_page: NewPage) -> None:
    vector = _vector(300)
    page = new_page()
    _choose(page, vector)
    assert verify(page)["verdict"] == "verified"
    page.locator("#tcb").set_input_files(_file("tcb.json", vector["envelope"].encode()))
    result = verify(page)
    assert result["checks"] == _expected(vector)["checks"]
    assert result["verdict"] == "rejected"
    assert _rows(page) == {"AMD-SB-3999": "not answered"}
    assert "--tcb tcb.json" in page.locator(".command code").first.inner_text()


def test_an_update_is_recognised_by_its_content_and_refused_without_keys(new_page: NewPage) -> None:
    vector = _vector(300)
    del vector["policy"]["releases"]
    page = new_page()
    _choose(page, vector)
    page.locator("#files").set_input_files(_file("a.json", vector["envelope"].encode()))
    assert verify(page)["verdict"] == "none"
    assert "tcb: found no keys to check it with" in page.locator(".verdict").inner_text()


def test_an_update_with_a_wrong_signature_gives_no_verdict(new_page: NewPage) -> None:
    vector = _vector(300)
    page = new_page()
    _choose(page, vector)
    page.locator("#tcb").set_input_files(_file("tcb.json", _vector(326)["envelope"].encode()))
    assert verify(page)["verdict"] == "none"
    assert "a bad signature by" in page.locator(".verdict").inner_text()
