"""Epochs of the log that have passed: never signed again, and nothing is shown that their last checkpoint denies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from gateway.history import retired_head
from gateway.publisher import Leaf, Publisher, sound_tile
from gateway.storage.engine import Engine
from gateway.storage.log import LogEpoch, StoredTree
from gateway.storage.logs import find_checkpoint, find_log
from gateway.storage.tiles import CHECKPOINT
from tee.errors import Malformed
from tee.log.checkpoint import SignedCheckpoint, open_checkpoint, parse_checkpoint
from tee.log.merkle import (
    hash_leaf,
    load_frontier,
    prove_consistency,
    prove_inclusion,
    root_from_inclusion,
    verify_consistency,
)
from tee.log.note import KeyType, NoteKey
from tee.log.proof import LeafProof
from tee.log.tiles import Tile, tile_width

MAX_LISTED = 256  # epochs in one page; each is an accident of its own, so more is nobody's log
T = TypeVar("T")


class LogView(Protocol):
    """One epoch as it is shown: the live one by its publisher, a passed one by what is left of it."""

    @property
    def epoch(self) -> int:
        """Its number."""

    @property
    def origin(self) -> str:
        """Its origin."""

    @property
    def vkey(self) -> str:
        """Its verifying key."""

    @property
    def shown(self) -> SignedCheckpoint:
        """The checkpoint to show."""

    def show(self, index: int) -> Leaf:
        """A leaf with its proof. Raises LookupError."""

    def consistency(self, old: int, new: int) -> list[bytes]:
        """A consistency proof. Raises LookupError, Malformed."""

    def tile(self, tile: Tile) -> bytes:
        """A tile's bytes. Raises LookupError."""


@dataclass(frozen=True, slots=True)
class PassedEpoch:
    """An epoch that has passed. `signed` are its last checkpoints: the last that was cosigned first, where one was."""

    place: LogEpoch
    key: NoteKey
    signed: tuple[SignedCheckpoint, ...]
    engine: Engine = field(repr=False)

    @property
    def epoch(self) -> int:
        """Its number."""
        return self.place.number

    @property
    def origin(self) -> str:
        """The origin that nothing is signed under any more."""
        return self.key.name

    @property
    def vkey(self) -> str:
        """The verifying key under which it was signed."""
        return self.key.encode()

    @property
    def shown(self) -> SignedCheckpoint:
        """The last checkpoint that was signed; with cosignatures, if that one has some."""
        return max(self.signed, key=lambda each: each.checkpoint.size)

    def show(self, index: int) -> Leaf:
        """A leaf with its proof. Raises LookupError, also for one that is damaged."""
        signed = next((each for each in self.signed if 0 <= index < each.checkpoint.size), None)
        if signed is None:
            raise LookupError(f"No checkpoint of epoch {self.epoch} holds a leaf {index}, and it signs no more")
        checkpoint = signed.checkpoint

        def read(tree: StoredTree) -> tuple[bytes, list[bytes]]:
            (leaf,) = tree.leaves(index, index + 1)
            hashes = prove_inclusion(index, checkpoint.size, tree.node)
            _require(root_from_inclusion(hash_leaf(leaf), index, checkpoint.size, hashes), checkpoint.root)
            return leaf, hashes

        leaf, hashes = self._sound(read)
        return Leaf(leaf, LeafProof(index, tuple(hashes), signed.note.encode()))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that one of its trees extends another. Raises LookupError, Malformed."""
        last = self.shown.checkpoint
        if not 0 <= old <= new <= last.size:
            raise LookupError(f"Epoch {self.epoch} has no trees of {old} and then {new} leaves")

        def read(tree: StoredTree) -> list[bytes]:
            roots = [load_frontier(size, tree.node).root() for size in (old, new)]
            proof = prove_consistency(old, new, tree.node)
            onward = prove_consistency(new, last.size, tree.node)
            verify_consistency(new, roots[1], last.size, last.root, onward, from_empty=True)
            verify_consistency(old, roots[0], new, roots[1], proof, from_empty=True)
            return proof

        return self._sound(read)

    def tile(self, tile: Tile) -> bytes:
        """A tile's bytes, as its last checkpoint has them. Raises LookupError."""
        last = self.shown.checkpoint
        if tile.width > tile_width(tile, last.size):
            raise LookupError(f"{tile.path()} is not in epoch {self.epoch}")

        return self._sound(lambda tree: sound_tile(tree, tile, last))

    def _sound(self, read: Callable[[StoredTree], T]) -> T:
        """What was read, if it is what was signed. Raises LookupError."""
        try:
            with self.engine.connect() as connection:
                return read(StoredTree(connection, self.place))
        except (LookupError, ValueError, Malformed):
            reason = "what is stored there is not what its last checkpoint has signed, so it is not shown"
            raise LookupError(f"Epoch {self.epoch} of the log is damaged: {reason}") from None


@dataclass(frozen=True, slots=True)
class Epochs:
    """Every epoch of this log that can be shown, the live one last."""

    live: Publisher
    passed: Mapping[int, PassedEpoch]
    engine: Engine = field(repr=False)

    def view(self, number: int) -> LogView:
        """One epoch. Raises LookupError."""
        if number == self.live.epoch:
            return self.live
        if number not in self.passed:
            reason = "there was none, or its last checkpoint is lost, or its key was never recorded"
            raise LookupError(f"Epoch {number} of the log is not shown here: {reason}")
        return self.passed[number]

    def find(self, place: LogEpoch) -> LogView:
        """An epoch of whichever log the database holds: of this replica's, or of another's. Raises LookupError."""
        if place == self.live.place:
            return self.live
        passed = self.passed.get(place.number)
        return passed if passed is not None and passed.place == place else self._of_another(place)

    def _of_another(self, place: LogEpoch) -> PassedEpoch:
        """What another replica has published of its log. Whoever verifies it knows that replica's key by its quote."""
        stored = find_checkpoint(self.engine, place)
        if stored is not None:
            note, public_key = stored[1].encode(), bytes.fromhex(stored[0])
            signed = _opened(note, NoteKey("any", KeyType.ED25519, public_key))
            if signed is not None:
                key = NoteKey(signed.checkpoint.origin, KeyType.ED25519, public_key)
                return PassedEpoch(place, key, (signed,), self.engine)
        raise LookupError("The replica that carried the call has published nothing of its log yet")

    def listing(self) -> list[dict[str, object]]:
        """The passed epochs, oldest first: number, origin, key and size."""
        rows = sorted(self.passed.items())[-MAX_LISTED:]
        return [
            {"epoch": number, "origin": row.origin, "vkey": row.vkey, "size": row.shown.checkpoint.size}
            for number, row in rows
        ]


def load_epochs(live: Publisher, own: NoteKey, engine: Engine, state: Path, tiles: Path) -> Epochs:
    """The epochs before the live one, by the heads that were signed last and the checkpoints that were published."""
    passed = {}
    for number in range(1, live.epoch):
        found = _signed(own, *retired_head(state, number), tiles / str(number) / CHECKPOINT)
        log = None if found is None else find_log(engine, found[0].public_key.hex())
        if found is not None and log is not None:
            passed[number] = PassedEpoch(LogEpoch(log, number), *found, engine)
    return Epochs(live, MappingProxyType(passed), engine)


def _signed(
    own: NoteKey, head: bytes | None, recorded: NoteKey | None, published: Path
) -> tuple[NoteKey, tuple[SignedCheckpoint, ...]] | None:
    """The key of a passed epoch, and what it signed last; None where nothing is left that verifies."""
    notes = [published.read_bytes()] if published.exists() else []
    notes += [] if head is None else [head]
    for key in (recorded, own):
        signed = [] if key is None else [each for note in notes if (each := _opened(note, key)) is not None]
        if key is not None and signed:
            origin = signed[-1].checkpoint.origin
            return replace(key, name=origin), tuple(each for each in signed if each.checkpoint.origin == origin)
    return None


def _opened(note: bytes, key: NoteKey) -> SignedCheckpoint | None:
    """A checkpoint under this public key, whatever epoch's name it bears; None for any other."""
    try:
        origin = parse_checkpoint(note, "checkpoint").checkpoint.origin
        return open_checkpoint(note, replace(key, name=origin), "checkpoint")
    except Malformed:
        return None


def _require(found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise Malformed("root", found.hex(), wanted.hex())
