"""The highest manifest sequence that this user's verifier has seen: a small private file, kept against rollback."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from tee.canonical import MAX_SAFE_INTEGER, parse_json, shown
from tee.errors import Malformed, Unavailable
from tee.measure.envelope import Signers
from tee.private_files import write_private

MAX_MEMORY_SIZE = 1 << 16  # one line for every set of release keys that one user trusts


def load_seen(path: Path, signers: Signers) -> int | None:
    """The highest sequence seen from these signers, None if none was. Raises Malformed, Unavailable."""
    return _load(path).get(_name(signers))


def remember(path: Path, signers: Signers, sequence: int) -> None:
    """Keep `sequence` if it is the highest yet. Raises Malformed, Unavailable."""
    known = _load(path)
    if sequence > known.get(_name(signers), 0):
        known[_name(signers)] = sequence
        try:
            write_private(path, json.dumps(known, indent=1).encode() + b"\n")
        except OSError as error:
            reason = f"{error.strerror}; without it a rollback would go unseen: name another file with --memory"
            raise Unavailable(str(path), reason, retryable=False) from None


def _name(signers: Signers) -> str:
    """One line of releases is known by its keys: another threshold is the same line."""
    return sha256(b"".join(sorted(signers.keys))).hexdigest()


def _load(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MEMORY_SIZE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unavailable(str(path), error.strerror or "unreadable", retryable=False) from None
    if len(raw) > MAX_MEMORY_SIZE:
        raise Malformed(str(path), f"more than {MAX_MEMORY_SIZE} bytes", "the file that this verifier wrote")
    document = parse_json(raw, str(path))
    wanted = "sequences by the digest of their keys; mend or remove it"
    if not isinstance(document, dict):
        raise Malformed(str(path), shown(document), wanted)
    for sequence in document.values():
        if type(sequence) is not int or not 1 <= sequence <= MAX_SAFE_INTEGER:
            raise Malformed(str(path), shown(sequence), wanted)
    return document
