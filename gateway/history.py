"""The log of this gateway: opened where it may go on, signed only as an extension of what was signed before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from sqlalchemy import Engine

from gateway.sequencer import Sequencer
from gateway.storage.log import EMPTY_HEAD, LogHead, StoredTree, newest_epoch
from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.keys.identity import require_members
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, sign_checkpoint
from tee.log.merkle import Frontier, load_frontier
from tee.log.note import KeyType, Note, NoteKey, verify_note
from tee.private_files import write_private
from tee.quote import encode_base64

HEAD_FILE = "log.head"
LOG_PATH = "attestation/transparency"


def origin_of(audience: str, epoch: int) -> str:
    """The origin of a log: the audience without its scheme, the path, and from the second epoch on its number."""
    base = f"{audience.partition('://')[2]}/{LOG_PATH}"
    return base if epoch == 1 else f"{base}/{epoch}"


@dataclass(slots=True)
class LogSigner:
    """Signs checkpoints. It keeps the tree that it signed last, so that it can sign nothing but an extension of it."""

    path: Path
    epoch: int
    key: NoteKey
    secret: SigningKey = field(repr=False)
    signed: Frontier = field(default_factory=Frontier)

    def extend(self, leaf_hashes: list[bytes]) -> Note:
        """The checkpoint over what was signed last and these leaves; it is on disk before it is returned."""
        frontier = self.signed
        for value in leaf_hashes:
            frontier = frontier.append(value)
        checkpoint = Checkpoint(self.key.name, frontier.size, frontier.root())
        note = sign_checkpoint(checkpoint, self.key, lambda text: self.secret.sign(text).signature)
        head = {"epoch": self.epoch, "checkpoint": note.encode().decode()}
        write_private(self.path, json.dumps(head).encode())
        self.signed = frontier
        return note


@dataclass(frozen=True, slots=True)
class History:
    """An opened log. `continues` is the body of its first leaf where it follows another epoch, else None."""

    sequencer: Sequencer
    signer: LogSigner
    continues: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HistoryOpener:
    """What opening a log needs."""

    engine: Engine
    folder: Path
    audience: str
    secret: SigningKey = field(repr=False)
    now: Callable[[], float]

    def open(self, witnessed: int = 0) -> History:
        """Go on where the last signed head allows it, else in the next epoch. Raises Unavailable.

        `witnessed` is the largest size that a witness has seen under the last epoch's origin.
        """
        last = self._last_head()
        with self.engine.connect() as connection:
            newest = newest_epoch(connection)
            if last is None:
                if newest == 0:
                    return self._fresh(1, None)
                reason = f"{HEAD_FILE}, the record of the last signed head, is missing"
                follows = {"origin": origin_of(self.audience, newest), "size": None, "root_b64": None, "reason": reason}
                return self._fresh(newest + 1, follows)
            epoch, note = last
            checkpoint = note.checkpoint
            tree = StoredTree(connection, epoch)
            fault = self._fault(epoch, note, tree, witnessed)
            if fault is None:
                signed = load_frontier(checkpoint.size, tree.node)
                return self._opened(epoch, tree.head(), signed, None)
        return self._fresh(max(epoch, newest) + 1, _continues(checkpoint, fault))

    def _fresh(self, epoch: int, continues: dict[str, Any] | None) -> History:
        return self._opened(epoch, EMPTY_HEAD, Frontier(), continues)

    def _opened(self, epoch: int, head: LogHead, signed: Frontier, continues: dict[str, Any] | None) -> History:
        signer = LogSigner(self.folder / HEAD_FILE, epoch, self._key(epoch), self.secret, signed)
        return History(Sequencer(epoch, head, self.now), signer, continues)

    def _key(self, epoch: int) -> NoteKey:
        return NoteKey(origin_of(self.audience, epoch), KeyType.ED25519, bytes(self.secret.verify_key))

    def _last_head(self) -> tuple[int, SignedCheckpoint] | None:
        """Epoch and checkpoint of the head that was signed last. Raises Unavailable for a file that says neither."""
        path = self.folder / HEAD_FILE
        if not path.exists():
            return None
        try:
            head = parse_json(path.read_bytes(), HEAD_FILE)
            require_members(head, {"epoch", "checkpoint"}, HEAD_FILE, exact=True)
            return int(head["epoch"]), parse_checkpoint(str(head["checkpoint"]).encode(), HEAD_FILE)
        except (Malformed, ValueError) as error:
            reason = f"broken ({error}). Restore it, or delete it: the log then continues as a new epoch, and says so"
            raise Unavailable(str(path), reason, retryable=False) from None

    def _fault(self, epoch: int, note: SignedCheckpoint, tree: StoredTree, witnessed: int) -> str | None:
        """Why this log may not go on under its origin; None if it may."""
        signed, key = note.checkpoint, self._key(epoch)
        try:
            known = signed.origin == key.name and bool(verify_note(note.note, [key], HEAD_FILE))
        except Malformed:
            known = False
        if not known:
            return "the log's key or address is new"
        size = tree.size()
        if size < max(signed.size, witnessed):
            whose = "signed here" if signed.size >= witnessed else "seen by a witness"
            return f"it holds {size} leaves, and a head over {max(signed.size, witnessed)} was {whose}"
        try:
            root = load_frontier(signed.size, tree.node).root()
        except LookupError as error:
            return str(error)
        return None if root == signed.root else f"its first {signed.size} leaves are not those of its last signed head"


def _continues(last: Checkpoint, reason: str) -> dict[str, Any]:
    """The body of the leaf that begins an epoch."""
    return {"origin": last.origin, "size": last.size, "root_b64": encode_base64(last.root), "reason": reason}
