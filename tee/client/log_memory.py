"""The newest checkpoint that this user's verifier has seen of each gateway's log: a small private file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tee.errors import Malformed
from tee.keys.identity import hex_bytes, require_members, text
from tee.log.judge import SeenLog
from tee.log.merkle import HASH_SIZE, MAX_TREE_SIZE
from tee.remembered import RememberedFile, Rows

MAX_MEMORY_SIZE = 1 << 20  # some thousand gateways
Memory = Mapping[str, SeenLog]


def load_logs(path: Path) -> Memory:
    """What was seen of each gateway's log, by its address. Raises Malformed, Unavailable."""
    return _parse(_file(path).load(), str(path))


def load_log(path: Path, audience: str) -> SeenLog | None:
    """The newest checkpoint seen of this gateway's log, None if none was. Raises Malformed, Unavailable."""
    return load_logs(path).get(audience)


def remember_log(path: Path, audience: str, known: SeenLog | None, seen: SeenLog) -> bool:
    """Keep `seen`, which was judged against `known`, unless a larger tree of the same log is kept already.

    False, and nothing is kept, if another process has changed what is known since: then `seen` has to be judged again,
    for it may be another branch of that log. Raises Malformed, Unavailable.
    """
    unchanged = True

    def decide(rows: Rows) -> Rows | None:
        nonlocal unchanged
        kept = _parse(rows, str(path)).get(audience)
        unchanged = kept == known
        if not unchanged or _newer(kept, seen) == kept:
            return None
        return rows | {audience: _row(seen)}

    _file(path).change(decide)
    return unchanged


def merge_logs(path: Path, given: Memory) -> int:
    """Add another verifier's memory to this one; the number of logs whose newest checkpoint that was.

    What the two disagree about is for a person to settle. Raises Malformed, Unavailable.
    """
    newer: dict[str, Any] = {}

    def decide(rows: Rows) -> Rows | None:
        kept = _parse(rows, str(path))
        for audience, seen in given.items():
            known = kept.get(audience)
            _require_agreement(audience, known, seen)
            if _newer(known, seen) != known:
                newer[audience] = _row(seen)
        return rows | newer if newer else None

    _file(path).change(decide)
    return len(newer)


def encode_logs(memory: Memory) -> Rows:
    """A memory as its file has it."""
    return {audience: _row(seen) for audience, seen in memory.items()}


def decode_logs(document: Any, field: str) -> Memory:
    """A memory from its parsed file. Raises Malformed."""
    if not isinstance(document, dict):
        raise Malformed(field, "another shape", "checkpoints by gateway")
    return _parse(document, field)


def _file(path: Path) -> RememberedFile:
    return RememberedFile(path, MAX_MEMORY_SIZE, "checkpoints by gateway", "a log that forgets")


def _newer(kept: SeenLog | None, seen: SeenLog) -> SeenLog:
    same = kept is not None and kept.vkey == seen.vkey and kept.size >= seen.size
    return kept if same and kept is not None else seen


def _require_agreement(audience: str, known: SeenLog | None, seen: SeenLog) -> None:
    if known is not None and known.vkey != seen.vkey:
        wanted = "the one remembered here: forget that one first, with verify --accept-new-log"
        raise Malformed("memory", f"another log at {audience}", wanted)
    if known is not None and known.size == seen.size and known.root != seen.root:
        wanted = "the one remembered here: one is a split view"
        raise Malformed("memory", f"another tree of {seen.size} leaves at {audience}", wanted)


def _row(seen: SeenLog) -> Rows:
    return {"vkey": seen.vkey, "size": seen.size, "root": seen.root.hex()}


def _parse(rows: Rows, field: str) -> Memory:
    return {audience: _parse_row(row, field) for audience, row in rows.items()}


def _parse_row(row: Any, field: str) -> SeenLog:
    require_members(row, {"vkey", "size", "root"}, field, exact=True)
    size = row["size"]
    if type(size) is not int or not 0 < size <= MAX_TREE_SIZE:
        raise Malformed(field, "another size", "what a verifier wrote; mend or remove it")
    return SeenLog(text(row["vkey"], field), size, hex_bytes(row["root"], HASH_SIZE, field))
