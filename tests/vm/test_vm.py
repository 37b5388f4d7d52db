"""The packaged gateway in a virtual machine: Debian's kernel carries its ioctls, and people outside judge it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tee.snp.certtable import certificates_of, parse_certificate_table
from tests.vm.guest import LOG, PATIENCE, Guest
from tests.vm.image import build_image
from tests.worlds.gateway import PLAIN, chat_body, run_cli
from tests.worlds.sev_chip import MEASUREMENT, derive_key

pytestmark = pytest.mark.vm
SLOW: Any = PLAIN | {"timeout": PATIENCE}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One machine for all tests, which leave it in a worse state from top to bottom."""
    with Guest(build_image(), tmp_path_factory.mktemp("vm")) as machine:
        print(f"ready {machine.wait_ready():.1f} s after power-on ({machine.accelerator}); console in {LOG}")
        yield machine


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(f'measurements = ["{MEASUREMENT.hex()}"]\n')
    return path


def test_the_packaged_command_refuses_a_mock_behind_the_device(guest: Guest) -> None:
    refusal, told = guest.log.split("init: the packaged command ended with 3\n")
    assert "its own report does not verify: Rejected: hw.root failed: found SAFEROUTER-MOCK-ARK" in refusal
    assert "SEV-SNP attester, because /dev/sev-guest exists" in told


def test_the_gateway_has_the_device_by_its_group_alone(guest: Guest) -> None:
    assert "crw-rw---- root:sev-guest /dev/sev-guest\n" in guest.log
    owner = dict(line.split(":\t", 1) for line in guest.tell("owner").splitlines())
    assert owner["Uid"].split() == ["990"] * 4
    assert owner["Groups"].split() == ["990", "991"]


def test_a_quote_verifies_outside(guest: Guest, policy: Path) -> None:
    done = run_cli("verify", guest.url, "--policy", policy, "--accept-mock", "--json")
    assert done.returncode == 0, done.stdout
    verdict = json.loads(done.stdout)
    assert (verdict["verdict"], verdict["scope"], verdict["mock"]) == ("verified", "full", True)
    passed = {check["id"] for check in verdict["checks"] if check["outcome"] == "pass"}
    assert passed >= {"hw.signature", "hw.revocation", "code.measurement", "bind.nonce", "bind.audience"}


def test_without_accepting_the_mock_nothing_verifies_outside(guest: Guest, policy: Path) -> None:
    done = run_cli("verify", guest.url, "--policy", policy)
    assert done.returncode == 1
    assert "Rejected: hw.root failed" in done.stdout


def test_the_quote_is_of_the_device_and_of_the_package(guest: Guest) -> None:
    quote = _quote(guest)
    assert (quote["tee_type"], quote["endorsements"]["kind"]) == ("sev_snp", "vcek")
    assert quote["workload"]["build"]["repo_commit"] is None, "a checkout runs, and not a wheel"


def test_an_answer_has_a_receipt_that_verifies_outside(guest: Guest, policy: Path, tmp_path: Path) -> None:
    key, request = guest.tell("mint").strip(), chat_body("which machine answers me?")
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    answer = httpx2.post(f"{guest.url}/v1/chat/completions", content=request, headers=headers, **SLOW)
    assert answer.status_code == 200, answer.text
    for name, content in {"key": key.encode(), "request": request, "response": answer.content}.items():
        (tmp_path / name).write_bytes(content)
    options = ("--receipt", answer.headers["x-receipt-id"], "--key-file", tmp_path / "key")
    bodies = ("--request", tmp_path / "request", "--response", tmp_path / "response")
    done = run_cli("verify", guest.url, "--policy", policy, "--accept-mock", "--json", *options, *bodies)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = {check["id"] for check in json.loads(done.stdout)["checks"] if check["outcome"] == "pass"}
    assert passed >= {"receipt.signature", "receipt.request", "receipt.response", "receipt.complete"}


def test_the_other_requests_pass_through_the_kernel(guest: Guest) -> None:
    plain, extended, derived = map(json.loads, guest.tell("probe").splitlines())
    report = bytes.fromhex(plain["report"])
    assert (report[0x50:0x90], report[0x90:0xC0]) == (bytes(range(64)), MEASUREMENT)
    table = bytes.fromhex(extended["table"])
    assert len(table) == 8192, "the host refuses one page and names two"
    assert set(certificates_of(parse_certificate_table(table))) == {"vcek", "ask", "ark", "crl"}
    assert bytes(4) + bytes.fromhex(derived["key"]) == derive_key(report, struct.pack("<IIQIIQ", 4, 0, 0x3F, 3, 0, 1))
    assert _requests(guest, "probe") == ["report 0", "extended 4096", "extended 8192", "key 0"]


def test_a_lost_message_key_ends_attestation_until_a_reboot(guest: Guest, policy: Path) -> None:
    before = _quote(guest)
    guest.tell("doom")
    for _ in range(2):
        refused = httpx2.post(f"{guest.url}/attestation/quote", json={"nonce": "ab" * 32}, **SLOW)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (503, "attestation_dead")
        assert "failed with EIO (firmware error 0x1d, host error 0)" in error["message"]
        assert "nothing can be attested until the guest is rebooted" in error["message"]
    assert _requests(guest, "doom") == ["extended 16384"], "a dead device is left alone"
    assert run_cli("verify", guest.url, "--policy", policy, "--accept-mock").returncode == 3
    assert _quote(guest) == before | {"stale": _quote(guest)["stale"]}
    ready = httpx2.get(f"{guest.url}/readyz", **SLOW)
    assert (ready.status_code, ready.json()["status"]) == (503, "attestation-dead")
    print(f"ready again {guest.reboot():.1f} s after the order to reboot")
    done = run_cli("verify", guest.url, "--policy", policy, "--accept-mock")
    assert done.returncode == 0, done.stdout
    after = _quote(guest)
    assert "stale" not in after
    assert "The identity is NOT kept" in guest.log, "the guest's configuration seals nothing"
    assert after["workload"]["identity_key"] != before["workload"]["identity_key"]
    assert after["keyset"]["receipt_signing_keys"] != before["keyset"]["receipt_signing_keys"]


def test_it_powers_off_cleanly(guest: Guest) -> None:
    code, seconds = guest.power_off()
    print(f"off after {seconds:.1f} s")
    assert code == 0
    assert guest.log.count("init: the gateway ended with 0\n") == 2
    assert "still in use" not in guest.log


def _quote(guest: Guest) -> dict[str, Any]:
    quote: dict[str, Any] = httpx2.post(f"{guest.url}/attestation/quote", **SLOW).json()
    return quote


def _requests(guest: Guest, word: str) -> list[str]:
    """What has reached the device since the guest was last told this."""
    lines = guest.log.rsplit(f"init: told to {word}\n", 1)[1].splitlines()
    return [line for line in lines if line.split(" ")[0] in ("report", "extended", "key")]
