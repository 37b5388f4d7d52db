"""Leaves of a log, each proven from the log's own tiles to stand in its signed checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tee.client.log import LogReader
from tee.errors import Malformed
from tee.log.changes import describe_leaf
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import parse_entry
from tee.log.following import Distrusted
from tee.log.merkle import prove_inclusion
from tee.log.note import NoteKey
from tee.log.proof import LeafProof, verify_leaf
from tee.log.tiles import TILE_WIDTH
from tee.quote import encode_base64


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf that stands in the log."""

    leaf: bytes
    proof: LeafProof

    def line(self) -> str:
        """One line for a person; a leaf that is not ours is shown by its size."""
        try:
            return describe_leaf(parse_entry(self.leaf))
        except Malformed:
            return f"{self.proof.index:>8}  {len(self.leaf)} bytes, which are no leaf of a gateway"

    def shown(self) -> dict[str, str]:
        """Its members in JSON."""
        return {"leaf_b64": encode_base64(self.leaf), "words": self.line()}


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A log at one signed checkpoint."""

    reader: LogReader
    key: NoteKey
    key_given: bool
    size: int
    raw: bytes

    def leaves(self, start: int, end: int) -> list[ProvenLeaf]:
        """These leaves, each proven. Raises Distrusted, Unavailable."""
        nodes, found = self.reader.nodes(self.size), []
        with _served():
            for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
                for at, leaf in enumerate(self.reader.leaves(number, self.size), number * TILE_WIDTH):
                    if start <= at < end:
                        proof = LeafProof(at, tuple(prove_inclusion(at, self.size, nodes)), self.raw)
                        verify_leaf(leaf, proof, self.key, f"leaf {at}")
                        found.append(ProvenLeaf(leaf, proof))
        return found

    def to_json(self) -> dict[str, object]:
        """What was read, and by whose key."""
        return {"origin": self.key.name, "vkey": self.key.encode(), "key_given": self.key_given, "size": self.size}


def open_log(reader: LogReader, given: NoteKey | None) -> OpenedLog:
    """The log at its newest checkpoint, under the given key or the one that its server names. Raises Distrusted."""
    raw = reader.checkpoint()
    with _served():
        key = given or reader.named_key()
        signed = open_checkpoint(raw, key, "checkpoint")
    return OpenedLog(reader, key, given is not None, signed.checkpoint.size, raw)


@contextmanager
def _served() -> Iterator[None]:
    """What a server says that is malformed is its fault (exit 1), not its reader's (exit 2)."""
    try:
        yield
    except Malformed as error:
        raise Distrusted(str(error)) from None
