"""`saferouter log announce|retire`: a log in a folder that only grows, under a key that remembers."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tee.client.release_log import open_release_log
from tee.errors import Malformed, Unavailable
from tee.log.announcement import parse_announcement
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import parse_entry
from tee.log.merkle import Frontier, hash_leaf
from tee.log.note import parse_note_key
from tee.log.proof import verify_leaf
from tee.log.release import parse_announced
from tee.log.tiles import Tile
from tee.quote import decode_base64
from tests.worlds.gateway import run_cli
from tests.worlds.release import ORIGIN, ReleaseOwner, manifest
from tests.worlds.witness import RunningWitness

OLD, NEW = "a" * 96, "b" * 96
RESTORE = "Restore the newest copies; an older one must never sign again"


@pytest.fixture
def owner(tmp_path: Path) -> ReleaseOwner:
    return ReleaseOwner(tmp_path)


def policy_of(owner: ReleaseOwner, witness: RunningWitness) -> Path:
    path = owner.home / "witnesses"
    path.write_text(f"log {owner.vkey}\nwitness w {witness.key.encode()} {witness.url}\nquorum w\n")
    return path


def test_a_release_is_announced_cosigned_monitored_and_retired(owner: ReleaseOwner, tmp_path: Path) -> None:
    with RunningWitness(tmp_path / "witness", owner.vkey) as witness, owner.served() as url:
        policy = policy_of(owner, witness)
        said = owner.announce(manifest(OLD, NEW), "--policy", policy)
        assert (said["origin"], said["vkey"], said["index"], said["size"]) == (ORIGIN, owner.vkey, 0, 1)
        leaf, proof = parse_announcement(Path(said["announcement"]).read_bytes())
        announced = parse_announced(parse_entry(leaf).body, "leaf")
        assert (announced.release, announced.covers) == ("saferouter 1.0", {OLD: "workload", NEW: "workload"})
        verify_leaf(leaf, proof, parse_note_key(owner.vkey, "vkey"))
        kept = Path(said["announcement"]).read_bytes()
        assert owner.announce(manifest(OLD, NEW), "--policy", policy) == said, "what is said already is not repeated"
        assert Path(said["announcement"]).read_bytes() == kept, "the oldest cosignatures are kept"
        seen = run_cli("log", "monitor", url, "--state", tmp_path / "m", "--log", owner.vkey, "--policy", policy)
        assert seen.returncode == 0, seen.stdout + seen.stderr
        assert f"release saferouter 1.0 was announced at entry 0: measurement {OLD}, {NEW}" in seen.stdout
        alone = owner.announce(manifest("c" * 96, version="1.1"))
        assert (alone[0], "a log that is cosigned stays so" in alone[1]) == (2, True)
        gone = owner.run("retire", "--measurement", OLD, "--reason", "a leak", "--policy", policy)
        assert (gone["index"], gone["size"]) == (1, 2)
        seen = run_cli("log", "monitor", url, "--state", tmp_path / "m", "--policy", policy)
        assert (seen.returncode, "witness w saw the same history" in seen.stdout) == (0, True), seen.stdout
        assert f"a retirement was announced at entry 1: measurement {OLD}, because a leak" in seen.stdout


def test_an_entry_without_its_quorum_is_signed_and_not_published(owner: ReleaseOwner, tmp_path: Path) -> None:
    with RunningWitness(tmp_path / "witness", owner.vkey) as witness:
        policy = policy_of(owner, witness)
        witness.kill()
        code, words = owner.announce(manifest(OLD), "--policy", policy)
        assert (code, "have not cosigned it" in words, owner.vkey in words) == (3, True, True), words
        assert not (owner.folder / "checkpoint").exists()
        witness.start()
        said = owner.announce(manifest(OLD), "--policy", policy_of(owner, witness))
    assert (said["index"], said["size"]) == (0, 1)


def test_a_folder_or_a_key_that_was_put_back_in_time_signs_nothing(owner: ReleaseOwner, tmp_path: Path) -> None:
    with RunningWitness(tmp_path / "witness", owner.vkey) as witness:
        policy = policy_of(owner, witness)
        owner.announce(manifest(OLD), "--policy", policy)
        shutil.copytree(owner.folder, tmp_path / "folder")
        shutil.copy(owner.key, tmp_path / "key")
        owner.announce(manifest(NEW, version="1.1"), "--policy", policy)
        newest = owner.key.read_bytes()
        shutil.move(owner.folder, tmp_path / "newest")

        shutil.copytree(tmp_path / "folder", owner.folder)
        code, words = owner.announce(manifest(NEW, version="1.2"), "--policy", policy)
        assert (code, "does not hold the 2 leaves that its key has signed" in words, RESTORE in words) == (
            3,
            True,
            True,
        )
        assert owner.key.read_bytes() == newest, "nothing was signed"

        shutil.copy(tmp_path / "key", owner.key)
        both = owner.announce(manifest(NEW, version="1.2"), "--policy", policy)
        assert (both[0], "a witness: has seen 2 leaves that are not these" in both[1]) == (3, True), both
        assert owner.key.read_bytes() == (tmp_path / "key").read_bytes()

        shutil.rmtree(owner.folder)
        shutil.copytree(tmp_path / "newest", owner.folder)
        code, words = owner.announce(manifest(NEW, version="1.2"))
        assert (code, "remembers 1 leaves, and its folder shows 2" in words) == (3, True), words
        owner.key.write_bytes(newest)
        assert owner.announce(manifest(NEW, version="1.2"), "--policy", policy)["index"] == 2


def test_a_crash_before_the_signature_leaves_a_log_that_goes_on(owner: ReleaseOwner, tmp_path: Path) -> None:
    """The next tiles are written and the key has not signed them: nobody has seen them, and they are written anew."""
    owner.announce(manifest(OLD))
    before = owner.key.read_bytes()
    shutil.copy(owner.folder / "checkpoint", tmp_path / "checkpoint")
    owner.announce(manifest(NEW, version="1.1"))
    owner.key.write_bytes(before)
    shutil.copy(tmp_path / "checkpoint", owner.folder / "checkpoint")
    assert owner.announce(manifest(NEW, version="1.2"))["index"] == 1
    with owner.served() as url:
        seen = run_cli("log", "tail", url, "--log", owner.vkey, "--json")
    (_, last) = json.loads(seen.stdout)["leaves"]
    leaf = decode_base64(last["leaf_b64"], "leaf")
    assert parse_entry(leaf).body["release"] == "saferouter 1.2"
    assert parse_announcement((owner.folder / "announcement" / "1.json").read_bytes())[0] == leaf


DRIVER = """
import sys
from pathlib import Path
from tee.client.release_log import open_release_log

with open_release_log(Path(sys.argv[1]), Path(sys.argv[2])) as log:
    while True:
        body = {"measurements": [f"{len(log.leaves):096x}"], "reason": f"by {sys.argv[3]}"}
        log.append("release.retire", body, 1_795_240_000)
        print(log.signed.checkpoint.size, log.signed.checkpoint.root.hex(), flush=True)
"""


def test_kills_at_any_moment_never_make_a_second_tree(owner: ReleaseOwner) -> None:
    """Whatever was signed, and perhaps seen, is a beginning of what is there in the end."""
    chance, signed = random.Random(16), []
    for turn in range(8):
        command = [sys.executable, "-c", DRIVER, str(owner.folder), str(owner.key), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _, line in zip(range(chance.randrange(1, 12)), process.stdout, strict=False):
                signed.append(line.split())
            time.sleep(chance.random() / 50)
            process.kill()
            signed += [line.split() for line in process.stdout if line.endswith("\n")]
    with open_release_log(owner.folder, owner.key) as log:
        frontier, roots = Frontier(), {}
        for leaf in log.leaves:
            frontier = frontier.append(hash_leaf(leaf))
            roots[str(frontier.size)] = frontier.root().hex()
        assert len(signed) >= 8
        assert all(roots[size] == root for size, root in signed)
        assert len(log.leaves) - int(signed[-1][0]) <= 1, "at most one was signed and not told"


def test_a_log_of_more_than_a_tile(owner: ReleaseOwner, tmp_path: Path) -> None:
    for first, last in ((0, 200), (200, 300)):
        with open_release_log(owner.folder, owner.key) as log:
            for at in range(first, last):
                assert (
                    log.append("release.retire", {"measurements": [f"{at:096x}"], "reason": "old"}, 1_795_240_000) == at
                )
            log.require_newest([log.signed.checkpoint] if log.signed else [])
            (owner.folder / "checkpoint").write_bytes(log.signed.note.encode() if log.signed else b"")
    with owner.served() as url:
        seen = run_cli("log", "monitor", url, "--state", tmp_path / "m", "--log", owner.vkey)
    assert (seen.returncode, f"{ORIGIN}: 300 leaves; 300 release.retire" in seen.stdout) == (0, True), seen.stdout
    key = parse_note_key(owner.vkey, "vkey")
    raw = (owner.folder / "checkpoint").read_bytes()
    assert open_checkpoint(raw, key, "checkpoint").checkpoint.size == 300


def test_a_folder_whose_leaves_were_changed(owner: ReleaseOwner) -> None:
    owner.announce(manifest(OLD))
    path = owner.folder / Tile(None, 0, 1).path()
    path.write_bytes(path.read_bytes().replace(OLD.encode(), NEW.encode()))
    with pytest.raises(Unavailable, match="holds other leaves than the 1 that its key has signed"):
        open_release_log(owner.folder, owner.key).__enter__()


def test_keys_that_are_refused(owner: ReleaseOwner, tmp_path: Path) -> None:
    again = run_cli("log", "new-key", owner.key, "--origin", ORIGIN)
    assert (again.returncode, "a key is never overwritten" in again.stderr) == (2, True)
    for origin in ("with space", "a+b", "ä", ""):
        bad = run_cli("log", "new-key", tmp_path / "other", "--origin", origin)
        assert (bad.returncode, "--origin: found" in bad.stderr, (tmp_path / "other").exists()) == (2, True, False)
    with open_release_log(owner.folder, owner.key), pytest.raises(Unavailable, match="another command is at work"):
        open_release_log(owner.folder, owner.key).__enter__()
    with pytest.raises(Malformed, match="which is for everybody"):
        open_release_log(owner.home, owner.key).__enter__()
    with pytest.raises(Malformed, match="no such file"):
        open_release_log(owner.folder, owner.home / "other.key").__enter__()
    owner.key.chmod(0o640)
    with pytest.raises(Malformed, match="a key that others may read"):
        open_release_log(owner.folder, owner.key).__enter__()
    code, words = owner.run("retire", "--measurement", "ab", "--reason", "x")
    assert (code, "measurement: found" in words) == (2, True)
    code, words = owner.announce(b"{}")
    assert (code, "Traceback" in words) == (2, False)
