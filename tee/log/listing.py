"""The passed epochs that a log's own page lists: their numbers and their keys, unverified (SPEC §15.13)."""

from __future__ import annotations

from typing import Any

from tee.canonical import kind_of, shown
from tee.errors import Malformed
from tee.keys.identity import require_members, text
from tee.log.note import NoteKey, parse_note_key

MAX_PAGE_SIZE = 256 << 10  # a checkpoint, some links, and over a thousand epochs


def parse_epochs(page: Any) -> list[tuple[int, NoteKey]]:
    """Number and key of every epoch before the live one, oldest first. Raises Malformed."""
    rows = page.get("epochs", []) if isinstance(page, dict) else []
    if not isinstance(rows, list):
        raise Malformed("log.epochs", kind_of(rows), "a list")
    epochs = {}
    for row in rows:
        require_members(row, {"epoch", "vkey"}, "log.epochs")
        if type(row["epoch"]) is not int or row["epoch"] < 1:
            raise Malformed("log.epochs.epoch", shown(row["epoch"]), "a number from 1 on")
        epochs[row["epoch"]] = parse_note_key(text(row["vkey"], "log.epochs.vkey"), "log.epochs.vkey")
    return sorted(epochs.items())
