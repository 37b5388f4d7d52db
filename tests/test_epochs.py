"""Epochs that have passed: still provable, followed by a monitor, and never shown otherwise than they were signed."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.publisher import PUBLISH_SECONDS
from tee.client.log import LogReader, log_prefix
from tee.client.logbook import open_logbook
from tee.client.monitor import Look, Monitor
from tee.log.checkpoint import Checkpoint, open_checkpoint
from tee.log.entry import parse_entry
from tee.log.merkle import Frontier, fold, hash_leaf, root_over, verify_consistency
from tee.log.note import NoteKey, parse_note_key
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.log.tiles import Tile, parse_entries, parse_hashes
from tee.quote import decode_base64
from tests.test_transparency import proof_of
from tests.worlds.gateway import RunningGateway, chat_body, run_cli
from tests.worlds.open_stream import OpenStream
from tests.worlds.small_log import SmallLog

PREFIX = "/attestation/transparency"


def get(gateway: RunningGateway, path: str) -> Any:
    with gateway.client() as client:
        return client.get(PREFIX + path)


def look(gateway: RunningGateway, folder: Path) -> Look:
    with LogReader(log_prefix(gateway.url)) as reader, open_logbook(folder) as book:
        return Monitor(reader, book).look()


def edited(gateway: RunningGateway, statement: str) -> None:
    with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
        record.executescript(statement)


def begin_epoch(gateway: RunningGateway) -> None:
    """The next start finds that the log's end is not as it was committed."""
    gateway.kill()
    edited(gateway, "DELETE FROM log_heads")
    gateway.start()


def passed(gateway: RunningGateway, number: int) -> tuple[NoteKey, Checkpoint]:
    """Key and last checkpoint of an epoch, verified under the log's own public key."""
    about = get(gateway, f"/epochs/{number}").json()
    key, live = (parse_note_key(text, "vkey") for text in (about["vkey"], get(gateway, "").json()["vkey"]))
    assert key.public_key == live.public_key
    raw = get(gateway, f"/epochs/{number}/checkpoint").content
    assert raw.decode() == about["checkpoint"]
    return key, open_checkpoint(raw, key, "checkpoint").checkpoint


class World:
    """A gateway in its third epoch, what it answered in the others, and a monitor that looked in the first."""

    def __init__(self, gateway: RunningGateway, folder: Path) -> None:
        self.gateway = gateway
        self.first = gateway.ask("in the first epoch")
        proof_of(gateway, self.first.receipt_id)
        self.looked = look(gateway, folder)
        for number in range(3):
            self.late = gateway.ask(f"after the monitor looked, {number}")
        proof_of(gateway, self.late.receipt_id)
        self.cut = asyncio.run(self._cut())
        gateway.start()
        self.second = gateway.ask("in the second epoch")
        proof_of(gateway, self.second.receipt_id)
        begin_epoch(gateway)

    async def _cut(self) -> str:
        """A stream that a death of the gateway cuts, after its route was published."""
        stream = OpenStream(chat_body("mock:slow=30 mock:chunks=400", stream=True))
        running = asyncio.create_task(stream.run(self.gateway, self.gateway.api_key))
        async with asyncio.timeout(10):
            while len(stream.body) < 1000:
                await asyncio.sleep(0.05)
        await asyncio.sleep(2 * PUBLISH_SECONDS)
        self.gateway.kill()
        edited(self.gateway, "DELETE FROM log_heads")
        await running
        assert stream.receipt_id is not None
        return stream.receipt_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("epochs") / "monitor"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, folder: Path, chip_file: Path) -> Iterator[World]:
    with RunningGateway(tmp_path_factory.mktemp("epochs") / "state", chip=chip_file) as running:
        yield World(running, folder)


@pytest.fixture
def damaged(world: World) -> Iterator[RunningGateway]:
    """The world's gateway; whatever a test does to its database is undone."""
    path = world.gateway.state / "gateway.sqlite3"
    with closing(sqlite3.connect(path)) as record, closing(sqlite3.connect(":memory:")) as kept:
        record.backup(kept)
        yield world.gateway
        kept.backup(record)


def test_the_log_lists_its_epochs_each_of_which_follows_the_last(world: World) -> None:
    about = get(world.gateway, "").json()
    assert [row["epoch"] for row in about["epochs"]] == [1, 2]
    assert about["epoch"] == 3
    for row, later in zip(about["epochs"], ("/epochs/2", ""), strict=True):
        key, checkpoint = passed(world.gateway, row["epoch"])
        assert (row["origin"], row["vkey"], row["size"]) == (key.name, key.encode(), checkpoint.size)
        first = parse_entry(decode_base64(get(world.gateway, f"{later}/0").json()["leaf_b64"], "leaf"))
        assert first.type == "log.continues"
        assert (first.body["origin"], first.body["size"]) == (checkpoint.origin, checkpoint.size)
    assert get(world.gateway, "/epochs/3").json()["origin"] == about["origin"]


def test_a_passed_epoch_is_whole_by_its_tiles_and_its_proofs(world: World) -> None:
    _, checkpoint = passed(world.gateway, 1)
    size = checkpoint.size
    leaves = parse_entries(get(world.gateway, f"/epochs/1/tile/entries/000.p/{size}").content, size)
    hashes = parse_hashes(get(world.gateway, f"/epochs/1/tile/0/000.p/{size}").content, size)
    assert [hash_leaf(leaf) for leaf in leaves] == hashes
    frontiers = [Frontier()]
    for value in hashes:
        frontiers.append(frontiers[-1].append(value))
    assert frontiers[-1].root() == checkpoint.root
    for old, new in ((1, 3), (3, size), (size, size), (0, 2)):
        body = get(world.gateway, f"/epochs/1/consistency?from={old}&to={new}").json()
        proof = [decode_base64(each, "proof") for each in body["proof"]]
        roots = frontiers[old].root(), frontiers[new].root()
        verify_consistency(old, roots[0], new, roots[1], proof, from_empty=True)
    head = get(world.gateway, "/epochs/1/head").json()
    assert (head["size"], head["root_hash"]) == (size, checkpoint.root.hex())


def test_a_call_of_a_passed_epoch_keeps_its_proof(world: World) -> None:
    for number, answered in ((1, world.first), (1, world.late), (2, world.second)):
        key, checkpoint = passed(world.gateway, number)
        proof = proof_of(world.gateway, answered.receipt_id)
        for name in ("receipt", "route"):
            leaf = decode_base64(proof[name]["leaf_b64"], "leaf")
            assert verify_leaf(leaf, parse_leaf_proof(proof[name]["proof"].encode()), key) == checkpoint
        world.gateway.verified(answered)


def test_a_receipt_of_a_passed_epoch_is_joined_to_its_own_history(world: World, tmp_path: Path) -> None:
    """The quote of its keyset shows an early tree, the receipt's proof the last one: the epoch joins the two."""
    for answered in (world.first, world.late, world.second):
        files = {"key": world.gateway.api_key.encode(), "request": answered.request, "response": answered.raw}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        words: list[str | Path] = ["verify", world.gateway.url, "--policy", world.gateway.policy, "--accept-mock"]
        words += ["--json", "--receipt", answered.receipt_id, "--key-file", tmp_path / "key"]
        words += ["--request", tmp_path / "request", "--response", tmp_path / "response"]
        told = json.loads(run_cli(*words).stdout)
        (check,) = (row for row in told["checks"] if row["id"] == "receipt.consistency")
        assert (told["verdict"], check["outcome"], check["wanted"]) == ("verified", "pass", "one history"), check


def test_a_call_may_begin_in_one_epoch_and_end_in_the_next(world: World) -> None:
    proof = proof_of(world.gateway, world.cut)
    for name, number in (("route", 1), ("receipt", 2)):
        key, _ = passed(world.gateway, number)
        leaf = decode_base64(proof[name]["leaf_b64"], "leaf")
        verify_leaf(leaf, parse_leaf_proof(proof[name]["proof"].encode()), key)
        assert parse_entry(leaf).type == name


def test_a_monitor_reads_what_a_passed_epoch_had_after_its_last_look(world: World, folder: Path) -> None:
    own = folder.with_name("follower")
    shutil.copytree(folder, own)
    seen = look(world.gateway, own)
    assert (seen.outcome(), seen.origin) == ("consistent", get(world.gateway, "").json()["origin"]), seen.found
    sizes = [passed(world.gateway, number)[1].size for number in (1, 2)]
    assert sum(seen.new.values()) == sum(sizes) - world.looked.size + seen.size
    assert seen.new["log.continues"] == 2
    assert look(world.gateway, own).outcome() == "consistent"


def test_a_monitor_that_comes_late_reads_the_log_from_its_first_leaf(world: World, tmp_path: Path) -> None:
    seen = look(world.gateway, tmp_path / "late")
    assert (seen.outcome(), seen.found) == ("consistent", [])
    assert sum(seen.new.values()) == sum(passed(world.gateway, number)[1].size for number in (1, 2)) + seen.size
    assert (seen.new["startup"], seen.new["log.continues"]) == (3, 2)
    told = "first sight of a later epoch: 2 of 2 listed before it were read, from the log's first leaf on"
    assert seen.passed == seen.to_json()["passed_epochs"] == told
    assert look(world.gateway, tmp_path / "late").passed == ""


def test_a_monitor_that_comes_late_says_what_it_could_not_read(damaged: RunningGateway, tmp_path: Path) -> None:
    edited(damaged, "UPDATE leaves SET leaf = x'7b7d' WHERE epoch = 1 AND number = 0")
    seen = look(damaged, tmp_path / "late")
    assert seen.outcome() == "consistent", seen.found
    told = "first sight of a later epoch: 1 of 2 listed before it were read, not from the log's first leaf on"
    assert seen.passed == told
    edited(damaged, "UPDATE leaves SET leaf = x'7b7d' WHERE epoch = 2 AND number = 1")
    seen = look(damaged, tmp_path / "later")
    assert (seen.outcome(), "0 of 2 listed before it were read, not" in seen.passed) == ("consistent", True)


def test_a_monitor_calls_it_lost_when_the_rest_of_a_passed_epoch_is_not_served(
    damaged: RunningGateway, folder: Path
) -> None:
    own = folder.with_name("misled")
    shutil.copytree(folder, own)
    edited(damaged, "UPDATE leaves SET leaf = x'7b7d' WHERE epoch = 1 AND number = 0")
    seen = look(damaged, own)
    assert seen.outcome() == "rejected"
    assert "of them are served: the others are lost" in seen.found[0]


DAMAGE = {
    "a leaf": "UPDATE leaves SET leaf = x'7b7d' WHERE epoch = 1 AND number = 1",
    "a leaf that is gone": "DELETE FROM leaves WHERE epoch = 1 AND number = 1",
    "a leaf and its hash": (
        "UPDATE leaves SET (leaf, hash) = (SELECT leaf, hash FROM leaves WHERE epoch = 2 AND number = 1) "
        "WHERE epoch = 1 AND number = 1"
    ),
    "a hash": "UPDATE leaves SET hash = zeroblob(32) WHERE epoch = 1 AND number = 1",
    "a short hash": "UPDATE leaves SET hash = x'00' WHERE epoch = 1 AND number = 1",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_epoch_is_shown_as_it_was_signed_or_not_at_all(damaged: RunningGateway, statement: str) -> None:
    size = passed(damaged, 1)[1].size
    paths = [*(f"/{index}" for index in range(size)), f"/tile/entries/000.p/{size}", f"/tile/0/000.p/{size}"]
    paths += ["/consistency?from=2&to=3", f"/consistency?from=1&to={size}"]
    sound = [get(damaged, f"/epochs/1{path}").content for path in paths]
    edited(damaged, statement)
    refused = 0
    for path, content in zip(paths, sound, strict=True):
        answer = get(damaged, f"/epochs/1{path}")
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
            assert "Epoch 1 of the log is damaged: what is stored there is not" in answer.json()["error"]["message"]
            refused += 1
        else:
            assert answer.content == content
    assert refused


def test_a_call_whose_leaf_is_damaged_keeps_its_receipt_and_loses_its_proof(
    damaged: RunningGateway, world: World
) -> None:
    edited(damaged, "UPDATE leaves SET leaf = x'7b7d' WHERE epoch = 1")
    with damaged.client(damaged.api_key) as client:
        answer = client.get(f"/v1/aci/receipts/{world.first.receipt_id}/proof")
        assert (answer.status_code, "damaged" in answer.json()["error"]["message"]) == (404, True)
        assert client.get(f"/v1/aci/receipts/{world.first.receipt_id}").status_code == 200
    proof_of(damaged, world.second.receipt_id)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/epochs/9", 404, "Epoch 9 of the log is not shown here"),
        ("/epochs/0/checkpoint", 404, "Epoch 0 of the log is not shown here"),
        ("/epochs/x", 400, "epoch: found"),
        ("/epochs/1/999999", 404, "No checkpoint of epoch 1 holds a leaf 999999"),
        ("/epochs/1/tile/0/001", 404, "tile/0/001 is not in epoch 1"),
        ("/epochs/1/consistency?from=1&to=999999", 404, "Epoch 1 has no trees of 1 and then 999999 leaves"),
        ("/epochs", 400, "index: found"),
    ],
)
def test_what_is_not_in_a_passed_epoch_is_refused_by_name(world: World, path: str, status: int, words: str) -> None:
    answer = get(world.gateway, path)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


def test_nothing_is_signed_any_more_under_the_name_of_a_passed_epoch(world: World) -> None:
    def files() -> dict[str, bytes]:
        places = [world.gateway.state / f"log.head.{number}" for number in (1, 2)]
        places += [path for number in (1, 2) for path in (world.gateway.state / "log" / str(number)).rglob("*")]
        return {str(path): path.read_bytes() for path in places if path.is_file()}

    shown, kept = [get(world.gateway, f"/epochs/{number}/checkpoint").content for number in (1, 2)], files()
    world.gateway.restart()
    proof_of(world.gateway, world.gateway.ask("in the third epoch").receipt_id)
    assert [get(world.gateway, f"/epochs/{number}/checkpoint").content for number in (1, 2)] == shown
    assert files() == kept
    assert get(world.gateway, "").json()["epoch"] == 3


def test_an_epoch_of_a_key_that_is_gone_is_still_shown(world: World, tmp_path: Path) -> None:
    """Another measurement cannot open the log's key: the new key's log shows the old one under the old key."""
    state = tmp_path / "state"
    shutil.copytree(world.gateway.state, state, ignore=shutil.ignore_patterns("lock", "log-key.sealed"))
    old = get(world.gateway, "").json()
    world.gateway.stop()
    try:
        with RunningGateway(state) as later:
            about = get(later, "").json()
            assert about["epoch"] == 4
            shown = about["epochs"][-1]
            assert (shown["epoch"], shown["vkey"]) == (3, old["vkey"])
            key = parse_note_key(old["vkey"], "vkey")
            raw = get(later, "/epochs/3/checkpoint").content
            assert open_checkpoint(raw, key, "checkpoint").checkpoint.size == shown["size"]
            assert get(later, "/epochs/3/0").status_code == 200
            # Whose public key was never recorded cannot be told from anybody's.
            later.kill()
            head = json.loads((state / "log.head.3").read_text())
            del head["vkey"]
            (state / "log.head.3").write_text(json.dumps(head))
            later.start()
            assert get(later, "/epochs/3").status_code == 404
    finally:
        world.gateway.start()


def test_the_root_over_given_nodes_is_that_of_the_whole_tree() -> None:
    log = SmallLog(leaves=[b"%d" % at for at in range(1100)])
    for size, tile in ((1, Tile(0, 0, 1)), (700, Tile(0, 1)), (700, Tile(0, 2, 188)), (1100, Tile(1, 0, 4))):
        level = 8 * (tile.level or 0)
        first = tile.number * 256
        nodes = [log.read(level, first + at) for at in range(tile.width)]
        assert root_over(level, first, nodes, size, log.read) == log.root(size)
        nodes[-1] = fold([nodes[-1], nodes[-1]])
        assert root_over(level, first, nodes, size, log.read) != log.root(size)
