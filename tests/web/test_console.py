"""The console over a small API: its pages fit, anybody can use them, refusals are told, and the key is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from gateway.http.console import FOLDER, POLICY
from tests.web.conftest import NewPage
from tests.web.console_pages import PAGES, ask, go, overflow, serious, sign_in
from tests.worlds.console_api import ConsoleApi, console_api, error


@pytest.fixture(scope="module")
def shared_world() -> Iterator[ConsoleApi]:
    with console_api() as world:
        yield world


@pytest.fixture
def world(shared_world: ConsoleApi) -> Iterator[ConsoleApi]:
    """The same, refusing nothing at the end."""
    yield shared_world
    shared_world.refuse.clear()


def open_console(new_page: NewPage, world: ConsoleApi, **options: object) -> Page:
    page = new_page(f"{world.origin}/", allowed=(world.origin,), **options)
    sign_in(page, world.key)
    return page


def enter_operator(page: Page, world: ConsoleApi) -> None:
    page.get_by_label("Admin token").fill(world.admin)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("tab", name="Tenants").wait_for()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_axe_finds_nothing_serious_and_everything_fits(
    new_page: NewPage, world: ConsoleApi, scheme: str, width: int
) -> None:
    page = new_page(f"{world.origin}/", allowed=(world.origin,), expect_errors=True, color_scheme=scheme, width=width)
    page.emulate_media(reduced_motion="reduce")  # axe would measure colours in the middle of a movement
    assert serious(page) == []
    sign_in(page, world.key)
    for name in PAGES:
        go(page, name)
        if name == "chat":
            ask(page, "hello")
        if name == "operator":
            enter_operator(page, world)
            for tab in ("Providers", "Policies", "Routes", "Tenants"):
                page.get_by_role("tab", name=tab).click()
                page.locator(".skeleton").first.wait_for(state="detached")
                assert (tab, serious(page), overflow(page)) == (tab, [], [])
        assert (name, serious(page), overflow(page)) == (name, [], [])
    go(page, "keys")
    page.get_by_role("button", name="New key").click()
    assert serious(page) == []


@pytest.mark.parametrize(
    ("status", "code", "title", "advice"),
    [
        (401, "invalid_api_key", "This key was not accepted", "Sign in"),
        (402, "credits_exhausted", "Out of credits", "Top up"),
        (403, "missing_scope", "This key may not do that", "scope"),
        (429, "rate_limit_exceeded", "Too many at once", "Wait 9 seconds"),
        (503, "no_route", "The gateway could not do it", "Trying again is safe"),
    ],
)
def test_a_refusal_says_what_the_api_said_and_what_to_do(
    new_page: NewPage, world: ConsoleApi, status: int, code: str, title: str, advice: str
) -> None:
    page = open_console(new_page, world, expect_errors=True)
    refusal = error(status, code, f"Refused because of {code}.", **{"retry-after": "9", "x-request-id": "req-7"})
    world.refuse = dict.fromkeys(("/v1/keys", "/v1/credits", "/v1/activity", "/v1/chat"), refusal)
    for name in ("keys", "credits", "activity"):
        shown = go(page, name).get_by_role("alert")
        expect(shown).to_contain_text(title)
        expect(shown).to_contain_text(f"Refused because of {code}.")
        expect(shown).to_contain_text(advice)
        expect(shown).to_contain_text("req-7")
    go(page, "chat")
    page.get_by_label("Your message").fill("hello")
    page.get_by_label("Your message").press("Enter")
    expect(page.locator(".answer").get_by_role("alert")).to_contain_text(title)
    world.refuse.clear()
    go(page, "keys")
    expect(page.locator("[data-key='notebook']")).to_be_visible()


def test_without_a_connection_it_says_so_and_recovers(new_page: NewPage, world: ConsoleApi) -> None:
    page = open_console(new_page, world, expect_errors=True)
    page.context.set_offline(True)
    alert = go(page, "credits").get_by_role("alert")
    expect(alert).to_contain_text("No connection")
    page.context.set_offline(False)
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".page-credits")).to_contain_text("$12.50")


def test_the_key_stays_out_of_addresses_and_where_the_reader_did_not_put_it(
    new_page: NewPage, world: ConsoleApi
) -> None:
    page = open_console(new_page, world)
    stores = "() => [sessionStorage, localStorage].map((store) => JSON.stringify({...store}))"
    for name in ("models", "keys", "activity"):
        go(page, name)
        assert world.key not in page.url
    session, local = page.evaluate(stores)
    assert (world.key in session, world.key in local) == (True, False)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    assert not any(world.key in kept for kept in page.evaluate(stores))
    sign_in(page, world.key, remember=True)
    assert world.key in page.evaluate(stores)[1]
    go(page, "operator")
    enter_operator(page, world)
    assert not any(world.admin in kept for kept in page.evaluate(stores))
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    assert not any(world.key in kept for kept in page.evaluate(stores))
    assert not any(world.key in path or world.admin in path for path in world.asked)


def test_a_key_that_is_not_known_is_not_kept(new_page: NewPage, world: ConsoleApi) -> None:
    page = new_page(f"{world.origin}/", allowed=(world.origin,), expect_errors=True)
    page.get_by_label("API key").fill("sk-router-unknown")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The API key is not known here.")
    assert "sk-router" not in page.evaluate("() => JSON.stringify([{...sessionStorage}, {...localStorage}])")


def test_the_keyboard_is_enough_to_choose_a_model_and_ask_it(new_page: NewPage, world: ConsoleApi) -> None:
    page = open_console(new_page, world, expect_errors=True)
    go(page, "chat")
    page.get_by_role("button", name=re.compile("^Model: ")).focus()
    page.keyboard.press("Enter")
    page.keyboard.type("reason")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    pill = page.get_by_role("button", name="Model: mock-reasoner")
    expect(pill).to_be_focused()
    page.get_by_label("Your message").focus()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("from mock-reasoner")
    expect(answer.locator(".thinking")).to_contain_text("Counting words.")
    expect(answer.locator(".tool")).to_contain_text('"city": "Bern"')
    expect(answer.locator(".shield:not([data-state=wait])")).to_have_text("Not checked")  # this API shows no evidence


def test_a_conversation_outlives_the_page_and_not_its_deletion(new_page: NewPage, world: ConsoleApi) -> None:
    page = open_console(new_page, world, expect_errors=True)
    go(page, "chat")
    ask(page, "remember <b>me</b>")
    page.reload()
    expect(page.locator(".said")).to_have_text("remember <b>me</b>")
    expect(page.locator(".answer .shield")).to_have_text("Earlier: Not checked")
    page.get_by_role("button", name="History").click()
    page.get_by_role("button", name="Delete all").click()
    page.reload()
    expect(page.get_by_text("Ask, and check who answered")).to_be_visible()


def test_activity_is_read_again_by_itself_and_rests_while_nobody_looks(new_page: NewPage, world: ConsoleApi) -> None:
    page = open_console(new_page, world)
    world.asked.clear()
    go(page, "activity")
    read = "/v1/activity/summary"
    page.wait_for_function("() => !document.querySelector('.live').textContent.startsWith('Loading')")
    first = page.locator(".live").text_content()
    page.wait_for_function("first => document.querySelector('.live').textContent !== first", arg=first)
    assert world.asked.count(read) >= 2
    hide = "yes => { Object.defineProperty(document, 'hidden', {value: yes, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(hide, True)
    expect(page.locator(".live")).to_contain_text("Paused")
    rested = world.asked.count(read)
    page.wait_for_timeout(5500)  # longer than between two readings
    assert world.asked.count(read) == rested
    page.evaluate(hide, False)
    expect(page.locator(".live")).to_contain_text("Live")
    page.get_by_label("Outcome").select_option(label="Failed")  # asked of the API
    expect(page.locator(".page-activity tbody tr")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    assert download.value.path().read_text().startswith("id,model")


def test_the_operators_tabs(new_page: NewPage, world: ConsoleApi) -> None:
    page = open_console(new_page, world)
    go(page, "operator")
    enter_operator(page, world)
    page.get_by_role("button", name="New tenant").click()
    page.get_by_label("Id").fill("new")
    page.get_by_label("Name").fill("Clinic <i>")
    page.get_by_role("button", name="Make the tenant").click()
    expect(page.locator(".secret")).to_have_text("sk-router-" + "T" * 40)
    page.keyboard.press("Escape")
    expect(page.locator("[data-tenant=new]")).to_contain_text("Clinic <i>")
    page.get_by_role("tab", name="Policies").click()
    page.get_by_role("button", name="Explain clinical-strict").click()
    page.get_by_role("textbox", name="Model").fill("mock-1")
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.get_by_text("tier hardened is below sealed")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_label("Admin token").wait_for()


def test_nothing_in_the_files_needs_what_the_policy_forbids() -> None:
    assert "unsafe" not in POLICY and "http" not in POLICY and "*" not in POLICY
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son[a-z]+=|<script>|https?:", page)
    for path in FOLDER.rglob("*.js"):
        text = path.read_text()
        assert text.startswith("// ") and text.count("\n") <= 450, path
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML", text
        ), path
