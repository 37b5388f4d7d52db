"""A real `saferouter log witness` in a process of its own, and a log's side of the conversation."""

from __future__ import annotations

import base64
import signal
import subprocess
from pathlib import Path
from types import TracebackType

import httpx2

from tee.log.note import NoteKey, parse_note, parse_note_key
from tee.log.submission import origin_digest
from tests.worlds.gateway import COMMAND
from tests.worlds.small_log import SmallLog


class RunningWitness:
    """A witness of these logs. Killed at the end; a restart keeps the state and takes another port."""

    def __init__(self, state: Path, *vkeys: str) -> None:
        self.state = state
        self._command = [str(COMMAND), "log", "witness", "--state", str(state), "--listen", "127.0.0.1:0"]
        self._command += [part for vkey in vkeys for part in ("--log", vkey)]
        self._process: subprocess.Popen[str] | None = None
        self.key: NoteKey
        self.url = ""

    def __enter__(self) -> RunningWitness:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        first, second = self._process.stdout.readline(), self._process.stdout.readline()
        assert first and second, "the witness did not start"
        self.key = parse_note_key(first.removeprefix("Witness ").strip(), "witness")
        self.url = "http://" + second.removeprefix("listens on ").split(",")[0]

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        code = process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def submit(self, log: SmallLog, old: int, size: int | None = None) -> httpx2.Response:
        return self.post(submission(log, old, size))

    def post(self, body: bytes) -> httpx2.Response:
        return httpx2.post(f"{self.url}/add-checkpoint", content=body, trust_env=False, verify=False, timeout=30.0)

    def seen(self, origin: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}/{origin_digest(origin)}/checkpoint", trust_env=False, verify=False)


def submission(log: SmallLog, old: int, size: int | None = None) -> bytes:
    """What a log sends to a witness."""
    size = len(log.leaves) if size is None else size
    hashes = [base64.b64encode(value).decode() for value in log.consistency(old, size)] if old <= size else []
    return "\n".join([f"old {old}", *hashes, "", ""]).encode() + log.checkpoint(size).encode()


def cosigned_note(log: SmallLog, answer: httpx2.Response, size: int | None = None) -> bytes:
    """The checkpoint with the witness's answer below it."""
    raw = log.checkpoint(size).encode() + answer.content
    return parse_note(raw, "cosigned").encode()
