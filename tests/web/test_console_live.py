"""The console of a real gateway: what its shield says of honest answers and of lies, and what a browser must forbid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect

from gateway.http.console import POLICY
from tests.web.conftest import NewPage
from tests.web.console_pages import ask, go, serious, sign_in
from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.lies import LIES
from tests.worlds.lying_proxy import LyingProxy, honest, lying_proxy

MODELS = ("mock-1", "mock-reasoner", "mock-text", "mock-slow")


@pytest.fixture(scope="module")
def operator() -> Iterator[LyingProxy]:
    with lying_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def live(operator: LyingProxy, tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    """A gateway of four models, whose public origin is the operator's."""
    rows = ", ".join(f'{{id = "{name}", provider = "mock"}}' for name in MODELS)
    config = f"""
        audience = "{operator.origin}"
        providers = [{{id = "mock", family = "mock"}}]
        models = [{rows}]
    """
    state = tmp_path_factory.mktemp("console", numbered=False) / "state"
    with RunningGateway(state, config=config, chip=chip_file) as running:
        operator.gateway_port = running.port
        yield running


@pytest.fixture(autouse=True)
def _honest(operator: LyingProxy) -> Iterator[None]:
    yield
    operator.lie, operator.hides = honest, ""
    operator.spoils.clear()


@pytest.fixture
def console(new_page: NewPage, operator: LyingProxy, live: RunningGateway) -> Page:
    page = new_page(f"{operator.origin}/", allowed=(operator.origin,), expect_errors=True)
    sign_in(page, live.api_key)
    return page


def test_an_honest_mock_is_called_a_mock_and_never_verified(console: Page, operator: LyingProxy) -> None:
    expect(console.locator("#mock")).to_contain_text("MOCK")
    go(console, "chat")
    answer = ask(console, "which build answers me?")
    expect(answer.locator(".shield")).to_have_text("MOCK")
    answer.locator(".shield").click()
    shown = console.get_by_role("dialog")
    expect(shown).to_contain_text("it proves nothing about hardware")
    expect(shown).to_contain_text("Is the answer untouched? Holds")
    expect(shown).to_contain_text("Is the build a known one? Not named by you")
    assert "Verified" not in shown.inner_text()
    assert serious(console) == []
    link = shown.get_by_role("link", name="Open the verifier").get_attribute("href")
    assert link is not None and link.startswith("/verifier/#target=") and "sk-" not in link
    nonces = [path for path in operator.asked if path == "/attestation/quote"]
    assert len(nonces) == 2  # the page's own nonce, and before it the evidence that all share


def test_thoughts_of_a_reasoner_fold(console: Page) -> None:
    go(console, "chat?model=mock-reasoner")
    answer = ask(console, "think")
    answer.locator(".thinking summary").click()
    expect(answer.locator(".thinking-text")).to_contain_text("This is a mock")


@pytest.mark.parametrize(
    "name", ["another measurement in the report", "another receipt key", "another identity's signature", "no log"]
)
def test_a_lie_of_the_operator_is_never_verified(console: Page, operator: LyingProxy, name: str) -> None:
    operator.lie = LIES[name][0]
    go(console, "chat")
    shield = ask(console, "do you lie?").locator(".shield")
    expect(shield).to_have_text("Not verified")
    shield.click()
    expect(console.locator(".finding")).to_contain_text(LIES[name][1][0])


def test_one_changed_byte_of_the_stream_is_seen(console: Page, operator: LyingProxy) -> None:
    operator.spoils = {"/v1/chat/completions": lambda raw: raw.replace(b'"content":"', b'"content":"!', 1)}
    go(console, "chat")
    shield = ask(console, "what did you say?").locator(".shield")
    expect(shield).to_have_text("Not verified")
    shield.click()
    expect(console.locator(".finding")).to_contain_text("receipt.response")


def test_what_the_operator_hides_is_not_passed_over(console: Page, operator: LyingProxy) -> None:
    go(console, "chat")
    operator.hides = "/proof"
    shield = ask(console, "are you in the log?").locator(".shield")
    expect(shield).to_have_text("MOCK, not fully checked")
    shield.click()
    expect(console.locator(".finding")).to_contain_text("receipt.log")
    console.keyboard.press("Escape")
    operator.hides = "/attestation/quote"
    expect(ask(console, "and now?").locator(".shield")).to_have_text("Not checked")


def test_a_stopped_answer_is_not_checked(console: Page, operator: LyingProxy, live: RunningGateway) -> None:
    page = console
    page.route("**/v1/chat/completions", lambda route: route.continue_(url=f"{live.url}/v1/chat/completions"))
    go(page, "chat")
    page.get_by_label("Your message").fill("mock:slow=100 mock:chunks=3000")
    page.get_by_label("Your message").press("Enter")
    page.wait_for_function("() => /mock 1 /.test(document.querySelector('.answer .prose').textContent)")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer")).to_contain_text("You stopped this answer.")
    expect(page.locator(".answer .shield")).to_have_text("Not checked")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_the_attestation_page_is_open_to_everybody(new_page: NewPage, operator: LyingProxy) -> None:
    page = new_page(f"{operator.origin}/#/attestation", allowed=(operator.origin,))
    expect(page.get_by_text("MOCK: software, no chip")).to_be_visible()
    page.get_by_role("button", name="Ask for fresh evidence and check it").click()
    expect(page.locator(".finding")).to_contain_text("proves nothing about hardware")
    page.get_by_role("button", name="Pin what it says now").click()
    expect(page.get_by_text("pinned from what the gateway said")).to_be_visible()
    page.get_by_label("Launch measurement").fill("ab")
    page.get_by_role("button", name="Accept", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("this has 2")
    page.get_by_label("Launch measurement").fill("0" * 96)
    page.get_by_role("button", name="Accept", exact=True).click()
    page.get_by_role("button", name="Ask for fresh evidence and check it").click()
    expect(page.locator(".finding")).to_contain_text("The launch measurement is one that you accept")


def test_a_key_from_its_making_to_its_end(console: Page, operator: LyingProxy, live: RunningGateway) -> None:
    """Create a key, try a model with it, chat, see it in the activity, compare four models, revoke it."""
    console.context.grant_permissions(["clipboard-read", "clipboard-write"])
    key = make_key(console)
    try_it(console, operator.origin, key)
    go(console, "chat")
    expect(ask(console, "who are you?").locator(".shield")).to_have_text("MOCK")
    find_in_activity(console)
    compare_four(console)
    revoke_own_key(console)
    sign_in_again(console, live.api_key)
    go(console, "keys")
    console.get_by_text("1 revoked").click()
    expect(console.locator("[data-key=journey]")).to_contain_text("Revoked")


def make_key(page: Page) -> str:
    """A key that is shown once, renamed, and used from here on."""
    go(page, "keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name").fill("jorney")
    page.get_by_role("button", name="Make the key").click()
    key = page.locator(".secret").inner_text()
    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == key
    page.get_by_role("button", name="Use it in this console").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Rename jorney").click()
    page.get_by_label("New name").fill("journey")
    page.keyboard.press("Enter")
    expect(page.locator("[data-key=journey]")).to_contain_text("You use this one")
    assert key not in page.content()
    return key


def try_it(page: Page, origin: str, key: str) -> None:
    """The drawer's calls have the key in them once they are copied."""
    go(page, "models")
    page.get_by_label("Search models").fill("reasoner")
    expect(page.locator("[data-model]")).to_have_count(1)
    page.get_by_role("button", name="Try mock-reasoner").click()
    drawer = page.get_by_role("dialog")
    assert key not in drawer.inner_text()
    assert serious(page) == []
    for language in ("curl", "Python", "TypeScript"):
        drawer.locator("section", has_text=language).get_by_role("button", name="Copy").click()
        copied = page.evaluate("() => navigator.clipboard.readText()")
        assert key in copied and f"{origin}/v1" in copied and "mock-reasoner" in copied
    page.keyboard.press("Escape")


def find_in_activity(page: Page) -> None:
    """The call by this very key is there, with its receipt and without a word of it."""
    root = go(page, "activity")
    page.get_by_label("Whose").select_option(label="This key only")
    expect(root.locator("tbody tr")).to_have_count(1)
    expect(root.locator("tbody tr")).to_contain_text("mock-1")
    expect(root.locator("tbody tr code")).to_contain_text("rcpt-")
    assert "who are you?" not in page.content()
    expect(root.locator(".tile", has_text="Success rate")).to_contain_text("100 %")


def compare_four(page: Page) -> None:
    """Each column has its own answer and shield, and the choice outlives the page."""
    go(page, "compare")
    for _ in range(2):
        page.get_by_role("button", name="Add a model").click()
    page.get_by_label("Prompt").fill("all of you")
    page.get_by_role("button", name="Ask all").click()
    for at in range(4):
        column = page.get_by_label(f"Column {at + 1}")
        expect(column.locator(".shield:not([data-state=wait])")).to_have_text("MOCK", timeout=60_000)
        expect(column.locator(".column-state")).to_have_text("Done")
        expect(column.locator(".column-facts")).to_contain_text("tokens")
    page.reload()
    expect(page.locator(".column")).to_have_count(4)


def revoke_own_key(page: Page) -> None:
    """It ends at once, for the console too."""
    go(page, "keys")
    page.get_by_role("button", name="Revoke journey").click()
    expect(page.get_by_role("dialog")).to_contain_text("this very key")
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("This key was not accepted")


def sign_in_again(page: Page, key: str) -> None:
    """From the refusal to the form."""
    page.get_by_role("alert").get_by_role("link", name="Sign in").click()
    sign_in(page, key)


def test_the_operator_makes_a_tenant_a_provider_and_a_policy(console: Page, live: RunningGateway) -> None:
    """By the admin token; an API key opens nothing here."""
    go(console, "operator")
    for token in (live.api_key, live.demo["admin_token"]):
        expect(console.get_by_text("Forget the admin token")).to_have_count(0)
        console.get_by_label("Admin token").fill(token)
        console.get_by_role("button", name="Continue").click()
        console.locator("[role=tablist], .problem").first.wait_for()
    console.get_by_role("button", name="New tenant").click()
    console.get_by_label("Id").fill("clinic")
    console.get_by_label("Name").fill("Clinic")
    console.get_by_label("Cap in USD").fill("2.5")
    console.get_by_role("button", name="Make the tenant").click()
    expect(console.locator(".secret")).to_contain_text("sk-router-")
    console.keyboard.press("Escape")
    expect(console.locator("[data-tenant=clinic]")).to_contain_text("$2.50")
    console.get_by_role("tab", name="Providers").click()
    expect(console.locator("[data-provider=mock]")).to_contain_text("Named in the configuration")
    console.get_by_role("tab", name="Routes").click()
    expect(console.locator(".page-operator tbody tr")).to_have_count(len(MODELS))
    console.get_by_role("tab", name="Policies").click()
    console.get_by_role("button", name="Explain clinical-strict").click()
    console.get_by_role("textbox", name="Model").fill("mock-1")
    console.get_by_role("button", name="Explain", exact=True).click()
    expect(console.get_by_text("before any cost")).to_be_visible()


def test_every_file_is_served_under_the_strict_policy(live: RunningGateway) -> None:
    with httpx2.Client(base_url=live.url, **PLAIN) as client:
        for path, kind in {
            "/": "text/html",
            "/console/main.js": "javascript",
            "/console/style.css": "text/css",
        }.items():
            answer = client.get(path)
            assert answer.status_code == 200
            assert kind in answer.headers["content-type"]
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/console/../config.py").status_code == 404
        assert client.get("/console/nothing.js").status_code == 404
        assert client.get("/verifier/").status_code == 200
