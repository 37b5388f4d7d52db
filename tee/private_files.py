"""Files written whole or not at all: private ones for their owner, and public ones that everybody may read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_RANDOM = 8  # characters by which mkstemp tells its files apart


def write_private(path: Path, content: bytes) -> None:
    """Write `content` to `path` with mode 0600, durably; a crash leaves the old file or the new one."""
    _write_whole(path, content, 0o600, 0o700)


def write_public(path: Path, content: bytes) -> None:
    """The same with mode 0644: nothing secret, and nobody else's to change."""
    _write_whole(path, content, 0o644, 0o755)


def remove_unfinished(folder: Path) -> None:
    """Remove what a death in the middle of a write has left in `folder`, where nobody else writes now."""
    for path in folder.glob(f".*.{'?' * _RANDOM}"):
        path.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes, mode: int, folder_mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=folder_mode)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Until then a crash may bring the old name back, although what follows was already written."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
