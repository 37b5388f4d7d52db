"""The highest manifest sequence that this user's verifier has seen: a small private file, kept against rollback."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from tee.canonical import MAX_SAFE_INTEGER, shown
from tee.errors import Malformed
from tee.measure.envelope import Signers
from tee.remembered import RememberedFile, Rows

MAX_MEMORY_SIZE = 1 << 16  # one line for every set of release keys that one user trusts
_HOLDS = "sequences by the digest of their keys"


def load_seen(path: Path, signers: Signers) -> int | None:
    """The highest sequence seen from these signers, None if none was. Raises Malformed, Unavailable."""
    return _checked(_file(path).load(), path).get(_name(signers))


def remember(path: Path, signers: Signers, sequence: int) -> None:
    """Keep `sequence` if it is the highest yet. Raises Malformed, Unavailable."""

    def decide(rows: Rows) -> Rows | None:
        higher = sequence > _checked(rows, path).get(_name(signers), 0)
        return rows | {_name(signers): sequence} if higher else None

    _file(path).change(decide)


def _file(path: Path) -> RememberedFile:
    return RememberedFile(path, MAX_MEMORY_SIZE, _HOLDS, "a rollback")


def _name(signers: Signers) -> str:
    """One line of releases is known by its keys: another threshold is the same line."""
    return sha256(b"".join(sorted(signers.keys))).hexdigest()


def _checked(rows: Rows, path: Path) -> dict[str, int]:
    for sequence in rows.values():
        if type(sequence) is not int or not 1 <= sequence <= MAX_SAFE_INTEGER:
            raise Malformed(str(path), shown(sequence), f"{_HOLDS}; mend or remove it")
    return rows
