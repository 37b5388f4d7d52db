"""What the log publishes: checkpoints, cosignatures, proofs, tiles and leaves, and how each is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tee.canonical import canonicalize, digest
from tee.errors import Malformed
from tee.log.checkpoint import cosigned_at, open_checkpoint, parse_checkpoint
from tee.log.entry import NO_LEAF, LogEntry, chain_hash, parse_entry
from tee.log.note import KeyType, NoteKey, parse_note, parse_note_key
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.log.tiles import Tile, encode_entries, parse_entries, parse_hashes, parse_tile_path, tiles_between
from tee.log.witnesses import parse_witness_policy
from tests.worlds.small_log import COSIGNED_AT, ORIGIN, SmallLog, SmallWitness, sign_with

LOG = SmallLog(leaves=[f"leaf {number}".encode() for number in range(9)])
ONE, TWO, THREE = (SmallWitness(f"witness-{seed}.example", seed) for seed in (11, 12, 13))
NOTE = LOG.checkpoint()
RAW = NOTE.encode()
PROOF = LOG.proof(4)


def test_a_checkpoint_is_the_log_s_own_word() -> None:
    signed = open_checkpoint(RAW, LOG.key, "checkpoint")
    assert (signed.checkpoint.origin, signed.checkpoint.size) == (ORIGIN, 9)
    assert signed.checkpoint.root == LOG.root(9)
    assert signed.note.encode() == RAW


def _stranger() -> NoteKey:
    return NoteKey(ORIGIN, KeyType.ED25519, bytes(THREE.secret.verify_key))


def test_the_signature_of_another_key_is_none() -> None:
    with pytest.raises(Malformed, match="no signature by the log's key"):
        open_checkpoint(RAW, _stranger(), "checkpoint")


def test_lines_of_unknown_keys_are_ignored_and_a_known_key_s_bad_line_is_fatal() -> None:
    cosigned = TWO.cosign(ONE.cosign(NOTE))
    open_checkpoint(cosigned.encode(), LOG.key, "checkpoint")
    own, *others = cosigned.signatures
    forged = replace(cosigned, signatures=(replace(own, blob=bytes(64)), *others))
    with pytest.raises(Malformed, match="a bad signature by gw"):
        open_checkpoint(forged.encode(), LOG.key, "checkpoint")
    # A second line in the log's name, beside the good one, is no less a forgery.
    doubled = replace(cosigned, signatures=(own, replace(own, blob=bytes(64))))
    with pytest.raises(Malformed, match="a bad signature by gw"):
        open_checkpoint(doubled.encode(), LOG.key, "checkpoint")


def test_an_origin_that_is_not_the_key_s_name_is_refused() -> None:
    other = SmallLog(origin="other.example/log", leaves=LOG.leaves)
    text = other.checkpoint().text
    line = replace(NOTE.signatures[0], blob=sign_with(LOG.secret, text.encode()))
    with pytest.raises(Malformed, match=r'origin: found "other\.example/log"'):
        open_checkpoint(replace(NOTE, text=text, signatures=(line,)).encode(), LOG.key, "checkpoint")


NOTES: dict[str, tuple[bytes, str]] = {
    "no signature": (RAW.split(b"\n\n")[0] + b"\n", "no signature lines"),
    "an empty signature block": (RAW.split(b"\n\n")[0] + b"\n\n", "0 signature lines"),
    "no text": (b"\n\n" + RAW.split(b"\n\n")[1], "no signature lines"),
    "no line break at the end": (RAW[:-1], "no signature lines"),
    "a control character": (RAW.replace(b"\n9\n", b"\n9\r\n"), "a control character"),
    "invalid UTF-8": (b"\xff" + RAW, "invalid UTF-8 at byte 0"),
    "a hyphen for the dash": (RAW.replace("—".encode(), b"-"), "wanted a signature line"),
    "base64 in another spelling": (RAW[:-2] + b"*\n", "standard base64"),
    "a signature of no bytes": (RAW + "— name AAAAAA==\n".encode(), "a signature of 4 bytes"),
    "a name with a plus": (RAW + "— a+b AAAAAAA=\n".encode(), "wanted a signature line"),
    "too many signatures": (RAW + "— x AAAAAAA=\n".encode() * 100, "101 signature lines"),
    "too large": (RAW + b" " * (64 << 10), "bytes, wanted at most 65536"),
    "leading zero": (RAW.replace(b"\n9\n", b"\n09\n"), 'size: found "09"'),
    "a negative size": (RAW.replace(b"\n9\n", b"\n-9\n"), 'size: found "-9"'),
    "a size beyond JavaScript": (RAW.replace(b"\n9\n", b"\n9007199254740992\n"), "size: found"),
    "an extension line": (RAW.replace(b"\n\n", b"\nextra\n\n", 1), "4 lines"),
    "a line missing": (RAW.replace(b"\n9\n", b"\n"), "2 lines"),
    "no origin": (RAW[len(ORIGIN) :], "3 lines"),
    "a short root": (RAW.replace(base64.b64encode(LOG.root(9)), b"AAAA"), "root: found 3 bytes"),
}


@pytest.mark.parametrize(("raw", "words"), NOTES.values(), ids=NOTES.keys())
def test_a_checkpoint_that_is_none(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_checkpoint(raw, "checkpoint")
    assert words in str(caught.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode() + b"\n\n" + RAW[-120:]))
def test_a_note_that_parses_has_one_spelling(raw: bytes) -> None:
    try:
        note = parse_note(raw, "note")
    except Malformed:
        return
    assert note.encode() == raw


def test_a_key_is_named_by_itself() -> None:
    text = LOG.key.encode()
    assert parse_note_key(text, "key") == LOG.key
    name, key_id, body = text.split("+", 2)
    for broken in (f"{name}+{key_id}", f"{name}+00000000+{body}", f"{name}+{key_id}+AAAA", f" {text}", f"{text}="):
        with pytest.raises(Malformed, match=r"^key: "):
            parse_note_key(broken, "key")


def test_witnesses_say_when_they_saw_it() -> None:
    cosigned = TWO.cosign(ONE.cosign(NOTE), COSIGNED_AT + 60)
    assert cosigned_at(cosigned, ONE.key, "checkpoint") == COSIGNED_AT
    assert cosigned_at(cosigned, TWO.key, "checkpoint") == COSIGNED_AT + 60
    assert cosigned_at(cosigned, THREE.key, "checkpoint") is None
    # Asked again, a witness signs again: the newest time counts.
    assert cosigned_at(ONE.cosign(cosigned, COSIGNED_AT + 90), ONE.key, "checkpoint") == COSIGNED_AT + 90


@pytest.mark.parametrize(
    "change",
    [
        lambda blob: (COSIGNED_AT + 1).to_bytes(8, "big") + blob[8:],  # the same signature, at another time
        lambda blob: bytes(8) + blob[8:],
        lambda blob: blob[:-1],
        lambda blob: b"\xff" * 8 + blob[8:],
    ],
    ids=["later", "no time", "cut", "beyond the year 9999"],
)
def test_a_cosignature_covers_its_time(change: Callable[[bytes], bytes]) -> None:
    own, line = ONE.cosign(NOTE).signatures
    forged = replace(NOTE, signatures=(own, replace(line, blob=change(line.blob))))
    with pytest.raises(Malformed, match="a bad cosignature by witness-11"):
        cosigned_at(forged, ONE.key, "checkpoint")


def test_a_log_s_key_is_no_witness() -> None:
    with pytest.raises(Malformed, match="a key of type 1"):
        cosigned_at(NOTE, LOG.key, "checkpoint")


def _policy(*lines: str) -> bytes:
    head = [f"log {LOG.key.encode()}", "# three strangers"]
    head += [f"witness w{at} {it.key.encode()} https://w{at}.example" for at, it in enumerate((ONE, TWO, THREE))]
    return "\n".join([*head, *lines, ""]).encode()


@pytest.mark.parametrize(
    ("lines", "cosigned", "reached"),
    [
        (("quorum none",), "", True),
        (("quorum w1",), "w0 w2", False),
        (("quorum w1",), "w1", True),
        (("group g 2 w0 w1 w2", "quorum g"), "w2", False),
        (("group g 2 w0 w1 w2", "quorum g"), "w2 w0", True),
        (("group g all w0 w1", "quorum g"), "w0", False),
        (("group g any w0 w1", "quorum g"), "w1", True),
        (("group g any w0 w1", "group h all g w2", "quorum h"), "w0 w1", False),
        (("group g any w0 w1", "group h all g w2", "quorum h"), "w0 w2", True),
    ],
)
def test_a_quorum(lines: tuple[str, ...], cosigned: str, reached: bool) -> None:
    policy = parse_witness_policy(_policy(*lines))
    assert policy.reached(set(cosigned.split())) is reached


def test_a_policy_knows_its_witnesses_on_a_note() -> None:
    policy = parse_witness_policy(_policy("group g 2 w0 w1 w2", "quorum g"))
    assert policy.cosigned(ONE.cosign(NOTE), "checkpoint") == {"w0": COSIGNED_AT}
    assert policy.describe() == "2 of w0, w1, w2"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (_policy(), "no quorum"),
        (_policy("quorum none", "quorum none"), "line 7: found another quorum"),
        (_policy("quorum w9"), 'found "w9"'),
        (_policy("group g 4 w0 w1 w2", "quorum g"), 'found "4", wanted all, any, or 1 to 3'),
        (_policy("group g 0 w0", "quorum g"), 'found "0"'),
        (_policy("group g some w0", "quorum g"), 'found "some"'),
        (_policy("group g any w0 w0", "quorum g"), "a member twice"),
        (_policy("group g any h", "group h any g", "quorum g"), 'found "h"'),
        (_policy("group w0 any w1", "quorum none"), "a name that is not taken"),
        (_policy("group none any w1", "quorum none"), "a name that is not taken"),
        (_policy("group g", "quorum none"), "1 words"),
        (_policy(f"witness again {ONE.key.encode()}", "quorum again"), "a key that another witness has"),
        (_policy(f"witness w9 {LOG.key.encode()}", "quorum none"), "a key of type 1"),
        (_policy(f"log {ONE.key.encode()}", "quorum none"), "a key of type 4"),
        (_policy("log a b c", "quorum none"), "3 words"),
        (_policy("witness w9", "quorum none"), "1 words"),
        (_policy("believe me", "quorum none"), 'found "believe"'),
        (b"quorum none\n", "no log"),
        (b"\xff", "invalid UTF-8"),
        (b"#" * (65 << 10), "bytes, wanted at most"),
    ],
)
def test_a_policy_that_is_none(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_witness_policy(raw)
    assert words in str(caught.value)


def test_a_proof_is_text_with_one_spelling() -> None:
    raw = PROOF.encode()
    assert parse_leaf_proof(raw) == PROOF
    assert verify_leaf(b"leaf 4", PROOF, LOG.key).size == 9


@pytest.mark.parametrize(
    ("leaf", "proof", "words"),
    [
        (b"leaf 5", PROOF, "from this leaf"),
        (b"leaf 4", replace(PROOF, index=5), "from this leaf"),
        (b"leaf 4", replace(PROOF, index=9), "index: found 9, wanted 0 to 8"),
        (b"leaf 4", replace(PROOF, hashes=PROOF.hashes[:-1]), "more, for a tree of this size"),
        (b"leaf 4", replace(PROOF, hashes=(*PROOF.hashes, bytes(32))), "fewer, for a tree of this size"),
        (b"leaf 4", replace(PROOF, hashes=PROOF.hashes[::-1]), "from this leaf"),
        (b"leaf 4", replace(PROOF, checkpoint=LOG.checkpoint(8).encode()), "wanted"),
    ],
    ids=["another leaf", "another index", "beyond the end", "cut", "longer", "reversed", "another checkpoint"],
)
def test_a_proof_of_something_else(leaf: bytes, proof: Any, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        verify_leaf(leaf, proof, LOG.key)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        PROOF.encode().replace(b"@v1", b"@v2"),
        PROOF.encode().replace(b"index 4", b"index 04"),
        PROOF.encode().replace(b"index 4", b"extra AAAA\nindex 4"),
        PROOF.encode().replace(b"\n\n", b"\nAAAA\n\n", 1),
        PROOF.encode().replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n" * 64 + b"\n", 1),
        PROOF.encode().split(b"\n\n")[0],
        b"c2sp.org/tlog-proof@v1\n\n" + PROOF.checkpoint,
        "c2sp.org/tlog-proof@v1\nindex ٤\n\n".encode() + PROOF.checkpoint,
        PROOF.encode() + b" " * (80 << 10),
    ],
    ids=[
        "version",
        "zeros",
        "extra",
        "short hash",
        "many hashes",
        "no checkpoint",
        "no index",
        "other digits",
        "large",
    ],
)
def test_a_proof_that_is_none(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_leaf_proof(raw)


ENTRY = LogEntry(0, NO_LEAF, 1_795_240_000, "startup", {"measurement": "00"})


def test_leaves_name_the_one_before() -> None:
    raw = ENTRY.encode()
    assert parse_entry(raw) == ENTRY
    following = LogEntry(1, chain_hash(raw), ENTRY.time, "receipt", {"commitment": digest({"salt": "x"})})
    assert parse_entry(following.encode()).prev == chain_hash(raw)
    for leaf in (raw, following.encode()):
        assert leaf == canonicalize(json.loads(leaf))


LEAF = ENTRY.encode()
BAD_LEAVES: dict[str, tuple[bytes, str]] = {
    "a space": (LEAF.replace(b":", b": ", 1), "another spelling"),
    "an unknown member": (LEAF[:-1] + b',"x":1}', "leaf.x"),
    "a member missing": (LEAF.replace(b',"v":1', b""), "leaf.v"),
    "another version": (LEAF.replace(b'"v":1', b'"v":2'), "leaf.v: found 2"),
    "a version that is true": (LEAF.replace(b'"v":1', b'"v":true'), "leaf.v: found a boolean"),
    "a negative index": (LEAF.replace(b'"index":0', b'"index":-1'), "leaf.index: found -1"),
    "an unknown type": (LEAF.replace(b"startup", b"gossip"), 'leaf.type: found "gossip"'),
    "a short prev": (LEAF.replace(b"0" * 64, b"0" * 62), "leaf.prev"),
    "a body that is a list": (LEAF.replace(b'{"measurement":"00"}', b"[]"), "leaf.body: found an array"),
    "a receipt that tells": (LEAF.replace(b"startup", b"receipt"), "leaf.body.commitment"),
    "too large": (LEAF + b" " * 65_536, "at most 65535"),
}


@pytest.mark.parametrize(("raw", "words"), BAD_LEAVES.values(), ids=BAD_LEAVES.keys())
def test_a_leaf_that_is_none(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_entry(raw)
    assert words in str(caught.value)


def test_a_leaf_that_no_tile_could_carry_is_never_made() -> None:
    with pytest.raises(Malformed, match="at most 65535"):
        replace(ENTRY, body={"text": "x" * 65_535}).encode()


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 1234067), "tile/1/x001/x234/067"),
        (Tile(None, 5, 17), "tile/entries/005.p/17"),
        (Tile(2, 1000, 1), "tile/2/x001/000.p/1"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    (
        "tile/0/0 tile/00/000 tile/0/x000/001 tile/0/000.p/256 tile/0/000.p/0 tile/0/000.p/ tile/0 tile/7/000 "
        f"tile/a/000 tile/0/../000 tile/0/000/ tile/8/0/000 tile/0/{'x000/' * 9}000"
    ).split(),
)
def test_a_tile_has_no_other_path(path: str) -> None:
    with pytest.raises(Malformed):
        parse_tile_path(path)


def test_tiles_cover_a_tree_and_no_more() -> None:
    paths = [tile.path() for tile in tiles_between(0, 256 * 256 + 257)]
    assert paths[256:259] == ["tile/entries/256", "tile/entries/257.p/1", "tile/0/000"]
    assert paths[-3:] == ["tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"]
    assert len(paths) == 2 * 258 + 3
    assert list(tiles_between(5, 5)) == []


def test_entry_tiles_come_back_as_their_leaves() -> None:
    leaves = [b"", b"one", b"x" * 65_535]
    raw = encode_entries(leaves)
    assert parse_entries(raw, 3) == leaves
    for broken, width in ((raw, 2), (raw, 4), (raw[:-1], 3), (raw + b"\0", 4), (bytes(65_537 + 1), 1)):
        with pytest.raises(Malformed):
            parse_entries(broken, width)


def test_hash_tiles_have_32_bytes_a_hash() -> None:
    assert parse_hashes(b"a" * 32 + b"b" * 32, 2) == [b"a" * 32, b"b" * 32]
    with pytest.raises(Malformed, match="wanted 64"):
        parse_hashes(bytes(63), 2)
