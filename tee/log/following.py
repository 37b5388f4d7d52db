"""What a monitor demands of a log that it follows: one key, one tree that grows, one chain (SPEC §15.12). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from tee.canonical import shown
from tee.errors import Malformed, TeeError
from tee.log.changes import describe_change
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, parse_checkpoint
from tee.log.entry import NO_LEAF, LogEntry, chain_hash, parse_entry
from tee.log.merkle import (
    Frontier,
    ReadNode,
    hash_leaf,
    load_frontier,
    prove_consistency,
    prove_inclusion,
    root_from_inclusion,
    verify_consistency,
)
from tee.log.note import NoteKey
from tee.quote import encode_base64

_LATER = re.compile(r"(.+)/[0-9a-f]{16}", re.ASCII)


class Distrusted(TeeError):
    """The log contradicts itself, or what it showed before. `shown` is the checkpoint that it showed, as received."""

    def __init__(self, words: str, shown: bytes = b"") -> None:
        self.words, self.shown = words, shown
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class Followed:
    """A log as far as it was read: its tree, the hash of the last leaf, the body of the last startup."""

    key: NoteKey
    tree: Frontier = field(default_factory=Frontier)
    head: bytes = NO_LEAF
    startup: dict[str, Any] | None = None


def first_origin(origin: str) -> str:
    """The origin of a log's first epoch. Every later epoch has 16 random hex characters after it (SPEC §15.7)."""
    found = _LATER.fullmatch(origin)
    return found[1] if found else origin


def open_followed(raw: bytes, known: NoteKey) -> tuple[NoteKey, SignedCheckpoint]:
    """The key of this epoch, and what it signed; a later epoch than the known one has the same key. Raises Distrusted.

    The first epoch is refused after a later one: it has ended. Of two later ones only `require_succession` can tell.
    """
    try:
        origin = parse_checkpoint(raw, "checkpoint").checkpoint.origin
        base = first_origin(known.name)
        if first_origin(origin) != base or (origin == base != known.name):
            raise Malformed("checkpoint.origin", shown(origin), f"{known.name}, or a later epoch of it")
        key = replace(known, name=origin)
        return key, open_checkpoint(raw, key, "checkpoint")
    except Malformed as error:
        raise Distrusted(str(error), raw) from None


def require_growth(old: Checkpoint, new: Checkpoint, nodes: ReadNode) -> None:
    """That the new tree holds the old one; `nodes` reads it. Raises Distrusted."""
    if new.size < old.size:
        raise Distrusted(f"rolled back: it shows {new.size} leaves after {old.size}")
    if new.size == old.size:
        if new.root != old.root:
            roots = f"{encode_base64(old.root)} and {encode_base64(new.root)}"
            raise Distrusted(f"split view: two trees of {new.size} leaves, with roots {roots}")
        return
    if load_frontier(new.size, nodes).root() != new.root:
        raise Distrusted(f"the tiles are not those of its checkpoint over {new.size} leaves")
    if old.size == 0:
        return
    try:
        verify_consistency(old.size, old.root, new.size, new.root, prove_consistency(old.size, new.size, nodes))
    except Malformed:
        words = f"the tree of {new.size} leaves does not hold that of {old.size} leaves"
        raise Distrusted(f"split view: {words}") from None


def read_on(
    followed: Followed, leaves: list[bytes], tree: Checkpoint, nodes: ReadNode
) -> tuple[Followed, list[LogEntry], list[str]]:
    """The log with the next leaves, and what changed with them. They are the rest of one tile, or of the tree.

    Raises Distrusted by the index of the first leaf that does not fit.
    """
    first, end = followed.tree.size, followed.tree.size + len(leaves)
    hashes = [nodes(0, at) for at in range(first, end)]
    # The way up from a tile's last leaf passes all its other hashes. Tile by tile, a log cannot feed us for ever.
    if root_from_inclusion(hashes[-1], end - 1, tree.size, prove_inclusion(end - 1, tree.size, nodes)) != tree.root:
        raise Distrusted(f"leaves {first} to {end - 1}: their tile is not in the tree")
    entries: list[LogEntry] = []
    changes: list[str] = []
    for leaf, wanted in zip(leaves, hashes, strict=True):
        at = followed.tree.size
        if hash_leaf(leaf) != wanted:
            raise Distrusted(f"leaf {at}: the leaf that is served is not the one in the tree")
        try:
            entry = parse_entry(leaf, f"leaf {at}")
        except Malformed as error:
            raise Distrusted(str(error)) from None
        if entry.index != at:
            raise Distrusted(f"leaf {at}: it says that it is leaf {entry.index}")
        if entry.prev != followed.head:
            raise Distrusted(f"leaf {at}: its `prev` is not the hash of the leaf before it")
        if at == 0 and (entry.type == "log.continues") != (first_origin(followed.key.name) != followed.key.name):
            raise Distrusted(
                f"leaf 0: {entry.type}, where log.continues begins every epoch after the first, and no other"
            )
        entries.append(entry)
        changes += describe_change(entry, followed.startup)
        startup = entry.body if entry.type == "startup" else followed.startup
        followed = Followed(followed.key, followed.tree.append(wanted), chain_hash(leaf), startup)
    return followed, entries, changes


def require_succession(first: LogEntry, last: Checkpoint) -> None:
    """That an epoch's first leaf follows the tree that was read here last, with nothing lost. Raises Distrusted."""
    body = first.body
    if body.get("origin") != last.origin:
        raise Distrusted(f"the new epoch follows another log than {last.origin}, which was read here")
    size = body.get("size")
    if type(size) is not int or size < last.size:
        raise Distrusted(f"the new epoch follows {shown(size)} leaves, and {last.size} were read here: leaves are lost")
    if size > last.size:
        words = f"the new epoch follows {size} leaves, and only {last.size} of them are served: the others are lost"
        raise Distrusted(words)
    if body.get("root_b64") != encode_base64(last.root):
        raise Distrusted(f"the new epoch follows another tree of {size} leaves than the one that was read here")
