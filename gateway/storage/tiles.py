"""The published log as files: tiles that never change, and the checkpoint that stands over them (SPEC §15.6)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tee.log.tiles import TILE_WIDTH, Tile

CHECKPOINT = "checkpoint"


class TileFolder:
    """A folder that any static server can serve as the log's prefix. A file is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial: set[str] = set()

    def put(self, tile: Tile, encode: Callable[[], bytes]) -> None:
        """Write a tile; one that exists already is left as it is."""
        path = self._folder / tile.path()
        if tile.width < TILE_WIDTH:
            self._partial.add(tile.path())
        if not path.exists():
            _write(path, encode())

    def put_checkpoint(self, raw: bytes) -> None:
        """Write the checkpoint, once the tiles below it are there."""
        _write(self._folder / CHECKPOINT, raw)

    def keep_partial(self, paths: set[str]) -> None:
        """Drop the partial tiles that were put here and are none of these."""
        for path in self._partial - paths:
            (self._folder / path).unlink(missing_ok=True)
        self._partial &= paths


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tile.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            os.fchmod(file.fileno(), 0o644)  # the log is public
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
