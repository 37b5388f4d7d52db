"""What witnesses and memory add to the verdict on a live gateway's log, as `saferouter verify` says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tee.cli import app
from tee.log.note import parse_note
from tests.worlds.gateway import RunningGateway, run_cli
from tests.worlds.lying_proxy import LyingProxy, gateway_behind, honest, lying_proxy
from tests.worlds.small_log import SmallLog, SmallWitness

Document = dict[str, Any]
ONE, TWO, THREE = (SmallWitness(f"w{seed}.example.com", seed) for seed in (21, 22, 23))


@pytest.fixture(scope="module")
def operator() -> Iterator[LyingProxy]:
    with lying_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(
    operator: LyingProxy, tmp_path_factory: pytest.TempPathFactory, chip_file: Path
) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("logged", numbered=False) / "state"
    with gateway_behind(operator, state, chip_file) as running:
        yield running


@pytest.fixture(autouse=True)
def _honest(operator: LyingProxy) -> Iterator[None]:
    yield
    operator.lie, operator.lies_at = honest, "/attestation/quote"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "memory" / "manifests.json"


def verify(gateway: RunningGateway, target: str | Path, memory: Path, *options: str | Path) -> tuple[int, Document]:
    """Exit code and `--json` verdict, with this memory of what was seen before."""
    words = ["verify", target, "--policy", gateway.policy, "--accept-mock", "--json", "--memory", memory, *options]
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


def check(verdict: Document, name: str) -> Document:
    (found,) = [each for each in verdict["checks"] if each["id"] == name]
    return dict(found)


def cosigning(*witnesses: SmallWitness) -> Callable[[Document], Document]:
    """These witnesses' lines below the checkpoint of every quote."""

    def cosign(quote: Document) -> Document:
        note = parse_note(quote["log"]["checkpoint"].encode(), "checkpoint")
        for witness in witnesses:
            note = witness.cosign(note)
        return quote | {"log": quote["log"] | {"checkpoint": note.encode().decode()}}

    return cosign


@pytest.fixture
def policy(gateway: RunningGateway, operator: LyingProxy, tmp_path: Path, memory: Path) -> Path:
    """Two of three witnesses, for the log that this gateway says it writes."""
    verify(gateway, operator.origin, memory)
    named = operator.told[-1]["workload"]["log"]
    lines = [f"log {named['vkey']}", *(f"witness {each.name} {each.key.encode()}" for each in (ONE, TWO, THREE))]
    path = tmp_path / "witnesses"
    path.write_text("\n".join([*lines, f"group most 2 {ONE.name} {TWO.name} {THREE.name}", "quorum most", ""]))
    return path


def test_the_quorum_of_my_witnesses_is_required_once_i_name_them(
    gateway: RunningGateway, operator: LyingProxy, policy: Path, memory: Path
) -> None:
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.witness")["reason"]) == (0, "no witness policy was given")
    assert "log.witness: no witness policy was given" in verdict["not_proven"]
    refused: list[tuple[tuple[SmallWitness, ...], str]] = [
        ((), "no cosignature"),
        ((ONE,), f"{ONE.name} at 2026-11-21T05:46:40Z"),
    ]
    for witnesses, found in refused:
        operator.lie = cosigning(*witnesses)
        code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
        row = check(verdict, "log.witness")
        assert (code, row["outcome"], row["found"]) == (1, "fail", found)
        assert row["wanted"] == f"2 of {ONE.name}, {TWO.name}, {THREE.name}"
    operator.lie = cosigning(ONE, THREE)
    code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["outcome"]) == (0, "pass")


def test_a_bad_cosignature_or_another_log_is_refused(
    gateway: RunningGateway, operator: LyingProxy, policy: Path, memory: Path
) -> None:
    def forge(quote: Document) -> Document:
        line = ONE.cosign(SmallLog(leaves=[b"other"]).checkpoint()).signatures[-1].encode()
        whole = cosigning(TWO, THREE)(quote)
        return whole | {"log": whole["log"] | {"checkpoint": whole["log"]["checkpoint"] + line}}

    operator.lie = forge
    code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["outcome"]) == (1, "fail")
    assert f"a bad cosignature by {ONE.name}" in check(verdict, "log.witness")["found"]
    operator.lie = cosigning(ONE, TWO, THREE)
    policy.write_text(policy.read_text().replace(policy.read_text().split()[1], SmallLog().key.encode()))
    code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["wanted"]) == (1, "a log that your witness policy names")
    operator.lie = lambda quote: quote | {"log": None, "workload": quote["workload"] | {"log": None}}
    code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["outcome"]) == (1, "skip")


def test_my_witnesses_must_have_seen_the_receipt_too_and_are_waited_for(
    gateway: RunningGateway, operator: LyingProxy, policy: Path, memory: Path, tmp_path: Path
) -> None:
    answered, seen = gateway.ask("who saw this?"), cosigning(ONE, THREE)
    (tmp_path / "key").write_text(gateway.api_key)
    (tmp_path / "request").write_bytes(answered.request)
    (tmp_path / "response").write_bytes(answered.raw)
    places: list[Document] = []

    def witness(document: Document) -> Document:
        """The quote is cosigned at once, the receipt's checkpoint only when it is asked for again."""
        if "route" in document:
            places.append(document)
            late = len(places) > 1
            return {name: leaf_seen(part) if late and "proof" in part else part for name, part in document.items()}
        return seen(document) if "report_b64" in document else document

    operator.lie, operator.lies_at = witness, "/"
    bodies = ("--request", tmp_path / "request", "--response", tmp_path / "response", "--key-file", tmp_path / "key")
    asked = ("--receipt", answered.receipt_id, *bodies, "--witnesses", policy, "--save", tmp_path / "kept")
    code, verdict = verify(gateway, operator.origin, memory, *asked)
    assert (code, check(verdict, "receipt.witness")["outcome"], len(places)) == (0, "pass", 2)
    code, verdict = verify(gateway, tmp_path / "kept", memory, *bodies[:4], "--witnesses", policy)
    assert (code, check(verdict, "receipt.witness")["outcome"]) == (0, "pass")
    policy.write_text(policy.read_text().replace("most 2", "most 3"))
    code, verdict = verify(gateway, tmp_path / "kept", memory, *bodies[:4], "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["outcome"]) == (1, "fail")


def leaf_seen(part: Document) -> Document:
    """A leaf whose checkpoint two witnesses cosigned."""
    head, _, raw = part["proof"].partition("\n\n")
    note = THREE.cosign(ONE.cosign(parse_note(raw.encode(), "checkpoint")))
    return part | {"proof": f"{head}\n\n{note.encode().decode()}"}


def test_a_policy_that_asks_for_no_witness_proves_nothing(
    gateway: RunningGateway, operator: LyingProxy, policy: Path, memory: Path
) -> None:
    policy.write_text(policy.read_text().replace("quorum most", "quorum none"))
    code, verdict = verify(gateway, operator.origin, memory, "--witnesses", policy)
    assert (code, check(verdict, "log.witness")["reason"]) == (0, "your witness policy asks for no witness")


def test_a_log_that_grows_is_one_history(gateway: RunningGateway, operator: LyingProxy, memory: Path) -> None:
    seen = memory.with_name("checkpoints.json")
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (0, "skip")
    first = json.loads(seen.read_text())[operator.origin]["size"]
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (0, "pass")
    old = operator.told[-1]["log"]
    gateway.restart()
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (0, "pass")
    newest = json.loads(seen.read_text())[operator.origin]["size"]
    assert check(verdict, "log.consistency")["found"] == f"{first} leaves seen before and {newest} now"
    operator.lie = lambda quote: quote | {"log": old}  # an earlier tree is consistent, and no longer holds this start
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (1, "pass")
    assert json.loads(seen.read_text())[operator.origin]["size"] == newest


def changed(seen: Path, operator: LyingProxy, **row: Any) -> None:
    """A memory of another past."""
    known = json.loads(seen.read_text())
    seen.write_text(json.dumps(known | {operator.origin: known[operator.origin] | row}))


def test_another_past_is_a_split_view(gateway: RunningGateway, operator: LyingProxy, memory: Path) -> None:
    seen = memory.with_name("checkpoints.json")
    assert verify(gateway, operator.origin, memory)[0] == 0
    size = json.loads(seen.read_text())[operator.origin]["size"]
    changed(seen, operator, root="00" * 32)
    code, verdict = verify(gateway, operator.origin, memory)
    refused = check(verdict, "log.consistency")
    assert (code, refused["outcome"], refused["reason"].split(":")[0]) == (1, "fail", "a split view")
    changed(seen, operator, size=size + 1)
    code, verdict = verify(gateway, operator.origin, memory)
    refused = check(verdict, "log.consistency")
    assert (code, refused["found"]) == (1, f"no proof for {size + 1} leaves seen before and {size} now")
    gateway.restart()
    changed(seen, operator, size=size)
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (1, "fail")
    assert " root: " in check(verdict, "log.consistency")["found"]


def test_what_another_verifier_saw_meanwhile_is_compared_too(
    gateway: RunningGateway, operator: LyingProxy, memory: Path
) -> None:
    assert verify(gateway, operator.origin, memory)[0] == 0
    gateway.restart()

    def meanwhile(proof: Document) -> Document:
        changed(memory.with_name("checkpoints.json"), operator, root="00" * 32)
        return proof

    operator.lie, operator.lies_at = meanwhile, "/attestation/transparency/consistency"
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["outcome"]) == (1, "fail")


def test_another_log_at_this_address_needs_my_word(gateway: RunningGateway, operator: LyingProxy, memory: Path) -> None:
    seen = memory.with_name("checkpoints.json")
    assert verify(gateway, operator.origin, memory)[0] == 0
    changed(seen, operator, vkey=SmallLog().key.encode())
    code, verdict = verify(gateway, operator.origin, memory)
    refused = check(verdict, "log.consistency")
    assert (code, refused["outcome"]) == (1, "fail")
    assert refused["wanted"] == f"{SmallLog().key.encode()}, seen before at this address"
    code, verdict = verify(gateway, operator.origin, memory, "--accept-new-log")
    assert (code, check(verdict, "log.consistency")["outcome"]) == (0, "skip")
    assert verify(gateway, operator.origin, memory)[0] == 0


def test_a_gateway_that_shows_no_log_any_more_is_refused(
    gateway: RunningGateway, operator: LyingProxy, memory: Path
) -> None:
    assert verify(gateway, operator.origin, memory)[0] == 0
    operator.lie = lambda quote: quote | {"log": None, "workload": quote["workload"] | {"log": None}}
    code, verdict = verify(gateway, operator.origin, memory)
    assert (code, check(verdict, "log.consistency")["reason"]) == (1, "the workload names no transparency log")


def test_what_is_no_memory_is_an_error_and_one_that_cannot_be_kept_is_said(
    gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    trusted = ("--policy", gateway.policy, "--accept-mock")
    for content in ("[]", "x", json.dumps({operator.origin: {"vkey": "a", "size": 0, "root": "00" * 32}})):
        (tmp_path / "checkpoints.json").write_text(content)
        done = run_cli("verify", operator.origin, *trusted, "--memory", tmp_path / "m.json")
        assert (done.returncode, "checkpoints.json" in done.stderr) == (2, True)
    done = run_cli("verify", operator.origin, *trusted, "--memory", "/dev/null/m.json")
    assert done.returncode == 3
    done = run_cli("verify", operator.origin, *trusted, "--memory", "/proc/m.json")
    assert (done.returncode, "a log that forgets would go unseen" in done.stderr) == (0, True)
