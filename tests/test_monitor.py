"""`saferouter log monitor` against honest logs, careless ones and liars, over real sockets."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.publisher import PUBLISH_SECONDS
from tee.canonical import encode_canonical
from tee.client.log import LogReader, log_prefix
from tee.client.logbook import open_logbook
from tee.client.monitor import MAX_TOLD, Look, Monitor
from tee.errors import Unavailable
from tee.log.checkpoint import open_checkpoint, parse_checkpoint
from tee.log.note import NoteKey, NoteSignature, parse_note_key
from tee.log.submission import origin_digest
from tee.log.tiles import Tile, encode_entries
from tee.log.witnesses import parse_witness_policy
from tee.quote import encode_base64
from tests.worlds.gateway import PLAIN, RunningGateway, free_port, run_cli
from tests.worlds.log_server import COMMITMENT, STARTUP, LogServer, add, cloned, log_server, new_log, read_tile
from tests.worlds.small_log import ORIGIN, SmallLog, SmallWitness
from tests.worlds.witness import RunningWitness


@pytest.fixture
def served() -> Iterator[LogServer]:
    with log_server(new_log(5)) as server:
        yield server


def look(server: LogServer, folder: Path, *given: NoteKey, policy: str = "", seconds: float = 30.0) -> Look:
    """One look of a monitor with this folder."""
    witnesses = parse_witness_policy(policy.encode()) if policy else None
    with LogReader(log_prefix(server.url), seconds) as reader, open_logbook(folder) as book:
        return Monitor(reader, book, given, witnesses).look()


def test_it_reads_every_leaf_once_and_keeps_every_checkpoint(served: LogServer, tmp_path: Path) -> None:
    first = look(served, tmp_path)
    assert (first.outcome(), first.size, first.new) == ("consistent", 5, {"startup": 1, "route": 4})
    assert first.pinned_now
    assert first.key == served.log.key
    assert [line.split(":")[0] for line in first.changes] == ["first startup at entry 0"]
    assert look(served, tmp_path).new == {}
    for size in (6, 255, 256, 257, 600):
        while len(served.log.leaves) < size:
            add(served.log)
        seen = look(served, tmp_path)
        assert (seen.outcome(), seen.size, seen.pinned_now) == ("consistent", size, False), seen.found
    sizes = sorted(
        parse_checkpoint(path.read_bytes(), "kept").checkpoint.size for path in tmp_path.glob("checkpoints/*")
    )
    assert sizes == [5, 6, 255, 256, 257, 600]


def test_it_reads_each_entry_tile_once(served: LogServer, tmp_path: Path) -> None:
    look(served, tmp_path)
    while len(served.log.leaves) < 300:
        add(served.log)
    served.asked.clear()
    look(served, tmp_path)
    assert [path for path in served.asked if "entries" in path] == ["tile/entries/000", "tile/entries/001.p/44"]


def test_a_partial_tile_that_was_completed_meanwhile(served: LogServer, tmp_path: Path) -> None:
    """A store of files drops a partial tile once the whole one is there: the checkpoint is older than the tiles."""
    old = served.checkpoint().encode()
    while len(served.log.leaves) < 256:
        add(served.log)
    served.lies["checkpoint"], served.keeps_partial = old, False
    seen = look(served, tmp_path)
    assert (seen.outcome(), seen.size) == ("consistent", 5), seen.found


CHANGED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "measurement": (
        {"measurement": "b" * 96},
        [f"measurement changed at entry 5: {'a' * 96} → {'b' * 96}"],
    ),
    "a new keyset": (
        {"keyset_digest": "sha256:" + "7" * 64},
        [f"a new keyset at entry 5: sha256:{'7' * 64}"],
    ),
    "providers": (
        {"configuration": STARTUP["configuration"] | {"providers": "sha256:" + "8" * 64}},
        [f"configuration providers changed at entry 5: sha256:{'5' * 64} → sha256:{'8' * 64}"],
    ),
    "build": ({"build": {"version": "1.1"}}, ["build version changed at entry 5: 1.0 → 1.1"]),
    "audience": (
        {"audience": "https://other.example"},
        ["audience changed at entry 5: https://gw.example.com → https://other.example"],
    ),
    "an identity": (
        {"workload_digest": "sha256:" + "6" * 64},
        ["the workload changed at entry 5, in its identity, its log or its platform evidence"],
    ),
    "nothing": ({}, ["a startup under the same keyset at entry 5"]),
}


@pytest.mark.parametrize(("change", "words"), CHANGED.values(), ids=CHANGED.keys())
def test_a_startup_that_changes_something_is_told_in_words(
    served: LogServer, tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    look(served, tmp_path)
    add(served.log, "startup", STARTUP | change)
    add(served.log)
    seen = look(served, tmp_path)
    assert (seen.outcome(), seen.changes) == ("consistent", words)
    assert look(served, tmp_path).changes == []


def test_other_leaves_in_words(served: LogServer, tmp_path: Path) -> None:
    look(served, tmp_path)
    add(served.log, "configuration", {"changed": ["build", "prices"]})
    add(served.log, "configuration", {"policies": 1})
    add(served.log, "identity.epoch", {"epoch": 1, "identity_key": "aa", "previous_identity_key": None})
    add(served.log, "identity.epoch", {"epoch": 2, "identity_key": "bb", "previous_identity_key": "aa"})
    add(served.log, "release.announce", {"release": "saferouter 1.0", "measurements": [{"value": "cc"}, 3]})
    add(served.log, "release.retire", {"measurements": [f"{at:02}" for at in range(10)], "reason": "leak"})
    add(served.log, "release.retire", {})
    add(served.log, "key.revoke")
    add(served.log, "receipt")
    seen = look(served, tmp_path)
    assert seen.changes == [
        "a change of configuration was announced at entry 5: build, prices",
        "a change of configuration was announced at entry 6: null",
        "identity epoch 1 began at entry 7: aa",
        "identity epoch 2 began at entry 8: bb, after aa",
        "release saferouter 1.0 was announced at entry 9: measurement cc, 3",
        "a retirement was announced at entry 10: measurement 00, 01, 02, 03, 04, 05, 06, 07, and 2 more, because leak",
        "a retirement was announced at entry 11: measurement null, because null",
        f"a provider key was revoked at entry 12: {encode_canonical(COMMITMENT).decode()}",
    ]
    assert seen.new["identity.epoch"] == 2


def test_more_changes_than_anybody_reads_are_counted(served: LogServer, tmp_path: Path) -> None:
    for _ in range(MAX_TOLD // 20):
        body = {"configuration": {f"part {at}": os.urandom(4).hex() for at in range(20)}}
        add(served.log, "startup", STARTUP | body)
    seen = look(served, tmp_path)
    assert (seen.outcome(), len(seen.changes)) == ("consistent", MAX_TOLD)
    assert seen.untold == seen.to_json()["changes_untold"] > 0


def forked(log: SmallLog, at: int, size: int) -> SmallLog:
    """Another history under the same key: the same leaves below `at`, others from there."""
    other = SmallLog(log.origin, log.secret, log.leaves[:at])
    if at == 0:
        add(other, "startup", STARTUP | {"measurement": "c" * 96})
    while len(other.leaves) < size:
        add(other, "receipt")
    return other


VIEWS: dict[str, tuple[Callable[[SmallLog], SmallLog], str]] = {
    "of the same size": (lambda log: forked(log, 3, 5), "split view: two trees of 5 leaves"),
    "that is longer": (
        lambda log: forked(log, 3, 9),
        "split view: the tree of 9 leaves does not hold that of 5 leaves",
    ),
    "from the first leaf": (lambda log: forked(log, 0, 300), "split view: the tree of 300 leaves does not hold"),
    "rolled back": (lambda log: forked(log, 3, 3), "rolled back: it shows 3 leaves after 5"),
    "rolled back to nothing": (lambda log: forked(log, 0, 1), "rolled back: it shows 1 leaves after 5"),
    "under another key": (
        lambda log: SmallLog(log.origin, SmallWitness("w", 3).secret, log.leaves),
        "no signature by the log's key",
    ),
    "under another name": (
        lambda log: SmallLog("other.example/log", log.secret, log.leaves),
        'checkpoint.origin: found "other.example/log"',
    ),
}


@pytest.mark.parametrize(("view", "words"), VIEWS.values(), ids=VIEWS.keys())
def test_another_view_of_the_log_is_caught_and_kept(
    served: LogServer, tmp_path: Path, view: Callable[[SmallLog], SmallLog], words: str
) -> None:
    honest = served.log
    look(served, tmp_path)
    ours = served.checkpoint().encode()
    served.log = view(honest)
    shown = served.checkpoint().encode()
    seen = look(served, tmp_path)
    assert seen.outcome() == "rejected"
    assert words in seen.found[0]
    (evidence,) = tmp_path.glob("evidence/*")
    assert (evidence / "ours.txt").read_bytes() == ours
    assert (evidence / "shown.txt").read_bytes() == shown
    assert words in (evidence / "words.txt").read_text()
    # Good manners afterwards do not undo it: a person has to look.
    served.log = honest
    again = look(served, tmp_path)
    assert again.outcome() == "rejected"
    assert "found earlier" in again.found[0]
    evidence.rename(tmp_path / "seen-by-a-person")
    assert look(served, tmp_path).outcome() == "consistent"


def wrong_leaf(log: SmallLog, at: int) -> bytes:
    leaves = list(log.leaves)
    leaves[at] = leaves[at].replace(b'"route"', b'"audit"')
    return encode_entries(leaves)


def reordered(log: SmallLog) -> bytes:
    leaves = list(log.leaves)
    leaves[3], leaves[4] = leaves[4], leaves[3]
    return encode_entries(leaves)


LIES: dict[str, tuple[Callable[[SmallLog], dict[str, bytes]], str]] = {
    "a wrong leaf in a tile": (
        lambda log: {"tile/entries/000.p/5": wrong_leaf(log, 3)},
        "leaf 3: the leaf that is served is not the one in the tree",
    ),
    "leaves in another order": (
        lambda log: {"tile/entries/000.p/5": reordered(log)},
        "leaf 3: the leaf that is served is not the one in the tree",
    ),
    "a leaf missing": (
        lambda log: {"tile/entries/000.p/5": encode_entries(log.leaves[:4])},
        "tile/entries/000.p/5: found 4 leaves, wanted 5",
    ),
    "half an entry tile": (
        lambda log: {"tile/entries/000.p/5": encode_entries(log.leaves)[:-3]},
        "tile/entries/000.p/5: found a leaf to byte",
    ),
    "half a hash tile": (
        lambda log: {"tile/0/000.p/5": read_tile(log, Tile(0, 0, 5))[:-1]},
        "tile/0/000.p/5: found 159 bytes, wanted 160",
    ),
    "a wrong hash": (
        lambda log: {"tile/0/000.p/5": bytes(32) + read_tile(log, Tile(0, 0, 5))[32:]},
        "the tiles are not those of its checkpoint over 5 leaves",
    ),
    "no checkpoint": (lambda log: {"checkpoint": b"hello"}, "checkpoint: found no signature lines"),
    "no key": (lambda log: {"": b"{}"}, "log"),
}


@pytest.mark.parametrize(("lie", "words"), LIES.values(), ids=LIES.keys())
def test_a_lie_in_what_is_served_is_named(
    served: LogServer, tmp_path: Path, lie: Callable[[SmallLog], dict[str, bytes]], words: str
) -> None:
    served.lies = lie(served.log)
    seen = look(served, tmp_path)
    assert (seen.outcome(), words in seen.found[0]) == ("rejected", True), seen.found
    assert not (tmp_path / "monitor.json").exists()


def test_hash_tiles_that_lie_in_step_with_the_leaves(tmp_path: Path) -> None:
    """The lowest tile agrees with the leaves that are served; only the root shows that they are others."""
    with log_server(new_log(256)) as server:
        other = forked(server.log, 255, 256)
        server.lies = {tile.path(): read_tile(other, tile) for tile in (Tile(None, 0), Tile(0, 0))}
        seen = look(server, tmp_path)
    assert seen.found == ["leaves 0 to 255: their tile is not in the tree"]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an index": ({"index": 7}, "leaf 5: it says that it is leaf 7"),
    "a chain that breaks": ({"prev": bytes(32)}, "leaf 5: its `prev` is not the hash of the leaf before it"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_tree_whose_leaves_are_no_chain(served: LogServer, tmp_path: Path, fault: dict[str, Any], words: str) -> None:
    look(served, tmp_path)
    add(served.log, **fault)
    assert look(served, tmp_path).found[0] == words


def test_leaves_that_are_none(served: LogServer, tmp_path: Path) -> None:
    served.log.leaves.append(b"hello")
    assert look(served, tmp_path).found[0].startswith("leaf 5: found broken JSON")
    served.log.leaves[0] = new_log(1).leaves[0].replace(b"startup", b"newtype")
    assert look(served, tmp_path / "other").found[0].startswith('leaf 0.type: found "newtype"')


def later(number: int) -> str:
    """The origin of a later epoch."""
    return f"{ORIGIN}/{number:016x}"


def continuing(log: SmallLog, **body: Any) -> SmallLog:
    """The next epoch of a log."""
    number = 1 if log.origin == ORIGIN else 1 + int(log.origin.rpartition("/")[2], 16)
    size = len(log.leaves)
    follows = {"origin": log.origin, "size": size, "root_b64": encode_base64(log.root(size)), "reason": "a restore"}
    new = SmallLog(later(number), log.secret)
    add(new, "log.continues", follows | body)
    add(new, "startup", STARTUP | {"measurement": "d" * 96})
    return new


def test_a_new_epoch_that_lost_nothing_is_told_and_followed(served: LogServer, tmp_path: Path) -> None:
    look(served, tmp_path)
    served.log = continuing(served.log)
    seen = look(served, tmp_path)
    assert (seen.outcome(), seen.origin) == ("consistent", later(1)), seen.found
    assert seen.changes == [
        f"the log began a new epoch at entry 0: it follows {ORIGIN} at size 5, because a restore",
        f"measurement changed at entry 1: {'a' * 96} → {'d' * 96}",
    ]
    served.log = continuing(served.log)
    assert look(served, tmp_path).origin == later(2)


EPOCHS: dict[str, tuple[Callable[[SmallLog], SmallLog], str]] = {
    "loses leaves": (lambda log: continuing(log, size=3), "the new epoch follows 3 leaves, and 5 were read here"),
    "lost its head": (
        lambda log: continuing(log, size=None, root_b64=None),
        "follows null leaves, and 5 were read here",
    ),
    "follows another tree": (lambda log: continuing(log, root_b64="AAAA"), "follows another tree of 5 leaves"),
    "follows another log": (lambda log: continuing(log, origin="x.example"), f"follows another log than {ORIGIN}"),
}


@pytest.mark.parametrize(("next_epoch", "words"), EPOCHS.values(), ids=EPOCHS.keys())
def test_an_epoch_that_drops_history_is_evidence_until_a_person_accepts_it(
    served: LogServer, tmp_path: Path, next_epoch: Callable[[SmallLog], SmallLog], words: str
) -> None:
    look(served, tmp_path)
    served.log = next_epoch(served.log)
    seen = look(served, tmp_path)
    assert seen.outcome() == "rejected"
    assert words in seen.found[0]
    (evidence,) = tmp_path.glob("evidence/*")
    evidence.rename(tmp_path / "accepted")
    add(served.log)
    assert look(served, tmp_path).outcome() == "consistent"


def test_a_log_without_leaves_begins_and_an_epoch_without_leaves_is_refused(served: LogServer, tmp_path: Path) -> None:
    first = served.log
    served.log = SmallLog()
    assert look(served, tmp_path).outcome() == "consistent"
    served.log = first
    seen = look(served, tmp_path)
    assert (seen.outcome(), seen.size) == ("consistent", 5), seen.found
    served.log = SmallLog(later(1), first.secret)
    assert look(served, tmp_path).found == ["the new epoch is empty: it does not say what it follows"]
    served.log = continuing(first, size=3)
    assert "leaves are lost" in look(served, tmp_path).found[0]


def test_an_epoch_that_does_not_say_what_it_follows(served: LogServer, tmp_path: Path) -> None:
    look(served, tmp_path)
    first = served.log
    served.log = new_log(3, origin=later(1))
    assert look(served, tmp_path).found[0].startswith("leaf 0: startup, where log.continues begins")
    served.log = SmallLog(later(1), first.secret)
    add(served.log, "log.continues", {"origin": ORIGIN, "size": 9, "root_b64": "", "reason": "x"})
    assert look(served, tmp_path / "fresh").outcome() == "consistent"
    served.log = first
    assert f'found "{ORIGIN}", wanted {later(1)}' in look(served, tmp_path / "fresh").found[0]


def test_a_given_key_is_the_only_one_that_counts(served: LogServer, tmp_path: Path) -> None:
    other = SmallLog("other.example/log")
    assert "the keys that you gave are of other.example/log" in look(served, tmp_path / "a", other.key).found[0]
    forged = SmallLog(secret=SmallWitness("w", 5).secret)
    assert "no signature by the log's key" in look(served, tmp_path / "b", forged.key).found[0]
    seen = look(served, tmp_path / "c", other.key, served.log.key)
    assert (seen.outcome(), seen.pinned_now) == ("consistent", False)


def policy_of(log: SmallLog, *witnesses: tuple[str, NoteKey, str], quorum: str = "none") -> str:
    lines = [f"witness {name} {key.encode()} {url}" for name, key, url in witnesses]
    return "\n".join([f"log {log.key.encode()}", *lines, f"quorum {quorum}", ""])


def test_what_a_witness_saw_is_matched(served: LogServer, tmp_path: Path) -> None:
    """A real witness and two clones of one gateway: whoever is shown the other clone finds out."""
    log = served.log
    with RunningWitness(tmp_path / "witness", log.key.encode()) as witness:
        policy = policy_of(log, ("w", witness.key, witness.url))
        unseen = look(served, tmp_path / "m", policy=policy)
        assert (unseen.outcome(), unseen.witnesses) == ("consistent", {"w": "has not seen this log"})
        assert witness.submit(log, 0).status_code == 200
        assert look(served, tmp_path / "m", policy=policy).witnesses == {"w": "saw the same history"}
        add(log)  # the log is ahead of the witness
        assert look(served, tmp_path / "m", policy=policy).outcome() == "consistent"
        clone = cloned(log)
        add(clone, "audit")
        assert witness.submit(clone, 5).status_code == 200
        add(log)
        split = look(served, tmp_path / "m", policy=policy)
        assert split.outcome() == "rejected"
        assert split.found[0].startswith("witness w saw another history: split view: two trees of 7 leaves")
        (evidence,) = (tmp_path / "m").glob("evidence/*")
        assert (evidence / "shown.txt").read_bytes() == witness.seen(log.origin).content
        assert (evidence / "ours.txt").read_bytes() == served.checkpoint().encode()
        add(log)
        longer = look(served, tmp_path / "n", policy=policy)
        assert "witness w saw another history: split view: the tree of 8" in longer.found[0]
        served.log = SmallLog(log.origin, log.secret, log.leaves[:6])
        hidden = look(served, tmp_path / "o", policy=policy)
        assert (hidden.outcome(), hidden.witnesses) == ("unavailable", {"w": "cannot be matched"})
        assert hidden.unseen[0].startswith("witness w saw 7 leaves, the log shows 6: http")


def test_a_witness_that_is_ahead_of_the_checkpoint_that_is_published(served: LogServer, tmp_path: Path) -> None:
    """A log that waits for its quorum publishes tiles first: they join the witness's larger tree to the smaller."""
    log = served.log
    served.lies["checkpoint"] = served.checkpoint().encode()
    add(log)
    with RunningWitness(tmp_path / "witness", log.key.encode()) as witness:
        assert witness.submit(log, 0).status_code == 200
        seen = look(served, tmp_path / "m", policy=policy_of(log, ("w", witness.key, witness.url)))
    assert (seen.outcome(), seen.size, seen.witnesses) == ("consistent", 5, {"w": "saw the same history"}), seen.found


def test_a_witness_that_answers_nonsense_or_not_at_all(served: LogServer, tmp_path: Path) -> None:
    small = SmallWitness("w.example", 9)
    with log_server(served.log) as impostor:
        policy = policy_of(served.log, ("w", small.key, impostor.url))
        path = f"{origin_digest(ORIGIN)}/checkpoint"
        impostor.lies[path] = served.checkpoint().encode()
        seen = look(served, tmp_path / "a", policy=policy)
        assert seen.found[0].startswith("witness w: found a checkpoint without its own cosignature")
        impostor.lies[path] = small.cosign(SmallLog(secret=small.secret).checkpoint()).encode()
        assert "no signature by the log's key" in look(served, tmp_path / "b", policy=policy).found[0]
    gone = look(served, tmp_path / "c", policy=policy)
    assert (gone.outcome(), gone.witnesses) == ("unavailable", {"w": "does not answer"})
    assert gone.unseen[0].startswith("witness w: http://127.0.0.1:")


def test_a_quorum_that_the_policy_wants(served: LogServer, tmp_path: Path) -> None:
    small = SmallWitness("w.example", 9)
    policy = policy_of(served.log, ("w", small.key, ""), quorum="w")
    assert look(served, tmp_path, policy=policy).found == [
        "the checkpoint is cosigned by nobody; your policy wants witness w"
    ]
    served.witnesses = [small]
    assert look(served, tmp_path, policy=policy).outcome() == "consistent"
    cosigned = small.cosign(served.log.checkpoint())
    forged = cosigned.encode().replace(cosigned.signatures[1].encode().encode(), b"")
    line = SmallWitness(small.name, 10).cosign(served.log.checkpoint()).signatures[1]
    served.lies["checkpoint"] = forged + NoteSignature(small.name, small.key.key_id, line.blob).encode().encode()
    assert "a bad cosignature by w.example" in look(served, tmp_path, policy=policy).found[0]


def test_a_server_that_is_slow_large_or_gone(served: LogServer, tmp_path: Path) -> None:
    served.delay = 3.0
    slow = look(served, tmp_path, seconds=0.5)
    assert (slow.outcome(), "no whole answer within 0.5 seconds" in slow.unseen[0]) == ("unavailable", True)
    served.delay = 0.0
    served.lies["checkpoint"] = b"x" * (1 << 20)
    assert "answered more than 65536 bytes" in look(served, tmp_path).unseen[0]
    served.lies = {"tile/0/000.p/5": b"x" * (1 << 20)}
    assert "answered more than 160 bytes" in look(served, tmp_path).unseen[0]


def test_its_folder_is_its_own_and_is_checked(served: LogServer, tmp_path: Path) -> None:
    look(served, tmp_path)
    with open_logbook(tmp_path), pytest.raises(Unavailable, match="another monitor"), open_logbook(tmp_path):
        pass
    state = tmp_path / "monitor.json"
    good = json.loads(state.read_text())
    broken: dict[str, Any]
    for broken in (
        good | {"nodes_b64": good["nodes_b64"][:1]},
        good | {"nodes_b64": good["nodes_b64"][::-1]},
        good | {"nodes_b64": "x"},
        good | {"vkey": good["vkey"].replace("gw", "gv")},
        {},
    ):
        state.write_text(json.dumps(broken))
        seen = look(served, tmp_path)
        assert (seen.outcome(), "broken" in seen.unseen[0]) == ("unavailable", True), broken
    done = run_cli("log", "monitor", served.url, "--state", tmp_path)
    assert done.returncode == 3


def test_the_command_says_it_in_words_and_exit_codes(served: LogServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = run_cli("log", "monitor", served.url, "--state", state, "--once")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        f"{ORIGIN}: 5 leaves; 4 route, 1 startup",
        f"  first sight: no --log was given, so this key is believed from now on: {served.log.key.encode()}",
    ]
    other = SmallLog(secret=SmallWitness("w", 2).secret)
    wrong = run_cli("log", "monitor", served.url, "--state", state, "--log", other.key.encode())
    assert (wrong.returncode, "another log needs another folder" in wrong.stderr) == (2, True)
    served.log = forked(served.log, 2, 6)
    split = run_cli("log", "monitor", served.url, "--state", state, "--every", "1", "--json")
    assert split.returncode == 1
    told = json.loads(split.stdout)
    assert (told["verdict"], told["origin"], told["size"]) == ("rejected", ORIGIN, 6)
    gone = run_cli("log", "monitor", f"http://127.0.0.1:{free_port()}", "--state", tmp_path / "other")
    assert (gone.returncode, "UNAVAILABLE" in gone.stdout, "Traceback" in gone.stderr) == (3, True, False)


def test_a_gateway_its_witness_and_its_monitor(tmp_path: Path, chip_file: Path) -> None:
    """From end to end: a gateway serves only what its witness cosigned, and a monitor follows both."""
    config = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
    with RunningGateway(tmp_path / "gateway", config=config, chip=chip_file) as gateway:
        vkey = httpx2.get(f"{gateway.url}/attestation/transparency", **PLAIN).json()["vkey"]
        state, policy = tmp_path / "monitor", tmp_path / "policy"
        first = run_cli("log", "monitor", gateway.url, "--state", state, "--log", vkey)
        assert (first.returncode, "first startup at entry 1: measurement" in first.stdout) == (0, True), first.stdout
        with RunningWitness(tmp_path / "witness", vkey) as witness:
            policy.write_text(f"log {vkey}\nwitness w {witness.key.encode()} {witness.url}\nquorum w\n")
            (tmp_path / "gateway.toml").write_text(f'witness_policy = "{policy}"\n{config}')
            gateway.restart()
            assert gateway.ask("Hello").status == 200
            seen = run_cli("log", "monitor", gateway.url, "--state", state, "--policy", policy)
            assert seen.returncode == 0, seen.stdout
            assert "configuration settings changed at entry" in seen.stdout
            assert "a new keyset at entry" in seen.stdout
            assert "witness w saw the same history" in seen.stdout
            proof = run_cli("log", "prove", gateway.url, "0", "--log", vkey, "--save", tmp_path / "start")
            assert proof.returncode == 0, proof.stderr
            saved, leaf = tmp_path / "start.tlog-proof", tmp_path / "start.leaf"
            verified = run_cli("log", "verify", saved, "--leaf", leaf, "--policy", policy)
            assert (verified.returncode, "PASS log.witness" in verified.stdout) == (0, True), verified.stdout


def test_two_gateways_from_one_cloned_folder_and_key(tmp_path: Path, chip_file: Path) -> None:
    """The operator copies the disk and runs both: each signs a history of its own under one key."""
    tables = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
    config = f'audience = "https://gw.example.com"\n{tables}'
    original, clone = tmp_path / "original", tmp_path / "clone"
    with RunningGateway(original, config=config, chip=chip_file) as one:
        assert one.ask("Hello").status == 200
        one.stop()
        shutil.copytree(original, clone)
        with RunningGateway(clone, config=config) as two:
            one.start()
            key = httpx2.get(f"{one.url}/attestation/transparency", **PLAIN).json()["vkey"]
            assert httpx2.get(f"{two.url}/attestation/transparency", **PLAIN).json()["vkey"] == key
            options = ["--state", str(tmp_path / "monitor"), "--log", key]
            assert run_cli("log", "monitor", one.url, *options).returncode == 0
            assert two.ask("Hello to somebody else").status == 200
            time.sleep(2 * PUBLISH_SECONDS)
            split = run_cli("log", "monitor", two.url, *options)
    assert (split.returncode, "REJECTED split view: the tree of" in split.stdout) == (1, True), split.stdout
    shown, ours = (next((tmp_path / "monitor" / "evidence").glob(f"*/{name}.txt")) for name in ("shown", "ours"))
    log_key = parse_note_key(key, "log")
    sizes = [open_checkpoint(path.read_bytes(), log_key, "evidence").checkpoint.size for path in (ours, shown)]
    assert sizes[0] < sizes[1]
