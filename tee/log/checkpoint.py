"""Checkpoints of a log (C2SP tlog-checkpoint) and the cosignatures of its witnesses (SPEC §15.2, §15.3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass

from tee.canonical import shown
from tee.errors import Malformed
from tee.keys.identity import verify_ed25519
from tee.log.merkle import HASH_SIZE, MAX_TREE_SIZE
from tee.log.note import KeyType, Note, NoteKey, NoteSignature, parse_note, sign_note, signatures_by, verify_note
from tee.quote import decode_base64

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
MAX_COSIGNATURE_TIME = 253402300799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree by its origin, size and root (32 bytes). No extension lines: not every cosignature covers them."""

    origin: str
    size: int
    root: bytes

    def encode(self) -> str:
        """The text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with the note that carries it."""

    checkpoint: Checkpoint
    note: Note


def parse_checkpoint(raw: bytes, field: str) -> SignedCheckpoint:
    """A signed checkpoint, none of whose signatures is verified yet. Raises Malformed."""
    note = parse_note(raw, field)
    lines = note.text.split("\n")
    if len(lines) != 4 or not lines[0]:
        raise Malformed(field, f"{len(lines) - 1} lines", "3: origin, size and root")
    root = decode_base64(lines[2], f"{field}.root")
    if len(root) != HASH_SIZE:
        raise Malformed(f"{field}.root", f"{len(root)} bytes", f"{HASH_SIZE} bytes")
    return SignedCheckpoint(Checkpoint(lines[0], parse_size(lines[1], f"{field}.size"), root), note)


def parse_size(text: str, field: str) -> int:
    """A size or an index: decimal, no leading zeros. Raises Malformed."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_TREE_SIZE:
        raise Malformed(field, shown(text), f"a decimal number up to {MAX_TREE_SIZE}")
    return int(text)


def open_checkpoint(raw: bytes, log_key: NoteKey, field: str) -> SignedCheckpoint:
    """A checkpoint that this log signed. Raises Malformed."""
    signed = parse_checkpoint(raw, field)
    if not verify_note(signed.note, [log_key], field):
        raise Malformed(field, "no signature by the log's key", f"one by {log_key.encode()}")
    if signed.checkpoint.origin != log_key.name:
        raise Malformed(f"{field}.origin", shown(signed.checkpoint.origin), log_key.name)
    return signed


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Callable[[bytes], bytes]) -> Note:
    """The note of a checkpoint under the log's own signature."""
    text = checkpoint.encode()
    return Note(text, (sign_note(text, key, sign),))


def cosign(note: Note, key: NoteKey, time: int, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """A witness's cosignature/v1 at `time`, seconds since 1970."""
    return NoteSignature(key.name, key.key_id, time.to_bytes(8, "big") + sign(_cosigned(note, time)))


def cosigned_at(note: Note, key: NoteKey, field: str) -> int | None:
    """When this witness cosigned, seconds since 1970; None if it did not. Raises Malformed for a bad cosignature."""
    if key.kind is not KeyType.COSIGNATURE_V1:
        raise Malformed(field, f"{key.name}, a key of type {key.kind.value}", "a witness's key, of type 4")
    times = []
    for line in signatures_by(note, key):
        time = int.from_bytes(line.blob[:8], "big")
        good = len(line.blob) == 72 and 0 < time <= MAX_COSIGNATURE_TIME
        if not good or not verify_ed25519(key.public_key, line.blob[8:], _cosigned(note, time)):
            raise Malformed(field, f"a bad cosignature by {key.name}", "a good one, or none by this witness")
        times.append(time)
    return max(times, default=None)


def _cosigned(note: Note, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{note.text}".encode()
