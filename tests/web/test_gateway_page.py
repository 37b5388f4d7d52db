"""The page against a real gateway, honest and behind every lying operator; and the answer that it just gave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page
from typer.testing import CliRunner

from tee.cli import app
from tests.web.conftest import NewPage
from tests.web.reading import ask, outcomes, verify
from tests.worlds.gateway import Answered, RunningGateway
from tests.worlds.lies import LIES
from tests.worlds.lying_proxy import LyingProxy, gateway_behind, honest, lying_proxy


@pytest.fixture(scope="module")
def operator() -> Iterator[LyingProxy]:
    with lying_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def live(operator: LyingProxy, tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    """A gateway whose public origin is the operator's."""
    state = tmp_path_factory.mktemp("page", numbered=False) / "state"
    with gateway_behind(operator, state, chip_file) as running:
        yield running


@pytest.fixture(autouse=True)
def _honest(operator: LyingProxy) -> Iterator[None]:
    yield
    operator.lie = honest


def _measurement(gateway: RunningGateway) -> str:
    policy: dict[str, Any] = json.loads(gateway.policy.with_suffix(".json").read_text())
    return str(policy["measurements"][0])


def _cli(gateway: RunningGateway, origin: str, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        app, ["verify", origin, "--policy", str(gateway.policy), "--accept-mock", "--json", *options]
    )
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def _same(page_result: dict[str, Any], cli_result: dict[str, Any]) -> None:
    """The same verdict, check by check; words differ only where each side sent its own nonce at its own time."""
    assert (page_result["verdict"], page_result["mock"]) == (cli_result["verdict"], cli_result["mock"])
    assert outcomes(page_result) == outcomes(cli_result)


@pytest.mark.parametrize("form", ["site", "file"])
def test_the_live_mock_gateway(
    new_page: NewPage, live: RunningGateway, operator: LyingProxy, standalone: str, form: str
) -> None:
    page: Page = new_page(allowed=(operator.origin,), **({"url": standalone} if form == "file" else {}))
    ask(page, operator.origin, _measurement(live))
    result = verify(page)
    _same(result, _cli(live, operator.origin))
    assert (result["verdict"], result["state"]) == ("verified", "mock")


def test_the_gateways_own_copy_warns_of_itself(new_page: NewPage, live: RunningGateway, operator: LyingProxy) -> None:
    page = new_page(
        f"{operator.origin}/verifier/#target={operator.origin}&measurement={_measurement(live)}&mock=1",
        allowed=(operator.origin,),
    )
    result = verify(page)
    assert (result["verdict"], result["state"]) == ("verified", "mock")
    assert page.get_by_text("cannot vouch").first.is_visible()


def test_without_the_box_a_mock_is_rejected(new_page: NewPage, live: RunningGateway, operator: LyingProxy) -> None:
    page = new_page(allowed=(operator.origin,))
    ask(page, operator.origin, _measurement(live), mock=False)
    result = verify(page)
    assert (result["verdict"], outcomes(result)["hw.root"]) == ("rejected", "fail")
    assert set(result["questions"].values()) == {"fail", "skip"}


@pytest.mark.parametrize("name", LIES)
def test_every_lie_of_the_operator(new_page: NewPage, live: RunningGateway, operator: LyingProxy, name: str) -> None:
    operator.lie, expected = LIES[name]
    page = new_page(allowed=(operator.origin,))
    ask(page, operator.origin, _measurement(live))
    result = verify(page)
    assert (result["verdict"], result["state"]) == ("rejected", "fail")
    assert [check["id"] for check in result["checks"] if check["outcome"] == "fail"] == expected
    _same(result, _cli(live, operator.origin))


@pytest.fixture(scope="module")
def answered(live: RunningGateway) -> Answered:
    return live.ask("which build answers me?")


def _files(live: RunningGateway, answered: Answered) -> dict[str, bytes]:
    return {
        "receipt.json": live.fetch_receipt(answered.receipt_id),
        "request.json": answered.request,
        "response.json": answered.raw,
    }


def test_bodies_without_a_receipt_give_no_verdict(
    new_page: NewPage, live: RunningGateway, operator: LyingProxy, answered: Answered
) -> None:
    page = new_page(allowed=(operator.origin,))
    ask(page, operator.origin, _measurement(live))
    page.locator("#files").set_input_files(
        FilePayload(name="response.json", mimeType="application/json", buffer=answered.raw)
    )
    page.get_by_role("button", name="Verify", exact=True).click()
    page.get_by_text("No verdict").first.wait_for()
    assert page.get_by_text("the receipt's file or id").first.is_visible()


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ("", ""),
        ("request.json", "receipt.request"),
        ("response.json", "receipt.response"),
        ("receipt.json", "receipt.signature"),
    ],
)
def test_one_changed_byte_of_an_answer(
    new_page: NewPage,
    live: RunningGateway,
    operator: LyingProxy,
    answered: Answered,
    changed: str | None,
    check: str | None,
) -> None:
    files = _files(live, answered)
    if changed == "receipt.json":
        files[changed] = files[changed].replace(b'"model":"mock-1"', b'"model":"mock-2"')
        assert b"mock-2" in files[changed]
    elif changed:
        files[changed] = files[changed].replace(b"mock-1", b"mock-2", 1)
    page = new_page(allowed=(operator.origin,))
    ask(page, operator.origin, _measurement(live))
    payloads = [FilePayload(name=name, mimeType="application/json", buffer=raw) for name, raw in files.items()]
    page.locator("#files").set_input_files(payloads)
    result = verify(page)
    failed = [name for name, outcome in outcomes(result).items() if outcome == "fail"]
    assert failed == ([check] if changed else [])
    assert result["questions"]["answer"] == ("fail" if changed else "pass")
    assert result["verdict"] == ("rejected" if changed else "verified")
