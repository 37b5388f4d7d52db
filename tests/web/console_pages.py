"""Driving the console as a person does."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

PATIENCE_MS = 90_000  # a loaded machine is slow, and not wrong
expect.set_options(timeout=PATIENCE_MS)
PAGES = ["models", "chat", "compare", "activity", "keys", "credits", "attestation", "operator"]


def sign_in(page: Page, key: str, *, remember: bool = False) -> None:
    """From the form to the page that was wanted."""
    page.set_default_timeout(PATIENCE_MS)
    page.get_by_label("API key").fill(key)
    page.get_by_label("Remember on this device").set_checked(remember)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".page-signin").wait_for(state="detached")


def go(page: Page, name: str) -> Locator:
    """One page of the console, once it waits for nothing more; `name` may have a query."""
    page.evaluate("name => { location.hash = '#/' + name }", name)
    root = page.locator(f".page-{name.partition('?')[0]}")
    root.wait_for()
    page.locator(".skeleton").first.wait_for(state="detached")
    return root


def ask(page: Page, text: str) -> Locator:
    """Say something in the open chat; the answer, once its shield has settled."""
    before = page.locator(".answer").count()
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")
    answer = page.locator(".answer").nth(before)
    answer.locator(".shield:not([data-state=wait])").wait_for()
    return answer


def copied(page: Page, holding: str) -> str:
    """The clipboard, once it holds this."""
    script = "async (text) => (await navigator.clipboard.readText()).includes(text)"
    page.wait_for_function(script, arg=holding)
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text


def serious(page: Page) -> list[str]:
    """What axe calls serious or critical on this page, as lines to read."""
    response: dict[str, Any] = Axe().run(page).response
    found: list[dict[str, Any]] = response["violations"]
    assert len(response["passes"]) > 10  # it did look
    return [
        f"{row['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for row in found
        if row["impact"] in ("serious", "critical")
        for node in row["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """The elements that stick out of the page at its right."""
    script = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
        .map((e) => `${e.tagName}.${e.className}`)"""
    found: list[str] = page.evaluate(script)
    return found
