"""The registry in force, and the files that it names, as they are kept in the state folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config_registry import STORED
from tee.canonical import digest_bytes
from tee.errors import Malformed
from tee.private_files import write_private

FILE, FOLDER = "registry.json", "registry"
MAX_REGISTRY = 1 << 20  # bytes: what a worker passes on to the keeper at most
MAX_FILE = 1 << 20  # the same of a BOM or a manifest that is handed in over HTTP; a bigger one is put into the folder
MAX_READ = 8 << 20  # bytes of a file that lies there


def with_registry(document: Mapping[str, Any], state: Path) -> dict[str, Any]:
    """A configuration's document with the registry that is stored, if there is one. Raises Malformed."""
    path = state / FILE
    if not path.exists():
        return {name: value for name, value in document.items() if name != STORED}
    raw = _read(path, MAX_REGISTRY)
    try:
        return {**document, STORED: raw.decode()}
    except UnicodeDecodeError:
        raise Malformed(str(path), "no text", "a signed registry: restore it, or remove it") from None


def read_registry(state: Path) -> bytes | None:
    """The signed registry as it was handed in. Raises Malformed."""
    path = state / FILE
    return _read(path, MAX_REGISTRY) if path.exists() else None


def write_registry(state: Path, raw: bytes | None) -> None:
    """Keep this one instead, durably; None: none."""
    if raw is None:
        (state / FILE).unlink(missing_ok=True)
    else:
        write_private(state / FILE, raw)


def read_file(state: Path, digest: str) -> bytes | None:
    """The file of that digest; None if it was not handed in. Raises Malformed for one that is another."""
    path = _place(state, digest)
    if not path.exists():
        return None
    raw = _read(path, MAX_READ)
    if digest_bytes(raw) != digest:
        raise Malformed(str(path), f"a file of {digest_bytes(raw)}", "the one that its name says: restore it")
    return raw


def write_file(state: Path, digest: str, raw: bytes) -> None:
    """Keep a file by its digest, durably."""
    _place(state, digest).parent.mkdir(mode=0o700, exist_ok=True)
    write_private(_place(state, digest), raw)


def _place(state: Path, digest: str) -> Path:
    return state / FOLDER / digest.removeprefix("sha256:")


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise Malformed(str(path), error.strerror or "an unreadable file", "a readable file") from None
    if len(raw) > most:
        raise Malformed(str(path), "a longer file", f"at most {most} bytes")
    return raw
