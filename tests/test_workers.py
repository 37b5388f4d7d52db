"""Several worker processes, one record: callers cannot tell, and no death among them costs a receipt."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest

from gateway.wire import Frames, encode_frame
from tests.test_crash import receipt_of
from tests.test_scripts import SCRIPTS, test_script
from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.open_stream import OpenStream, covers
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, wired_config
from tests.worlds.workers import carried_by, command_line, gone, kill, wait_for, workers_of

WORKERS, STREAMS = 3, 24
LONG = chat_body("mock:slow=60 mock:chunks=600", stream=True)
SHORT = chat_body("mock:slow=8 mock:chunks=200", stream=True)
START_SECONDS = 30.0
MOCK = '[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, upstream: ScriptedUpstream
) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("workers", numbered=False) / "state"
    config = f"workers = {WORKERS}\n" + wired_config(upstream.base_url)
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    with RunningGateway(state, config=config, chip=chip_file, environ=environ) as running:
        yield running


def rows(gateway: RunningGateway, query: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)) as record:
        return record.execute(query).fetchall()


def require_one_leaf_each(gateway: RunningGateway) -> None:
    """The log has no gap, every call its route and one receipt, and no leaf belongs to two."""
    numbers = [number for (number,) in rows(gateway, "SELECT number FROM leaves ORDER BY number")]
    assert numbers == list(range(len(numbers)))
    assert rows(gateway, "SELECT count(*) FROM calls WHERE receipt IS NULL") == [(0,)]
    named = rows(
        gateway, "SELECT route_leaf FROM calls WHERE route_leaf IS NOT NULL UNION ALL SELECT receipt_leaf FROM calls"
    )
    assert len(set(named)) == len(named)
    kinds = [json.loads(leaf)["type"] for (leaf,) in rows(gateway, "SELECT leaf FROM leaves")]  # type: ignore[arg-type]
    assert kinds.count("receipt") == rows(gateway, "SELECT count(*) FROM calls")[0][0]
    assert kinds.count("route") + kinds.count("receipt") == len(named)


async def open_streams(
    gateway: RunningGateway, body: bytes, carriers: int = 2
) -> tuple[list[OpenStream], list[asyncio.Task[None]]]:
    """Streams, each of which has given its client some text, and so many workers carry them."""
    streams: list[OpenStream] = []
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.timeout(START_SECONDS):
        while len(streams) < STREAMS or sum(map(bool, shares(gateway, streams).values())) < carriers:
            streams.append(OpenStream(body))
            tasks.append(asyncio.create_task(streams[-1].run(gateway, gateway.api_key)))
            await asyncio.sleep(0.01)
        while not all(len(stream.body) > 500 for stream in streams):
            await asyncio.sleep(0.05)
    return streams, tasks


def shares(gateway: RunningGateway, streams: list[OpenStream]) -> dict[int, list[OpenStream]]:
    """Which worker carries which of these streams."""
    parts = {pid: carried_by(pid, gateway.port) for pid in workers_of(gateway)}
    return {pid: [stream for stream in streams if stream.port in ports] for pid, ports in parts.items()}


def test_calls_of_all_workers_make_one_log(gateway: RunningGateway) -> None:
    async def finish() -> list[OpenStream]:
        streams, tasks = await open_streams(gateway, SHORT, WORKERS)
        parts = [len(part) for part in shares(gateway, streams).values()]
        assert sum(parts) == len(streams)
        await asyncio.gather(*tasks)
        return streams

    with ThreadPoolExecutor(8) as pool:
        buffered = pool.map(lambda number: gateway.ask(f"question {number}"), range(40))
        streams = asyncio.run(finish())
        answers = list(buffered)
    for answered in answers:
        gateway.verified(answered)
    for stream in streams:
        assert stream.receipt_id is not None
        verdict = gateway.judge(gateway.fetch_receipt(stream.receipt_id), stream.request, stream.body)
        assert not verdict.failures(), verdict.sentence()
    require_one_leaf_each(gateway)
    indexes = [answered.json["attestation"]["rekor_index"] for answered in answers]
    known = {leaf for (leaf,) in rows(gateway, "SELECT route_leaf FROM calls")}
    assert len(set(indexes)) == len(indexes)
    assert set(indexes) <= known


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_caller_cannot_tell_which_process_answers(script: Path, gateway: RunningGateway) -> None:
    test_script(script, gateway)


def test_the_health_of_a_provider_is_one_whichever_worker_asked_it(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    def health() -> tuple[int, int]:
        with gateway.client() as client:
            rows = client.get("/v1/providers/health").json()["providers"]
        (row,) = [each for each in rows if each["provider_id"] == "wire"]
        return row["successes"], row["failures"]

    well, ill = health()
    for status, body in (
        (200, b'{"id":"c-1","choices":[]}'),
        (500, b'{"error":{"message":"no","type":"server_error"}}'),
    ):
        upstream.play(Recording(body, "application/json", status))
        asked = [gateway.ask("hi", "wire-1") for _ in range(2 * WORKERS)]
        assert {each.status for each in asked} == {status}
        for each in asked:
            gateway.fetch_receipt(each.receipt_id)
    after = health()
    assert after[0] == well + 2 * WORKERS
    assert after[1] - ill == len(upstream.received)  # each attempt of each worker


def test_a_killed_worker_costs_no_receipt_and_no_other_call(
    gateway: RunningGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    async def kill_one() -> tuple[list[OpenStream], list[OpenStream], float]:
        streams, tasks = await open_streams(gateway, SHORT)
        unsaid = "SELECT count(*) FROM calls WHERE receipt IS NULL AND sent_bytes = 0"
        await asyncio.to_thread(wait_for, lambda: rows(gateway, unsaid) == [(0,)], 10.0, "something of each is durable")
        carried = shares(gateway, streams)
        victim = next(pid for pid, part in carried.items() if part)
        before = workers_of(gateway)
        kill(victim)
        another = await asyncio.to_thread(
            wait_for, lambda: len(set(workers_of(gateway)) - set(before)) == 1, 10.0, "nobody came in its place"
        )
        await asyncio.gather(*tasks)
        cut = carried.pop(victim)
        return cut, [stream for part in carried.values() for stream in part], another

    time.sleep(6)  # a worker that lived for a while is replaced at once
    cut, others, another = asyncio.run(kill_one())
    with capsys.disabled():
        print(f"\na worker killed with {len(cut)} streams: another process after {another:.2f} s")
    assert cut
    assert others
    for stream in cut:
        receipt = receipt_of(gateway, stream)
        assert covers(receipt, stream.body)
        assert receipt.events["stream"]["bytes"] > 0
    for stream in others:
        assert stream.receipt_id is not None
        assert stream.body.endswith(b"data: [DONE]\n\n")
        verdict = gateway.judge(gateway.fetch_receipt(stream.receipt_id), stream.request, stream.body)
        assert not verdict.failures(), verdict.sentence()
    require_one_leaf_each(gateway)
    assert f"the {len(cut)} calls that it had open have receipts" in gateway.log.read_text()
    gateway.verified(gateway.ask("afterwards"))


def test_a_worker_killed_before_its_answer_began_leaves_a_receipt_over_nothing(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(b"", "application/json", ending="hold"))
    with ThreadPoolExecutor(1) as pool, socket.socket() as client:
        body = chat_body("hi", "wire-1")
        client.connect(("127.0.0.1", gateway.port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Api-Key: {gateway.api_key}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: bool(upstream.received), 10.0, "the call was not sent on")
        port = client.getsockname()[1]
        kill(next(pid for pid in workers_of(gateway) if port in carried_by(pid, gateway.port)))
        assert pool.submit(client.recv, 1).result(10) == b""
    wait_for(lambda: rows(gateway, "SELECT count(*) FROM calls WHERE receipt IS NULL") == [(0,)], 10.0, "one is owed")
    (text,) = rows(gateway, "SELECT receipt FROM calls ORDER BY id DESC LIMIT 1")[0]
    events = {event["type"]: event for event in json.loads(text)["event_log"]}  # type: ignore[arg-type]
    assert events["stream"] == {"type": "stream", "bytes": 0, "events": 0, "complete": False}
    require_one_leaf_each(gateway)


def killed_and_replaced(gateway: RunningGateway, victim: int, others: list[int]) -> int:
    """The process that came in its place."""
    kill(victim)
    known = {victim, *others}
    wait_for(lambda: bool(set(workers_of(gateway)) - known), 10.0, "nobody came in its place")
    (another,) = set(workers_of(gateway)) - known
    return another


def test_workers_that_die_at_once_are_replaced_ever_later_and_the_operator_is_told(gateway: RunningGateway) -> None:
    wait_for(lambda: len(workers_of(gateway)) == WORKERS, 10.0, "not all are back")
    *others, victim = workers_of(gateway)
    for _ in range(3):
        victim = killed_and_replaced(gateway, victim, others)
    told = gateway.log.read_text()
    assert told.count("SIGKILL") >= 3
    for pause in ("0.5", "1"):
        assert f"Another is started in {pause} s." in told
    assert gateway.ask("still served").status == 200


def test_workers_know_no_secret_from_their_surroundings(gateway: RunningGateway) -> None:
    for pid in workers_of(gateway):
        assert command_line(pid).split(b"\0")[1:] == [b"-P", b"-m", b"gateway.worker", b""]
        surroundings = Path(f"/proc/{pid}/environ").read_bytes()
        assert sorted(surroundings.split(b"\0")) == sorted(
            Path(f"/proc/{gateway.pid}/environ").read_bytes().split(b"\0")
        )
        files = set()
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                files.add(str(path.readlink()))
        assert not [name for name in files if name.endswith((".sqlite3", ".sqlite3-wal", "/lock", ".sealed"))]


def test_a_stranger_finds_no_way_to_the_record(gateway: RunningGateway) -> None:
    door = gateway.state / "keeper.sock"
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    named = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) == 8]
    assert not [name for name in named if str(gateway.state) in name and not name.endswith(door.name)]
    before = rows(gateway, "SELECT count(*) FROM calls")
    with socket.socket(socket.AF_UNIX) as stranger:  # of the same user, who speaks as workers do
        stranger.settimeout(10)
        stranger.connect(str(door))
        draft = {"do": "open", "n": 1, "draft": "{}", "key_id": "key-1"}
        stranger.sendall(encode_frame({"do": "loaded"}) + encode_frame(draft))
        assert stranger.recv(100).startswith(b"HTTP/1.1 400")
    assert rows(gateway, "SELECT count(*) FROM calls") == before
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        with socket.socket(socket.AF_UNIX) as stranger, pytest.raises(PermissionError):
            stranger.connect(str(door))
    finally:
        os.seteuid(0)


def test_a_stop_under_load_leaves_a_receipt_for_every_byte_sent(
    gateway: RunningGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    with gateway.client() as client:
        keyset = client.get("/attestation/verifying-key").json()["workload_keyset_digest"]

    async def be_stopped() -> tuple[list[OpenStream], int, float]:
        streams, tasks = await open_streams(gateway, LONG)
        code, seconds = await asyncio.to_thread(gateway.stop)
        await asyncio.gather(*tasks)
        return streams, code, seconds

    before = workers_of(gateway)
    streams, code, seconds = asyncio.run(be_stopped())
    with capsys.disabled():
        print(f"\nCtrl-C with {len(streams)} streams in {WORKERS} workers: gone after {seconds:.2f} s")
    assert code == 0
    assert all(gone(pid) for pid in before)
    gateway.start()
    for stream in streams:
        receipt = receipt_of(gateway, stream)
        assert covers(receipt, stream.body)
        assert receipt.events["stream"]["bytes"] == len(stream.body)
        assert receipt.keyset_digest == keyset  # signed by the keeper that stopped, not by the next
    require_one_leaf_each(gateway)
    assert "Traceback" not in gateway.log.read_text()


def test_without_its_keeper_a_worker_ends_and_the_next_start_signs(gateway: RunningGateway) -> None:
    async def lose_the_keeper() -> tuple[list[OpenStream], float]:
        streams, tasks = await open_streams(gateway, LONG)
        workers = workers_of(gateway)
        gateway.kill()
        ended = await asyncio.to_thread(wait_for, lambda: all(map(gone, workers)), 5.0, "a worker lives on")
        await asyncio.gather(*tasks)
        return streams, ended

    streams, _ = asyncio.run(lose_the_keeper())
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(f"{gateway.url}/healthz", **PLAIN)
    gateway.start()
    for stream in streams:
        covers(receipt_of(gateway, stream), stream.body)
    require_one_leaf_each(gateway)


def test_the_limit_of_open_calls_is_that_of_all_workers(
    tmp_path: Path, chip_file: Path, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(b"", "application/json", ending="hold"))
    config = f"workers = {WORKERS}\nlimits.open_calls = 3\n" + wired_config(upstream.base_url)
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    with RunningGateway(tmp_path / "state", config=config, chip=chip_file, environ=environ) as gateway:
        body = chat_body("hi", "wire-1")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Api-Key: {gateway.api_key}\r\n"
        clients = [socket.create_connection(("127.0.0.1", gateway.port), timeout=10) for _ in range(3)]
        for client in clients:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: len(upstream.received) == 3, 10.0, "three calls have room")
        for _ in range(2 * WORKERS):
            refused = gateway.ask("one too many")
            assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        kill(next(pid for pid in workers_of(gateway) if carried_by(pid, gateway.port)))  # gives back what it held
        wait_for(lambda: gateway.ask("room again").status == 200, 10.0, "the places of the dead are held for ever")
        for client in clients:
            client.close()


def test_workers_learn_of_a_renewed_keyset(tmp_path: Path, chip_file: Path) -> None:
    with RunningGateway(
        tmp_path / "state", config=f"workers = 2\nkeyset_seconds = 10\n{MOCK}", chip=chip_file
    ) as gateway:
        first = gateway.verified(gateway.ask("under the first keyset"))
        time.sleep(max(0.0, first.served_at + 11 - time.time()))
        assert gateway.verified(gateway.ask("under a later one")).keyset_digest != first.keyset_digest


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"configuration": {}}, "configuration: found one that has changed"),
        ({"source_digest": "sha256:" + "0" * 64}, "installed code: found another than the keeper's"),
    ],
)
def test_a_worker_that_is_not_what_is_attested_does_not_serve(changed: dict[str, object], words: str) -> None:
    from gateway.build import source_digest
    from gateway.config import load_config

    config = load_config(None)
    hello = {
        "document": dict(config.document),
        "workers": 1,
        "configuration": config.digests(),
        "source_digest": source_digest(),
    }
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", "gateway.worker"]
    with ours, theirs, subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True) as process:
        assert Frames().push(ours.recv(100)) == [{"do": "loaded"}]
        ours.sendall(encode_frame(hello | changed))
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert words in said
    assert "Traceback" not in said
