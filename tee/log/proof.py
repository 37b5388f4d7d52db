"""tlog-proof: one leaf's inclusion and the checkpoint that it leads to, as text (C2SP tlog-proof; SPEC §15.5)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from tee.errors import Malformed
from tee.log.checkpoint import Checkpoint, open_checkpoint, parse_size
from tee.log.merkle import HASH_SIZE, MAX_PROOF_HASHES, hash_leaf, root_from_inclusion
from tee.log.note import MAX_NOTE_SIZE, NoteKey
from tee.quote import decode_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_SIZE = MAX_NOTE_SIZE + 64 * MAX_PROOF_HASHES


@dataclass(frozen=True, slots=True)
class LeafProof:
    """Where a leaf stands: its index, the hashes from it to the root, and the signed checkpoint, as received."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The text's bytes."""
        lines = [HEADER, f"index {self.index}", *(base64.b64encode(value).decode() for value in self.hashes)]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint


def parse_leaf_proof(raw: bytes, field: str = "proof") -> LeafProof:
    """A proof from its text. `extra` lines are refused: nothing here signs them. Raises Malformed."""
    if len(raw) > MAX_PROOF_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_PROOF_SIZE}")
    head, gap, checkpoint = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed(field, "a byte outside ASCII before the checkpoint", "ASCII") from None
    if not gap or lines[0] != HEADER or len(lines) < 2 or not lines[1].startswith("index "):
        raise Malformed(field, "other lines", f"{HEADER}, index N, hashes, an empty line and a checkpoint")
    if len(lines) - 2 > MAX_PROOF_HASHES:
        raise Malformed(field, f"{len(lines) - 2} hashes", f"at most {MAX_PROOF_HASHES}")
    hashes = tuple(decode_base64(line, f"{field}.hashes") for line in lines[2:])
    if any(len(value) != HASH_SIZE for value in hashes):
        raise Malformed(f"{field}.hashes", "a hash of another size", f"{HASH_SIZE} bytes")
    return LeafProof(parse_size(lines[1].removeprefix("index "), f"{field}.index"), hashes, checkpoint)


def verify_leaf(leaf: bytes, proof: LeafProof, log_key: NoteKey, field: str = "proof") -> Checkpoint:
    """The checkpoint of this log that holds the leaf at the proof's index. Raises Malformed if it does not."""
    signed = open_checkpoint(proof.checkpoint, log_key, f"{field}.checkpoint")
    checkpoint = signed.checkpoint
    root = root_from_inclusion(hash_leaf(leaf), proof.index, checkpoint.size, proof.hashes)
    if root != checkpoint.root:
        raise Malformed(field, f"root {root.hex()} from this leaf", f"{checkpoint.root.hex()}, the checkpoint's")
    return checkpoint
