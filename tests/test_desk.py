"""The quote desk under a crowd, before a slow, busy, lying and dead device: a served gateway over the real driver."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.build import source_digest
from tee.attest.mock import MockChip, load_chip_secrets, mock_measurement, new_chip_secrets
from tee.policy import parse_policy
from tee.verify import verify_quote
from tests.worlds.gateway import PLAIN, RunningGateway, free_port
from tests.worlds.sev_chip import certificate_table
from tests.worlds.sev_guest import SevGuestMachine, build_shim

CROWD = 2000
DEVICE = "/dev/sev-guest"

Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def chip(chip_file: Path) -> MockChip:
    return MockChip(load_chip_secrets(chip_file.parent), mock_measurement(source_digest()))


@pytest.fixture
def machine(shim: Path, chip: MockChip) -> Iterator[SevGuestMachine]:
    with SevGuestMachine(chip, shim) as world:
        yield world


@pytest.fixture
def serve(machine: SevGuestMachine, tmp_path: Path) -> Serve:
    """`serve(script, keyset_seconds, **limits)`: a gateway on the machine, not yet started."""

    @contextmanager
    def gateway(script: str, keyset_seconds: int = 3600, **limits: int) -> Iterator[RunningGateway]:
        rows = [f"keyset_seconds = {keyset_seconds}", "[limits]", *(f"{name} = {limits[name]}" for name in limits)]
        rows += ['[[providers]]\nid = "mock"\nfamily = "mock"', '[[models]]\nid = "mock-1"\nprovider = "mock"']
        command = (sys.executable, "-m", "tests.worlds.device_gateway")
        environ = machine.environ(script) | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        with RunningGateway(tmp_path / "state", config="\n".join(rows), environ=environ, command=command) as running:
            yield running

    return gateway


def quote(gateway: RunningGateway, nonce: str | None = None) -> httpx2.Response:
    """Evidence over this nonce, or the shared one."""
    return httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": nonce}, timeout=20.0, **PLAIN)


def get(gateway: RunningGateway, path: str) -> httpx2.Response:
    return httpx2.get(f"{gateway.url}{path}", timeout=20.0, **PLAIN)


def fresh() -> str:
    return secrets.token_hex(32)


def judged(gateway: RunningGateway, document: Any, nonce: str | None) -> str:
    """The verdict of tee, in words."""
    verdict = verify_quote(
        document,
        now=dt.datetime.now(dt.UTC),
        policy=parse_policy(gateway.policy.read_bytes()),
        nonce=None if nonce is None else bytes.fromhex(nonce),
        audience=gateway.url,
        accept_mock=True,
    )
    return verdict.sentence()


VERIFIED = "Verified. MOCK: this proves nothing about hardware."


class Caller:
    """One connection of a crowd: a request, and when which answer came."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._port = gateway.port
        self.nonce = fresh()
        self.status, self.seconds = 0, 0.0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> None:
        body = json.dumps({"nonce": self.nonce}).encode()
        head = f"POST /attestation/quote HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(body)}\r\n\r\n"
        began = time.monotonic()
        self._writer.write(head.encode() + body)
        rows = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(rows[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows[1:])}
        self.body = await self._reader.readexactly(int(self.headers["content-length"]))
        self.seconds = time.monotonic() - began
        self._writer.close()


def test_a_crowd_reaches_the_device_at_the_configured_rate(machine: SevGuestMachine, serve: Serve) -> None:
    spacing, deadline = 0.1, 6

    async def gather(crowd: list[Caller]) -> None:
        for at in range(0, CROWD, 200):  # the backlog of a listening socket is bounded too
            await asyncio.gather(*(caller.connect() for caller in crowd[at : at + 200]))
        await asyncio.gather(*(caller.ask() for caller in crowd))

    with serve("ok", quotes_per_minute=600, quote_seconds=deadline, waiting_quotes=CROWD) as gateway:
        crowd = [Caller(gateway) for _ in range(CROWD)]
        asyncio.run(gather(crowd))
        served = [caller for caller in crowd if caller.status == 200]
        refused = [caller for caller in crowd if caller.status == 429]
        assert len(served) + len(refused) == CROWD, {caller.status for caller in crowd}
        for caller in served:
            assert judged(gateway, json.loads(caller.body), caller.nonce) == VERIFIED
    times = machine.times()
    assert len(served) > 10
    assert len(served) < len(times) <= len(served) + 1 + deadline / spacing / 4, "reports were burnt"
    # The shim notes the time a little after the gateway does: a hundredth of a second either way.
    for first in range(len(times)):
        for last in range(first + 1, len(times)):
            assert times[last] - times[first] > (last - first) * spacing - 0.05
    # What a refusal at once takes under this load is the way through the socket; no wait is longer than the deadline.
    way = max(caller.seconds for caller in refused)
    assert max(caller.seconds for caller in served) < deadline + way + 2.0
    assert all(int(caller.headers["retry-after"]) >= 1 for caller in refused)


def test_a_place_is_refused_at_once_and_retry_after_is_true(serve: Serve) -> None:
    with serve("ok", quotes_per_minute=20, quote_seconds=2) as gateway:
        while quote(gateway, fresh()).status_code != 200:
            time.sleep(0.1)
        began = time.monotonic()
        refused = quote(gateway, fresh())
        assert time.monotonic() - began < 2
        assert refused.status_code == 429
        assert "your quote would not be ready within 2 s" in refused.json()["error"]["message"]
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 2
        assert quote(gateway).status_code == 200, "the shared quote needs no place"
        time.sleep(wait)
        assert quote(gateway, fresh()).status_code == 200


def test_the_queue_is_bounded(serve: Serve) -> None:
    with serve("ok", quotes_per_minute=60, waiting_quotes=3) as gateway, ThreadPoolExecutor(10) as callers:
        answers = list(callers.map(lambda _: quote(gateway, fresh()).status_code, range(10)))
    assert set(answers) == {200, 429}
    assert 3 <= answers.count(200) <= 6


def test_who_hangs_up_leaves_the_queue(machine: SevGuestMachine, serve: Serve) -> None:
    body = json.dumps({"nonce": fresh()}).encode()
    with serve("ok", quotes_per_minute=20) as gateway:
        assert quote(gateway, fresh()).status_code == 200
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
                caller.sendall(b"POST /attestation/quote HTTP/1.1\r\nHost: gw\r\nContent-Length: 76\r\n\r\n" + body)
                time.sleep(0.1)
        began = time.monotonic()
        assert quote(gateway, fresh()).status_code == 200
        assert time.monotonic() - began < 10, "five places before it would be fifteen seconds"
        assert len(machine.requests()) == 3, "the boot's, and two"


def test_callers_with_one_nonce_share_one_report(machine: SevGuestMachine, serve: Serve) -> None:
    nonce = fresh()
    with serve("ok", quotes_per_minute=30) as gateway, ThreadPoolExecutor(8) as callers:
        assert quote(gateway, fresh()).status_code == 200
        answers = list(callers.map(lambda _: quote(gateway, nonce).json(), range(8)))
        assert len({answer["report_b64"] for answer in answers}) == 1
        assert judged(gateway, answers[0], nonce) == VERIFIED
        assert quote(gateway).json()["report_b64"] == quote(gateway).json()["report_b64"]
    assert len(machine.requests()) == 3


def test_a_device_that_blocks_blocks_nothing_else(machine: SevGuestMachine, serve: Serve) -> None:
    with serve("ok,slow:60000", quotes_per_minute=600, quote_seconds=2) as gateway:
        with ThreadPoolExecutor(2) as callers:
            pending = [callers.submit(quote, gateway, fresh()) for _ in range(2)]
            for path in ("/readyz", "/healthz"):
                assert get(gateway, path).status_code == 200
            assert judged(gateway, quote(gateway).json(), None) == VERIFIED
            answers = [each.result() for each in pending]
        assert {answer.status_code for answer in answers} == {503}
        assert all("has not answered" in answer.json()["error"]["message"] for answer in answers)
        time.sleep(0.5)  # now it has been silent for longer than anybody may wait
        began = time.monotonic()
        at_once = quote(gateway, fresh())
        assert time.monotonic() - began < 2
        assert (at_once.status_code, 40 < int(at_once.headers["retry-after"]) < 60) == (503, True)
        assert gateway.ask("while it blocks").status == 200
        code, seconds = gateway.stop()
        assert (code, seconds < 9) == (0, True)
        assert len(machine.requests()) == 2
        assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize("step", ["busy", "timeout"])
def test_a_busy_host_is_asked_again_within_the_deadline(machine: SevGuestMachine, serve: Serve, step: str) -> None:
    with serve(f"ok,{step},{step},ok", quotes_per_minute=600) as gateway:
        nonce = fresh()
        assert judged(gateway, quote(gateway, nonce).json(), nonce) == VERIFIED
        assert len(machine.requests()) == 4
        log = gateway.log.read_text()
    assert log.count("No new evidence yet, the device is asked again") == 1
    assert "the host is too busy for this guest's requests" in log


def test_a_host_that_stays_busy_is_a_503_with_a_time(machine: SevGuestMachine, serve: Serve) -> None:
    with serve("ok,busy", quotes_per_minute=120, quote_seconds=1) as gateway:
        began = time.monotonic()
        answer = quote(gateway, fresh())
        assert time.monotonic() - began < 6
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "attester_unavailable")
        assert "the host is too busy" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) >= 1
        asked = len(machine.requests())
        assert 2 <= asked <= 5
        time.sleep(1)
        assert len(machine.requests()) <= asked + 1, "nobody waits, so nobody is asked"
        assert get(gateway, "/readyz").json() == {"status": "ready", "tee_type": "mock"}
        assert quote(gateway).status_code == 200


def test_a_device_that_answers_wrongly_is_named_and_asked_again(
    machine: SevGuestMachine, serve: Serve, shim: Path, chip: MockChip
) -> None:
    words = {
        "no-echo": "a report over other report data than was asked for. Trust nothing",
        "status:0x16": "the firmware answered status 0x16 (invalid parameter) and not a report",
        "size:1183": "a report of 1183 bytes, wanted 1184",
        "too-small:0": "the host says that its certificate table needs 0 bytes",
    }
    with serve(",".join(["ok", *words, "ok"]), quotes_per_minute=600) as gateway:

        def refused(reason: str) -> None:
            answer = quote(gateway, fresh())
            assert (answer.status_code, "retry-after" in answer.headers) == (503, False)
            assert reason in answer.json()["error"]["message"]
            assert f"No new evidence: {answer.json()['error']['message']}." in gateway.log.read_text()

        for reason in words.values():
            refused(reason)
        honest = machine.table
        other = MockChip(new_chip_secrets(), bytes(48)).attest(bytes(64)).endorsements
        machine.table = certificate_table({"vcek": other.vek, "ask": other.intermediate, "ark": other.ark})
        refused("its own report does not verify: Rejected: hw.signature failed")
        refused("are another chip's, or older than its firmware, have the host's operator load this chip's")
        machine.table = b"\x01" * 0x4000
        refused("the host's certificate table is broken")
        machine.table = honest
        nonce = fresh()
        assert judged(gateway, quote(gateway, nonce).json(), nonce) == VERIFIED
        assert get(gateway, "/readyz").status_code == 200


def test_a_dead_device_leaves_stale_evidence_and_calls_until_the_keyset_ends(
    machine: SevGuestMachine, serve: Serve
) -> None:
    with serve("ok,dead", keyset_seconds=30, quotes_per_minute=600) as gateway:
        keyset = get(gateway, "/attestation/verifying-key").json()["workload_keyset_digest"]
        with ThreadPoolExecutor(4) as callers:
            answers = list(callers.map(lambda _: quote(gateway, fresh()), range(4)))
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "attestation_dead")
            assert "until the guest is rebooted" in answer.json()["error"]["message"]
            assert "retry-after" not in answer.headers
        assert len(machine.requests()) == 2, "a dead device was asked again"

        assert get(gateway, "/healthz").status_code == 200
        ready = get(gateway, "/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "attestation-dead")
        assert ready.json()["reason"].startswith(f"{DEVICE}: failed with EIO")
        log = gateway.log.read_text()
        assert log.count("The attestation device is dead") == 1
        assert "until the guest is rebooted" in log

        _expect_stale(gateway, quote(gateway), get(gateway, f"/attestation/keysets/{keyset}"))
        aci = get(gateway, "/v1/aci/attestation")
        assert (aci.headers["x-sf-evidence"], aci.json()["stale"].keys()) == ("stale", {"since", "reason"})

        gateway.verified(gateway.ask("buffered"))
        gateway.verified(gateway.ask("streamed", stream=True))
        kept = gateway.ask("kept")
        deadline = time.monotonic() + 60
        while (last := gateway.ask("more")).status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert (last.status, last.json["error"]["code"]) == (503, "keyset_expired")
        assert "nobody could verify the receipt" in last.json["error"]["message"]
        gateway.verified(kept)  # earlier receipts are still handed out
        time.sleep(1.5)
        assert gateway.log.read_text().count("The keyset ended at") == 1
        assert "calls are refused" in get(gateway, "/readyz").json()["reason"]
    assert len(machine.requests()) == 2


def _expect_stale(gateway: RunningGateway, *answers: httpx2.Response) -> None:
    for answer in answers:
        assert (answer.status_code, answer.headers["x-sf-evidence"]) == (200, "stale")
        assert 0 <= int(answer.headers["age"]) < 30
        mark = answer.json()["stale"]
        assert mark["since"].startswith(dt.datetime.now(dt.UTC).strftime("%Y-"))
        assert mark["reason"].startswith(f"{DEVICE}: failed with EIO")
        assert judged(gateway, answer.json(), None) == VERIFIED


def test_a_busy_host_delays_the_start(machine: SevGuestMachine, serve: Serve) -> None:
    with serve("busy,timeout,ok", quotes_per_minute=600) as gateway:
        assert "No new evidence yet, the device is asked again" in gateway.log.read_text()
    assert len(machine.requests()) == 3


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("busy", "the host is too busy for this guest's requests (EIO). Try again in a minute"),
        ("no-echo", "Trust nothing that this machine attests"),
        ("dead", "until the guest is rebooted"),
    ],
)
def test_a_start_without_evidence_ends_with_a_sentence(serve: Serve, script: str, words: str) -> None:
    with pytest.raises(RuntimeError) as caught, serve(script, quotes_per_minute=600, boot_seconds=1):
        pass
    last = str(caught.value).splitlines()[-1]
    assert last.startswith(f"saferouter: {DEVICE}: ")
    assert words in last
    assert str(caught.value).count("No new evidence") == (script == "busy")
    assert "Traceback" not in str(caught.value)


def test_a_start_that_waits_for_a_busy_host_can_be_stopped(machine: SevGuestMachine, tmp_path: Path) -> None:
    environ = machine.environ("busy") | {"SAFEROUTER_STATE": str(tmp_path / "state"), "PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.worlds.device_gateway", "serve", "--insecure-mock"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "the device is asked again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""
