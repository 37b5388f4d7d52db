"""What a witness remembers: its key and, per log, the tree that it cosigned last. One SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from tee.canonical import shown
from tee.errors import Malformed, Unavailable
from tee.log.checkpoint import SignedCheckpoint, cosign
from tee.log.note import KeyType, Note, NoteKey, NoteSignature, parse_note_key
from tee.log.submission import SIZE_TYPE, Refused, SeenTree, Submission, require_extension

FILE = "witness.sqlite3"
BUSY_SECONDS = 10.0  # other submissions write for milliseconds
# Key and memory are one file on purpose: a key whose memory is gone would cosign a second history.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL, seed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class WitnessMemory:
    """The opened memory of one witness. Threads and processes may share the file."""

    path: Path
    key: NoteKey
    secret: SigningKey = field(repr=False)

    def cosign(self, submission: Submission, now: int) -> NoteSignature:
        """The cosignature of a tree that extends the last; it is durable before this returns. Raises Refused."""
        signed = submission.signed
        seen = self.seen(signed.checkpoint.origin)
        require_extension(seen, submission)
        line = cosign(signed.note, self.key, now, lambda message: self.secret.sign(message).signature)
        if not self._replace(seen, signed, line):  # another submission was faster: this one extends the past
            raise Refused(409, str(self.seen(signed.checkpoint.origin).size), SIZE_TYPE)
        return line

    def seen(self, origin: str) -> SeenTree:
        """The tree of this log that was cosigned last."""
        with _open(self.path) as database:
            row = database.execute("SELECT size, root FROM seen WHERE origin = ?", (origin,)).fetchone()
        return SeenTree(*row) if row else SeenTree()

    def checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint that was cosigned last, with our line; None if there is none."""
        with _open(self.path) as database:
            row = database.execute("SELECT note FROM seen WHERE origin = ?", (origin,)).fetchone()
        return bytes(row[0]) if row and row[0] else None

    def _replace(self, seen: SeenTree, signed: SignedCheckpoint, line: NoteSignature) -> bool:
        """The one dangerous step: put the new tree where `seen` still is, and nowhere else.

        It is a single statement, hence atomic between threads and processes; a transaction that reads first and
        writes later would let two submissions pass on the same reading.
        """
        new, note = signed.checkpoint, Note(signed.note.text, (*signed.note.signatures, line))
        with _open(self.path) as database:
            if seen == SeenTree():
                row = (new.origin, seen.size, seen.root, b"")
                database.execute("INSERT INTO seen VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            swap = "UPDATE seen SET size = ?, root = ?, note = ? WHERE origin = ? AND size = ? AND root = ?"
            values = (new.size, new.root, note.encode(), new.origin, seen.size, seen.root)
            return database.execute(swap, values).rowcount == 1


def open_memory(folder: Path, name: str | None) -> WitnessMemory:
    """The witness of this folder; made, with a new key, at first use. Raises Malformed, Unavailable."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # its journal takes this mode too
    except OSError as error:
        raise Unavailable(str(path), error.strerror or "cannot be opened", retryable=False) from None
    with _open(path) as database:
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        new = SigningKey.generate()
        row = (_require_name(name) if name else f"witness-{bytes(new.verify_key).hex()[:8]}", bytes(new))
        database.execute("INSERT INTO identity VALUES (1, ?, ?) ON CONFLICT DO NOTHING", row)
        kept, seed = database.execute("SELECT name, seed FROM identity").fetchone()
    if name is not None and name != kept:
        raise Malformed("--name", shown(name), f"{kept}, as this witness has been called since its first start")
    secret = SigningKey(seed)
    return WitnessMemory(path, NoteKey(kept, KeyType.COSIGNATURE_V1, bytes(secret.verify_key)), secret)


def _require_name(name: str) -> str:
    """A name that a verifying key may carry. Raises Malformed."""
    try:
        return parse_note_key(NoteKey(name, KeyType.COSIGNATURE_V1, bytes(32)).encode(), "--name").name
    except Malformed:
        raise Malformed("--name", shown(name), "up to 256 characters without spaces or +") from None


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose every statement is durable by itself. Raises Unavailable."""
    try:
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = EXTRA")  # a statement returns when file and folder are on disk
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise Unavailable(str(path), str(error), retryable=True) from None
