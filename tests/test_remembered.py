"""What a verifier remembers: nothing is lost where two write at once, and what they disagree about is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tee.client.log_memory import Memory, encode_logs, load_log, load_logs, merge_logs, remember_log
from tee.errors import Malformed
from tee.log.judge import SeenLog
from tee.measure.envelope import Signers
from tee.measure.memory import load_seen, remember
from tests.conftest import ROOT
from tests.worlds.gateway import run_cli

KEY = Signers((b"k" * 32,), 1)
WRITERS, ROUNDS = 3, 40
# Each process remembers logs and sequences of its own, in the files that all of them share.
WRITER = """
import sys
from pathlib import Path
from tee.client.log_memory import load_log, remember_log
from tee.log.judge import SeenLog
from tee.measure.envelope import Signers
from tee.measure.memory import remember
folder, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for at in range(rounds):
    origin = f"https://{name}-{at}.example.com"
    assert remember_log(folder / "checkpoints.json", origin, None, SeenLog("k", at + 1, bytes(32)))
    remember(folder / "manifests.json", Signers((bytes([at]) + name.encode().ljust(31),), 1), at + 1)
"""


def seen(size: int, root: int = 0, vkey: str = "k") -> SeenLog:
    return SeenLog(vkey, size, bytes([root]) * 32)


def test_nothing_is_lost_where_several_verifiers_write_at_once(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", WRITER, str(tmp_path), f"w{at}", str(ROUNDS)] for at in range(WRITERS)]
    running = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    assert [process.wait(120) for process in running] == [0] * WRITERS
    logs = load_logs(tmp_path / "checkpoints.json")
    assert len(logs) == WRITERS * ROUNDS
    assert logs["https://w1-7.example.com"] == seen(8)
    assert len(json.loads((tmp_path / "manifests.json").read_text())) == WRITERS * ROUNDS
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoints.json", "manifests.json", ".checkpoints.json.lock", ".manifests.json.lock"}


def test_a_checkpoint_that_was_judged_against_another_is_judged_again(tmp_path: Path) -> None:
    path, origin = tmp_path / "checkpoints.json", "https://gw.example.com"
    assert remember_log(path, origin, None, seen(5))
    assert not remember_log(path, origin, None, seen(9, 2))  # another process was faster: this may be another branch
    assert load_log(path, origin) == seen(5)
    assert remember_log(path, origin, seen(5), seen(9, 1))
    assert not remember_log(path, origin, seen(5), seen(12, 2))
    assert remember_log(path, origin, seen(9, 1), seen(7, 3))
    assert load_log(path, origin) == seen(9, 1)
    assert remember_log(path, origin, seen(9, 1), seen(3, 4, "new"))
    assert load_log(path, origin) == seen(3, 4, "new")


def test_a_held_lock_is_an_error_in_words_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    holder = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.flock(f,fcntl.LOCK_EX);print(1,flush=True);input()"
    command = [sys.executable, "-c", holder, str(tmp_path / ".checkpoints.json.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"1\n"
        given = tmp_path / "given.json"
        given.write_text(json.dumps(encode_logs({"https://a.example.com": seen(1)})))
        done = run_cli("log", "memory", "import", given, "--memory", tmp_path / "manifests.json")
        process.communicate(b"\n")
    assert (done.returncode, "another process has held it" in done.stderr) == (3, True)


def test_the_highest_sequence_stays(tmp_path: Path) -> None:
    path = tmp_path / "manifests.json"
    for sequence in (3, 7, 5):
        remember(path, KEY, sequence)
    assert load_seen(path, KEY) == 7


def test_a_memory_travels_and_joins_another(tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "m.json", tmp_path / "there" / "m.json"
    one, two, three = (f"https://{name}.example.com" for name in ("one", "two", "three"))
    merge_logs(here.with_name("checkpoints.json"), {one: seen(5), two: seen(9, 1)})
    merge_logs(there.with_name("checkpoints.json"), {one: seen(8, 2), two: seen(4), three: seen(1)})
    exported = tmp_path / "export.json"
    assert run_cli("log", "memory", "export", exported, "--memory", there).returncode == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    done = run_cli("log", "memory", "import", exported, "--memory", here)
    assert (done.returncode, done.stdout) == (0, "3 logs read; of 2 a newer checkpoint is remembered now.\n")
    printed = json.loads(run_cli("log", "memory", "export", "--memory", here).stdout)
    assert printed == encode_logs({one: seen(8, 2), two: seen(9, 1), three: seen(1)})
    assert run_cli("log", "memory", "export", "--memory", tmp_path / "none" / "m.json").stdout == "{}\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [(seen(5, 1), "another tree of 5 leaves"), (seen(9, 1, "other"), "another log at https://gw.example.com")],
)
def test_two_memories_that_disagree_are_not_joined(tmp_path: Path, given: SeenLog, words: str) -> None:
    path, new = tmp_path / "checkpoints.json", "https://new.example.com"
    kept: Memory = {"https://gw.example.com": seen(5)}
    merge_logs(path, kept)
    with pytest.raises(Malformed, match=words):
        merge_logs(path, {new: seen(1), "https://gw.example.com": given})
    assert load_logs(path) == kept
    exported = tmp_path / "export.json"
    exported.write_text(json.dumps(encode_logs({"https://gw.example.com": given})))
    done = run_cli("log", "memory", "import", exported, "--memory", tmp_path / "m.json")
    assert (done.returncode, words in done.stderr) == (2, True)


@pytest.mark.parametrize("content", ["[]", "x", '{"a":1}', '{"a":{"vkey":"k","size":0,"root":"00"}}'])
def test_what_is_no_memory_is_not_imported(tmp_path: Path, content: str) -> None:
    (tmp_path / "given.json").write_text(content)
    done = run_cli("log", "memory", "import", tmp_path / "given.json", "--memory", tmp_path / "m.json")
    assert (done.returncode, "given.json" in done.stderr) == (2, True)
    assert not (tmp_path / "checkpoints.json").exists()
