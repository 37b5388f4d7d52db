"""Another implementation, Go's sumdb and transparency-dev's formats, reads our log; and we read one of theirs."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from shutil import which

import pytest

from tee.log.checkpoint import cosigned_at, open_checkpoint
from tee.log.merkle import verify_consistency
from tee.log.note import parse_note_key
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.log.tiles import TILE_HEIGHT, TILE_WIDTH, encode_entries, tiles_between
from tests.worlds.small_log import SmallLog, SmallWitness
from tests.worlds.witness import RunningWitness

PROGRAM = Path(__file__).resolve().parent / "interop"
SIZE, OLD, INDEX = 700, 300, 271
WITNESS = SmallWitness("witness.example", 21)


@pytest.fixture(scope="module")
def interop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built."""
    if which("go") is None:
        pytest.skip("go is not installed")
    program = tmp_path_factory.mktemp("interop") / "interop"
    environ = os.environ | {"GOFLAGS": "-mod=readonly"}
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=PROGRAM,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if built.returncode != 0 and "dial tcp" in built.stderr:
        pytest.skip("Go's modules cannot be fetched here")
    assert built.returncode == 0, built.stderr
    return program


def _run(program: Path, verb: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, verb, folder], capture_output=True, text=True, timeout=60, check=False)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A log of ours on disk: keys, cosigned checkpoint, proofs and tiles."""
    log = SmallLog(leaves=[f"leaf {number}".encode() for number in range(SIZE)])
    checkpoint = WITNESS.cosign(log.checkpoint())
    consistency = [str(OLD), _base64(log.root(OLD)), *map(_base64, log.consistency(OLD, SIZE))]
    policy = f"log {log.key.encode()}\nwitness w {WITNESS.key.encode()} https://w.example\nquorum w\n"
    files = {
        "log.vkey": log.key.encode().encode(),
        "witness.vkey": WITNESS.key.encode().encode(),
        "policy": policy.encode(),
        "checkpoint": checkpoint.encode(),
        "leaf": log.leaves[INDEX],
        "proof": log.proof(INDEX).encode(),
        "consistency": "\n".join(consistency).encode(),
    }
    for tile in tiles_between(0, SIZE):
        places = range(tile.number * TILE_WIDTH, tile.number * TILE_WIDTH + tile.width)
        if tile.level is None:
            files[tile.path()] = encode_entries(log.leaves[at] for at in places)
        else:
            level = tile.level * TILE_HEIGHT
            files[tile.path()] = b"".join(log.read(level, at) for at in places)
    for name, raw in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return tmp_path


def test_go_verifies_our_log(interop: Path, published: Path) -> None:
    done = _run(interop, "check", published)
    assert (done.returncode, done.stdout) == (0, f"{SIZE} leaves, all in tiles\n"), done.stderr


@pytest.mark.parametrize("name", ["leaf", "checkpoint", "proof", "consistency", "tile/0/000", "tile/0/002.p/188"])
def test_go_refuses_it_with_one_bit_changed(interop: Path, published: Path, name: str) -> None:
    raw = bytearray((published / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (published / name).write_bytes(raw)
    assert _run(interop, "check", published).returncode != 0


def test_we_verify_a_log_of_go(interop: Path, tmp_path: Path) -> None:
    assert _run(interop, "make", tmp_path).returncode == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    log_key = parse_note_key(files["log.vkey"].decode(), "log")
    signed = open_checkpoint(files["checkpoint"], log_key, "checkpoint")
    witness_key = parse_note_key(files["witness.vkey"].decode(), "witness")
    assert cosigned_at(signed.note, witness_key, "checkpoint") is not None
    proof = parse_leaf_proof(files["proof"])
    assert verify_leaf(files["leaf"], proof, log_key).size == SIZE
    old, old_root, *hashes = files["consistency"].decode().split("\n")
    head = signed.checkpoint
    proof_hashes = [base64.b64decode(text) for text in hashes]
    verify_consistency(int(old), base64.b64decode(old_root), head.size, head.root, proof_hashes)


def test_our_witness_cosigns_a_log_of_go(interop: Path, tmp_path: Path) -> None:
    """Go's log makes the proofs and verifies every cosignature; the proofs lead over borders of tiles."""
    log = SmallLog(origin="go.example/log")
    name, key_id, _ = log.key.encode().split("+", 2)
    secret = _base64(b"\x01" + bytes(log.secret))
    with RunningWitness(tmp_path / "state", log.key.encode()) as witness:
        (tmp_path / "log.key").write_text(f"PRIVATE+KEY+{name}+{key_id}+{secret}")
        (tmp_path / "witness.vkey").write_text(witness.key.encode())
        (tmp_path / "witness").write_text(witness.url)
        done = _run(interop, "submit", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{SIZE} leaves, cosigned\n"), done.stderr
