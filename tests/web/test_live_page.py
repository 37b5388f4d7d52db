"""The page against a stub gateway: an honest mock, and one lie per test. None of them may ever look like a proof."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tee.attest.mock import MockChip, mock_measurement
from tee.canonical import digest, digest_bytes, encode_canonical
from tee.log.receipt import sign_receipt
from tee.policy import policy_for_measurements
from tee.quote import parse_bundle
from tee.verify import verify_answer, verify_quote
from tests.web.conftest import NewPage
from tests.web.reading import ask, outcomes, verify
from tests.web.stage import RECEIPT_KEY, ZERO_DIGEST, Answer, StubGateway, json_answer, new_quote

MEASUREMENT = mock_measurement(ZERO_DIGEST).hex()
REQUEST, RESPONSE = b'{"model":"m","messages":[]}', b'{"choices":[]}'


def honest(gateway: StubGateway, chip: MockChip) -> list[dict[str, Any]]:
    """Make the stub tell the truth; returns the list that its quotes are kept in."""
    quotes: list[dict[str, Any]] = []

    def answer(_method: str, _path: str, body: bytes) -> Answer:
        quotes.append(new_quote(chip, gateway.origin, bytes.fromhex(json.loads(body)["nonce"])))
        return json_answer(quotes[-1])

    gateway.answer = answer
    return quotes


def new_receipt(keyset: dict[str, Any], response: bytes = RESPONSE) -> bytes:
    document = {
        "api_version": "aci/1",
        "receipt_id": "rcpt-1",
        "chat_id": None,
        "model": "m",
        "endpoint": "/v1/chat/completions",
        "method": "POST",
        "served_at": int(dt.datetime.now(dt.UTC).timestamp()),
        "event_log": [
            {"type": "request.received", "body_hash": digest_bytes(REQUEST)},
            {"type": "response.returned", "body_hash": digest_bytes(response)},
            {"type": "stream", "complete": True},
        ],
        "key_id": "receipt-1",
        "workload_keyset_digest": digest(keyset),
    }
    return encode_canonical(sign_receipt(document, RECEIPT_KEY))


def test_an_honest_mock_is_told_as_a_mock(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    quotes = honest(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin + "/v1", MEASUREMENT)
    result = verify(page)
    expected = verify_quote(
        quotes[0],
        now=dt.datetime.now(dt.UTC),
        policy=policy_for_measurements(MEASUREMENT),
        nonce=gateway.nonce(),
        audience=gateway.origin,
        accept_mock=True,
    ).to_json()
    for shown, judged in zip(result["checks"], expected["checks"], strict=True):  # type: ignore[call-overload]
        assert shown == judged or (shown["id"] == "hw.validity" and shown["outcome"] == judged["outcome"])
    assert (result["verdict"], result["mock"], result["state"]) == ("verified", True, "mock")
    assert "nothing about hardware" in result["headline"]
    assert result["questions"] == {"genuine": "mock", "debug": "pass", "build": "pass", "keys": "pass", "fresh": "pass"}
    green = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--pass').trim()")
    for tone in page.locator("#result [data-state]").all():
        assert tone.evaluate("node => getComputedStyle(node).getPropertyValue('--tone').trim()") != green
    assert [method for method, *_ in gateway.asked] == ["POST"]
    assert len(gateway.nonce()) == 32
    command = page.get_by_label("Command", exact=True).inner_text()
    assert command == f"saferouter verify {gateway.origin} --policy policy.json --accept-mock"


def test_the_single_file_asks_a_live_gateway(
    new_page: NewPage, standalone: str, gateway: StubGateway, chip: MockChip
) -> None:
    honest(gateway, chip)
    page = new_page(standalone, allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT)
    assert verify(page)["state"] == "mock"


def test_a_mock_that_was_not_accepted_is_rejected(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    honest(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT, mock=False)
    result = verify(page)
    assert (result["verdict"], result["state"], outcomes(result)["hw.root"]) == ("rejected", "fail", "fail")


def test_without_a_policy_a_gateway_is_rejected(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    honest(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, "")
    result = verify(page)
    assert (result["verdict"], outcomes(result)["code.measurement"]) == ("rejected", "fail")


LIES: dict[str, tuple[str, Callable[[dict[str, Any], MockChip, str], dict[str, Any]]]] = {
    "an old quote": ("bind.nonce", lambda quote, chip, origin: new_quote(chip, origin, b"\x01" * 32)),
    "a quote for nobody": ("bind.nonce", lambda quote, chip, origin: new_quote(chip, origin, None)),
    "another gateway's quote": (
        "bind.audience",
        lambda quote, chip, origin: new_quote(
            chip, "https://other.example", bytes.fromhex(json.loads(quote["statement"])["nonce"])
        ),
    ),
    "a later expiry": (
        "bind.report-data",
        lambda quote, chip, origin: (
            quote | {"keyset": quote["keyset"] | {"not_after": quote["keyset"]["not_after"] + 1}}
        ),
    ),
    "another identity": (
        "bind.workload",
        lambda quote, chip, origin: quote | {"workload": quote["workload"] | {"identity_key": "00" * 32}},
    ),
    "no statement": ("bind.quote", lambda quote, chip, origin: {k: v for k, v in quote.items() if k != "statement"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_rejected_by_its_check(new_page: NewPage, gateway: StubGateway, chip: MockChip, lie: str) -> None:
    check, tell = LIES[lie]

    def answer(_method: str, _path: str, body: bytes) -> Answer:
        truth = new_quote(chip, gateway.origin, bytes.fromhex(json.loads(body)["nonce"]))
        return json_answer(tell(truth, chip, gateway.origin))

    gateway.answer = answer
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT)
    result = verify(page)
    assert (result["verdict"], result["state"]) == ("rejected", "fail")
    assert outcomes(result)[check] == "fail"


REFUSALS: dict[str, Answer] = {
    "busy": (429, {}, b""),
    "endless": (200, {}, b" " * ((1 << 20) + 1)),
    "no JSON": (200, {}, b"<html>"),
    "a redirect": (307, {"location": "/elsewhere"}, b""),
    "a number": (200, {}, b"7"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_gateway_without_evidence_gets_no_verdict(new_page: NewPage, gateway: StubGateway, refusal: str) -> None:
    gateway.answer = lambda *_: REFUSALS[refusal]
    page = new_page(allowed=(gateway.origin,), expect_errors=True)
    ask(page, gateway.origin, MEASUREMENT)
    result = verify(page)
    assert result["verdict"] in ("none", "rejected")
    assert result["state"] in ("skip", "fail")
    assert len(gateway.asked) == 1  # a redirect is not followed


def with_receipts(gateway: StubGateway, chip: MockChip, *, past: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Serve receipts too: of the live keyset, or of an earlier quote, whose evidence is then also served."""
    quotes = honest(gateway, chip)
    attest = gateway.answer

    def answer(method: str, path: str, body: bytes) -> Answer:
        if path.startswith("/v1/aci/receipts/"):
            return 200, {}, new_receipt((past or quotes[-1])["keyset"])
        if past and path == f"/attestation/keysets/{digest(past['keyset'])}":
            return json_answer(past)
        return attest(method, path, body)

    gateway.answer = answer
    return quotes


def name_receipt(page: Page) -> None:
    page.get_by_text("Check one answer too").click()
    page.locator("#receipt-id").fill("rcpt-1")
    page.get_by_label("Your API key").fill("sk-sr-test")


def test_an_answer_is_checked_against_its_receipt(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    quotes = with_receipts(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT)
    name_receipt(page)
    page.locator("#request").set_input_files({"name": "q.json", "mimeType": "", "buffer": REQUEST})
    page.locator("#response").set_input_files({"name": "a.json", "mimeType": "", "buffer": RESPONSE})
    result = verify(page)
    quote = verify_quote(
        quotes[-1],
        now=dt.datetime.now(dt.UTC),
        policy=policy_for_measurements(MEASUREMENT),
        nonce=gateway.nonce(),
        audience=gateway.origin,
        accept_mock=True,
    )
    expected = verify_answer(quote, quotes[-1], new_receipt(quotes[-1]["keyset"]), REQUEST, RESPONSE)
    assert outcomes(result) == {check.id: check.outcome.value for check in expected.checks}
    assert (result["verdict"], result["questions"]["answer"]) == ("verified", "pass")
    assert [key for *_, key in gateway.asked] == [None, "Bearer sk-sr-test"]
    page.locator("#response").set_input_files({"name": "a.json", "mimeType": "", "buffer": RESPONSE + b" "})
    tampered = verify(page)
    assert (tampered["verdict"], outcomes(tampered)["receipt.response"]) == ("rejected", "fail")
    assert tampered["questions"]["answer"] == "fail"
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_the_api_key_stays_here_when_the_evidence_is_rejected(
    new_page: NewPage, gateway: StubGateway, chip: MockChip
) -> None:
    with_receipts(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT, mock=False)
    name_receipt(page)
    result = verify(page)
    assert any("your API key stayed here" in notice for notice in result["notices"])
    assert [key for *_, key in gateway.asked] == [None]


def test_a_receipt_of_earlier_keys_is_told_plainly(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    tomorrow = int(dt.datetime.now(dt.UTC).timestamp()) + 24 * 3600
    past = new_quote(chip, gateway.origin, b"\x02" * 32, not_after=tomorrow)
    with_receipts(gateway, chip, past=past)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT)
    name_receipt(page)
    page.locator("#request").set_input_files({"name": "q.json", "mimeType": "", "buffer": REQUEST})
    page.locator("#response").set_input_files({"name": "a.json", "mimeType": "", "buffer": RESPONSE})
    result = verify(page)
    assert any(digest(past["keyset"]) in notice and "other keys" in notice for notice in result["notices"])
    assert result["verdict"] == "verified"
    assert (result["questions"]["fresh"], result["questions"]["answer"]) == ("skip", "pass")


def test_a_saved_bundle_verifies_offline_but_is_not_called_fresh(
    new_page: NewPage, gateway: StubGateway, chip: MockChip, tmp_path: Path
) -> None:
    quotes = honest(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    ask(page, gateway.origin, MEASUREMENT)
    verify(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save bundle").click()
    saved = tmp_path / "bundle.evidence"
    download.value.save_as(saved)
    bundle = parse_bundle(saved.read_bytes())
    assert (bundle.origin, bundle.document) == (gateway.origin, quotes[0])
    offline = new_page()  # no origin is allowed: a request would fail the test
    offline.locator("#files").set_input_files(saved, timeout=5000)
    offline.get_by_label("Launch measurement").fill(MEASUREMENT)
    offline.get_by_label("Accept a mock").check()
    result = verify(offline)
    assert (result["verdict"], outcomes(result)["bind.audience"]) == ("verified", "skip")  # a file's own word
    assert result["questions"]["fresh"] == "skip"


def test_a_pasted_quote_is_judged_like_a_file(new_page: NewPage, chip: MockChip) -> None:
    page = new_page()
    page.get_by_label("Stored evidence").check()
    page.get_by_text("Paste a quote or bundle").click()
    page.locator("#pasted").fill(json.dumps(new_quote(chip, "https://gateway.example", None)))
    page.get_by_label("Accept a mock").check()
    page.get_by_label("Launch measurement").fill(MEASUREMENT)
    result = verify(page)
    assert (result["verdict"], result["state"], result["questions"]["fresh"]) == ("verified", "mock", "skip")
