"""A browser and a page that tolerates no console error, no broken CSP and no request but to the page and its target."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tee.attest.mock import MockChip, mock_measurement, new_chip_secrets
from tests.conftest import ROOT
from tests.web.stage import ZERO_DIGEST, StubGateway, serving, stub_gateway

SITE = ROOT / "verifier-web"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NewPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("SAFEROUTER_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here: set SAFEROUTER_CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    with serving(SITE) as origin:
        yield origin


@pytest.fixture(scope="session")
def chip() -> MockChip:
    return MockChip(new_chip_secrets(), mock_measurement(ZERO_DIGEST))


@pytest.fixture
def gateway() -> Iterator[StubGateway]:
    with stub_gateway() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """verifier-web/build.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("verifier_web_build", SITE / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def new_page(browser: Browser, site: str) -> Iterator[NewPage]:
    """Opens the page; whatever it must not do fails the test at its end.

    `allowed` are the origins it may ask; `expect_errors` allows the browser's own lines about a failed request.
    """
    complaints: list[str] = []
    contexts = []

    def open_page(
        url: str = site + "/",
        *,
        allowed: tuple[str, ...] = (),
        expect_errors: bool = False,
        width: int = 1280,
        color_scheme: str = "light",
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if color_scheme == "dark" else "light",
        )
        contexts.append(context)
        page = context.new_page()

        def gate(route: Route) -> None:
            parts = urlsplit(route.request.url)
            if f"{parts.scheme}://{parts.netloc}" in (site, *allowed) or parts.scheme == "file":
                route.continue_()
            else:
                complaints.append(f"request to {route.request.url}")
                route.abort()

        def hear(text: str) -> None:
            if not (expect_errors and ("Failed to load resource" in text or "CORS policy" in text)):
                complaints.append(text)

        page.route("**/*", gate)
        page.on("console", lambda message: hear(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def standalone(builder: ModuleType, tmp_path: Path) -> str:
    """The self-contained page as a file:// URL."""
    path = tmp_path / "verifier.html"
    path.write_bytes(builder.build())
    return path.as_uri()
