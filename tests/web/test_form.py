"""The page for everybody: names and focus, keyboard, narrow and dark screens, contrast, and what a link may prefill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tee.attest.mock import MockChip
from tests.conftest import find_vectors, read_manifest
from tests.snp_vectors import Case, all_cases
from tests.web.conftest import SITE, NewPage
from tests.web.reading import ask, choose_policy, choose_report, verify
from tests.web.stage import StubGateway, json_answer, new_quote


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_vectors()


@pytest.fixture(scope="module")
def debugged(folder: Path) -> Case:
    cases = {case.id: case for case in all_cases(read_manifest(folder))}
    return cases["milan-v2-vcek-debug-gosevguest"]


def show_rejection(page: Page, folder: Path, case: Case) -> None:
    """The longest page there is: three failures, everything open."""
    choose_report(page, folder, case)
    choose_policy(page, b'{"measurements": ["' + b"00" * 48 + b'"]}')
    verify(page)
    page.get_by_role("button", name="Open all").click()
    for summary in page.locator("[data-raw] > summary").all():
        summary.click()


# Each script returns the offending nodes: an empty list is what a test wants.
FAULTS = {
    "a control without a name": """() => [...document.querySelectorAll('input, select, textarea, button')]
        .filter((node) => !(node.labels?.length || node.ariaLabel || node.textContent.trim()))
        .map((node) => node.outerHTML)""",
    "an id twice": """() => [...document.querySelectorAll('[id]')].map((node) => node.id)
        .filter((id, at, all) => all.indexOf(id) !== at)""",
    "a reference to nothing": """() => [...document.querySelectorAll('[aria-describedby], [aria-labelledby], [for]')]
        .flatMap((node) => ['aria-describedby', 'aria-labelledby', 'for']
            .flatMap((name) => (node.getAttribute(name) ?? '').split(' ').filter(Boolean)))
        .filter((id) => !document.getElementById(id))""",
    "a skipped heading level": """() => [...document.querySelectorAll('h1, h2, h3, h4')]
        .map((node) => Number(node.tagName[1])).filter((level, at, all) => level > (all[at - 1] ?? 0) + 1)""",
    "a target below 24 pixels": """() => [...document.querySelectorAll('button, summary, select, input:not(.chooser)')]
        .filter((node) => node.checkVisibility() && !['radio', 'checkbox'].includes(node.type))
        .filter((node) => node.getBoundingClientRect().height < 24).map((node) => node.outerHTML)""",
    "a state without its word": """() => [...document.querySelectorAll('.state')]
        .filter((node) => !['Pass', 'Fail', 'Not checked', 'Mock'].includes(node.textContent))""",
    "a positive tabindex": """() => [...document.querySelectorAll('[tabindex]')].filter((node) => node.tabIndex > 0)""",
}


def test_every_part_has_its_name_and_place(new_page: NewPage, folder: Path, debugged: Case) -> None:
    page = new_page()
    show_rejection(page, folder, debugged)
    for name, script in FAULTS.items():
        assert page.evaluate(script) == [], name
    for landmark in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(landmark)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("region", name=re.compile(r"^Rejected\."))).to_have_count(1)


def test_focus_goes_to_the_verdict_which_stands_first(new_page: NewPage, folder: Path, debugged: Case) -> None:
    page = new_page()
    choose_report(page, folder, debugged)
    verify(page)
    expect(page.locator("#verdict")).to_be_focused()
    expect(page.locator("#verdict")).to_be_in_viewport()
    assert page.locator("#result h2, #result h3").all_inner_texts()[:2] == [
        page.locator("#verdict").inner_text(),
        "Not proven",
    ]


def test_the_keyboard_alone_reaches_a_verdict(new_page: NewPage, gateway: StubGateway, chip: MockChip) -> None:
    gateway.answer = lambda *_: json_answer(new_quote(chip, gateway.origin, b"\x01" * 32))
    page = new_page(allowed=(gateway.origin,))
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if order[-1] == "target":
            page.keyboard.type(gateway.origin)
        if order[-1] == "mock":
            page.keyboard.press("Space")
    # One stop for the two radio buttons; the two summaries have neither id nor class.
    fields = ["target", "measurement", "policy", "manifest", "announcement", "tcb", "mock"]
    assert order == ["skip", "", *fields, "", "", "verify"]
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_be_focused()
    outline = page.locator("#verdict").evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('result').contains(document.activeElement)")


def test_a_wrong_field_is_named_and_focused(new_page: NewPage) -> None:
    page = new_page()
    page.get_by_label("Gateway URL").fill("http://gateway.example")  # plain http beyond this machine
    page.get_by_role("button", name="Verify", exact=True).click()
    target = page.get_by_label("Gateway URL")
    expect(target).to_be_focused()
    expect(target).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#target-error")).to_be_visible()
    target.fill("gateway.example")
    page.get_by_label("Launch measurement").fill("abc")
    page.get_by_role("button", name="Verify", exact=True).click()
    expect(page.get_by_label("Launch measurement")).to_be_focused()
    expect(page.locator("#target-error")).to_be_hidden()
    expect(target).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_need_no_sideways_scrolling(
    new_page: NewPage, folder: Path, debugged: Case, scheme: str
) -> None:
    page = new_page(width=320, color_scheme=scheme)
    page.get_by_text("Check one answer too").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    show_rejection(page, folder, debugged)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_dark_screen_gets_a_dark_page(new_page: NewPage) -> None:
    shades = []
    for scheme in ("light", "dark"):
        colour = new_page(color_scheme=scheme).evaluate("getComputedStyle(document.documentElement).backgroundColor")
        shades.append(sum(int(part) for part in re.findall(r"\d+", colour)[:3]))
    assert shades[0] > 600 > 150 > shades[1]


def test_every_text_colour_has_enough_contrast() -> None:
    """WCAG 2.2 1.4.3 (4.5 to 1) for text and states, 1.4.11 (3 to 1) for the edges of controls."""
    blocks = (SITE / "style.css").read_text().split("@media (prefers-color-scheme: dark)")
    for block in (blocks[0], blocks[1][: blocks[1].index("@media")]):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        for ground in ("paper", "card"):
            for name in ("ink", "quiet", "accent", "pass", "fail", "open", "mock"):
                # A state's text also stands on its own wash of at most 9 %.
                for under in (colours[ground], mixed(colours[name], colours[ground], 0.09)):
                    assert contrast(colours[name], under) >= 4.5, (name, ground)
            assert contrast(colours["edge"], colours[ground]) >= 3, ground
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


def channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def mixed(over: str, under: str, share: float) -> str:
    parts = zip(channels(over), channels(under), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in parts)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG."""

    def luminance(colour: str) -> float:
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in channels(colour))
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_link_fills_the_form_and_asks_nobody(new_page: NewPage, site: str, gateway: StubGateway) -> None:
    page = new_page(f"{site}/#target={gateway.origin}&measurement={'ab' * 48}&mock=1", allowed=(gateway.origin,))
    expect(page.get_by_label("Gateway URL")).to_have_value(gateway.origin)
    expect(page.get_by_label("Launch measurement")).to_have_value("ab" * 48)
    expect(page.get_by_label("Accept a mock")).to_be_checked()
    expect(page.locator("#link-notice")).to_contain_text("the gateway, the measurement, accepting a mock")
    page.wait_for_timeout(300)
    assert gateway.asked == []


def test_a_page_from_the_target_itself_warns(new_page: NewPage, site: str, gateway: StubGateway) -> None:
    page = new_page()
    warning = page.locator("#origin-warning")
    expect(page.locator("#own-origin")).to_have_text(site)
    ask(page, gateway.origin, "")
    expect(warning).to_be_hidden()
    page.get_by_label("Gateway URL").fill(site + "/v1")
    expect(warning).to_be_visible()
    expect(warning).to_contain_text("proves nothing")


def test_print_opens_every_check(new_page: NewPage, folder: Path, debugged: Case) -> None:
    page = new_page()
    choose_report(page, folder, debugged)
    verify(page)
    closed = page.locator("#result details:not([open])")
    before = closed.count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(closed).to_have_count(0)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(closed).to_have_count(before)
