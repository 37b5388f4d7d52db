"""The log of this gateway: opened where it may go on, signed only as an extension of what was signed before."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from sqlalchemy import Engine

from gateway.sequencer import Authenticate, Sequencer, head_message
from gateway.storage.log import EMPTY_HEAD, LogEpoch, StoredTree, recorded_head
from gateway.storage.logs import OwnLog, claim_log
from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.keys.identity import require_members
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, sign_checkpoint
from tee.log.merkle import Frontier, load_frontier
from tee.log.note import KeyType, Note, NoteKey, parse_note_key, verify_note
from tee.private_files import write_private
from tee.quote import encode_base64

HEAD_FILE = "log.head"
LOG_PATH = "attestation/transparency"


def base_origin(audience: str) -> str:
    """The origin of a gateway's first log: the audience without its scheme, and the path."""
    return f"{audience.partition('://')[2]}/{LOG_PATH}"


def authenticator(secret: SigningKey, purpose: bytes) -> Authenticate:
    """Message authentication codes of 32 bytes (HMAC-SHA-256), under a key for this purpose alone."""
    key = hmac.digest(bytes(secret), purpose, "sha256")
    return lambda message: hmac.digest(key, message, "sha256")


@dataclass(slots=True)
class LogSigner:
    """Signs checkpoints. It keeps the tree that it signed last, so that it can sign nothing but an extension of it."""

    path: Path
    epoch: LogEpoch
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
        head = {"epoch": self.epoch.number, "vkey": self.key.encode(), "checkpoint": note.encode().decode()}
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
    """What opening a log needs. `key_is_new`: this very start has made the key, so it can have signed nothing."""

    engine: Engine
    folder: Path
    audience: str
    secret: SigningKey = field(repr=False)
    now: Callable[[], float]
    key_is_new: bool

    def open(self, witnessed: Sequence[Checkpoint] = ()) -> History:
        """Go on where the last signed head allows it, else in a new epoch. Raises Unavailable.

        `witnessed` is what witnesses have seen under the last epoch's origin.
        """
        last, address = self._last_head(), base_origin(self.audience)
        log = claim_log(self.engine, bytes(self.secret.verify_key).hex(), address, int(self.now()))
        if last is None:
            if log.newest == 0 and self.key_is_new and log.first:
                return self._fresh(LogEpoch(log.id, 1), address, None)
            reason = f"{HEAD_FILE}, the record of the last signed head, is missing"
            if self.key_is_new and log.newest == 0:
                reason = (
                    "the key is new, and the database holds another log of this address: a replica's, or a lost one"
                )
            follows = {"origin": None, "size": None, "root_b64": None, "reason": reason}
            return self._fresh(LogEpoch(log.id, log.newest_here + 1), self._another_origin(), follows)
        number, note = last
        epoch = LogEpoch(log.id, number)
        with self.engine.connect() as connection:
            tree = StoredTree(connection, epoch)
            fault = self._fault(log, note, tree, witnessed)
            if fault is None:
                size = note.checkpoint.size
                key = self._key(note.checkpoint.origin)
                signer = LogSigner(self.folder / HEAD_FILE, epoch, key, self.secret, load_frontier(size, tree.node))
                unsigned = tree.leaf_hashes(size, tree.size())
                return History(Sequencer(epoch, tree.head(), self._authenticate, self.now, unsigned), signer)
        write_private(_retired(self.folder, number), (self.folder / HEAD_FILE).read_bytes())
        following = LogEpoch(log.id, max(number, log.newest_here) + 1)
        return self._fresh(following, self._another_origin(), _continues(note.checkpoint, fault))

    def _fresh(self, epoch: LogEpoch, origin: str, continues: dict[str, Any] | None) -> History:
        signer = LogSigner(self.folder / HEAD_FILE, epoch, self._key(origin), self.secret)
        return History(Sequencer(epoch, EMPTY_HEAD, self._authenticate, self.now, ()), signer, continues)

    def _another_origin(self) -> str:
        """An origin that was never used: whoever puts back the disk cannot make this key sign under one again."""
        return f"{base_origin(self.audience)}/{secrets.token_hex(8)}"

    def _key(self, origin: str) -> NoteKey:
        return NoteKey(origin, KeyType.ED25519, bytes(self.secret.verify_key))

    def _authenticate(self, message: bytes) -> bytes:
        return authenticator(self.secret, b"saferouter/log-head/v1")(message)

    def _last_head(self) -> tuple[int, SignedCheckpoint] | None:
        """Epoch and checkpoint of the head that was signed last. Raises Unavailable for a file that says neither."""
        path = self.folder / HEAD_FILE
        if not path.exists():
            return None
        try:
            head = parse_json(path.read_bytes(), HEAD_FILE)
            require_members(head, {"epoch", "checkpoint"}, HEAD_FILE)
            return int(head["epoch"]), parse_checkpoint(str(head["checkpoint"]).encode(), HEAD_FILE)
        except (Malformed, ValueError) as error:
            reason = f"broken ({error}). Restore it, or delete it: the log then continues as a new epoch, and says so"
            raise Unavailable(str(path), reason, retryable=False) from None

    def _fault(
        self, log: OwnLog, note: SignedCheckpoint, tree: StoredTree, witnessed: Sequence[Checkpoint]
    ) -> str | None:
        """Why this log may not go on under its origin; None if it may."""
        signed, key = note.checkpoint, self._key(note.checkpoint.origin)
        base = base_origin(self.audience)
        try:
            known = signed.origin.startswith(base) and bool(verify_note(note.note, [key], HEAD_FILE))
        except Malformed:
            known = False
        if not known:
            return "the log's key or address is new"
        if log.newest > tree.epoch.number:
            return "another epoch was begun after it"
        for whose, head in [("signed here", signed), *(("seen by a witness", each) for each in witnessed)]:
            if tree.size() < head.size:
                return f"it holds {tree.size()} leaves, and a head over {head.size} was {whose}"
            try:
                root = load_frontier(head.size, tree.node).root()
            except LookupError as error:
                return str(error)
            if root != head.root:
                return f"its first {head.size} leaves are not those of a head that was {whose}"
        if log.restored_at is not None:
            return f"the database was restored from a backup at {log.restored_at}"
        return self._unrecorded(tree)

    def _unrecorded(self, tree: StoredTree) -> str | None:
        """Whether the leaves after the signed head are those that were committed last."""
        recorded = recorded_head(tree.connection, tree.epoch)
        try:
            head = tree.head()
        except (LookupError, ValueError):
            return "a leaf or a subtree is missing"
        size, root = head.frontier.size, head.frontier.root()
        if size == 0 and recorded is None:
            return None
        mac = self._authenticate(head_message(tree.epoch.number, size, root, head.prev))
        if recorded is None or not hmac.compare_digest(recorded.mac, mac):
            return "its last leaves are not those that were committed"
        return None


def retired_head(folder: Path, epoch: int) -> tuple[bytes | None, NoteKey | None]:
    """The checkpoint that a passed epoch signed last and the key that did, as far as they were recorded."""
    try:
        head = parse_json(_retired(folder, epoch).read_bytes(), HEAD_FILE)
        require_members(head, {"checkpoint"}, HEAD_FILE)
        vkey = head.get("vkey")  # an older gateway wrote none
        return str(head["checkpoint"]).encode(), None if vkey is None else parse_note_key(str(vkey), "vkey")
    except (OSError, Malformed):
        return None, None


def _retired(folder: Path, epoch: int) -> Path:
    return folder / f"{HEAD_FILE}.{epoch}"


def _continues(last: Checkpoint, reason: str) -> dict[str, Any]:
    """The body of the leaf that begins an epoch."""
    return {"origin": last.origin, "size": last.size, "root_b64": encode_base64(last.root), "reason": reason}
