"""The newest checkpoint that this user's verifier has seen of each gateway's log: a small private file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.keys.identity import hex_bytes, require_members, text
from tee.log.judge import SeenLog
from tee.log.merkle import HASH_SIZE, MAX_TREE_SIZE
from tee.private_files import write_private

MAX_MEMORY_SIZE = 1 << 20  # some thousand gateways


def load_log(path: Path, audience: str) -> SeenLog | None:
    """The newest checkpoint seen of this gateway's log, None if none was. Raises Malformed, Unavailable."""
    row = _load(path).get(audience)
    if row is None:
        return None
    require_members(row, {"vkey", "size", "root"}, str(path), exact=True)
    size = row["size"]
    if type(size) is not int or not 0 < size <= MAX_TREE_SIZE:
        raise Malformed(str(path), "another size", "what this verifier wrote; mend or remove it")
    return SeenLog(text(row["vkey"], str(path)), size, hex_bytes(row["root"], HASH_SIZE, str(path)))


def remember_log(path: Path, audience: str, seen: SeenLog) -> None:
    """Keep `seen`, unless a larger tree of the same log is kept already. Raises Malformed, Unavailable."""
    known, kept = _load(path), load_log(path, audience)
    if kept is not None and kept.vkey == seen.vkey and kept.size >= seen.size:
        return
    known[audience] = {"vkey": seen.vkey, "size": seen.size, "root": seen.root.hex()}
    try:
        write_private(path, json.dumps(known, indent=1).encode() + b"\n")
    except OSError as error:
        reason = f"{error.strerror}; without it a log that forgets would go unseen: name another file with --memory"
        raise Unavailable(str(path), reason, retryable=False) from None


def _load(path: Path) -> dict[str, Any]:
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
    if not isinstance(document, dict):
        raise Malformed(str(path), "another shape", "checkpoints by gateway; mend or remove it")
    return document
