"""What a start changes, said in the log before it: `configuration` and `identity.epoch` leaves (SPEC §15.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from gateway.sequencer import Sequence
from gateway.storage.log import StoredTree
from gateway.storage.quotes import find_quote
from tee.canonical import digest, parse_json
from tee.errors import Malformed, Unavailable
from tee.log.entry import chain_hash, parse_entry

Body = dict[str, Any]
BATCH = 4096  # leaves read at a time
TAIL_SIZE = 160
# How every leaf of ours ends: RFC 8785 orders its members.
_TAIL = re.compile(rb'"prev":"([0-9a-f]{64})","time":[0-9]+,"type":"([a-z.]+)","v":1\}\Z')


@dataclass(frozen=True, slots=True)
class Outset:
    """What this log said before this process: its last `startup` body, and the `identity.epoch` body that is due."""

    startup: Body | None
    identity: Body | None


def identity_change(named: Body | None, key: str) -> Body | None:
    """The body of the `identity.epoch` leaf for this identity; None if it is the one that was named last."""
    if named is None:
        return {"epoch": 1, "identity_key": key, "previous_identity_key": None}
    if named["identity_key"] == key:
        return None
    return {"epoch": named["epoch"] + 1, "identity_key": key, "previous_identity_key": named["identity_key"]}


def configuration_change(before: Body | None, now: Body) -> Body | None:
    """The body of the `configuration` leaf between two `startup` bodies; None where there is nothing to say."""
    if before is None:
        return None
    previous, current = ({name: it[name] for name in ("audience", "build", "configuration")} for it in (before, now))
    old, new = previous["configuration"], current["configuration"]
    changed = [name for name in ("audience", "build") if previous[name] != current[name]]
    changed += [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return {"previous": previous, "current": current, "changed": changed} if changed else None


def read_outset(engine: Engine, log: Sequence, identity_key: str, build: Body) -> Outset:
    """What this epoch's log said last; `log` stands at its end. Raises Unavailable.

    Where `log` stands is known to be ours, and every leaf names the hash of the one before it: nothing that somebody
    else wrote into the database is believed. It reads back to the last `startup` leaf, and further, to the last
    `identity.epoch`, only where that start was not plainly one of this build under this identity.
    """
    startup: Body | None = None
    with engine.connect() as connection:
        for kind, leaf in _backwards(StoredTree(connection, log.epoch), log.size, log.prev):
            if kind == b"startup" and startup is None:
                startup = parse_entry(leaf).body
                if startup["build"] == build and _identity_of(engine, startup) == identity_key:
                    return Outset(startup, None)  # this build names an identity before it starts under it
            elif kind == b"identity.epoch":
                return Outset(startup, identity_change(parse_entry(leaf).body, identity_key))
    return Outset(startup, identity_change(None, identity_key))


def _identity_of(engine: Engine, startup: Body) -> str | None:
    """The identity of that start, by its stored quote; the leaf has committed to the workload document in there."""
    quote = find_quote(engine, startup["keyset_digest"])
    if quote is None:
        return None
    try:
        workload = parse_json(quote.encode(), "quote")["workload"]
        return str(workload["identity_key"]) if digest(workload) == startup["workload_digest"] else None
    except (Malformed, KeyError, TypeError):
        return None


def _backwards(tree: StoredTree, size: int, prev: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and bytes of every leaf, the newest first; `prev` is the hash of the newest. Raises Unavailable."""
    for end in range(size, 0, -BATCH):
        start = max(0, end - BATCH)
        for leaf in reversed(tree.leaves(start, end)):
            size -= 1
            tail = _TAIL.search(leaf, max(0, len(leaf) - TAIL_SIZE))
            if tail is None or chain_hash(leaf) != prev:
                raise _altered(size)
            yield tail[2], leaf
            prev = bytes.fromhex(tail[1].decode())
        if size != start:  # the oldest of them are gone, which no chain shows
            raise _altered(size - 1)


def _altered(number: int) -> Unavailable:
    reason = f"lacks entry {number} of the log as it was logged: restore it"
    return Unavailable("the gateway's database", reason, retryable=False)
