"""The page and one answer whole: the head that was signed, a crash's checkpoint, an epoch that has passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page
from typer.testing import CliRunner

from tee.cli import app
from tests.test_epochs import begin_epoch
from tests.test_http_signature import head_of
from tests.test_stream_checkpoints import killed_stream
from tests.test_transparency import proof_of
from tests.web.conftest import NewPage
from tests.web.reading import ask, verify
from tests.worlds.gateway import RunningGateway, chat_body

Result = dict[str, Any]


def accept(page: Page, gateway: RunningGateway) -> None:
    """A visit to this gateway, as its demo policy accepts it."""
    known = json.loads(gateway.policy.with_suffix(".json").read_text())
    ask(page, gateway.url, str(known["measurements"][0]))


def dropped(files: dict[str, bytes]) -> list[FilePayload]:
    return [FilePayload(name=name, mimeType="", buffer=raw) for name, raw in files.items()]


def check(result: Result, name: str) -> Result:
    return next(dict(row) for row in result["checks"] if row["id"] == name)


def saved(page: Page, path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save bundle").click()
    download.value.save_as(path)
    return path


def assert_kept(
    offline: Page, live: Result, bundle: Path, gateway: RunningGateway, request: bytes, response: bytes
) -> None:
    """The bundle alone, with the bodies, gives the verdict of the answer again: here and on the command line."""
    bodies = {"request": request, "response": response}
    for name, raw in bodies.items():
        bundle.with_name(name).write_bytes(raw)
    offline.locator("#files").set_input_files([*dropped(bodies), *dropped({"bundle": bundle.read_bytes()})])
    known = json.loads(gateway.policy.with_suffix(".json").read_text())
    offline.get_by_label("Launch measurement").fill(str(known["measurements"][0]))
    offline.get_by_label("Accept a mock").check()
    here = verify(offline)
    words = ["verify", bundle, "--policy", gateway.policy, "--accept-mock", "--json"]
    words += ["--request", bundle.with_name("request"), "--response", bundle.with_name("response")]
    told = json.loads(CliRunner().invoke(app, [str(word) for word in words]).stdout)
    assert here["verdict"] == told["verdict"] == live["verdict"]
    rows = [[row for row in each["checks"] if row["id"].startswith("receipt.")] for each in (here, told, live)]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize(
    ("changed", "outcome", "verdict"), [(b"HTTP/1.1 200", "pass", "verified"), (b"HTTP/1.1 299", "fail", "rejected")]
)
def test_a_dropped_head_is_held_against_the_receipt(
    new_page: NewPage, live_gateway: RunningGateway, tmp_path: Path, changed: bytes, outcome: str, verdict: str
) -> None:
    answered = live_gateway.ask("whose head is this?")
    page = new_page(allowed=(live_gateway.url,))
    accept(page, live_gateway)
    files = {"r.json": live_gateway.fetch_receipt(answered.receipt_id), "q.json": answered.request}
    files |= {"a.json": answered.raw, "head": head_of(answered).replace(b"HTTP/1.1 200", changed)}
    page.locator("#files").set_input_files(dropped(files))
    result = verify(page)
    assert (result["verdict"], check(result, "receipt.http-signature")["outcome"]) == (verdict, outcome)
    assert page.locator("#answer-files [data-role=headers]").count() == 1
    bundle = saved(page, tmp_path / "bundle")
    assert_kept(new_page(), result, bundle, live_gateway, answered.request, answered.raw)
    assert "--headers head" in page.get_by_label("Command", exact=True).inner_text()


def test_after_a_crash_the_dead_boots_checkpoint_is_judged_here_too(
    new_page: NewPage, tmp_path: Path, chip_file: Path
) -> None:
    body = chat_body("mock:slow=30 mock:chunks=3000", stream=True)
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        receipt_id, got = killed_stream(gateway, body)
        gateway.start()
        page = new_page(allowed=(gateway.url,))
        accept(page, gateway)
        files = {"receipt": gateway.fetch_receipt(receipt_id), "request.json": body, "response.txt": got}
        page.locator("#files").set_input_files(dropped(files))
        live = verify(page)
        stream = check(live, "receipt.stream")
        assert (stream["outcome"], stream["wanted"]) == ("pass", "a signed beginning of the response that was given")
        bundle = saved(page, tmp_path / "bundle")
    assert_kept(new_page(), live, bundle, gateway, body, got)


def test_a_receipt_of_a_passed_epoch_is_joined_to_its_own_history(
    new_page: NewPage, tmp_path: Path, chip_file: Path
) -> None:
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        answered = gateway.ask("in the first epoch")
        proof_of(gateway, answered.receipt_id)
        begin_epoch(gateway)
        page = new_page(allowed=(gateway.url,))
        accept(page, gateway)
        page.get_by_text("Check one answer too").click()
        page.locator("#receipt-id").fill(answered.receipt_id)
        page.get_by_label("Your API key").fill(gateway.api_key)
        files = {"request.json": answered.request, "response.json": answered.raw}
        page.locator("#files").set_input_files(dropped(files))
        live = verify(page)
        assert (live["verdict"], check(live, "receipt.consistency")["outcome"]) == ("verified", "pass")
        bundle = saved(page, tmp_path / "bundle")
    assert_kept(new_page(), live, bundle, gateway, answered.request, answered.raw)
