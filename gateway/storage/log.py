"""The log's leaves and subtrees, written in the transaction of what they record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, insert, select, update

from gateway.storage.prepared import Prepared
from gateway.storage.schema import LEAVES, LOG_HEADS, SUBTREES
from tee.log.entry import NO_LEAF, chain_hash
from tee.log.merkle import Frontier, hash_children, load_frontier
from tee.log.tiles import TILE_HEIGHT, TILE_WIDTH


@dataclass(frozen=True, slots=True)
class LogEpoch:
    """One epoch of one log of the database: what all of its rows are found by."""

    log: int
    number: int


@dataclass(frozen=True, slots=True)
class LeafRow:
    """A leaf at its place, with its hash."""

    number: int
    leaf: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class SubtreeRow:
    """The root of a complete subtree of 256^`level` leaves."""

    level: int
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """How a log ends: its tree, and what the next leaf names as `prev`."""

    frontier: Frontier
    prev: bytes


EMPTY_HEAD = LogHead(Frontier(), NO_LEAF)


@dataclass(frozen=True, slots=True)
class RecordedHead:
    """A head as the database has it, with its message authentication code."""

    size: int
    root: bytes
    prev: bytes
    mac: bytes


_ADD_LEAVES, _ADD_SUBTREES, _ADD_HEAD = (Prepared(insert(table)) for table in (LEAVES, SUBTREES, LOG_HEADS))
_MOVE_HEAD = Prepared(
    update(LOG_HEADS)
    .where(LOG_HEADS.c.log == bindparam("_log"), LOG_HEADS.c.epoch == bindparam("_epoch"))
    .values(size=bindparam("_size"), root=bindparam("_root"), prev=bindparam("_prev"), mac=bindparam("_mac"))
)


def record_head(connection: Connection, epoch: LogEpoch, head: RecordedHead) -> None:
    """Replace the epoch's recorded head."""
    values = {
        "log": epoch.log,
        "epoch": epoch.number,
        "size": head.size,
        "root": head.root,
        "prev": head.prev,
        "mac": head.mac,
    }
    if _MOVE_HEAD.run_each(connection, [{f"_{name}": value for name, value in values.items()}]) == 0:
        _ADD_HEAD.run(connection, values)


def recorded_head(connection: Connection, epoch: LogEpoch) -> RecordedHead | None:
    """The epoch's recorded head."""
    columns = [LOG_HEADS.c[name] for name in RecordedHead.__slots__]
    row = connection.execute(select(*columns).where(*_of(LOG_HEADS, epoch))).one_or_none()
    return None if row is None else RecordedHead(*row)


def insert_leaves(
    connection: Connection, epoch: LogEpoch, leaves: Sequence[LeafRow], subtrees: Sequence[SubtreeRow]
) -> None:
    """Store what was appended; a number that is taken already fails the transaction."""
    of = {"log": epoch.log, "epoch": epoch.number}
    if leaves:
        rows = [of | {"number": row.number, "leaf": row.leaf, "hash": row.hash} for row in leaves]
        _ADD_LEAVES.run_each(connection, rows)
    if subtrees:
        rows = [of | {"level": row.level, "number": row.number, "hash": row.hash} for row in subtrees]
        _ADD_SUBTREES.run_each(connection, rows)


@dataclass(slots=True)
class StoredTree:
    """One epoch's tree, read through one connection; tiles stay in memory as long as this does."""

    connection: Connection
    epoch: LogEpoch
    _tiles: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)

    def size(self) -> int:
        """How many leaves there are."""
        last = self.connection.execute(select(func.max(LEAVES.c.number)).where(*_of(LEAVES, self.epoch)))
        newest: int | None = last.scalar_one()
        return 0 if newest is None else newest + 1

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree of 2^level leaves. Raises LookupError where the tree does not hold it."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile = self.hashes(tile_level, first // TILE_WIDTH)
        nodes = tile[first % TILE_WIDTH : first % TILE_WIDTH + (1 << height)]
        if len(nodes) != 1 << height:
            raise LookupError(f"the log holds no node {index} of level {level}")
        while len(nodes) > 1:
            nodes = [hash_children(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
        return nodes[0]

    def hashes(self, tile_level: int, number: int) -> list[bytes]:
        """The hashes of a tile, as many as there are."""
        key = (tile_level, number)
        if key not in self._tiles:
            first = number * TILE_WIDTH
            table = LEAVES if tile_level == 0 else SUBTREES
            query = select(table.c.hash).where(
                *_of(table, self.epoch), table.c.number >= first, table.c.number < first + TILE_WIDTH
            )
            if tile_level:
                query = query.where(SUBTREES.c.level == tile_level)
            self._tiles[key] = list(self.connection.execute(query.order_by(table.c.number)).scalars())
        return self._tiles[key]

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """The hashes of these leaves, in order."""
        query = select(LEAVES.c.hash).where(*_of(LEAVES, self.epoch), LEAVES.c.number >= start, LEAVES.c.number < end)
        return list(self.connection.execute(query.order_by(LEAVES.c.number)).scalars())

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The bytes of these leaves, in order."""
        query = select(LEAVES.c.leaf).where(*_of(LEAVES, self.epoch), LEAVES.c.number >= start, LEAVES.c.number < end)
        return list(self.connection.execute(query.order_by(LEAVES.c.number)).scalars())

    def head(self) -> LogHead:
        """Where the log goes on. Raises LookupError if a leaf or a subtree is missing."""
        size = self.size()
        if size == 0:
            return EMPTY_HEAD
        (last,) = self.leaves(size - 1, size)
        return LogHead(load_frontier(size, self.node), chain_hash(last))


def _of(table: Table, epoch: LogEpoch) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.log == epoch.log, table.c.epoch == epoch.number
