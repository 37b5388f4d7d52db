"""A backup: the database and what of the state folder is of use elsewhere, in one file; and the way back."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.storage.dump import dump_database, dump_name, load_dump
from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.private_files import write_private

FORMAT = "saferouter/backup/v1"
ABOUT = "backup.json"
MAX_STATE_FILE = 8 << 20  # keys and checkpoints have some kilobytes, a registry and its bills of materials more
# The last signed heads, the checkpoints of every epoch, the sealed keys, and what steers routing beside the
# configuration, lest a restored gateway be laxer than it was: nothing that is secret by itself.
STATE_FILES = (
    *("log.head", "log.head.*", "log/*/checkpoint", "*.sealed"),
    *("routing.json", "providers.json", "registry.json", "registry/*"),
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has put back: how many logs, the files of the state folder, and those that were there already."""

    made_at: int
    logs: int
    files: tuple[str, ...]
    kept: tuple[str, ...]


def save_backup(config: Config, target: Path, version: str, now: int) -> None:
    """Write a backup while the gateway runs or stands; a file that exists is not overwritten. Raises Unavailable."""
    if target.exists():
        raise Unavailable(str(target), "is there already: name a file that is not", retryable=False)
    database = dump_name(config.database_url)
    about = {"format": FORMAT, "version": version, "made_at": now, "database": database, "audience": config.audience}
    with _folder_beside(target) as folder:
        # The heads first: a database that is newer than they are only extends what they signed.
        files = {path.relative_to(config.state).as_posix(): path.read_bytes() for path in _state_files(config.state)}
        dump_database(config.database_url, folder / database)
        whole = folder / "backup"
        with tarfile.open(whole, "w:gz") as archive:
            write_private(folder / ABOUT, json.dumps(about).encode())
            archive.add(folder / ABOUT, ABOUT)
            for name, raw in files.items():
                write_private(folder / "state", raw)
                archive.add(folder / "state", f"state/{name}")
            archive.add(folder / database, database)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        whole.chmod(0o600)  # it holds receipts with their salts
        whole.replace(target)


def restore_backup(config: Config, source: Path, now: int) -> Restored:
    """Put a backup back where no gateway runs. Raises Unavailable, Malformed; nothing that exists is overwritten.

    Every log of it continues under a new epoch, and says so in its first leaf: what was logged after the backup is
    lost, and nobody is led to believe otherwise.
    """
    with _folder_beside(config.state / ABOUT) as folder:
        about = _extract(source, folder)
        wanted = dump_name(config.database_url)
        if about.get("database") != wanted:
            raise Malformed(f"{ABOUT}.database", repr(about.get("database"))[:64], f"{wanted}, as configured")
        logs = load_dump(config.database_url, folder / wanted, now)
        names = [path.relative_to(folder / "state").as_posix() for path in _state_files(folder / "state")]
        kept = [name for name in names if (config.state / name).exists()]
        for name in names:
            if name not in kept:
                write_private(config.state / name, (folder / "state" / name).read_bytes())
    return Restored(int(about["made_at"]), logs, tuple(n for n in names if n not in kept), tuple(kept))


def _state_files(state: Path) -> list[Path]:
    return sorted(path for pattern in STATE_FILES for path in state.glob(pattern) if path.is_file())


def _extract(source: Path, folder: Path) -> dict[str, Any]:
    """Unpack what a backup of ours holds, and nothing else; what it says of itself."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            for member in archive:
                if not member.isfile() or (member.name.startswith("state/") and member.size > MAX_STATE_FILE):
                    raise Malformed(str(source), f"the member {member.name[:64]!r}", "files of a backup")
                archive.extract(member, folder, filter="data")  # which keeps it inside the folder
        about: dict[str, Any] = parse_json((folder / ABOUT).read_bytes(), ABOUT)
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise Unavailable(str(source), f"is not a whole backup ({reason})", retryable=False) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("made_at"), int):
        raise Malformed(ABOUT, "another format", FORMAT)
    return about


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, gone in the end."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".backup.", dir=path.parent))
    except OSError as error:
        raise Unavailable(str(path.parent), error.strerror or "not writable", retryable=False) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
