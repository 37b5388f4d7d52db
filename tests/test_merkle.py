"""The tree: published vectors, and every proof of small trees against a definition written down naively."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tee.errors import Malformed
from tee.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    hash_leaf,
    load_frontier,
    prove_consistency,
    prove_inclusion,
    root_from_inclusion,
    verify_consistency,
)

# Its roots have 12 bytes. Here a hash has 32.
POLICY_DIFFERENCES = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"}
SIZES = range(1, 34)


def _naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + _naive_root(leaves[:split]) + _naive_root(leaves[split:])).digest()


LEAVES = [f"leaf {number}".encode() for number in range(max(SIZES))]
ROOTS = [_naive_root(LEAVES[:size]) for size in range(max(SIZES) + 1)]


def _read(level: int, index: int) -> bytes:
    return _naive_root(LEAVES[index << level : (index + 1) << level])


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _refuses_inclusion(case: dict[str, Any]) -> bool:
    proof = [_bytes(text) for text in case["proof"] or []]
    try:
        root = root_from_inclusion(_bytes(case["leafHash"]), case["leafIdx"], case["treeSize"], proof)
    except Malformed:
        return True
    return root != _bytes(case["root"])


def _refuses_consistency(case: dict[str, Any]) -> bool:
    proof = [_bytes(text) for text in case["proof"] or []]
    old, new = _bytes(case["root1"]), _bytes(case["root2"])
    try:
        verify_consistency(case["size1"], old, case["size2"], new, proof)
    except Malformed:
        return True
    return False


def test_published_vectors_differ_in_policy_only(vectors: Path) -> None:
    """All agree but one. Consistency with the empty tree is refused there too; witnesses ask for it by `from_empty`."""
    differ = set()
    files = sorted((vectors / "merkle").rglob("*.json"))
    for path in files:
        case = json.loads(path.read_text())
        refused = (_refuses_inclusion if "leafIdx" in case else _refuses_consistency)(case)
        if refused != case["wantErr"]:
            differ.add(path.relative_to(vectors / "merkle").as_posix())
    assert len(files) == 196
    assert differ == POLICY_DIFFERENCES


@pytest.mark.parametrize("size", SIZES)
def test_the_frontier_has_the_root_of_the_definition(size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier = frontier.append(hash_leaf(leaf))
    assert frontier.root() == ROOTS[size]
    assert load_frontier(size, _read) == frontier


def test_an_empty_tree_has_a_root() -> None:
    assert Frontier().root() == ROOTS[0] == EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proved_and_no_other_place_is(size: int) -> None:
    for index in range(size):
        proof = prove_inclusion(index, size, _read)
        assert root_from_inclusion(hash_leaf(LEAVES[index]), index, size, proof) == ROOTS[size]
        for other in range(size):
            if other != index:
                try:
                    assert root_from_inclusion(hash_leaf(LEAVES[index]), other, size, proof) != ROOTS[size]
                except Malformed:
                    continue


@pytest.mark.parametrize("new", SIZES)
def test_every_older_tree_is_consistent_and_no_other_root_is(new: int) -> None:
    for old in range(1, new + 1):
        proof = prove_consistency(old, new, _read)
        verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)
        with pytest.raises(Malformed, match="root"):
            verify_consistency(old, ROOTS[old - 1], new, ROOTS[new], proof)
        with pytest.raises(Malformed):
            verify_consistency(old, ROOTS[old], new, ROOTS[old - 1], proof)
        with pytest.raises(Malformed):
            verify_consistency(old, ROOTS[old], new, ROOTS[new], [*proof, ROOTS[0]])
        for at in range(len(proof)):
            with pytest.raises(Malformed):
                verify_consistency(old, ROOTS[old], new, ROOTS[new], proof[:at] + proof[at + 1 :])


def test_consistency_with_the_empty_tree_is_accepted_of_witnesses_only() -> None:
    with pytest.raises(Malformed, match="every tree extends the empty one"):
        verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], [])
    verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], [], from_empty=True)
    with pytest.raises(Malformed, match="wanted none"):
        verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], [ROOTS[1]], from_empty=True)
    with pytest.raises(Malformed, match="old root"):
        verify_consistency(0, ROOTS[1], 5, ROOTS[5], [], from_empty=True)


@pytest.mark.parametrize(
    ("index", "size"), [(5, 5), (-1, 5), (0, 0), (0, 2**53)], ids=["past the end", "negative", "empty", "too large"]
)
def test_a_place_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(Malformed):
        root_from_inclusion(ROOTS[1], index, size, [])
    if size < 2**53:
        with pytest.raises(Malformed):
            prove_inclusion(index, size, _read)


def test_a_tree_cannot_shrink() -> None:
    with pytest.raises(Malformed, match="at most 3"):
        verify_consistency(4, ROOTS[4], 3, ROOTS[3], [])
    with pytest.raises(Malformed):
        prove_consistency(4, 3, _read)
