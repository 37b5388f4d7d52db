"""The page and a live gateway's log: memory, witnesses, entries and a receipt's proof, honest and with one lie each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import FilePayload, Page, expect
from typer.testing import CliRunner

from tee.cli import app
from tee.client.log_memory import load_log
from tee.log.tiles import encode_entries, parse_entries
from tests.test_log_verdict import ONE, THREE, TWO, cosigning
from tests.web.conftest import NewPage
from tests.web.reading import ask, outcomes, verify
from tests.web.test_form import FAULTS
from tests.worlds.gateway import PLAIN, Answered, RunningGateway
from tests.worlds.lies import LIES
from tests.worlds.lying_proxy import LyingProxy, gateway_behind, honest, lying_proxy
from tests.worlds.small_log import SmallLog

ENTRIES = "/attestation/transparency/tile/entries/"
Result = dict[str, Any]
Visit = Callable[..., Result]


@pytest.fixture(scope="module")
def operator() -> Iterator[LyingProxy]:
    with lying_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(
    operator: LyingProxy, tmp_path_factory: pytest.TempPathFactory, chip_file: Path
) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("logpage", numbered=False) / "state"
    with gateway_behind(operator, state, chip_file) as running:
        yield running


@pytest.fixture(autouse=True)
def _honest(operator: LyingProxy) -> Iterator[None]:
    yield
    operator.lie, operator.hides = honest, ""
    operator.spoils.clear()


@pytest.fixture
def page(new_page: NewPage, operator: LyingProxy) -> Page:
    page = new_page(allowed=(operator.origin,), expect_errors=True)
    page.get_by_text("Its log: your witnesses").click()
    page.get_by_label("Remember the log of an accepted mock too").check()
    return page


@pytest.fixture
def visit(page: Page, gateway: RunningGateway, operator: LyingProxy) -> Visit:
    """Verify the gateway, remembering its log; the result as a reader sees it."""

    def ask_and_verify() -> Result:
        ask(page, operator.origin, measurement(gateway))
        return verify(page)

    return ask_and_verify


def measurement(gateway: RunningGateway) -> str:
    return str(json.loads(gateway.policy.with_suffix(".json").read_text())["measurements"][0])


def check(result: Result, name: str) -> dict[str, Any]:
    return next(dict(row) for row in result["checks"] if row["id"] == name)


def remembered(page: Page) -> Result:
    known: Result = json.loads(page.evaluate("localStorage.getItem('saferouter.checkpoints')") or "{}")
    return known


def rewrite(page: Page, operator: LyingProxy, **row: Any) -> None:
    """Another past than the one seen."""
    known = remembered(page)
    changed = json.dumps(known | {operator.origin: known[operator.origin] | row})
    page.evaluate("text => localStorage.setItem('saferouter.checkpoints', text)", changed)


def cli(gateway: RunningGateway, origin: str, memory: Path, *options: str | Path) -> Result:
    words = ["verify", origin, "--policy", gateway.policy, "--accept-mock", "--json", "--memory", memory, *options]
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    verdict: Result = json.loads(done.stdout)
    return verdict


def test_a_log_that_grows_is_one_history_here_and_on_the_command_line(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    first = check(visit(), "log.consistency")
    assert (first["outcome"], first["reason"]) == ("skip", "no earlier checkpoint of this log is known here")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as checkpoints.json").click()
    saved = tmp_path / "checkpoints.json"
    download.value.save_as(saved)
    seen = load_log(saved, operator.origin)  # the command line's own memory
    assert seen
    assert {"vkey": seen.vkey, "size": seen.size, "root": seen.root.hex()} == remembered(page)[operator.origin]
    gateway.restart()
    grown = visit()
    told = check(cli(gateway, operator.origin, tmp_path / "manifests.json"), "log.consistency")
    assert (grown["verdict"], check(grown, "log.consistency")) == ("verified", told)
    assert told["outcome"] == "pass"
    assert remembered(page)[operator.origin]["size"] > seen.size


def test_a_memory_of_the_command_line_binds_the_page(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    cli(gateway, operator.origin, tmp_path / "manifests.json")
    kept = tmp_path / "checkpoints.json"
    page.locator("#memory-file").set_input_files(kept)
    expect(page.locator("#memory li")).to_have_count(1)
    assert remembered(page) == json.loads(kept.read_text())
    assert check(visit(), "log.consistency")["outcome"] == "pass"
    other = json.loads(kept.read_text())
    other[operator.origin]["vkey"] = SmallLog().key.encode()
    for content in ("[]", "x", json.dumps(other), json.dumps({"https://a.example": {"vkey": "a", "size": 0}})):
        page.locator("#memory-file").set_input_files(FilePayload(name="m.json", mimeType="", buffer=content.encode()))
        expect(page.locator("#memory-file-error")).to_be_visible()
        assert remembered(page)[operator.origin]["vkey"] == json.loads(kept.read_text())[operator.origin]["vkey"]
    page.get_by_role("button", name=f"Forget {operator.origin}").click()
    expect(page.locator("#memory li")).to_have_count(0)
    assert check(visit(), "log.consistency")["outcome"] == "skip"


def test_a_demo_is_not_remembered_unless_that_is_asked_for(page: Page, visit: Visit) -> None:
    page.get_by_label("Remember the log of an accepted mock too").uncheck()
    assert visit()["verdict"] == "verified"
    assert check(visit(), "log.consistency")["outcome"] == "skip"
    assert page.evaluate("localStorage.length") == 0


def test_a_rejected_verdict_changes_no_memory(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy
) -> None:
    operator.lie, _ = LIES["another signature"]
    assert visit()["verdict"] == "rejected"
    assert remembered(page) == {}
    operator.lie = honest
    visit()
    before = remembered(page)
    gateway.ask("one more leaf")
    operator.lie, _ = LIES["another signature"]
    assert check(visit(), "log.consistency")["outcome"] == "pass"
    assert remembered(page) == before


def test_a_log_put_back_to_an_earlier_state_is_found_out(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    gateway.stop()
    shutil.copytree(gateway.state, tmp_path / "backup")
    gateway.start()
    for _ in range(3):
        fetch_proof(gateway, gateway.ask("to be forgotten"))
    assert visit()["verdict"] == "verified"
    before = remembered(page)
    gateway.stop()
    shutil.rmtree(gateway.state)
    shutil.copytree(tmp_path / "backup", gateway.state)
    gateway.start()
    size = before[operator.origin]["size"]
    rolled_back = visit()
    found = check(rolled_back, "log.consistency")["found"]
    assert (rolled_back["verdict"], remembered(page)) == ("rejected", before)
    assert found.startswith(f"no proof for {size} leaves seen before and ")
    while httpx2.get(f"{gateway.url}/attestation/transparency", **PLAIN).json()["size"] <= size:
        fetch_proof(gateway, gateway.ask("another past"))
    split = check(visit(), "log.consistency")
    assert (split["outcome"], " root: " in split["found"], remembered(page)) == ("fail", True, before)


def test_what_another_page_saw_meanwhile_is_not_overwritten(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy
) -> None:
    visit()
    fetch_proof(gateway, gateway.ask("one more leaf"))
    page.evaluate("""() => {
        const asked = window.fetch;
        window.fetch = (url, options) => {
            if (url.includes("/consistency?")) {
                const known = JSON.parse(localStorage.getItem("saferouter.checkpoints"));
                for (const row of Object.values(known)) row.root = "11".repeat(32);
                localStorage.setItem("saferouter.checkpoints", JSON.stringify(known));
            }
            return asked(url, options);
        };
    }""")
    result = visit()
    assert (result["verdict"], check(result, "log.consistency")["outcome"]) == ("verified", "pass")
    assert any("Another page of this browser saw this log meanwhile" in notice for notice in result["notices"])
    assert remembered(page)[operator.origin]["root"] == "11" * 32
    assert visit()["verdict"] == "rejected"


def test_a_memory_that_cannot_be_read_is_told_and_can_be_struck_out(page: Page, visit: Visit) -> None:
    page.evaluate("localStorage.setItem('saferouter.checkpoints', '[')")
    assert visit()["verdict"] == "none"
    assert "this browser's memory of logs" in page.locator("#result").inner_text()
    page.reload()
    page.get_by_text("Its log: your witnesses").click()
    expect(page.locator("#memory-save")).to_be_hidden()
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_label("Remember the log of an accepted mock too").check()
    assert visit()["verdict"] == "verified"


def test_two_trees_of_one_size_are_a_split_view(page: Page, visit: Visit, operator: LyingProxy) -> None:
    visit()
    rewrite(page, operator, root="00" * 32)
    split = visit()
    assert split["verdict"] == "rejected"
    assert check(split, "log.consistency")["reason"] == "a split view: the log signed two trees of one size"
    expect(page.locator("#accept-new-log")).to_have_count(0)


def test_another_log_at_this_address_needs_the_reader_s_word(page: Page, visit: Visit, operator: LyingProxy) -> None:
    visit()
    vkey = remembered(page)[operator.origin]["vkey"]
    rewrite(page, operator, vkey=SmallLog().key.encode())
    refused = visit()
    assert (refused["verdict"], check(refused, "log.consistency")["outcome"]) == ("rejected", "fail")
    assert remembered(page)[operator.origin]["vkey"] == SmallLog().key.encode()
    accept = page.get_by_role("button", name="Accept the new log and verify again")
    expect(accept).to_be_disabled()
    page.get_by_label("I know why").check()
    accept.click()
    expect(page.locator("#result[data-verdict=verified]")).to_be_visible()
    assert remembered(page)[operator.origin]["vkey"] == vkey
    expect(page.locator(".command pre").last).to_contain_text("--accept-new-log")
    assert check(visit(), "log.consistency")["outcome"] == "pass"


def test_the_quorum_of_my_witnesses_is_required_once_i_name_them(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    visit()
    lines = [f"log {operator.told[-1]['workload']['log']['vkey']}"]
    lines += [f"witness {each.name} {each.key.encode()}" for each in (ONE, TWO, THREE)]
    policy = "\n".join([*lines, f"group most 2 {ONE.name} {TWO.name} {THREE.name}", "quorum most", ""])
    path = tmp_path / "witnesses"
    path.write_text(policy)
    page.get_by_text("Or write it here").click()
    page.get_by_label("Witness policy", exact=True).fill(policy)
    for witnesses, verdict in (((ONE,), "rejected"), ((ONE, THREE), "verified")):
        operator.lie = cosigning(*witnesses)
        shown = visit()
        told = check(cli(gateway, operator.origin, tmp_path / "m.json", "--witnesses", path), "log.witness")
        assert (shown["verdict"], check(shown, "log.witness")) == (verdict, told)
    # A dropped file is recognised, and replaces what was written.
    none = FilePayload(name="w.txt", mimeType="", buffer=policy.replace("quorum most", "quorum none").encode())
    page.locator("#files").set_input_files(none)
    page.get_by_label("A live gateway").check()
    assert check(visit(), "log.witness")["reason"] == "your witness policy asks for no witness"
    broken = FilePayload(name="w.txt", mimeType="", buffer=b"log x\nquorum none\n")
    page.locator("#witnesses").set_input_files(broken)
    assert visit()["verdict"] == "none"
    assert "witness policy, line 1" in page.locator("#result").inner_text()


@pytest.fixture(scope="module")
def answers(gateway: RunningGateway) -> list[Answered]:
    answers = [gateway.ask(f"question {number}") for number in range(11)]
    for answered in answers:
        gateway.fetch_receipt(answered.receipt_id)
    return answers


def rows(page: Page, state: str) -> list[int]:
    found = page.locator(f"#entries li[data-state={state}]").all()
    return [int(row.get_attribute("data-index") or "") for row in found]


def settled(page: Page) -> str:
    expect(page.locator("#entries-status")).not_to_have_text("Reading entries…")
    return page.locator("#entries-status").inner_text()


def test_the_newest_entries_are_proven_and_the_older_ones_follow(
    page: Page, visit: Visit, answers: list[Answered]
) -> None:
    visit()
    assert "Each stands in the checkpoint judged above" in settled(page)
    newest = rows(page, "pass")
    size = newest[0] + 1
    assert newest == list(range(size - 1, size - 21, -1))
    page.get_by_role("button", name="Show older entries").click()
    expect(page.locator("#entries li").nth(20)).to_be_focused()
    while page.locator("#older").is_visible():
        page.locator("#older").click()
        settled(page)
    assert rows(page, "pass") == list(range(size - 1, -1, -1))
    types = {row.get_attribute("data-type") for row in page.locator("#entries li").all()}
    assert {"startup", "route", "receipt"} <= types
    assert "A build started" in page.locator("#entries li[data-type=startup]").last.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_log_has_its_names_and_fits_a_narrow_screen(
    new_page: NewPage,
    gateway: RunningGateway,
    operator: LyingProxy,
    answers: list[Answered],
    standalone: str,
    scheme: str,
) -> None:
    """In one file, from file://, where it remembers as well."""
    page = new_page(standalone, allowed=(operator.origin,), width=320, color_scheme=scheme)
    page.get_by_text("Its log: your witnesses").click()
    page.get_by_label("Remember the log of an accepted mock too").check()
    page.get_by_text("Or write it here").click()
    operator.spoils[ENTRIES] = lambda raw: raw.replace(b'"sha256:', b'"sha257:')
    for outcome in ("skip", "pass"):
        ask(page, operator.origin, measurement(gateway))
        assert outcomes(verify(page))["log.consistency"] == outcome
    assert "entries shown fail" in settled(page)
    for name, script in FAULTS.items():
        assert page.evaluate(script) == [], name
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_an_altered_leaf_fails_at_its_row(
    page: Page, visit: Visit, operator: LyingProxy, answers: list[Answered]
) -> None:
    visit()
    settled(page)
    newest = rows(page, "pass")[0]

    def alter(raw: bytes) -> bytes:
        width = json_size(raw)
        leaves = parse_entries(raw, width)
        leaves[newest - 3] = leaves[newest - 3].replace(b'"sha256:', b'"sha256:0', 1)[: len(leaves[newest - 3])]
        return encode_entries(leaves)

    operator.spoils[ENTRIES] = alter
    assert visit()["verdict"] == "verified"  # the start still stands in the checkpoint
    assert settled(page).startswith("1 of the 20 entries shown fails")
    assert (rows(page, "fail"), rows(page, "skip")) == ([newest - 3], [newest - 2])
    assert "Fails." in page.locator(f"#entries li[data-index='{newest - 3}']").inner_text()


def json_size(raw: bytes) -> int:
    """How many leaves an entry tile holds."""
    count = at = 0
    while at < len(raw):
        at += 2 + int.from_bytes(raw[at : at + 2], "big")
        count += 1
    return count


@pytest.mark.parametrize("lie", ["nothing", "another size", "other hashes"])
def test_tiles_that_are_none_are_told_and_change_no_verdict(
    page: Page, visit: Visit, operator: LyingProxy, answers: list[Answered], lie: str
) -> None:
    if lie == "nothing":
        operator.spoils[ENTRIES] = lambda _: b""
    elif lie == "another size":
        operator.spoils["/attestation/transparency/tile/0/"] = lambda raw: raw[:-1]
    else:
        operator.spoils["/attestation/transparency/tile/0/"] = lambda raw: bytes(len(raw))
    assert visit()["verdict"] == "verified"
    told = settled(page)
    if lie == "other hashes":
        assert told.startswith("20 of the 20 entries shown fail")
    else:
        assert told.startswith("No entries: tile/")
        operator.spoils.clear()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#entries li")).to_have_count(20)


def answer_files(gateway: RunningGateway, answered: Answered, proof: bytes | None = None) -> list[FilePayload]:
    files = {
        "receipt.json": gateway.fetch_receipt(answered.receipt_id),
        "request.json": answered.request,
        "response.json": answered.raw,
    }
    if proof is not None:
        files["proof.json"] = proof
    return [FilePayload(name=name, mimeType="application/json", buffer=raw) for name, raw in files.items()]


def fetch_proof(gateway: RunningGateway, answered: Answered) -> bytes:
    with gateway.client() as client:
        while (response := client.get(f"/v1/aci/receipts/{answered.receipt_id}/proof")).status_code != 200:
            assert response.status_code == 404
    return response.content


def test_a_receipt_asked_for_by_its_id_is_found_in_the_log(
    page: Page, visit: Visit, gateway: RunningGateway, answers: list[Answered]
) -> None:
    answered = gateway.ask("just now")  # no checkpoint holds it yet
    page.get_by_text("Check one answer too").click()
    page.locator("#receipt-id").fill(answered.receipt_id)
    page.get_by_label("Your API key").fill(gateway.api_key)
    for name, raw in (("request", answered.request), ("response", answered.raw)):
        page.locator(f"#{name}").set_input_files(FilePayload(name=name, mimeType="", buffer=raw))
    result = visit()
    places = ("receipt.log", "receipt.route", "receipt.consistency")
    assert (result["verdict"], {outcomes(result)[name] for name in places}) == ("verified", {"pass"})
    assert json.loads(fetch_proof(gateway, answered))["document"]["salt"] not in page.content()
    assert gateway.api_key not in page.evaluate("document.body.innerText + JSON.stringify(localStorage)")


def test_a_receipt_of_an_earlier_boot_stands_in_the_same_history(
    page: Page, visit: Visit, gateway: RunningGateway
) -> None:
    answered = gateway.ask("before a restart")
    files = answer_files(gateway, answered)
    gateway.restart()
    page.locator("#files").set_input_files(files)
    page.get_by_label("Your API key").fill(gateway.api_key)
    result = visit()
    assert any("under other keys" in notice for notice in result["notices"])
    places = ("log.consistency", "receipt.log", "receipt.consistency")
    assert (result["verdict"], {outcomes(result)[name] for name in places}) == ("verified", {"pass"})


def test_a_receipt_that_no_checkpoint_holds_is_told(
    page: Page, visit: Visit, gateway: RunningGateway, operator: LyingProxy
) -> None:
    answered = gateway.ask("held back")
    operator.hides = "/proof"
    page.locator("#files").set_input_files(answer_files(gateway, answered))
    page.get_by_label("Your API key").fill(gateway.api_key)
    result = visit()
    assert (result["verdict"], check(result, "receipt.log")["reason"]) == (
        "verified",
        "no proof from the log was given",
    )
    assert any("Ask again in a moment" in notice for notice in result["notices"])
    assert operator.asked.count(f"/v1/aci/receipts/{answered.receipt_id}/proof") == 5


def test_an_answer_is_judged_from_one_drop(
    new_page: NewPage, page: Page, visit: Visit, gateway: RunningGateway, tmp_path: Path
) -> None:
    answers = [gateway.ask("mine"), gateway.ask("another's")]
    visit()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save bundle").click()
    download.value.save_as(tmp_path / "bundle.evidence")
    bundle = FilePayload(name="bundle", mimeType="", buffer=(tmp_path / "bundle.evidence").read_bytes())
    own, other = (fetch_proof(gateway, answered) for answered in answers)
    for proof, outcome, verdict in ((own, "pass", "verified"), (other, "fail", "rejected")):
        offline = new_page()  # no origin is allowed: a request would fail the test
        offline.locator("#files").set_input_files([bundle, *answer_files(gateway, answers[0], proof)])
        offline.get_by_label("Launch measurement").fill(measurement(gateway))
        offline.get_by_label("Accept a mock").check()
        result = verify(offline)
        assert (result["verdict"], outcomes(result)["receipt.log"]) == (verdict, outcome)
        assert settled(offline).startswith("Its entries are read with fresh evidence only")
