"""Whether several trees of one log are one history, by the log's consistency proofs (SPEC §15.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tee.canonical import kind_of, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, passed, skipped
from tee.keys.identity import require_members
from tee.log.checkpoint import Checkpoint
from tee.log.merkle import MAX_PROOF_HASHES, MAX_TREE_SIZE, verify_consistency
from tee.quote import decode_base64, encode_base64

MAX_LINKS = 4  # one from each tree to the next: those of a quote, a receipt and a route
# Consistency proofs by the sizes of their trees, the smaller first; None where the log gave none.
Links = Mapping[tuple[int, int], tuple[bytes, ...] | None]


def parse_link(value: Any, path: str) -> tuple[tuple[int, int], tuple[bytes, ...]]:
    """A consistency proof as a gateway serves it: `{"from","to","proof"}`. Raises Malformed."""
    require_members(value, {"from", "to", "proof"}, path)
    sizes, hashes = (value["from"], value["to"]), value["proof"]
    for size in sizes:
        if type(size) is not int or not 0 <= size <= MAX_TREE_SIZE:
            raise Malformed(path, shown(size), f"a size, 0 to {MAX_TREE_SIZE}")
    if not isinstance(hashes, list) or len(hashes) > MAX_PROOF_HASHES:
        raise Malformed(f"{path}.proof", kind_of(hashes), f"a list of at most {MAX_PROOF_HASHES} hashes")
    return sizes, tuple(decode_base64(each, f"{path}.proof") for each in hashes)


def parse_links(value: Any, path: str) -> Links:
    """A list of served consistency proofs. Raises Malformed."""
    if not isinstance(value, list) or len(value) > MAX_LINKS:
        raise Malformed(path, kind_of(value), f"a list of at most {MAX_LINKS} proofs")
    return dict(parse_link(each, path) for each in value)


def encode_links(links: Links) -> list[dict[str, Any]]:
    """The proofs that the log gave, as it served them."""
    given = {sizes: proof for sizes, proof in links.items() if proof is not None}
    return [{"from": old, "to": new, "proof": [encode_base64(each) for each in given[old, new]]} for old, new in given]


def gaps(trees: Sequence[Checkpoint]) -> list[tuple[int, int]]:
    """The sizes between which a consistency proof has to lead."""
    sizes = sorted({tree.size for tree in trees})
    return list(pairwise(sizes))


def judge_history(check_id: str, trees: Sequence[Checkpoint], links: Links | None) -> Check:
    """Each tree is the beginning of the next larger one. Without `links` only trees of one size can be compared."""
    ordered = sorted(trees, key=lambda tree: tree.size)
    for tree, following in pairwise(ordered):
        if tree.size == following.size and tree.root != following.root:
            found, wanted = f"root {following.root.hex()} of {tree.size} leaves", f"{tree.root.hex()}, shown beside it"
            return failed(check_id, found, wanted, "a split view: the log signed two trees of one size")
    steps = gaps(ordered)
    if steps and links is None:
        return skipped(check_id, f"no proof was given that the log of {steps[0][0]} leaves grew to {steps[0][1]}")
    roots = {tree.size: tree.root for tree in ordered}
    for old, new in steps:
        proof = links.get((old, new)) if links else None
        if proof is None:
            return failed(check_id, f"no proof from {old} to {new} leaves", "one from the log")
        try:
            verify_consistency(old, roots[old], new, roots[new], proof)
        except Malformed as error:
            return failed(check_id, f"{error.field}: {error.found}", error.wanted)
    return passed(check_id, f"trees of {', '.join(map(str, roots))} leaves", "one history")
