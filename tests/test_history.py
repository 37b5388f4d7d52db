"""The log's leaves: in order, durable, signed only as an extension of what was signed, whatever dies in between."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from sqlalchemy import Engine

from gateway.history import HEAD_FILE, History, HistoryOpener
from gateway.storage.engine import open_database
from gateway.storage.log import StoredTree
from gateway.storage.writer import GroupCommit, NotRecorded
from tee.errors import Unavailable
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import NO_LEAF, chain_hash, parse_entry
from tee.log.merkle import Frontier, hash_leaf, prove_inclusion, root_from_inclusion

AUDIENCE = "https://gw.example.com"
SECRET = SigningKey(b"\x05" * 32)
KILLS = int(os.environ.get("SAFEROUTER_KILLS", "20"))  # a few hundred take some minutes
ROOT = Path(__file__).resolve().parent.parent


def opened(engine: Engine, folder: Path, *, secret: SigningKey = SECRET, witnessed: int = 0) -> History:
    return HistoryOpener(engine, folder, AUDIENCE, secret, lambda: 1_795_240_000.0).open(witnessed)


def append(engine: Engine, history: History, number: int) -> list[int]:
    writer = GroupCommit(engine, history.sequencer)
    waiting = [
        writer.submit(lambda transaction, at=at: transaction.sequence.append("startup", {"at": at}))  # type: ignore[misc]
        for at in range(number)
    ]
    writer.stop()
    return [done.result() for done in waiting]


def leaf_hashes(engine: Engine, history: History) -> list[bytes]:
    with engine.connect() as connection:
        signed = history.signer.signed.size
        return StoredTree(connection, history.signer.epoch).leaf_hashes(signed, history.sequencer.size)


def check(engine: Engine, epoch: int) -> int:
    """The stored chain and tree agree at every index; returns how many leaves there are."""
    with engine.connect() as connection:
        tree = StoredTree(connection, epoch)
        size, prev, frontier = tree.size(), NO_LEAF, Frontier()
        leaves = tree.leaves(0, size)
        for index, leaf in enumerate(leaves):
            entry = parse_entry(leaf)
            assert (entry.index, entry.prev) == (index, prev)
            prev, frontier = chain_hash(leaf), frontier.append(hash_leaf(leaf))
        assert tree.head().frontier == frontier
        for index in range(0, size, max(1, size // 7)):
            proof = prove_inclusion(index, size, tree.node)
            assert root_from_inclusion(hash_leaf(leaves[index]), index, size, proof) == frontier.root()
    return size


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path / 'log.sqlite3'}")


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_leaves_are_numbered_chained_and_provable(engine: Engine, tmp_path: Path, size: int) -> None:
    history = opened(engine, tmp_path)
    assert append(engine, history, size) == list(range(size))
    assert check(engine, 1) == size
    note = history.signer.extend(leaf_hashes(engine, history))
    assert open_checkpoint(note.encode(), history.signer.key, "checkpoint").checkpoint.size == size


def test_a_second_start_goes_on_where_the_first_ended(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 300)
    first.signer.extend(leaf_hashes(engine, first))
    append(engine, first, 20)  # durable, but never signed
    second = opened(engine, tmp_path)
    assert (second.continues, second.signer.epoch, second.sequencer.size) == (None, 1, 320)
    assert second.signer.signed.size == 300
    assert append(engine, second, 1) == [320]
    assert check(engine, 1) == 321


def test_a_failed_transaction_leaves_no_gap(engine: Engine, tmp_path: Path) -> None:
    history = opened(engine, tmp_path)
    append(engine, history, 2)

    def fail(_: object) -> None:
        raise ValueError("no")

    writer = GroupCommit(engine, history.sequencer)
    doomed = [writer.submit(lambda it: it.sequence.append("startup", {})), writer.submit(fail)]
    writer.stop()
    # Either both were of one transaction and both failed, or the first had one of its own.
    outcomes = [done.exception() for done in doomed]
    assert isinstance(outcomes[1], NotRecorded)
    kept = 3 if outcomes[0] is None else 2
    assert append(engine, history, 1) == [kept]
    assert check(engine, 1) == kept + 1


def damaged(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path / "log.sqlite3")) as database:
        database.executescript(statement)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM leaves WHERE number >= 200", "it holds 200 leaves, and a head over 300 was signed here"),
        ("DELETE FROM leaves", "it holds 0 leaves, and a head over 300 was signed here"),
        ("UPDATE leaves SET hash = zeroblob(32) WHERE number = 290", "are not those of its last signed head"),
        ("DELETE FROM leaves WHERE number = 280", "the log holds no node"),
        ("DELETE FROM subtrees", "the log holds no node"),
    ],
    ids=["rolled back", "emptied", "edited", "a hole", "no subtrees"],
)
def test_a_history_that_changed_is_never_signed_again(
    engine: Engine, tmp_path: Path, statement: str, words: str
) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 300)
    first.signer.extend(leaf_hashes(engine, first))
    engine.dispose()
    damaged(tmp_path, statement)
    second = opened(engine, tmp_path)
    assert second.signer.epoch == 2
    assert second.signer.key.name == "gw.example.com/attestation/transparency/2"
    assert second.continues is not None
    assert words in second.continues["reason"]
    assert (second.continues["origin"], second.continues["size"]) == ("gw.example.com/attestation/transparency", 300)
    # The third start finds the second's log in order.
    append(engine, second, 5)
    second.signer.extend(leaf_hashes(engine, second))
    third = opened(engine, tmp_path)
    assert (third.continues, third.signer.epoch, third.sequencer.size) == (None, 2, 5)


@pytest.mark.parametrize(
    ("secret", "witnessed", "words"),
    [
        (SigningKey(b"\x06" * 32), 0, "the log's key or address is new"),
        (SECRET, 11, "a head over 11 was seen by a witness"),
    ],
    ids=["another key", "a witness ahead"],
)
def test_what_makes_a_new_epoch(engine: Engine, tmp_path: Path, secret: SigningKey, witnessed: int, words: str) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    first.signer.extend(leaf_hashes(engine, first))
    second = opened(engine, tmp_path, secret=secret, witnessed=witnessed)
    assert second.continues is not None
    assert words in second.continues["reason"]
    assert opened(engine, tmp_path, witnessed=10).continues is None


def test_without_the_record_of_its_last_head_a_log_begins_anew(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    first.signer.extend(leaf_hashes(engine, first))
    (tmp_path / HEAD_FILE).unlink()
    second = opened(engine, tmp_path)
    assert second.continues is not None
    assert (second.signer.epoch, second.continues["size"]) == (2, None)
    assert "is missing" in second.continues["reason"]


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"epoch":1,"checkpoint":"x"}', b'{"epoch":"x","checkpoint":"x"}'])
def test_a_broken_record_of_the_last_head_stops_the_start(engine: Engine, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / HEAD_FILE).write_bytes(raw)
    with pytest.raises(Unavailable, match="Restore it, or delete it"):
        opened(engine, tmp_path)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.test_history import append, leaf_hashes, opened
from gateway.storage.engine import open_database
folder = Path({folder!r})
engine = open_database(f"sqlite:///{{folder / 'log.sqlite3'}}")
history = opened(engine, folder)
assert history.continues is None, history.continues
print("open", history.sequencer.size, flush=True)
while True:
    for index in append(engine, history, 7):
        print("leaf", index, flush=True)
    note = history.signer.extend(leaf_hashes(engine, history))
    print("signed", history.signer.signed.size, flush=True)
"""


def test_kills_at_random_moments_lose_no_acknowledged_leaf(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    acknowledged = signed = 0
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(root=str(ROOT), folder=str(tmp_path))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        said = child.stdout.readline().split()
        assert said[:1] == ["open"], child.communicate()[1]
        assert int(said[1]) >= acknowledged
        for _ in range(chance.randrange(1, 60)):
            word, number = child.stdout.readline().split()
            acknowledged = max(acknowledged, int(number) + 1) if word == "leaf" else acknowledged
            signed = max(signed, int(number)) if word == "signed" else signed
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        acknowledged = max([acknowledged, *(int(line[5:]) + 1 for line in rest.splitlines() if line[:5] == "leaf ")])
    engine = open_database(f"sqlite:///{tmp_path / 'log.sqlite3'}")
    assert check(engine, 1) >= acknowledged
    head = json.loads((tmp_path / HEAD_FILE).read_text())
    assert (
        open_checkpoint(head["checkpoint"].encode(), opened(engine, tmp_path).signer.key, "head").checkpoint.size
        >= signed
    )
