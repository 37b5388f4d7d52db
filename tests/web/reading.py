"""Driving the page as a reader does, and reading its result back in the shape of the CLI's --json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.snp_vectors import Case


def choose_report(page: Page, folder: Path, case: Case) -> None:
    """Stored evidence: the report and its certificates, judged at the vector's time."""
    page.get_by_label("Stored evidence").check()
    page.locator("#files").set_input_files([folder / path for path in case.files.values() if "certtable" not in path])
    page.get_by_label("Judge as of").fill(case.at.isoformat())


def choose_policy(page: Page, policy: bytes) -> None:
    page.locator("#policy").set_input_files({"name": "policy.json", "mimeType": "", "buffer": policy})


def ask(page: Page, target: str, measurement: str, *, mock: bool = True) -> None:
    """A live gateway, one accepted measurement."""
    page.get_by_label("Gateway URL").fill(target)
    page.get_by_label("Launch measurement").fill(measurement)
    page.get_by_label("Accept a mock").set_checked(mock)


def verify(page: Page) -> dict[str, Any]:
    """Press the button and read what is shown."""
    page.get_by_role("button", name="Verify", exact=True).click()
    page.locator("#verdict").wait_for()
    result = page.locator("#result")
    return {
        "verdict": result.get_attribute("data-verdict"),
        "mock": result.get_attribute("data-mock") == "true",
        "state": page.locator(".verdict").get_attribute("data-state"),
        "headline": page.locator("#verdict").inner_text(),
        "checks": [_read_check(page, at) for at in range(page.locator("[data-check]").count())],
        "questions": {
            row.get_attribute("data-question"): row.get_attribute("data-state")
            for row in page.locator("[data-question]").all()
        },
        "notices": page.locator(".notice").all_inner_texts(),
    }


def _read_check(page: Page, at: int) -> dict[str, Any]:
    row = page.locator("[data-check]").nth(at)
    shown = {"id": row.get_attribute("data-check"), "outcome": row.get_attribute("data-outcome")}
    for name in ("found", "wanted", "reason"):
        cell = row.locator(f"[data-field={name}]")
        shown[name] = cell.text_content() if cell.count() else ""
    return shown


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in result["checks"]}
