"""The log as files: whichever checkpoint lies there, all of its tiles lie beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.history import History
from gateway.publisher import Publisher
from gateway.storage.engine import open_database
from gateway.storage.tiles import TileFolder
from tee.log.checkpoint import SignedCheckpoint, parse_checkpoint
from tee.log.tiles import Tile, parse_tile_path, partial_tiles, tiles_between
from tests.test_history import append, damaged, opened


def whole(folder: Path) -> int:
    """The size of the checkpoint that lies there; every tile of it must too."""
    size = parse_checkpoint((folder / "checkpoint").read_bytes(), "checkpoint").checkpoint.size
    missing = [tile.path() for tile in tiles_between(0, size) if not (folder / tile.path()).exists()]
    assert not missing
    return size


class SlowQuorum:
    """Witnesses who take so long that the log grows meanwhile."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._meanwhile = meanwhile

    async def collect(self, signed: SignedCheckpoint, _prove: Any) -> SignedCheckpoint:
        await self._meanwhile()
        return signed


class World:
    """A log of some size, published into a folder."""

    def __init__(self, folder: Path, witnessed: bool) -> None:
        self.folder = folder / "log"
        self.engine: Engine = open_database(f"sqlite:///{folder / 'log.sqlite3'}")
        self.history: History = opened(self.engine, folder)
        quorum: Any = SlowQuorum(self.grow) if witnessed else None
        take = self.history.sequencer.take_unsigned
        self.publisher = Publisher(self.engine, self.history.signer, TileFolder(self.folder), take, quorum)

    async def grow(self, number: int = 1) -> None:
        for _ in range(2):
            await asyncio.to_thread(append, self.engine, self.history, number)
            await self.publisher.publish()


@pytest.mark.parametrize("witnessed", [False, True])
def test_the_checkpoint_in_the_folder_has_all_its_tiles(tmp_path: Path, witnessed: bool) -> None:
    async def published() -> None:
        world = World(tmp_path, witnessed)
        await world.grow(150)
        for _ in range(4):
            assert await world.publisher.cosign()
            assert whole(world.folder) == (world.publisher.shown.checkpoint.size)
            await world.grow()
            assert whole(world.folder) == (world.publisher.shown.checkpoint.size)
        world.engine.dispose()

    asyncio.run(published())
    # Old partial tiles do not pile up: at most those of three checkpoints are left.
    assert len(list(tmp_path.glob("log/tile/entries/*.p/*"))) <= 3


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_a_tile_that_is_damaged_in_the_database_is_not_handed_out(tmp_path: Path, path: str) -> None:
    """Neither to a reader nor to a store that would keep it for ever."""

    async def published() -> None:
        world = World(tmp_path, False)
        await world.grow(150)
        tile = parse_tile_path(path)
        assert world.publisher.tile(tile) == (world.folder / path).read_bytes()
        damaged(world.engine, "UPDATE leaves SET leaf = x'7b7d', hash = zeroblob(32); DELETE FROM subtrees")
        with pytest.raises(LookupError):
            world.publisher.tile(tile)
        world.engine.dispose()

    asyncio.run(published())


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65536, 65792])
def test_partial_tiles_are_those_of_the_whole_tree(size: int) -> None:
    partial: list[Tile] = [tile for tile in tiles_between(0, size) if tile.width < 256]
    assert partial_tiles(size) == partial
