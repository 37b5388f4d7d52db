"""`saferouter log verify|prove|tail` as a person and a script use them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tee.log.tiles import encode_entries, parse_entries
from tests.worlds.gateway import free_port, run_cli
from tests.worlds.log_server import LogServer, add, log_server, new_log
from tests.worlds.small_log import ORIGIN, SmallLog, SmallWitness

ONE, TWO = SmallWitness("one.example", 1), SmallWitness("two.example", 2)


@pytest.fixture
def served() -> Iterator[LogServer]:
    with log_server(new_log(300)) as server:
        server.witnesses = [ONE]
        yield server


def policy_file(folder: Path, log: SmallLog, quorum: str) -> Path:
    path = folder / f"policy-{quorum}"
    lines = [f"log {log.key.encode()}", f"witness one {ONE.key.encode()}", f"witness two {TWO.key.encode()}"]
    path.write_text("\n".join([*lines, "group both all one two", f"quorum {quorum}", ""]))
    return path


def test_a_proof_travels_as_two_files(served: LogServer, tmp_path: Path) -> None:
    saved, key = tmp_path / "mine", served.log.key.encode()
    done = run_cli("log", "prove", served.url, "271", "--save", saved, "--log", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == f"It stands at 271 of 300 leaves of {ORIGIN}."
    proof, leaf = tmp_path / "mine.tlog-proof", tmp_path / "mine.leaf"
    assert leaf.read_bytes() == served.log.leaves[271]
    verified = run_cli("log", "verify", proof, "--leaf", leaf, "--log", key)
    assert verified.returncode == 0, verified.stderr
    assert f"PASS log.inclusion           leaf 271 of 300 in {ORIGIN}" in verified.stdout
    assert "split view: no --policy demands witnesses" in verified.stdout
    seen = run_cli("log", "verify", proof, "--leaf", leaf, "--policy", policy_file(tmp_path, served.log, "one"))
    assert (seen.returncode, "PASS log.witness             cosigned by one" in seen.stdout) == (0, True)
    both = policy_file(tmp_path, served.log, "both")
    unseen = run_cli("log", "verify", proof, "--leaf", leaf, "--policy", both, "--json")
    verdict = json.loads(unseen.stdout)
    assert (unseen.returncode, verdict["verdict"], verdict["checks"][1]["outcome"]) == (1, "rejected", "fail")
    assert (verdict["checks"][1]["found"], verdict["checks"][1]["wanted"]) == ("cosigned by one", "2 of one, two")


def test_a_proof_that_proves_nothing(served: LogServer, tmp_path: Path) -> None:
    log = served.log
    proof, leaf = tmp_path / "proof", tmp_path / "leaf"
    proof.write_bytes(log.proof(7).encode())
    leaf.write_bytes(log.leaves[8])
    wrong = run_cli("log", "verify", proof, "--leaf", leaf, "--log", log.key.encode())
    assert (wrong.returncode, "FAIL log.inclusion" in wrong.stdout) == (1, True)
    leaf.write_bytes(log.leaves[7])
    other = SmallLog(secret=TWO.secret).key.encode()
    forged = run_cli("log", "verify", proof, "--leaf", leaf, "--log", other)
    assert (forged.returncode, "no signature by the log's key" in forged.stdout) == (1, True)
    proof.write_bytes(b"hello")
    assert run_cli("log", "verify", proof, "--leaf", leaf, "--log", log.key.encode()).returncode == 1
    keyless = run_cli("log", "verify", proof, "--leaf", leaf)
    assert (keyless.returncode, "--log: found nothing" in keyless.stderr) == (2, True)
    assert run_cli("log", "verify", proof, "--leaf", tmp_path / "none", "--log", other).returncode == 2
    assert run_cli("log", "verify", proof, "--leaf", leaf, "--log", ONE.key.encode()).returncode == 2


def test_the_newest_leaves_as_lines(served: LogServer) -> None:
    add(served.log, "receipt")
    served.log.leaves.append(b"\x1b[2J a foreign leaf")
    done = run_cli("log", "tail", served.url, "-n", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["299", "300", "301"]
    assert lines[1].split()[2:] == ["receipt", "sha256:" + "9" * 64]
    assert lines[2].endswith("19 bytes, which are no leaf of a gateway")
    assert "The log's key is the one that its server names" in done.stderr
    told = json.loads(run_cli("log", "tail", served.url, "--json", "-n", "400").stdout)
    assert (told["size"], len(told["leaves"]), told["key_given"]) == (302, 302, False)


# The tiles that the proof of leaf 271 of 300 is made from.
TILES = ("tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1", "checkpoint")


def cut(raw: bytes) -> bytes:
    return raw[:-1]


def turned(raw: bytes) -> bytes:
    """Its second half before its first: the same bytes, the same length."""
    return raw[len(raw) // 2 :] + raw[: len(raw) // 2]


def forged(raw: bytes) -> bytes:
    """One bit in the fifteenth and one in the sixteenth of 44 parts: leaf 271, and what its proof hashes it with."""
    changed = bytearray(raw)
    for part in (29, 31):
        changed[len(raw) * part // 88] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("fault", [cut, turned, forged])
@pytest.mark.parametrize("path", TILES)
def test_a_tile_or_checkpoint_with_one_fault_proves_nothing(
    served: LogServer, tmp_path: Path, path: str, fault: Callable[[bytes], bytes]
) -> None:
    served.witnesses = []  # a line that nobody asked about does no harm
    honest = served.answer(path)
    assert honest is not None
    served.lies[path] = fault(honest)
    save = tmp_path / "none"
    done = run_cli("log", "prove", served.url, "271", "--save", save, "--log", served.log.key.encode())
    assert (done.returncode, done.stderr.count("\n"), list(tmp_path.iterdir())) == (1, 1, []), done.stderr


@pytest.mark.parametrize(("path", "other"), [(TILES[0], "tile/entries/000"), (TILES[1], "tile/0/000")])
def test_the_tile_of_another_place_proves_nothing(served: LogServer, path: str, other: str) -> None:
    whole = served.answer(other)
    assert whole is not None
    served.lies[path] = encode_entries(parse_entries(whole, 256)[:44]) if "entries" in path else whole[: 44 * 32]
    done = run_cli("log", "prove", served.url, "271", "--log", served.log.key.encode())
    assert (done.returncode, "found root" in done.stderr) == (1, True)


def test_a_server_that_lies_or_is_gone(served: LogServer) -> None:
    leaves = new_log(5)
    served.log = leaves
    served.lies["tile/entries/000.p/5"] = b"\0\1x" * 5
    lie = run_cli("log", "tail", served.url)
    assert (lie.returncode, "leaf 0: found root" in lie.stderr, "Traceback" in lie.stderr) == (1, True, False)
    beyond = run_cli("log", "prove", served.url, "5")
    assert (beyond.returncode, "less than 5" in beyond.stderr) == (2, True)
    gone = run_cli("log", "prove", f"http://127.0.0.1:{free_port()}", "0")
    assert (gone.returncode, "is it running?" in gone.stderr) == (3, True)
    nowhere = run_cli("log", "tail", "http://127.0.0.1/with?query")
    assert (nowhere.returncode, "and nothing after it" in nowhere.stderr) == (2, True)
