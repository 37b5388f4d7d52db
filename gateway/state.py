"""The state folder: made private, and used by one gateway at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tee.errors import Unavailable

LOCK_FILE = "lock"


def make_state(folder: Path) -> None:
    """Make the folder if it is missing. Raises Unavailable."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        reason = f"{error.strerror}: set SAFEROUTER_STATE, or `state`, to a folder that can be made"
        raise Unavailable(str(folder), reason, retryable=False) from None


def lock_state(folder: Path) -> int:
    """Take the folder for this process; the file descriptor holds it until it is closed. Raises Unavailable.

    Two gateways on one folder would each take the other's running calls for calls that a crash has cut.
    """
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        reason = f"another gateway uses this folder (process {owner}): stop it, or set SAFEROUTER_STATE to another"
        raise Unavailable(str(folder), reason, retryable=False) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle
