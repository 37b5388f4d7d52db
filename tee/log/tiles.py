"""Tiles: the tree and its leaves as files that never change (C2SP tlog-tiles; SPEC §15.6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tee.errors import Malformed
from tee.log.checkpoint import parse_size
from tee.log.entry import MAX_LEAF_SIZE
from tee.log.merkle import HASH_SIZE

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_TILE_LEVEL = 6  # 2^(8·7) leaves: beyond MAX_TREE_SIZE
ENTRIES = "entries"


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile: `level` 0 holds leaf hashes, None the leaves themselves; `width` below 256 is a partial tile."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """`tile/<level>/<number>[.p/<width>]`, the number in groups of three digits."""
        groups = [f"{self.number % 1000:03d}"]
        rest = self.number // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = ENTRIES if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"


def parse_tile_path(path: str) -> Tile:
    """A tile from its path; any other spelling of it is refused. Raises Malformed."""
    refusal = Malformed("tile", "another path", "tile/LEVEL/NUMBER, for example tile/0/x001/234")
    name, partial, width = path.partition(".p/")
    parts = name.split("/")
    if len(parts) < 3 or len(parts) > 9 or parts[0] != "tile":
        raise refusal
    digits = "".join(part.removeprefix("x") for part in parts[2:]).lstrip("0") or "0"
    try:
        level = None if parts[1] == ENTRIES else parse_size(parts[1], "tile")
        tile = Tile(level, parse_size(digits, "tile"), parse_size(width, "tile") if partial else TILE_WIDTH)
    except Malformed:
        raise refusal from None
    if tile.path() != path or not 1 <= tile.width <= TILE_WIDTH or (level or 0) > MAX_TILE_LEVEL:
        raise refusal
    return tile


def tiles_between(old: int, new: int) -> Iterable[Tile]:
    """The tiles that a tree of `new` leaves has and one of `old` had not: leaves, then hashes, level by level."""
    for level in (None, *range(MAX_TILE_LEVEL + 1)):
        before, width = (size >> (TILE_HEIGHT * (level or 0)) for size in (old, new))
        if width == before:
            continue
        for number in range(before // TILE_WIDTH, width // TILE_WIDTH):
            yield Tile(level, number)
        if width % TILE_WIDTH:
            yield Tile(level, width // TILE_WIDTH, width % TILE_WIDTH)


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree of `size` leaves: at most one of the leaves, and one of each level."""
    found = []
    for level in (None, *range(MAX_TILE_LEVEL + 1)):
        number, width = divmod(size >> (TILE_HEIGHT * (level or 0)), TILE_WIDTH)
        if width:
            found.append(Tile(level, number, width))
    return found


def tile_width(tile: Tile, size: int) -> int:
    """How wide this tile is in a tree of `size` leaves, 0 to 256."""
    entries = size >> (TILE_HEIGHT * (tile.level or 0))
    return max(0, min(TILE_WIDTH, entries - tile.number * TILE_WIDTH))


def encode_entries(leaves: Iterable[bytes]) -> bytes:
    """An entry tile: each leaf behind its length, two bytes big-endian."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def parse_entries(raw: bytes, width: int) -> list[bytes]:
    """The leaves of an entry tile of this width. Raises Malformed."""
    if len(raw) > width * (MAX_LEAF_SIZE + 2):
        raise Malformed("entry tile", f"{len(raw)} bytes", f"at most {width * (MAX_LEAF_SIZE + 2)}")
    leaves, at = [], 0
    while at < len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if at + 2 > len(raw) or end > len(raw):
            raise Malformed("entry tile", f"a leaf to byte {end}", f"{len(raw)} bytes")
        leaves.append(raw[at + 2 : end])
        at = end
    if len(leaves) != width:
        raise Malformed("entry tile", f"{len(leaves)} leaves", f"{width}")
    return leaves


def parse_hashes(raw: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of this width. Raises Malformed."""
    if len(raw) != width * HASH_SIZE:
        raise Malformed("tile", f"{len(raw)} bytes", f"{width * HASH_SIZE}")
    return [raw[at : at + HASH_SIZE] for at in range(0, len(raw), HASH_SIZE)]
