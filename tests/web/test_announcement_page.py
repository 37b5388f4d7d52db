"""Announced releases on the page: fetched from the gateway, or from a file, and demanded by the policy."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import FilePayload, Page

from tee.attest.mock import MockChip, mock_measurement
from tests.vectors.faults_announcement import announced, demand, document, shown
from tests.web.conftest import NewPage
from tests.web.reading import choose_policy, verify
from tests.web.stage import ZERO_DIGEST, StubGateway, json_answer, new_quote

MEASUREMENT = mock_measurement(ZERO_DIGEST).hex()
ROW = {"value": MEASUREMENT, "platform": "mock", "covers": "workload"}
GOOD = document(shown(announced(measurements=[ROW])))
POLICY = {"measurements": [MEASUREMENT], **demand()}


def serve(gateway: StubGateway, chip: MockChip, announcement: Any) -> None:
    def answer(_method: str, path: str, _body: bytes) -> Any:
        if path == "/attestation/announcement":
            return (404, {}, b"") if announcement is None else json_answer(announcement)
        return json_answer(new_quote(chip, gateway.origin, gateway.nonce()))

    gateway.answer = answer


def open_form(new_page: NewPage, gateway: StubGateway, policy: Any = POLICY, *, missing: bool = False) -> Page:
    page = new_page(allowed=(gateway.origin,), expect_errors=missing)
    page.get_by_label("Gateway URL").fill(gateway.origin)
    page.get_by_label("Accept a mock").check()
    choose_policy(page, json.dumps(policy).encode())
    return page


def check_of(result: dict[str, Any]) -> dict[str, str]:
    return next(check for check in result["checks"] if check["id"] == "code.announcement")


def test_the_page_asks_the_gateway_for_its_announcement(
    new_page: NewPage, gateway: StubGateway, chip: MockChip
) -> None:
    serve(gateway, chip, GOOD)
    result = verify(open_form(new_page, gateway))
    assert (result["verdict"], check_of(result)["outcome"]) == ("verified", "pass")
    assert "no retirement followed" in check_of(result)["reason"]


def test_a_gateway_that_shows_none_is_rejected_until_a_file_is_given(
    new_page: NewPage, gateway: StubGateway, chip: MockChip
) -> None:
    serve(gateway, chip, None)
    page = open_form(new_page, gateway, missing=True)
    result = verify(page)
    assert (result["verdict"], check_of(result)["outcome"]) == ("rejected", "skip")
    file: FilePayload = {"name": "0.json", "mimeType": "", "buffer": json.dumps(GOOD).encode()}
    page.locator("#announcement").set_input_files([file])
    result = verify(page)
    assert (result["verdict"], check_of(result)["outcome"]) == ("verified", "pass")
    assert "--announcement 0.json" in page.get_by_text("saferouter verify http").inner_text()


def test_another_release_s_announcement_is_a_lie(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip, document(shown()))
    result = verify(open_form(new_page, gateway))
    assert result["verdict"] == "rejected"
    assert check_of(result)["found"] == "saferouter 1.0, without this measurement"


def test_without_a_demand_nobody_is_asked(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip, GOOD)
    result = verify(open_form(new_page, gateway, {"measurements": [MEASUREMENT]}))
    assert result["verdict"] == "verified"
    assert "/attestation/announcement" not in [path for _, path, _, _ in gateway.asked]
