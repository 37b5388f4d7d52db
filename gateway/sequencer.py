"""Puts leaves in order: each gets its index, names the one before it, and becomes durable with what it records."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from gateway.storage.log import (
    LeafRow,
    LogEpoch,
    LogHead,
    RecordedHead,
    SubtreeRow,
    insert_leaves,
    record_head,
    recorded_head,
)
from tee.log.entry import LogEntry, chain_hash
from tee.log.merkle import Frontier, hash_leaf
from tee.log.tiles import TILE_HEIGHT

Authenticate = Callable[[bytes], bytes]


@dataclass(slots=True)
class Sequence:
    """Leaves that one transaction appends. Nothing of it counts until the sequencer adopts it."""

    epoch: LogEpoch
    frontier: Frontier
    prev: bytes
    time: int
    leaves: list[LeafRow] = field(default_factory=list)
    subtrees: list[SubtreeRow] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of the leaves

    @property
    def size(self) -> int:
        """The index that the next leaf gets."""
        return self.frontier.size

    def append(self, kind: str, body: dict[str, Any]) -> int:
        """Append a leaf; returns its index. Raises Malformed for a body that no leaf can carry."""
        entry = LogEntry(self.frontier.size, self.prev, self.time, kind, body)
        leaf = entry.encode()
        row = LeafRow(entry.index, leaf, hash_leaf(leaf))
        self.frontier = self.frontier.append(row.hash, self._completed)
        self.prev = chain_hash(leaf)
        self.leaves.append(row)
        self.kinds.append(kind)
        return entry.index

    def _completed(self, level: int, number: int, value: bytes) -> None:
        tile_level, height = divmod(level, TILE_HEIGHT)
        if height == 0:
            self.subtrees.append(SubtreeRow(tile_level, number, value))


class Sequencer:
    """The one writer of one epoch, used by one thread. Where it stands is its own memory, not the database's word."""

    def __init__(
        self,
        epoch: LogEpoch,
        head: LogHead,
        authenticate: Authenticate,
        now: Callable[[], float],
        unsigned: Iterable[bytes],
    ) -> None:
        """`unsigned` are the hashes of durable leaves that no checkpoint covers yet."""
        self.epoch = epoch
        self._head = head
        self._authenticate = authenticate
        self._now = now
        self._unsigned = deque(unsigned)

    def begin(self) -> Sequence:
        """Leaves for one transaction."""
        return Sequence(self.epoch, self._head.frontier, self._head.prev, int(self._now()))

    def write(self, sequence: Sequence, connection: Connection) -> None:
        """Store the leaves in their transaction, and where the log then ends."""
        if not sequence.leaves:
            return
        insert_leaves(connection, self.epoch, sequence.leaves, sequence.subtrees)
        mac = self._authenticate(_head_message_of(sequence))
        head = RecordedHead(sequence.size, sequence.frontier.root(), sequence.prev, mac)
        record_head(connection, self.epoch, head)

    def stands(self, sequence: Sequence, connection: Connection) -> bool:
        """Whether these leaves are committed after all, though nobody said so: by the code that only this log makes."""
        recorded = recorded_head(connection, self.epoch)
        mac = self._authenticate(_head_message_of(sequence))
        return recorded is not None and hmac.compare_digest(recorded.mac, mac)

    def ends_with(self, sequence: Sequence) -> bool:
        """Whether these are the leaves that it adopted last."""
        return self._head.prev == sequence.prev

    def adopt(self, sequence: Sequence) -> None:
        """The transaction is durable: go on from there."""
        self._head = LogHead(sequence.frontier, sequence.prev)
        self._unsigned.extend(row.hash for row in sequence.leaves)

    def take_unsigned(self) -> list[bytes]:
        """The hashes of leaves that became durable since the last time, in order; usable from another thread."""
        return [self._unsigned.popleft() for _ in range(len(self._unsigned))]


def _head_message_of(sequence: Sequence) -> bytes:
    return head_message(sequence.epoch.number, sequence.size, sequence.frontier.root(), sequence.prev)


def head_message(epoch: int, size: int, root: bytes, prev: bytes) -> bytes:
    """What the code of a recorded head covers."""
    return b"%d %d " % (epoch, size) + root + prev
