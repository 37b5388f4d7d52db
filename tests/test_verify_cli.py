"""`saferouter verify` as a person runs it: an honest gateway, its receipts, and an operator with one lie at a time."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner

from tee.attest.mock import MockChip, load_chip_secrets
from tee.canonical import encode_canonical
from tee.cli import app
from tee.measure.envelope import seal_envelope
from tee.snp.bulletins import PAYLOAD_TYPE
from tests.conftest import ROOT
from tests.worlds.gateway import Answered, RunningGateway, chat_body, free_port, run_cli
from tests.worlds.lies import LIES, drop_crl, flip_hex
from tests.worlds.lying_proxy import LyingProxy, gateway_behind, honest, lying_proxy

Document = dict[str, Any]


@pytest.fixture(scope="module")
def operator() -> Iterator[LyingProxy]:
    """The public origin of `gateway`; honest until a test says otherwise."""
    with lying_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(
    operator: LyingProxy, tmp_path_factory: pytest.TempPathFactory, chip_file: Path
) -> Iterator[RunningGateway]:
    """A gateway behind the operator's reverse proxy."""
    state = tmp_path_factory.mktemp("verify", numbered=False) / "state"
    with gateway_behind(operator, state, chip_file) as running:
        yield running


@pytest.fixture(autouse=True)
def _honest(operator: LyingProxy) -> Iterator[None]:
    yield
    operator.lie, operator.lies_at = honest, "/attestation/quote"


@pytest.fixture(scope="module")
def answered(gateway: RunningGateway) -> Answered:
    return gateway.ask("which build answers me?")


@pytest.fixture
def files(answered: Answered, gateway: RunningGateway, tmp_path: Path) -> dict[str, Path]:
    """What a careful client keeps of one answer."""
    kept = {
        "request": answered.request,
        "response": answered.raw,
        "receipt": gateway.fetch_receipt(answered.receipt_id),
        "key": gateway.api_key.encode(),
    }
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in kept}


def verify(gateway: RunningGateway, target: str | Path, *options: str | Path) -> tuple[int, Document]:
    """Exit code and `--json` verdict, under the demo policy and with the mock accepted.

    The same command, without a process of its own for each of many lies.
    """
    arguments = ["verify", target, "--policy", gateway.policy, "--accept-mock", "--json", *options]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


def failures(verdict: Document) -> list[str]:
    return [check["id"] for check in verdict["checks"] if check["outcome"] == "fail"]


def verify_kept(gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path]) -> tuple[int, Document]:
    options = ("--receipt", files["receipt"], "--request", files["request"], "--response", files["response"])
    return verify(gateway, operator.origin, *options)


def test_a_mock_is_refused_until_it_is_accepted(gateway: RunningGateway, operator: LyingProxy) -> None:
    done = run_cli("verify", operator.origin, "--policy", gateway.policy)
    assert done.returncode == 1
    (sentence,) = [line for line in done.stdout.splitlines() if line.startswith("Rejected")]
    assert "hw.root" in sentence
    assert "MOCK" in sentence
    assert "--accept-mock" in sentence


def test_the_line_that_the_demo_prints_verifies(gateway: RunningGateway) -> None:
    _, *arguments = shlex.split(gateway.demo["verify"])
    assert gateway.demo["verify"] in gateway.log.read_text()
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert "Verified. MOCK: this proves nothing about hardware." in lines
    assert not [line for line in lines if line.startswith("FAIL")]
    assert {"log.inclusion", "log.startup"} <= {line.split()[1] for line in lines if line.startswith("PASS")}
    assert "Not proven:" in lines


def test_json_has_the_documented_shape(gateway: RunningGateway, operator: LyingProxy) -> None:
    done = run_cli("verify", operator.origin, "--policy", gateway.policy, "--accept-mock", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    verdict = json.loads(done.stdout)
    assert list(verdict) == ["verdict", "scope", "mock", "checks", "not_proven"]
    assert (verdict["verdict"], verdict["scope"], verdict["mock"]) == ("verified", "full", True)
    for check in verdict["checks"]:
        assert list(check) == ["id", "outcome", "found", "wanted", "reason"]
        assert all(isinstance(value, str) for value in check.values())
        assert check["outcome"] == "pass" or (check["outcome"] == "skip" and check["reason"])
    skipped = {check["id"] for check in verdict["checks"] if check["outcome"] == "skip"}
    assert skipped <= {line.split(":")[0] for line in verdict["not_proven"]}
    assert "hw.root" in skipped


def test_without_a_policy_nothing_is_verified(operator: LyingProxy) -> None:
    done = run_cli("verify", operator.origin, "--accept-mock", "--json")
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["verdict"]) == (1, "rejected")
    assert failures(verdict) == ["code.measurement"]


def test_a_live_gateway_is_graded_by_signed_tcb_data(
    gateway: RunningGateway, operator: LyingProxy, tmp_path: Path
) -> None:
    code, verdict = verify(gateway, operator.origin)
    (check,) = [check for check in verdict["checks"] if check["id"] == "guest.tcb-status"]
    assert (code, check["outcome"], check["found"]) == (0, "pass", "up to date")
    key = SigningKey(b"t" * 32)
    policy, update = tmp_path / "policy.toml", tmp_path / "tcb.json"
    releases = f'[releases]\nkeys = ["{bytes(key.verify_key).hex()}"]\nthreshold = 1\n'
    policy.write_text(gateway.policy.read_text() + releases)
    data = json.loads((ROOT / "tee" / "tcb.json").read_text()) | {"sequence": 9}
    (badram,) = [row for row in data["bulletins"] if row["title"] == "BadRAM"]
    badram["requirements"][1]["floor"]["snp"] = 255
    update.write_bytes(seal_envelope(encode_canonical(data), PAYLOAD_TYPE, [key]))
    code, verdict = verify(gateway, operator.origin, "--policy", policy, "--tcb", update)
    (check,) = [check for check in verdict["checks"] if check["id"] == "guest.tcb-status"]
    assert (code, failures(verdict)) == (1, ["guest.tcb-status"])
    assert check["found"] == "revoked: AMD-SB-3015 BadRAM: snp 27, wanted at least 255 on Genoa"
    assert check["reason"].startswith("TCB data 9 of ")


def test_another_build_is_rejected_by_its_measurement(operator: LyingProxy, tmp_path: Path) -> None:
    other = tmp_path / "policy.toml"
    other.write_text(f'measurements = ["{"ab" * 48}"]\n')
    done = run_cli("verify", operator.origin, "--policy", other, "--accept-mock")
    assert done.returncode == 1
    assert f"Rejected: code.measurement failed: found {operator_measurement(operator)}, wanted" in done.stdout


def operator_measurement(operator: LyingProxy) -> str:
    return base64.b64decode(operator.told[-1]["report_b64"])[0x90:0xC0].hex()


def test_another_origin_of_the_same_gateway_is_rejected(gateway: RunningGateway) -> None:
    code, verdict = verify(gateway, gateway.url)
    assert (code, failures(verdict)) == (1, ["bind.audience"])


def test_nobody_at_the_url_is_unavailable_and_not_rejected() -> None:
    done = run_cli("verify", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("saferouter: http://127.0.0.1:")


@pytest.mark.parametrize("content", [None, b"\xff", b"{}", b'{"format":"saferouter/evidence/v1"}', b"[" * 10_000])
def test_an_unreadable_file_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    bundle = tmp_path / "bundle.evidence"
    if content is not None:
        bundle.write_bytes(content)
    done = run_cli("verify", bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("saferouter: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--policy", "no-such-policy.toml"),
        ("--at", "yesterday"),
        ("--save", "no-such-folder/bundle.evidence"),
        ("--request", "request.json"),
    ],
)
def test_an_option_that_cannot_be_used_is_a_usage_error(operator: LyingProxy, arguments: tuple[str, str]) -> None:
    done = run_cli("verify", operator.origin, *arguments, environ={"SAFEROUTER_API_KEY": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("saferouter: ")
    assert done.stderr.count("\n") == 1


def test_an_answer_verifies_by_its_receipts_id(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    bodies = ("--request", files["request"], "--response", files["response"])
    code, verdict = verify(
        gateway, operator.origin, "--receipt", answered.receipt_id, "--key-file", files["key"], *bodies
    )
    assert (code, failures(verdict)) == (0, [])
    passed = {check["id"] for check in verdict["checks"] if check["outcome"] == "pass"}
    assert {name for name in passed if name.startswith("receipt.")} == {
        "receipt.format",
        "receipt.keyset",
        "receipt.signature",
        "receipt.request",
        "receipt.response",
        "receipt.complete",
        "receipt.log",
        "receipt.route",
        "receipt.consistency",
    }
    assert any(line.startswith("upstream.provenance") for line in verdict["not_proven"])


def test_an_answer_without_both_bodies_is_not_verified(
    gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path]
) -> None:
    code, verdict = verify(gateway, operator.origin, "--receipt", files["receipt"], "--request", files["request"])
    assert (code, verdict["verdict"], failures(verdict)) == (1, "rejected", [])


@pytest.mark.parametrize("which", ["request", "response"])
def test_one_changed_byte_of_a_body_shows(
    gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path], which: str
) -> None:
    body = bytearray(files[which].read_bytes())
    body[len(body) // 2] ^= 1
    files[which].write_bytes(body)
    code, verdict = verify_kept(gateway, operator, files)
    assert (code, failures(verdict)) == (1, [f"receipt.{which}"])


def test_one_changed_character_of_a_receipt_shows(
    gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path]
) -> None:
    receipt = json.loads(files["receipt"].read_bytes())
    forged = {
        "receipt.signature": [receipt | {"model": "mock-2"}, receipt | {"signature": flip_hex(receipt["signature"])}],
        "receipt.keyset": [receipt | {"workload_keyset_digest": flip_hex(receipt["workload_keyset_digest"])}],
    }
    for check, documents in forged.items():
        for document in documents:
            files["receipt"].write_text(json.dumps(document))
            target = bundle_of(operator, files) if check == "receipt.keyset" else operator.origin
            bodies = ("--request", files["request"], "--response", files["response"])
            code, verdict = verify(gateway, target, "--receipt", files["receipt"], *bodies)
            assert code == 1
            assert set(failures(verdict)) == {check, "receipt.signature"}


def bundle_of(operator: LyingProxy, files: dict[str, Path]) -> Path:
    path = files["receipt"].with_name("bundle.evidence")
    run_cli("verify", operator.origin, "--save", path)
    return path


def test_a_receipt_forged_on_its_way_shows(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    def whiten(receipt: Document) -> Document:
        if "event_log" not in receipt:
            return receipt  # its place in the log
        (event,) = [event for event in receipt["event_log"] if event["type"] == "upstream.verified"]
        event["result"] = "verified"
        return receipt

    operator.lie, operator.lies_at = whiten, "/v1/aci/receipts/"
    bodies = ("--request", files["request"], "--response", files["response"])
    code, verdict = verify(
        gateway, operator.origin, "--receipt", answered.receipt_id, "--key-file", files["key"], *bodies
    )
    assert (code, failures(verdict)) == (1, ["receipt.signature", "receipt.log"])


def test_the_receipt_of_a_cut_answer_is_never_verified(
    gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path]
) -> None:
    cut = gateway.post(chat_body("mock:cut and some more words", stream=True))
    files["request"].write_bytes(cut.request)
    files["response"].write_bytes(cut.raw)
    files["receipt"].write_bytes(gateway.fetch_receipt(cut.receipt_id))
    code, verdict = verify_kept(gateway, operator, files)
    assert (code, failures(verdict)) == (1, ["receipt.complete"])


def test_a_saved_bundle_and_an_old_receipt_outlive_the_gateway(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    bundle = bundle_of(operator, files)
    gateway.stop()
    now = dt.datetime.now(dt.UTC)
    code, verdict = verify(gateway, bundle, "--at", now.isoformat())
    assert (code, verdict["verdict"]) == (0, "verified")
    assert any(line.startswith("bind.nonce: stored evidence") for line in verdict["not_proven"])
    code, verdict = verify(gateway, bundle, "--at", (now + dt.timedelta(days=2)).isoformat())
    assert (code, failures(verdict)) == (1, ["bind.keyset-expiry"])
    bodies = ("--request", files["request"], "--response", files["response"])
    assert verify(gateway, bundle, "--receipt", files["receipt"], *bodies)[0] == 0
    gateway.start()
    by_id = ("--receipt", answered.receipt_id, "--key-file", files["key"])
    code, verdict = verify(gateway, operator.origin, *by_id, *bodies)
    assert (code, failures(verdict)) == (0, [])
    operator.lie, operator.lies_at = drop_crl, "/attestation/keysets/"
    code, verdict = verify(gateway, operator.origin, *by_id, *bodies)
    assert (code, verdict["verdict"]) == (1, "rejected")


@pytest.mark.parametrize("name", LIES)
def test_a_lie_in_the_quote_is_named(gateway: RunningGateway, operator: LyingProxy, name: str) -> None:
    operator.lie, expected = LIES[name]
    code, verdict = verify(gateway, operator.origin)
    assert (code, verdict["verdict"]) == (1, "rejected")
    assert failures(verdict) == expected


def test_a_missing_revocation_list_is_named(gateway: RunningGateway, operator: LyingProxy) -> None:
    operator.lie = drop_crl
    done = run_cli("verify", operator.origin, "--policy", gateway.policy, "--accept-mock")
    assert done.returncode == 1
    assert "Rejected: hw.revocation is required but was not checked" in done.stdout


def test_a_stale_quote_does_not_answer_our_nonce(gateway: RunningGateway, operator: LyingProxy) -> None:
    assert verify(gateway, operator.origin)[0] == 0
    stale = copy.deepcopy(operator.told[-1])
    operator.lie = lambda _: stale
    code, verdict = verify(gateway, operator.origin)
    assert (code, failures(verdict)) == (1, ["bind.report-data", "bind.nonce"])
    operator.lie = lambda fresh: stale | {"statement": fresh["statement"]}
    code, verdict = verify(gateway, operator.origin)
    assert (code, failures(verdict)) == (1, ["bind.report-data"])


def test_a_quote_without_a_nonce_does_not_answer_ours(gateway: RunningGateway, operator: LyingProxy) -> None:
    with gateway.client() as client:
        shared = client.post("/attestation/quote").json()
    operator.lie = lambda _: shared
    code, verdict = verify(gateway, operator.origin)
    assert (code, failures(verdict)) == (1, ["bind.report-data", "bind.nonce"])


@pytest.fixture(scope="module")
def other_chip(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The endorsements of another mock chip, of the same make."""
    secret = load_chip_secrets(tmp_path_factory.mktemp("other", numbered=False))
    ends = MockChip(secret, bytes(48)).attest(bytes(64)).endorsements
    parts = {"vek_b64": ends.vek, "ask_b64": ends.intermediate, "ark_b64": ends.ark, "crl_b64": ends.crl or b""}
    return {name: base64.b64encode(content).decode() for name, content in parts.items()}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("vek_b64",), ["hw.chain", "hw.signature", "hw.chip-id"]),
        (("ark_b64",), ["hw.chain", "hw.revocation"]),
        (("crl_b64",), ["hw.revocation"]),
        (("vek_b64", "ask_b64", "ark_b64", "crl_b64"), ["hw.signature", "hw.chip-id"]),
    ],
)
def test_another_chips_endorsements_do_not_fit(
    gateway: RunningGateway, operator: LyingProxy, other_chip: Document, parts: tuple[str, ...], expected: list[str]
) -> None:
    theirs = {name: other_chip[name] for name in parts}
    operator.lie = lambda quote: quote | {"endorsements": quote["endorsements"] | theirs}
    code, verdict = verify(gateway, operator.origin)
    assert (code, failures(verdict)) == (1, expected)


def test_a_receipt_needs_a_key_and_a_known_id(gateway: RunningGateway, operator: LyingProxy, tmp_path: Path) -> None:
    trusted = ("verify", operator.origin, "--policy", gateway.policy, "--accept-mock", "--receipt", "rcpt-1")
    done = run_cli(*trusted, environ={"SAFEROUTER_API_KEY": ""})
    assert (done.returncode, "--key-file: found nothing" in done.stderr) == (2, True)
    for key, word in (("sk-router-wrong", "--key-file: found a key"), (gateway.api_key, "--receipt: found no receipt")):
        (tmp_path / "key").write_text(key)
        done = run_cli(*trusted, "--key-file", tmp_path / "key")
        assert (done.returncode, word in done.stderr) == (2, True), done.stderr


def test_a_gateway_whose_evidence_fails_is_shown_no_key(gateway: RunningGateway, operator: LyingProxy) -> None:
    operator.asked.clear()
    done = run_cli("verify", operator.origin, "--receipt", "rcpt-1", environ={"SAFEROUTER_API_KEY": gateway.api_key})
    assert done.returncode == 1
    assert operator.asked == ["/attestation/quote"]
    assert "hw.root" in done.stdout


def test_another_place_in_the_log_is_none_of_this_receipt(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    def forget(proof: Document) -> Document:
        return proof | {"document": proof["document"] | {"salt": "00" * 32}}

    by_id = ("--receipt", answered.receipt_id, "--key-file", files["key"])
    operator.lie, operator.lies_at = forget, f"/v1/aci/receipts/{answered.receipt_id}/proof"
    bodies = ("--request", files["request"], "--response", files["response"])
    code, verdict = verify(gateway, operator.origin, *by_id, *bodies)
    assert (code, failures(verdict)) == (1, ["receipt.log"])


def test_the_log_of_an_earlier_start_is_none_of_this_one(gateway: RunningGateway, operator: LyingProxy) -> None:
    assert verify(gateway, operator.origin)[0] == 0
    earlier = operator.told[-1]["log"]
    gateway.restart()
    assert verify(gateway, operator.origin)[0] == 0
    operator.lie = lambda quote: quote | {"log": earlier}
    code, verdict = verify(gateway, operator.origin)
    assert (code, failures(verdict)) == (1, ["log.startup"])


def test_a_saved_bundle_holds_the_quote_that_was_judged(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    gateway.restart()
    bundle = files["request"].with_name("past.evidence")
    bodies = ("--request", files["request"], "--response", files["response"])
    by_id = ("--receipt", answered.receipt_id, "--key-file", files["key"], "--save", bundle)
    assert verify(gateway, operator.origin, *by_id, *bodies)[0] == 0
    code, verdict = verify(gateway, bundle, "--receipt", files["receipt"], *bodies)
    assert (code, verdict["verdict"]) == (0, "verified")


def by_id(answered: Answered, files: dict[str, Path], *more: str | Path) -> tuple[str | Path, ...]:
    bodies = ("--request", files["request"], "--response", files["response"])
    return ("--receipt", answered.receipt_id, "--key-file", files["key"], *bodies, *more)


@pytest.fixture
def kept(gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]) -> Path:
    """One file that holds the evidence of an answer."""
    bundle = files["request"].with_name("answer.evidence")
    assert verify(gateway, operator.origin, *by_id(answered, files, "--save", bundle))[0] == 0
    return bundle


def outcome(verdict: Document, check_id: str) -> str:
    (check,) = [check for check in verdict["checks"] if check["id"] == check_id]
    return str(check["outcome"])


def test_an_answer_and_its_place_verify_offline_from_one_file(
    gateway: RunningGateway, operator: LyingProxy, files: dict[str, Path], kept: Path
) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    bodies = ("--request", files["request"], "--response", files["response"])
    operator.asked.clear()
    code, verdict = verify(gateway, kept, *bodies)
    assert (code, verdict["verdict"], operator.asked) == (0, "verified", [])
    for check_id in ("receipt.log", "receipt.route", "receipt.consistency"):
        assert outcome(verdict, check_id) == "pass"
    assert any(line.endswith("as the receipt asserts") for line in verdict["not_proven"])
    code, verdict = verify(gateway, kept)
    assert (code, verdict["verdict"]) == (0, "verified")
    assert any(line.startswith("receipt.*: the bundle holds an answer's receipt") for line in verdict["not_proven"])
    years = (dt.datetime.now(dt.UTC) + dt.timedelta(days=700)).isoformat()
    assert verify(gateway, kept, *bodies, "--at", years)[0] == 1
    files["response"].write_bytes(b"another answer")
    code, verdict = verify(gateway, kept, *bodies)
    assert (code, failures(verdict)) == (1, ["receipt.response"])
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"answer": {}}))
    assert run_cli("verify", kept, "--policy", gateway.policy, *bodies).returncode == 2


def test_loose_files_verify_offline_and_say_what_is_missing(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path], kept: Path
) -> None:
    parts = json.loads(kept.read_text())
    quote, proof = kept.with_name("quote.json"), kept.with_name("proof.json")
    quote.write_text(json.dumps(parts["quote"]))
    proof.write_bytes(base64.b64decode(parts["answer"]["proof_b64"]))
    bodies = ("--request", files["request"], "--response", files["response"])
    code, verdict = verify(gateway, quote, "--receipt", files["receipt"], "--proof", proof, *bodies)
    assert (code, outcome(verdict, "receipt.log"), outcome(verdict, "receipt.route")) == (0, "pass", "pass")
    notes = (parts["quote"]["log"]["checkpoint"], json.loads(proof.read_text())["receipt"]["proof"].split("\n\n", 1)[1])
    shown, holding = (note.split("\n")[1] for note in notes)
    told = [line for line in verdict["not_proven"] if line.startswith("receipt.consistency:")]
    grown = f"receipt.consistency: no proof was given that the log of {shown} leaves grew to {holding}"
    assert told == ([] if shown == holding else [grown])  # within one second both may be shown in one tree
    code, verdict = verify(gateway, operator.origin, "--receipt", files["receipt"], "--proof", proof, *bodies)
    assert (code, outcome(verdict, "receipt.consistency")) == (0, "pass")
    code, verdict = verify(gateway, quote, "--receipt", files["receipt"], *bodies)
    assert (code, outcome(verdict, "receipt.log")) == (0, "skip")
    proof.write_bytes(proof.read_bytes()[:-1])
    code, verdict = verify(gateway, quote, "--receipt", files["receipt"], "--proof", proof, *bodies)
    assert (code, failures(verdict)) == (1, ["receipt.log"])
    code, verdict = verify(gateway, operator.origin, *by_id(answered, files, "--proof", proof))
    assert (code, failures(verdict)) == (1, ["receipt.log"])
    assert run_cli("verify", quote, "--policy", gateway.policy, "--proof", proof).returncode == 2


def test_a_gateway_that_hides_the_route_is_refused(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    place = f"/v1/aci/receipts/{answered.receipt_id}/proof"
    operator.lie, operator.lies_at = lambda proof: proof | {"route": None}, place
    code, verdict = verify(gateway, operator.origin, *by_id(answered, files))
    assert (code, failures(verdict)) == (1, ["receipt.route"])


def test_an_answer_of_an_earlier_start_stands_in_the_history_of_this_one(
    gateway: RunningGateway, operator: LyingProxy, answered: Answered, files: dict[str, Path]
) -> None:
    gateway.restart()
    code, verdict = verify(gateway, operator.origin, *by_id(answered, files))
    assert (code, failures(verdict)) == (0, [])
    assert [outcome(verdict, name) for name in ("log.consistency", "receipt.consistency")] == ["pass", "pass"]
    operator.lie, operator.lies_at = lambda proof: proof | {"proof": []}, "/attestation/transparency/consistency"
    code, verdict = verify(gateway, operator.origin, *by_id(answered, files))
    assert (code, failures(verdict)) == (1, ["log.consistency", "receipt.consistency"])
