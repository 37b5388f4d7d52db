"""`saferouter log witness` as a log, a monitor and an attacker meet it: one tree of each size, whatever happens."""

from __future__ import annotations

import base64
import http.client
import os
import random
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tee.log.checkpoint import cosigned_at, open_checkpoint, parse_checkpoint
from tee.log.submission import MAX_SUBMISSION_SIZE, Refused, parse_submission
from tests.worlds.gateway import run_cli
from tests.worlds.log_server import cloned
from tests.worlds.small_log import SmallLog, SmallWitness
from tests.worlds.witness import RunningWitness, cosigned_note, submission

LEAVES = [f"leaf {number}".encode() for number in range(40)]


def log_of(size: int, name: str = "gw.example.com/log") -> SmallLog:
    return SmallLog(origin=name, leaves=LEAVES[:size])


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWitness]:
    """One witness; each test of it has a log of its own."""
    logs = [log_of(0, f"gw.example.com/{number}").key.encode() for number in range(5)]
    with RunningWitness(tmp_path_factory.mktemp("witness") / "state", *logs) as running:
        yield running


def test_it_cosigns_a_log_as_it_grows(witness: RunningWitness) -> None:
    log = log_of(20, "gw.example.com/0")
    before = time.time()
    for old, size in ((0, 7), (7, 7), (7, 8), (8, 20)):
        answer = witness.submit(log, old, size)
        assert answer.status_code == 200, answer.text
        signed = open_checkpoint(cosigned_note(log, answer, size), log.key, "cosigned")
        when = cosigned_at(signed.note, witness.key, "cosigned")
        assert when is not None and before - 1 <= when <= time.time()
        served = witness.seen(log.origin)
        assert (served.status_code, served.content) == (200, signed.note.encode())


def test_a_log_may_begin_with_no_leaves(witness: RunningWitness) -> None:
    log = log_of(3, "gw.example.com/1")
    assert witness.seen(log.origin).status_code == 404
    assert [witness.submit(log, 0, size).status_code for size in (0, 0, 3)] == [200, 200, 200]
    assert witness.submit(log, 0, 0).status_code == 409


def test_lines_of_strangers_are_neither_judged_nor_kept(witness: RunningWitness) -> None:
    """What it serves is the log's word and its own: nobody can fill its memory, or its answers, with other lines."""
    log = log_of(9, "gw.example.com/3")
    stranger = SmallWitness("stranger.example", 4).cosign(log.checkpoint()).signatures[1].encode().encode()
    answer = witness.post(submission(log, 0) + stranger)
    assert answer.status_code == 200
    assert witness.seen(log.origin).content == cosigned_note(log, answer)


def replaced(body: bytes, old: bytes, new: bytes) -> bytes:
    assert old in body
    return body.replace(old, new, 1)


LOG = log_of(20, "gw.example.com/2")
OTHER = SmallLog(origin=LOG.origin, leaves=[b"another", *LEAVES[1:20]])
GOOD = submission(LOG, 12)
SIGNATURE = LOG.checkpoint().signatures[0].encode().encode()
ZERO = base64.b64encode(bytes(32)) + b"\n"
LAST = GOOD.split(b"\n\n")[0].split(b"\n")[-1] + b"\n"

REFUSALS: dict[str, tuple[bytes, int, str]] = {
    "an unknown origin": (submission(log_of(5, "elsewhere.example/log"), 0), 404, 'origin "elsewhere'),
    "signed by nobody that is known": (replaced(GOOD, SIGNATURE, b"\xe2\x80\x94 x AAAAAAA=\n"), 403, "no signature by"),
    "a bad signature by the log": (
        replaced(GOOD, base64.b64encode(LOG.root(20)), base64.b64encode(LOG.root(19))),
        403,
        "a bad signature by",
    ),
    "old beyond new": (submission(LOG, 21), 400, "old 21 is more than the checkpoint's 20"),
    "old behind what was seen": (submission(LOG, 11), 409, "12\n"),
    "old beyond what was seen": (submission(LOG, 13), 409, "12\n"),
    "a smaller tree": (submission(LOG, 5, 10), 409, "12\n"),
    "another tree of the size that was seen": (submission(OTHER, 12, 12), 409, "12\n"),
    "another history": (submission(OTHER, 12), 422, "old root: found"),
    "a hash changed": (replaced(GOOD, LAST, ZERO), 422, "root: found"),
    "a hash left out": (replaced(GOOD, LAST, b""), 422, "consistency proof: found"),
    "a hash too many": (replaced(GOOD, LAST, LAST + ZERO), 422, "consistency proof: found"),
    "64 hashes": (replaced(GOOD, LAST, ZERO * 64), 400, "at most 63"),
    "a short hash": (replaced(GOOD, LAST, b"AAAA\n"), 400, "a hash of 3 bytes"),
    "no hash but text": (replaced(GOOD, LAST, b"hello\n"), 400, "consistency proof: found"),
    "bytes outside ASCII": (replaced(GOOD, b"old 12", b"old 1\xff"), 400, "old size: found"),
    "no old line": (replaced(GOOD, b"old 12\n", b""), 400, "wanted old SIZE"),
    "a leading zero": (replaced(GOOD, b"old 12", b"old 012"), 400, "old size: found"),
    "a negative size": (replaced(GOOD, b"old 12", b"old -1"), 400, "old size: found"),
    "a line too many": (GOOD + b"\n", 400, "checkpoint"),
    "an extension line": (replaced(GOOD, b"\n20\n", b"\n20\nextra\n"), 400, "4 lines, wanted 3"),
    "no checkpoint": (GOOD.split(b"\n\n")[0], 400, "no empty line"),
    "nothing": (b"", 400, "no empty line"),
    "more than any submission": (GOOD + b"x" * MAX_SUBMISSION_SIZE, 413, "more than"),
}


@pytest.mark.parametrize(("body", "status", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_it_does_not_cosign(witness: RunningWitness, body: bytes, status: int, words: str) -> None:
    if witness.seen(LOG.origin).status_code == 404:
        assert witness.submit(LOG, 0, 12).status_code == 200
    answer = witness.post(body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert status != 409 or answer.headers["content-type"] == "text/x.tlog.size"
    assert parse_checkpoint(witness.seen(LOG.origin).content, "seen").checkpoint.size == 12


@given(
    st.binary(max_size=200).map(lambda noise: noise + GOOD)
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=9)).map(
        lambda at: GOOD[: at[0]] + at[1] + GOOD[at[0] + 1 :]
    )
)
def test_whatever_is_sent_is_a_submission_or_refused(body: bytes) -> None:
    try:
        found = parse_submission(body, {LOG.origin: LOG.key})
    except Refused as refused:
        assert refused.status in (400, 403, 404)
    else:
        assert open_checkpoint(found.signed.note.encode(), LOG.key, "checkpoint").checkpoint.size == 20


def test_a_body_that_never_ends_is_given_up(witness: RunningWitness) -> None:
    port = int(witness.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/add-checkpoint")
    connection.putheader("content-length", "100")
    connection.endheaders(b"old ")
    assert connection.getresponse().status == 408
    connection.close()


def test_of_two_extensions_at_once_exactly_one_wins(witness: RunningWitness) -> None:
    """Many rounds of many threads: each sends a valid extension of the same tree, every one another."""
    log = log_of(1, "gw.example.com/4")
    assert witness.submit(log, 0).status_code == 200
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            old = len(log.leaves)
            forks = [cloned(log) for _ in range(8)]
            for number, fork in enumerate(forks):
                fork.leaves.append(f"fork {number}".encode())
            barrier = threading.Barrier(8)

            def submit(fork: SmallLog, old: int = old, barrier: threading.Barrier = barrier) -> int:
                body = submission(fork, old)
                barrier.wait()
                return witness.post(body).status_code

            codes = list(pool.map(submit, forks))
            assert sorted(codes) == [200] + [409] * 7
            log = forks[codes.index(200)]
            root = parse_checkpoint(witness.seen(log.origin).content, "seen").checkpoint.root
            assert root == log.root(old + 1)


def test_processes_share_one_memory(tmp_path: Path) -> None:
    """Two processes over one folder are one witness: one key, and still only one of two extensions."""
    log = log_of(1)
    with (
        RunningWitness(tmp_path / "state", log.key.encode()) as one,
        RunningWitness(tmp_path / "state", log.key.encode()) as two,
    ):
        assert one.key == two.key
        assert one.submit(log, 0).status_code == 200
        with ThreadPoolExecutor(2) as pool:
            for _ in range(12):
                old, forks = len(log.leaves), [cloned(log), cloned(log)]
                for number, fork in enumerate(forks):
                    fork.leaves.append(f"fork {number}".encode())
                bodies = [submission(fork, old) for fork in forks]
                codes = [each.status_code for each in pool.map(RunningWitness.post, (one, two), bodies)]
                assert sorted(codes) == [200, 409]
                log = forks[codes.index(200)]


def test_killed_at_any_moment_it_never_signs_two_trees_of_one_size(tmp_path: Path) -> None:
    """Submissions of ever new forks race a SIGKILL; what was answered is history after each restart."""
    chance = random.Random(20261121)
    candidates, answered = [log_of(1)], dict[int, bytes]()
    running = RunningWitness(tmp_path / "state", log_of(1).key.encode())
    for _ in range(6):
        running.start()
        log, seen = _history_of(running, candidates)
        assert seen >= max(answered, default=0)
        for size, root in answered.items():
            assert log.root(size) == root, f"two trees of {size} leaves"
        killer = threading.Timer(chance.uniform(0.1, 1.0), running.kill)
        killer.start()
        candidates = _submit_until_dead(running, log, seen, answered)
        killer.join()
    assert answered


def _history_of(running: RunningWitness, candidates: list[SmallLog]) -> tuple[SmallLog, int]:
    """Which of these the witness holds, and its size: one whose answer never came may have been accepted, or not."""
    seen = running.seen(candidates[0].origin)
    if seen.status_code == 404:
        return candidates[0], 0
    head = parse_checkpoint(seen.content, "seen").checkpoint
    (held,) = [each for each in candidates if (len(each.leaves), each.root(len(each.leaves))) == (head.size, head.root)]
    return held, head.size


def _submit_until_dead(running: RunningWitness, log: SmallLog, old: int, answered: dict[int, bytes]) -> list[SmallLog]:
    """Grow the log, two forks at a time, until the witness is gone; the log and the forks whose fate is unknown."""
    while True:
        forks = [cloned(log), cloned(log)]
        for number, fork in enumerate(forks):
            fork.leaves.append(f"fork {number} {os.urandom(4).hex()}".encode())
        try:
            codes = [running.submit(fork, old).status_code for fork in forks]
        except httpx2.HTTPError:
            return [log, *forks]
        assert sorted(codes) == [200, 409]
        log = forks[codes.index(200)]
        old = len(log.leaves)
        answered[old] = log.root(old)


def test_a_split_view_and_a_rollback_get_no_cosignature(tmp_path: Path) -> None:
    """Two gateways with one cloned folder and key: the witness sides with the first."""
    first = log_of(10)
    second = cloned(first)
    first.leaves.append(b"what one customer sees")
    second.leaves.extend([b"what another sees", b"and more"])
    with RunningWitness(tmp_path / "state", first.key.encode()) as running:
        assert running.submit(first, 0).status_code == 200
        assert running.submit(second, 10).status_code == 409
        assert running.submit(second, 11).status_code == 422
        rolled_back = SmallLog(origin=first.origin, leaves=first.leaves[:9])
        assert running.submit(rolled_back, 9).status_code == 409


def test_its_key_is_made_once_and_cannot_outlive_its_memory(tmp_path: Path) -> None:
    state, log = tmp_path / "state", log_of(4)
    with RunningWitness(state, log.key.encode()) as running:
        key = running.key
        assert running.submit(log, 0).status_code == 200
        for path in state.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert running.stop() == 0
        running.start()
        assert running.key == key
        assert running.submit(log, 0).text == "4\n"
        running.kill()
    for path in state.iterdir():
        path.unlink()
    with RunningWitness(state, log.key.encode()) as forgetful:
        assert forgetful.key.public_key != key.public_key


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        (lambda options: options[:-2], "--log: found none", 2),
        (lambda options: [options[0], options[1], "--listen", "nowhere", *options[4:]], "--listen: found", 2),
    ],
)
def test_a_command_line_that_makes_no_witness(
    tmp_path: Path, change: Callable[[list[str]], list[str]], words: str, code: int
) -> None:
    options = ["--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0", "--log", log_of(0).key.encode()]
    done = run_cli("log", "witness", *change(options))
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_without_the_server_it_says_what_to_install(tmp_path: Path) -> None:
    """The base install has no server; here a package of that name is in the way and fails to be found."""
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('no', name='starlette')")
    options = ["--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0", "--log", log_of(0).key.encode()]
    done = run_cli("log", "witness", *options, environ={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (
        3,
        "saferouter: the witness: needs starlette: install saferouter[gateway]\n",
    )


def test_a_witness_whose_memory_is_broken_signs_nothing(tmp_path: Path) -> None:
    state, log = tmp_path / "state", log_of(4)
    with RunningWitness(state, log.key.encode()) as running:
        assert running.submit(log, 0, 2).status_code == 200
        (state / "witness.sqlite3").write_bytes(b"nothing that SQLite wrote" * 400)
        assert (running.submit(log, 2).status_code, running.seen(log.origin).status_code) == (503, 503)
        assert running.stop() == 0
    options = ["--state", str(state), "--listen", "127.0.0.1:0", "--log", log.key.encode()]
    done = run_cli("log", "witness", *options)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr


def test_a_name_and_a_policy_file(tmp_path: Path) -> None:
    state, log = tmp_path / "state", log_of(2)
    policy = tmp_path / "policy"
    policy.write_text(f"log {log.key.encode()}\nquorum none\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ["--state", str(state), "--listen", listen, "--policy", str(policy)]
        done = run_cli("log", "witness", *options, "--name", "witness.example/w")
        assert (done.returncode, "another port" in done.stderr) == (3, True), done.stderr
        done = run_cli("log", "witness", *options, "--name", "witness.example/v")
    assert done.returncode == 2
    assert "wanted witness.example/w" in done.stderr
