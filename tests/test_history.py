"""The log's leaves: in order, durable, signed only as an extension of what was signed, whatever dies in between."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from sqlalchemy import Engine

from gateway.history import HEAD_FILE, History, HistoryOpener
from gateway.storage.engine import open_database
from gateway.storage.log import LogEpoch, StoredTree
from gateway.storage.writer import GroupCommit, NotRecorded
from tee.errors import Unavailable
from tee.log.checkpoint import Checkpoint, open_checkpoint
from tee.log.entry import NO_LEAF, chain_hash, parse_entry
from tee.log.merkle import Frontier, hash_leaf, prove_inclusion, root_from_inclusion
from tee.log.note import Note

AUDIENCE = "https://gw.example.com"
ORIGIN = "gw.example.com/attestation/transparency"
SECRET = SigningKey(b"\x05" * 32)
NOT_COMMITTED = "its last leaves are not those that were committed"
KILLS = int(os.environ.get("SAFEROUTER_KILLS", "20"))  # a few hundred take some minutes
ROOT = Path(__file__).resolve().parent.parent


def opened(
    engine: Engine, folder: Path, *, secret: SigningKey = SECRET, witnessed: Sequence[Checkpoint] = (), new: bool = True
) -> History:
    return HistoryOpener(engine, folder, AUDIENCE, secret, lambda: 1_795_240_000.0, new).open(witnessed)


def append(engine: Engine, history: History, number: int) -> list[int]:
    writer = GroupCommit(engine, history.sequencer)
    waiting = [
        writer.submit(lambda transaction, at=at: transaction.sequence.append("startup", {"at": at}))  # type: ignore[misc]
        for at in range(number)
    ]
    writer.stop()
    return [done.result() for done in waiting]


def sign(history: History) -> Note:
    return history.signer.extend(history.sequencer.take_unsigned())


def check(engine: Engine, epoch: int) -> int:
    """The stored chain and tree agree at every index; returns how many leaves there are."""
    with engine.connect() as connection:
        tree = StoredTree(connection, LogEpoch(1, epoch))
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
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_leaves_are_numbered_chained_and_provable(engine: Engine, tmp_path: Path, size: int) -> None:
    history = opened(engine, tmp_path)
    assert append(engine, history, size) == list(range(size))
    assert check(engine, 1) == size
    note = sign(history)
    assert open_checkpoint(note.encode(), history.signer.key, "checkpoint").checkpoint.size == size


def test_a_second_start_goes_on_where_the_first_ended(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 300)
    sign(first)
    append(engine, first, 20)  # durable, but never signed
    second = opened(engine, tmp_path)
    assert (second.continues, second.signer.epoch.number, second.sequencer.begin().size) == (None, 1, 320)
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


def damaged(engine: Engine, statement: str) -> None:
    """What somebody does who can write to the database."""
    if engine.dialect.name != "sqlite":
        statement = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", statement)
        statement = re.sub(r"x('\w+')", r"decode(\1, 'hex')", statement)
    with engine.begin() as connection:
        for each in statement.split(";"):
            connection.exec_driver_sql(each)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM leaves WHERE number >= 200", "it holds 200 leaves, and a head over 300 was signed here"),
        ("DELETE FROM leaves", "it holds 0 leaves, and a head over 300 was signed here"),
        ("UPDATE leaves SET hash = zeroblob(32) WHERE number = 290", "are not those of a head that was signed here"),
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
    sign(first)
    engine.dispose()
    damaged(engine, statement)
    second = opened(engine, tmp_path)
    assert second.signer.epoch.number == 2
    assert re.fullmatch(ORIGIN + "/[0-9a-f]{16}", second.signer.key.name)
    assert second.continues is not None
    assert words in second.continues["reason"]
    assert (second.continues["origin"], second.continues["size"]) == (ORIGIN, 300)
    # The third start finds the second's log in order.
    append(engine, second, 5)
    sign(second)
    third = opened(engine, tmp_path)
    assert (third.continues, third.signer.epoch.number, third.sequencer.begin().size) == (None, 2, 5)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM leaves WHERE number >= 18", NOT_COMMITTED),
        (
            "UPDATE leaves SET hash = zeroblob(32) WHERE number = 15",
            NOT_COMMITTED,
        ),
        ("UPDATE leaves SET leaf = x'7b7d' WHERE number = 19", NOT_COMMITTED),
        (
            "INSERT INTO leaves SELECT log, epoch, 20, leaf, hash FROM leaves WHERE number = 3",
            NOT_COMMITTED,
        ),
        ("DELETE FROM log_heads", NOT_COMMITTED),
        ("DELETE FROM leaves WHERE number = 12", "a leaf or a subtree is missing"),
    ],
    ids=["dropped", "hash", "bytes", "forged", "no record", "a hole"],
)
def test_leaves_after_the_signed_head_are_signed_only_as_they_were_committed(
    engine: Engine, tmp_path: Path, statement: str, words: str
) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    sign(first)
    append(engine, first, 10)
    engine.dispose()
    damaged(engine, statement)
    second = opened(engine, tmp_path)
    assert second.continues is not None
    assert words in second.continues["reason"]


def test_a_row_that_changes_before_it_is_signed_does_not_change_what_is_signed(engine: Engine, tmp_path: Path) -> None:
    history = opened(engine, tmp_path)
    append(engine, history, 10)
    with engine.connect() as connection:
        root = StoredTree(connection, LogEpoch(1, 1)).head().frontier.root()
    damaged(engine, "UPDATE leaves SET hash = zeroblob(32) WHERE number = 4")
    assert open_checkpoint(sign(history).encode(), history.signer.key, "checkpoint").checkpoint.root == root


@pytest.mark.parametrize(
    ("secret", "witnessed", "words"),
    [
        (SigningKey(b"\x06" * 32), [], "the log's key or address is new"),
        (SECRET, [Checkpoint(ORIGIN, 11, bytes(32))], "a head over 11 was seen by a witness"),
        (SECRET, [Checkpoint(ORIGIN, 7, bytes(32))], "its first 7 leaves are not those of a head that was seen by a"),
    ],
    ids=["another key", "a witness ahead", "a witness of another history"],
)
def test_what_makes_a_new_epoch(
    engine: Engine, tmp_path: Path, secret: SigningKey, witnessed: list[Checkpoint], words: str
) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    seen = open_checkpoint(sign(first).encode(), first.signer.key, "checkpoint").checkpoint
    second = opened(engine, tmp_path, secret=secret, witnessed=witnessed)
    assert second.continues is not None
    assert words in second.continues["reason"]
    assert opened(engine, tmp_path, witnessed=[seen]).continues is None


def test_an_epoch_that_was_left_is_not_taken_up_again(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    sign(first)
    second = opened(engine, tmp_path, witnessed=[Checkpoint(ORIGIN, 11, bytes(32))])
    append(engine, second, 1)  # its first leaf is durable, its first head is not
    third = opened(engine, tmp_path)
    assert (third.signer.epoch.number, third.continues is not None) == (3, True)
    assert len({each.signer.key.name for each in (first, second, third)}) == 3


def test_a_key_that_has_signed_never_meets_an_empty_log_of_the_same_name(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    sign(first)
    (tmp_path / HEAD_FILE).unlink()
    damaged(engine, "DELETE FROM leaves; DELETE FROM subtrees; DELETE FROM log_heads")
    second = opened(engine, tmp_path, new=False)
    assert (second.signer.epoch.number, second.signer.key.name == ORIGIN) == (1, False)
    assert second.continues is not None


def test_without_the_record_of_its_last_head_a_log_begins_anew(engine: Engine, tmp_path: Path) -> None:
    first = opened(engine, tmp_path)
    append(engine, first, 10)
    sign(first)
    (tmp_path / HEAD_FILE).unlink()
    second = opened(engine, tmp_path)
    assert second.continues is not None
    assert (second.signer.epoch.number, second.continues["size"]) == (2, None)
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
from tests.test_history import append, opened, sign
from gateway.storage.engine import open_database
folder = Path({folder!r})
engine = open_database({url!r})
history = opened(engine, folder)
assert history.continues is None, history.continues
print("open", history.sequencer.begin().size, flush=True)
while True:
    for index in append(engine, history, 7):
        print("leaf", index, flush=True)
    sign(history)
    print("signed", history.signer.signed.size, flush=True)
"""


def test_kills_at_random_moments_lose_no_acknowledged_leaf(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    acknowledged = signed = 0
    for _ in range(KILLS if database_url.startswith("sqlite") else max(1, KILLS // 4)):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(root=str(ROOT), folder=str(tmp_path), url=database_url)],
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
    engine = open_database(database_url)
    assert check(engine, 1) >= acknowledged
    head = json.loads((tmp_path / HEAD_FILE).read_text())
    assert (
        open_checkpoint(head["checkpoint"].encode(), opened(engine, tmp_path).signer.key, "head").checkpoint.size
        >= signed
    )
    engine.dispose()
