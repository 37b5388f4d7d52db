"""Publishes the log: a checkpoint at most every second, and the tiles below it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from gateway.history import LogSigner
from gateway.storage.log import LogEpoch, StoredTree
from gateway.storage.tiles import TileFolder
from tee.client.witnesses import Quorum
from tee.errors import Malformed
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from tee.log.merkle import hash_leaf, prove_consistency, prove_inclusion, root_over
from tee.log.proof import LeafProof
from tee.log.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    encode_entries,
    parse_entries,
    parse_hashes,
    partial_tiles,
    tile_width,
    tiles_between,
)

PUBLISH_SECONDS = 1.0
WITNESS_SECONDS = 5.0  # a witness is somebody else's machine


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf with what shows that it stands in the log."""

    leaf: bytes
    proof: LeafProof


class Publisher:
    """Signs what is durable and hands it out. `newest` is our own word, `cosigned` the last that the quorum saw."""

    def __init__(
        self,
        engine: Engine,
        signer: LogSigner,
        folder: TileFolder,
        take_unsigned: Callable[[], list[bytes]],
        quorum: Quorum | None,
        tell: Callable[[LogEpoch, str], None] = lambda _epoch, _note: None,
    ) -> None:
        """`tell` hands a published checkpoint to the replicas beside this one."""
        self._tell = tell
        self._engine = engine
        self._quorum = quorum
        self._signer = signer
        self._folder = folder
        self._take_unsigned = take_unsigned
        self._pending: list[bytes] = []
        self._lock = asyncio.Lock()
        self._cosigning = asyncio.Lock()
        self.newest: SignedCheckpoint | None = None
        self.cosigned: SignedCheckpoint | None = None

    async def run(self) -> None:
        """Background work: publish whatever became durable. Runs until cancelled."""
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            await self.publish()

    async def run_witnesses(self) -> None:
        """Background work: have the newest checkpoint cosigned. Runs until cancelled."""
        while True:
            await asyncio.sleep(WITNESS_SECONDS)
            await self.cosign()

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._signer.key.name

    @property
    def place(self) -> LogEpoch:
        """Where the database has it."""
        return self._signer.epoch

    @property
    def epoch(self) -> int:
        """Which epoch of the log this is."""
        return self._signer.epoch.number

    @property
    def vkey(self) -> str:
        """The log's verifying key."""
        return self._signer.key.encode()

    @property
    def shown(self) -> SignedCheckpoint:
        """The checkpoint to show: the last that the quorum cosigned, or without witnesses the newest."""
        signed = self.cosigned or self.newest
        if signed is None:
            raise LookupError("nothing is published yet")
        return signed

    async def close(self) -> None:
        """Hang up on the witnesses."""
        if self._quorum is not None:
            await self._quorum.close()

    async def publish(self) -> SignedCheckpoint:
        """The checkpoint over every leaf that is durable now."""
        async with self._lock:
            self._pending += self._take_unsigned()
            if self.newest is None or self._pending:
                self.newest = await asyncio.to_thread(self._sign)
            return self.newest

    async def cosign(self) -> bool:
        """Have the newest checkpoint cosigned; False while too few witnesses answer. True where none is asked for."""
        if self._quorum is None:
            return True
        async with self._cosigning:  # one at a time: a late answer must not put an older checkpoint in its place
            newest = self.newest
            if newest is None:
                return False
            if self.cosigned is not None and self.cosigned.checkpoint == newest.checkpoint:
                return True
            signed = await self._quorum.collect(newest, self.consistency)
            if signed is None:
                return False
            async with self._lock:
                await asyncio.to_thread(self._announce, signed)
                self.cosigned = signed
            return True

    def show(self, index: int) -> Leaf:
        """A leaf with its proof, in the cosigned checkpoint if that holds it. Raises LookupError."""
        signed = next((it for it in (self.cosigned, self.newest) if it and index < it.checkpoint.size), None)
        if signed is None or index < 0:
            raise LookupError(f"no checkpoint holds a leaf {index}")
        with self._engine.connect() as connection:
            tree = StoredTree(connection, self._signer.epoch)
            (leaf,) = tree.leaves(index, index + 1)
            hashes = tuple(prove_inclusion(index, signed.checkpoint.size, tree.node))
        return Leaf(leaf, LeafProof(index, hashes, signed.note.encode()))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that one published tree extends another. Raises LookupError, Malformed."""
        if self.newest is None or new > self.newest.checkpoint.size:
            raise LookupError(f"no checkpoint has {new} leaves")
        with self._engine.connect() as connection:
            return prove_consistency(old, new, StoredTree(connection, self._signer.epoch).node)

    def tile(self, tile: Tile) -> bytes:
        """A tile's bytes as far as it is published, complete or partial. Raises LookupError, also if it is damaged."""
        newest = self.newest
        if newest is None or tile.width > tile_width(tile, newest.checkpoint.size):
            raise LookupError(f"{tile.path()} is not published")
        with self._engine.connect() as connection:
            return sound_tile(StoredTree(connection, self._signer.epoch), tile, newest.checkpoint)

    def _sign(self) -> SignedCheckpoint:
        """Sign what the sequencer has made durable: the database is asked for tiles, never for what to sign."""
        old = self._signer.signed.size
        raw = self._signer.extend(self._pending).encode()
        self._pending.clear()
        size = self._signer.signed.size
        with self._engine.connect() as connection:
            tree = StoredTree(connection, self._signer.epoch)
            # The first time all of them: the last boot may have died between checkpoint and tiles.
            tiles = list(tiles_between(0 if self.newest is None else old, size))
            for tile in tiles:
                self._folder.put(tile, lambda tile=tile: encode_tile(tree, tile))  # type: ignore[misc]
        if self._quorum is None:
            self._folder.put_checkpoint(raw)
            self._tell(self.place, raw.decode())
        # A reader may still be at the checkpoint before this one, or at the one that was cosigned last.
        sizes = {old, size} | ({self.cosigned.checkpoint.size} if self.cosigned else set())
        self._folder.keep_partial({tile.path() for each in sizes for tile in partial_tiles(each)})
        return parse_checkpoint(raw, "checkpoint")

    def _announce(self, signed: SignedCheckpoint) -> None:
        """Write a cosigned checkpoint over its tiles: by now the log has grown, and its partial ones may be gone."""
        with self._engine.connect() as connection:
            tree = StoredTree(connection, self._signer.epoch)
            for tile in partial_tiles(signed.checkpoint.size):
                self._folder.put(tile, lambda tile=tile: encode_tile(tree, tile))  # type: ignore[misc]
        self._folder.put_checkpoint(signed.note.encode())
        self._tell(self.place, signed.note.encode().decode())


def sound_tile(tree: StoredTree, tile: Tile, checkpoint: Checkpoint) -> bytes:
    """The bytes of a tile that this checkpoint has, if they lead to its root. Raises LookupError."""
    try:
        raw = encode_tile(tree, tile)
        if tile.level is None:
            hashes = [hash_leaf(leaf) for leaf in parse_entries(raw, tile.width)]
        else:
            hashes = parse_hashes(raw, tile.width)
        level = TILE_HEIGHT * (tile.level or 0)
        root = root_over(level, tile.number * TILE_WIDTH, hashes, checkpoint.size, tree.node)
    except Malformed:
        root = b""
    if root != checkpoint.root:
        raise LookupError(f"{tile.path()} is damaged: it does not lead to the root that was signed")
    return raw


def encode_tile(tree: StoredTree, tile: Tile) -> bytes:
    """A tile as it is served."""
    if tile.level is None:
        first = tile.number * TILE_WIDTH
        return encode_entries(tree.leaves(first, first + tile.width))
    return b"".join(tree.hashes(tile.level, tile.number)[: tile.width])
