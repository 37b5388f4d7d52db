"""A release log: files that any static server can show, and the key that remembers what it signed last (SPEC §16.2)."""

from __future__ import annotations

import fcntl
import json
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from tee.canonical import parse_json, shown
from tee.client.log import subtree_root
from tee.client.witnesses import Quorum
from tee.errors import Malformed, Unavailable
from tee.keys.identity import require_members, text
from tee.log.announcement import encode_announcement, parse_announcement
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, sign_checkpoint
from tee.log.entry import NO_LEAF, LogEntry, chain_hash, parse_entry
from tee.log.merkle import EMPTY_ROOT, Frontier, ReadNode, hash_leaf, prove_consistency, prove_inclusion
from tee.log.note import KeyType, NoteKey, parse_note, parse_note_key
from tee.log.proof import LeafProof
from tee.log.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, encode_entries, parse_entries, tile_width, tiles_between
from tee.log.witnesses import WitnessPolicy
from tee.private_files import write_private, write_public
from tee.quote import decode_base64, encode_base64, encode_text
from tee.terminal import read_file

KEY_FORMAT = "saferouter/release-log/v1"
CHECKPOINT, ANNOUNCEMENTS = "checkpoint", "announcement"
RESTORE = "Restore the newest copies; an older one must never sign again"


@dataclass(slots=True)
class ReleaseLog:
    """An opened release log: the leaves that its key signed, and that key, whose file holds the last signed checkpoint.

    A key without its memory could sign another past.
    """

    folder: Path
    key_file: Path
    key: NoteKey
    secret: SigningKey = field(repr=False)
    signed: SignedCheckpoint | None = None  # None before the first leaf
    leaves: list[bytes] = field(default_factory=list)

    def append(self, kind: str, body: dict[str, Any], now: int) -> int:
        """The index of the leaf that says this, durable and signed; what was said already is not repeated.

        The tiles are there before the key signs them, and the key remembers before anybody sees its signature: after a
        crash the log goes on from the last signature. Raises Malformed.
        """
        for index, leaf in enumerate(self.leaves):
            entry = parse_entry(leaf)
            if (entry.type, entry.body) == (kind, body):
                return index
        prev = chain_hash(self.leaves[-1]) if self.leaves else NO_LEAF
        leaves = [*self.leaves, LogEntry(len(self.leaves), prev, now, kind, body).encode()]
        for tile in tiles_between(len(self.leaves), len(leaves)):
            write_public(self.folder / tile.path(), _encode_tile(tile, leaves))
        tree = Checkpoint(self.key.name, len(leaves), _root(leaves))
        note = sign_checkpoint(tree, self.key, lambda message: self.secret.sign(message).signature)
        self.signed, self.leaves = SignedCheckpoint(tree, note), leaves
        _write_key(self)
        return len(leaves) - 1

    async def publish(self, quorum: Quorum | None) -> SignedCheckpoint | None:
        """Put out the last signed checkpoint; with a quorum, once that has cosigned it. None until it has."""
        if self.signed is None:
            raise LookupError("nothing is signed yet")
        signed = self.signed if quorum is None else await quorum.collect(self.signed, self._prove)
        if signed is not None:
            write_public(self.folder / CHECKPOINT, signed.note.encode())
        return signed

    def prove(self, index: int, signed: SignedCheckpoint, policy: WitnessPolicy | None) -> Path:
        """The file that shows the leaf. One that the quorum has cosigned already is kept: its age is worth more."""
        path = self.folder / ANNOUNCEMENTS / f"{index}.json"
        if not (path.exists() and self._shows(path, self.leaves[index], policy)):
            hashes = tuple(prove_inclusion(index, signed.checkpoint.size, _reader(self.leaves)))
            proof = LeafProof(index, hashes, signed.note.encode())
            write_public(path, encode_announcement(self.leaves[index], proof))
        return path

    def is_cosigned(self) -> bool:
        """Whether the checkpoint that is out carries more than the log's own signature."""
        path = self.folder / CHECKPOINT
        return path.exists() and len(parse_note(path.read_bytes(), str(path)).signatures) > 1

    def require_newest(self, seen: Sequence[Checkpoint]) -> None:
        """That nobody has seen more of this log than what lies here. Raises Unavailable."""
        for head in seen:
            if head.size > len(self.leaves) or head.root != _root(self.leaves[: head.size]):
                here = f"{self.folder} and {self.key_file} hold {len(self.leaves)} leaves"
                reason = (
                    f"has seen {head.size} leaves that are not these: {here}, which were put back in time. {RESTORE}"
                )
                raise Unavailable("a witness", reason, retryable=False)

    def _shows(self, path: Path, leaf: bytes, policy: WitnessPolicy | None) -> bool:
        try:
            said, proof = parse_announcement(path.read_bytes())
            note = open_checkpoint(proof.checkpoint, self.key, str(path)).note
            return said == leaf and (policy is None or policy.reached(set(policy.cosigned(note, str(path)))))
        except Malformed:
            return False

    def _prove(self, old: int, new: int) -> list[bytes]:
        return prove_consistency(old, new, _reader(self.leaves))


def new_release_key(path: Path, origin: str) -> NoteKey:
    """A key for a log of this origin, in a file that does not exist yet. Raises Malformed."""
    if path.exists():
        raise Malformed(str(path), "a file", "a name that is free: a key is never overwritten")
    secret = SigningKey.generate()
    named = NoteKey(origin, KeyType.ED25519, bytes(secret.verify_key))
    try:
        key = parse_note_key(named.encode(), "--origin")
        text(origin, "--origin")
    except Malformed:
        wanted = "printable ASCII without spaces or +, for example example.com/releases"
        raise Malformed("--origin", shown(origin), wanted) from None
    _write_key(ReleaseLog(Path(), path, key, secret))
    return key


@contextmanager
def open_release_log(folder: Path, key_file: Path) -> Iterator[ReleaseLog]:
    """The log of this folder and key, for one command at a time. Raises Malformed, Unavailable."""
    if not key_file.is_file():
        raise Malformed(str(key_file), "no such file", "a key, as `log new-key` makes it")
    if key_file.resolve().is_relative_to(folder.resolve()):
        raise Malformed(str(key_file), f"a key in {folder}, which is for everybody", "a key beside it")
    if stat.S_IMODE(key_file.stat().st_mode) & 0o077:
        raise Malformed(str(key_file), "a key that others may read", "mode 0600: if others could read it, it is burnt")
    try:
        with key_file.with_name(key_file.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            log = _read_key(folder, key_file)
            _read_leaves(log)
            yield log
    except BlockingIOError:
        raise Unavailable(str(key_file), "another command is at work with it", retryable=True) from None
    except OSError as error:
        raise Unavailable(str(error.filename), error.strerror or "cannot be used", retryable=False) from None


def _read_key(folder: Path, path: Path) -> ReleaseLog:
    field = str(path)
    document = parse_json(read_file(path), field)
    require_members(document, {"format", "origin", "seed_b64", "signed"}, field, exact=True)
    if document["format"] != KEY_FORMAT:
        raise Malformed(f"{field}.format", shown(document["format"]), f"{KEY_FORMAT}, as `log new-key` makes it")
    seed = decode_base64(document["seed_b64"], f"{field}.seed_b64")
    if len(seed) != 32:
        raise Malformed(f"{field}.seed_b64", f"{len(seed)} bytes", "32 bytes")
    secret = SigningKey(seed)
    key = NoteKey(text(document["origin"], f"{field}.origin"), KeyType.ED25519, bytes(secret.verify_key))
    if document["signed"] is None:
        return ReleaseLog(folder, path, key, secret)
    raw = encode_text(document["signed"], f"{field}.signed")
    return ReleaseLog(folder, path, key, secret, open_checkpoint(raw, key, f"{field}.signed"))


def _write_key(log: ReleaseLog) -> None:
    document = {
        "format": KEY_FORMAT,
        "origin": log.key.name,
        "seed_b64": encode_base64(bytes(log.secret)),
        "signed": log.signed and log.signed.note.encode().decode(),
    }
    write_private(log.key_file, json.dumps(document, indent=1).encode())


def _read_leaves(log: ReleaseLog) -> None:
    """The leaves that the key signed, from the folder's tiles. Raises Unavailable where they are not there."""
    signed = log.signed.checkpoint if log.signed else Checkpoint(log.key.name, 0, EMPTY_ROOT)
    try:
        for number in range(-(-signed.size // TILE_WIDTH)):
            tile = Tile(None, number, tile_width(Tile(None, number), signed.size))
            log.leaves += parse_entries(read_file(log.folder / tile.path()), tile.width)
    except Malformed as error:
        reason = f"does not hold the {signed.size} leaves that its key has signed ({error}). {RESTORE}"
        raise Unavailable(str(log.folder), reason, retryable=False) from None
    if _root(log.leaves) != signed.root:
        reason = f"holds other leaves than the {signed.size} that its key has signed. {RESTORE}"
        raise Unavailable(str(log.folder), reason, retryable=False)
    published = log.folder / CHECKPOINT
    if published.exists():
        try:
            shows = open_checkpoint(published.read_bytes(), log.key, str(published)).checkpoint
        except Malformed as error:
            raise Unavailable(str(published), f"is not this key's ({error})", retryable=False) from None
        if shows.size > signed.size or shows.root != _root(log.leaves[: shows.size]):
            reason = f"remembers {signed.size} leaves, and its folder shows {shows.size}: one was put back in time"
            raise Unavailable(str(log.key_file), f"{reason}. {RESTORE}", retryable=False)


def _root(leaves: Sequence[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.append(hash_leaf(leaf))
    return frontier.root()


def _reader(leaves: Sequence[bytes]) -> ReadNode:
    """The nodes of the tree of these leaves: a release log is small enough to hash anew."""
    hashes = [hash_leaf(leaf) for leaf in leaves]
    return lambda level, index: subtree_root(hashes[index << level : (index + 1) << level])


def _encode_tile(tile: Tile, leaves: Sequence[bytes]) -> bytes:
    places = range(tile.number * TILE_WIDTH, tile.number * TILE_WIDTH + tile.width)
    if tile.level is None:
        return encode_entries(leaves[at] for at in places)
    read, level = _reader(leaves), tile.level * TILE_HEIGHT
    return b"".join(read(level, at) for at in places)
