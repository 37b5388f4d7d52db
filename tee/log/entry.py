"""Leaves of the log: canonical JSON, each naming the hash of the one before it (SPEC §15.4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tee.canonical import encode_canonical, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import hex_bytes, require_members, seconds
from tee.log.merkle import MAX_TREE_SIZE

MAX_LEAF_SIZE = 65_535  # tiles carry a leaf behind a length of two bytes
NO_LEAF = bytes(32)  # what the first leaf names as the one before it
COMMITTED = frozenset({"route", "receipt", "audit", "key.seal", "key.release", "key.revoke"})
PLAIN = frozenset({"startup", "configuration", "identity.epoch", "release.announce", "release.retire", "log.continues"})
_MEMBERS = {"body", "index", "prev", "time", "type", "v"}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One leaf. `prev` is SHA-256 of the previous leaf's bytes; `time` is the log's own word, seconds since 1970."""

    index: int
    prev: bytes
    time: int
    type: str
    body: dict[str, Any]

    def encode(self) -> bytes:
        """The leaf's bytes. Raises Malformed."""
        place = self.index, self.prev.hex().encode(), self.time, self.type.encode()
        raw = b'{"body":%b,"index":%d,"prev":"%b","time":%d,"type":"%b","v":1}' % (encode_canonical(self.body), *place)
        if len(raw) > MAX_LEAF_SIZE:
            raise Malformed("leaf", f"{len(raw)} bytes", f"at most {MAX_LEAF_SIZE}")
        return raw


def chain_hash(leaf: bytes) -> bytes:
    """What the next leaf names as `prev` (32 bytes)."""
    return hashlib.sha256(leaf).digest()


def parse_entry(raw: bytes, field: str = "leaf") -> LogEntry:
    """A leaf from its bytes; any other spelling of the same values is refused. Raises Malformed."""
    if len(raw) > MAX_LEAF_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_LEAF_SIZE}")
    document = parse_json(raw, field)
    require_members(document, _MEMBERS, field, exact=True)
    if type(document["v"]) is not int or document["v"] != 1:
        raise Malformed(f"{field}.v", shown(document["v"]), 1)
    index = document["index"]
    if type(index) is not int or not 0 <= index < MAX_TREE_SIZE:
        raise Malformed(f"{field}.index", shown(index), "an integer of at least 0")
    kind = document["type"]
    if not isinstance(kind, str) or kind not in COMMITTED | PLAIN:
        raise Malformed(f"{field}.type", shown(kind), "a type of leaf that is known here")
    body = document["body"]
    require_members(body, {"commitment"} if kind in COMMITTED else set(), f"{field}.body", exact=kind in COMMITTED)
    entry = LogEntry(
        index=index,
        prev=hex_bytes(document["prev"], 32, f"{field}.prev"),
        time=seconds(document["time"], f"{field}.time"),
        type=kind,
        body=body,
    )
    if entry.encode() != raw:
        raise Malformed(field, "another spelling", "canonical JSON (RFC 8785)")
    return entry
