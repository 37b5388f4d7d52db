"""The access log: one line of JSON for each call, none of its content, written by a thread that no caller waits for."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from contextlib import suppress

from gateway.metrics import LOST_LINES
from gateway.tally import Tally

STDOUT = 1
MAX_WAITING = 20_000  # lines, some 300 bytes each: what reads them may fall behind for seconds, not for ever
LOOK_SECONDS = 0.1


class AccessLog:
    """Takes lines at once, and loses them, counted, rather than hold up a call or grow."""

    def __init__(self, tally: Tally, handle: int = STDOUT) -> None:
        self._tally = tally
        self._handle = handle
        self._waiting: deque[dict[str, object]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, line: dict[str, object]) -> None:
        """Have a line written."""
        if len(self._waiting) >= MAX_WAITING or not self._thread.is_alive():
            self._tally.add(LOST_LINES)
        else:
            self._waiting.append(line)

    def close(self) -> None:
        """Write what waits, but wait for no reader that has stopped reading."""
        self._ending.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        with suppress(OSError):  # nobody reads any more: every further line is counted as lost
            while not self._ending.wait(LOOK_SECONDS):
                self._drain()
            self._drain()

    def _drain(self) -> None:
        while self._waiting:
            # One write for each, below the size that pipes keep whole: the lines of several processes do not mix.
            os.write(self._handle, json.dumps(self._waiting.popleft(), separators=(",", ":")).encode() + b"\n")
