"""The page and one answer whole: the head that was signed, a crash's checkpoint, an epoch that has passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page

from tests.test_http_signature import head_of
from tests.test_stream_checkpoints import killed_stream
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


@pytest.mark.parametrize(
    ("changed", "outcome", "verdict"), [(b"HTTP/1.1 200", "pass", "verified"), (b"HTTP/1.1 299", "fail", "rejected")]
)
def test_a_dropped_head_is_held_against_the_receipt(
    new_page: NewPage, live_gateway: RunningGateway, changed: bytes, outcome: str, verdict: str
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
        stream = check(verify(page), "receipt.stream")
        assert (stream["outcome"], stream["wanted"]) == ("pass", "a signed beginning of the response that was given")
