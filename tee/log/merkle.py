"""The Merkle tree of RFC 6962: hashes, proofs and the compact frontier that appends to it (SPEC §15.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tee.errors import Malformed

HASH_SIZE = 32
MAX_TREE_SIZE = 2**53 - 1  # beyond it a JavaScript verifier would count otherwise
MAX_PROOF_HASHES = 63
EMPTY_ROOT = hashlib.sha256(b"").digest()

# A node stands for the complete subtree of leaves index·2^level to (index+1)·2^level - 1.
Node = tuple[int, int]
ReadNode = Callable[[int, int], bytes]


def hash_leaf(leaf: bytes) -> bytes:
    """The hash of a leaf's bytes (32 bytes)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (32 bytes)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves by its complete subtrees, left to right: enough to append and to know the root."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def append(self, leaf_hash: bytes, completed: Callable[[int, int, bytes], None] | None = None) -> Frontier:
        """The tree with one more leaf; `completed` is told level, index and hash of every inner node it makes."""
        nodes, size, level = [*self.nodes, leaf_hash], self.size, 0
        while size & 1:
            right = nodes.pop()
            nodes[-1] = hash_children(nodes[-1], right)
            size, level = size >> 1, level + 1
            if completed is not None:
                completed(level, size, nodes[-1])
        return Frontier(self.size + 1, tuple(nodes))

    def root(self) -> bytes:
        """The root (32 bytes)."""
        return fold(self.nodes) if self.nodes else EMPTY_ROOT


def fold(nodes: Sequence[bytes]) -> bytes:
    """One hash of adjacent complete subtrees, each larger than the next."""
    value = nodes[-1]
    for left in reversed(nodes[:-1]):
        value = hash_children(left, value)
    return value


def covering(start: int, end: int) -> list[Node]:
    """The complete subtrees that cover the leaves `start` to `end` - 1, left to right."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def load_frontier(size: int, read: ReadNode) -> Frontier:
    """The frontier of a stored tree."""
    return Frontier(size, tuple(read(*node) for node in covering(0, size)))


def prove_inclusion(index: int, size: int, read: ReadNode) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root of `size` leaves. Raises Malformed."""
    if not 0 <= index < size:
        raise Malformed("index", index, f"0 to {size - 1}")
    ranges, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return _hashes(reversed(ranges), read)


def prove_consistency(old: int, new: int, read: ReadNode) -> list[bytes]:
    """The hashes that show the tree of `new` leaves to extend that of `old`; none from 0. Raises Malformed."""
    if not 0 <= old <= new:
        raise Malformed("old size", old, f"0 to {new}")
    if old in (0, new):
        return []
    ranges, start, end, whole = [], 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return _hashes(reversed(ranges), read)


def root_over(level: int, first: int, nodes: Sequence[bytes], size: int, read: ReadNode) -> bytes:
    """The root of `size` leaves, made of these nodes of one level, `first` being their first, and of what is read.

    They are at least one, and complete subtrees of that tree.
    """
    start, end = first << level, (first + len(nodes)) << level

    def root(low: int, high: int) -> bytes:
        if high <= start or end <= low:
            return fold([read(*node) for node in covering(low, high)])
        if high - low == 1 << level:
            return nodes[(low >> level) - first]
        middle = low + _split(high - low)
        return hash_children(root(low, middle), root(middle, high))

    return root(0, size)


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that this proof leads to (RFC 9162 §2.1.3.2). Raises Malformed for a proof of the wrong shape."""
    _require_size("tree size", size)
    if not 0 <= index < size:
        raise Malformed("index", index, f"0 to {size - 1}")
    _require_hashes([leaf_hash, *proof])
    at, last, root = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise Malformed("inclusion proof", f"{len(proof)} hashes", "fewer, for a tree of this size")
        if at & 1 or at == last:
            root = hash_children(sibling, root)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            root = hash_children(root, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Malformed("inclusion proof", f"{len(proof)} hashes", "more, for a tree of this size")
    return root


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes], *, from_empty: bool = False
) -> None:
    """That the tree of `new` leaves extends the one of `old` (RFC 9162 §2.1.4.2). Raises Malformed otherwise.

    `from_empty` accepts an old size of 0 with an empty proof, as witnesses must; it proves nothing, so nobody else
    should.
    """
    _require_size("old size", old)
    _require_size("new size", new)
    _require_hashes([old_root, new_root, *proof])
    if old > new:
        raise Malformed("old size", old, f"at most {new}")
    if old == 0 and not from_empty:
        raise Malformed("old size", 0, "at least 1: every tree extends the empty one")
    if old in (0, new):
        if proof:
            raise Malformed("consistency proof", f"{len(proof)} hashes", "none")
        found, wanted = (old_root, new_root) if old else (old_root, EMPTY_ROOT)
        _require_root("old root", found, wanted)
        return
    roots = _walk(old, new, [old_root, *proof] if old & (old - 1) == 0 else proof)
    _require_root("old root", roots[0], old_root)
    _require_root("new root", roots[1], new_root)


def _walk(old: int, new: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that a consistency proof leads to."""
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not proof:
        raise Malformed("consistency proof", "no hashes", "some, for trees of these sizes")
    older = newer = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            raise Malformed("consistency proof", f"{len(proof)} hashes", "fewer, for trees of these sizes")
        if at & 1 or at == last:
            older, newer = hash_children(sibling, older), hash_children(sibling, newer)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            newer = hash_children(newer, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Malformed("consistency proof", f"{len(proof)} hashes", "more, for trees of these sizes")
    return older, newer


def _split(width: int) -> int:
    """The largest power of two below `width`, which is at least 2."""
    return 1 << ((width - 1).bit_length() - 1)


def _hashes(ranges: Iterable[tuple[int, int]], read: ReadNode) -> list[bytes]:
    return [fold([read(*node) for node in covering(start, end)]) for start, end in ranges]


def _require_size(name: str, size: int) -> None:
    if not 0 <= size <= MAX_TREE_SIZE:
        raise Malformed(name, size, f"0 to {MAX_TREE_SIZE}")


def _require_hashes(hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_SIZE:
            raise Malformed("hash", f"{len(value)} bytes", f"{HASH_SIZE} bytes")


def _require_root(name: str, found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise Malformed(name, found.hex(), f"{wanted.hex()}, by the proof" if name != "old root" else wanted.hex())
