"""The worker processes of a running gateway, as the kernel shows them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.worlds.gateway import RunningGateway

ESTABLISHED = "01"


def workers_of(gateway: RunningGateway) -> list[int]:
    """The process ids of its workers, oldest first."""
    found = []
    for thread in Path(f"/proc/{gateway.pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += [int(pid) for pid in (thread / "children").read_text().split()]
    return sorted(pid for pid in found if b"gateway.worker" in command_line(pid))


def command_line(pid: int) -> bytes:
    """Its arguments, each behind a zero byte; nothing of a process that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def carried_by(pid: int, port: int) -> set[int]:
    """The client ports of the connections to `port` that this process has."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {
        f"socket:[{row[9]}]": int(row[2].split(":")[1], 16)
        for row in rows
        if row[3] == ESTABLISHED and int(row[1].split(":")[1], 16) == port
    }
    return {ours[name] for name in _open_files(pid) if name in ours}


def kill(pid: int) -> None:
    """SIGKILL: no farewell."""
    os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    """Whether the process has ended, be it without a parent that looked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(what: Callable[[], bool], seconds: float, words: str) -> float:
    """The seconds until it held."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, words
        time.sleep(0.02)
    return time.monotonic() - began


def _open_files(pid: int) -> list[str]:
    names = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            names.append(str(path.readlink()))
    return names
