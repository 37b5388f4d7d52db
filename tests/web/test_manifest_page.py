"""Release manifests on the page: which release answered, and what this browser remembers."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import FilePayload, Page, expect

from tee.attest.mock import MockChip, mock_measurement
from tests.vectors.faults_manifest import BY_RELEASE, chain, envelope, measured, predicate, statement
from tests.web.conftest import NewPage
from tests.web.reading import choose_policy, outcomes, verify
from tests.web.stage import ZERO_DIGEST, StubGateway, json_answer, new_quote

LISTED = {
    "measurements": [measured(mock_measurement(ZERO_DIGEST).hex())],
    "build": {"source_digest": ZERO_DIGEST, "image_digest": None},
    "expires": 4070908800,  # the year 2099
}
OLDER = statement(predicate(**LISTED))
FIRST, SECOND = chain(OLDER, **LISTED)


def serve(gateway: StubGateway, chip: MockChip) -> None:
    gateway.answer = lambda *_: json_answer(new_quote(chip, gateway.origin, gateway.nonce()))


def choose(page: Page, *manifests: dict[str, Any]) -> None:
    files: list[FilePayload] = [
        {"name": f"manifest-{number}.json", "mimeType": "", "buffer": json.dumps(manifest).encode()}
        for number, manifest in enumerate(manifests)
    ]
    page.locator("#manifest").set_input_files(files)


def open_form(new_page: NewPage, gateway: StubGateway) -> Page:
    page = new_page(allowed=(gateway.origin,))
    page.get_by_label("Gateway URL").fill(gateway.origin)
    page.get_by_label("Accept a mock").check()
    choose_policy(page, json.dumps(BY_RELEASE).encode())
    return page


def release_of(result: dict[str, Any]) -> dict[str, str]:
    return next(check for check in result["checks"] if check["id"] == "code.release")


def test_the_page_names_the_release_that_answered(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip)
    page = open_form(new_page, gateway)
    choose(page, FIRST, SECOND)
    result = verify(page)
    assert (result["verdict"], result["questions"]["build"]) == ("verified", "pass")
    answer = page.locator("[data-question=build] [data-field=release]").inner_text()
    assert answer == "saferouter 0.2.0, by manifest 8 until 2099-01-01T00:00:00Z"
    command = page.get_by_text("saferouter verify http").inner_text()
    assert "--policy policy.json --manifest manifest-0.json --manifest manifest-1.json" in command
    assert page.evaluate("Object.values(JSON.parse(localStorage.getItem('saferouter.manifests')))") == [8]


def test_an_older_manifest_than_last_time_is_refused(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip)
    page = open_form(new_page, gateway)
    choose(page, FIRST)
    assert verify(page)["verdict"] == "verified"
    choose(page, SECOND)  # under the same name: it takes the first one's place
    assert release_of(verify(page))["found"].startswith("saferouter 0.2.0, by manifest 8")
    page.reload()
    page.get_by_label("Gateway URL").fill(gateway.origin)
    page.get_by_label("Accept a mock").check()
    choose_policy(page, json.dumps(BY_RELEASE).encode())
    choose(page, FIRST)
    result = verify(page)
    assert (result["verdict"], outcomes(result)["code.release"]) == ("rejected", "fail")
    check = release_of(result)
    assert (check["found"], check["wanted"]) == ("manifests: manifest 7", "at least manifest 8, seen here before")


def test_release_keys_without_a_manifest_accept_nothing(
    new_page: NewPage, gateway: StubGateway, chip: MockChip
) -> None:
    serve(gateway, chip)
    page = open_form(new_page, gateway)
    result = verify(page)
    assert (result["verdict"], result["questions"]["build"]) == ("rejected", "skip")
    choose(page, envelope(OLDER, ("release-1",)))
    result = verify(page)
    assert (result["verdict"], result["questions"]["build"]) == ("rejected", "fail")
    assert page.evaluate("localStorage.length") == 0


def test_a_manifest_dropped_without_release_keys_is_no_verdict(
    new_page: NewPage, gateway: StubGateway, chip: MockChip
) -> None:
    serve(gateway, chip)
    page = new_page(allowed=(gateway.origin,))
    page.locator("#files").set_input_files(
        {"name": "anything", "mimeType": "", "buffer": json.dumps(FIRST, indent=1).encode()}
    )
    expect(page.locator("#manifest-files [data-role=manifest]")).to_have_count(1)  # known by its content
    page.get_by_label("Gateway URL").fill(gateway.origin)
    assert verify(page)["verdict"] == "none"
    assert "found no release keys, wanted a policy with a table" in page.locator("#result").inner_text()
    assert gateway.asked == []


def test_a_browser_that_stores_nothing_says_so(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip)
    page = open_form(new_page, gateway)
    refuse = 'get() { throw new DOMException("off", "SecurityError"); }'
    page.evaluate(f"Object.defineProperty(window, 'localStorage', {{ {refuse} }})")
    choose(page, FIRST)
    result = verify(page)
    assert result["verdict"] == "verified"
    assert [text for text in result["notices"] if "keeps no memory" in text]


def test_a_broken_memory_is_no_fresh_start(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    serve(gateway, chip)
    page = open_form(new_page, gateway)
    choose(page, FIRST)
    for text in ("{", "null", '{"a":"8"}'):
        page.evaluate("text => localStorage.setItem('saferouter.manifests', text)", text)
        assert verify(page)["verdict"] == "none", text
        assert "memory of manifests" in page.locator("#result").inner_text()
