"""Faults of what a verifier brings to a log itself: its witness policy, and the checkpoint that it saw before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from tests.vectors.certificates import NOW
from tests.vectors.documents import Document, quote, seconds
from tests.vectors.faults_log import (
    LOG_ORIGIN,
    NAMED,
    SIZE,
    Shown,
    key_id,
    largest_below,
    logged,
    signature_line,
    tree_root,
    vkey,
)
from tests.vectors.faults_quote import quote_vector
from tests.vectors.signing import ed25519_key
from tests.vectors.world import VERIFIED, Expect, Json, Vector, b64, rejected

SHOWN = Shown()
LATER = [*SHOWN.hashes, *(hashlib.sha256(b"later %d" % at).digest() for at in range(2))]
UNSEEN, SPLIT = rejected("log.witness"), rejected("log.consistency")
NAMES = ("w1", "w2", "w3")


def history_vector(
    slug: str,
    about: str,
    expect: Expect | str = VERIFIED,
    *,
    document: Document | None = None,
    witnesses: str | bytes | None = None,
    earlier: Json = None,
) -> Vector:
    """A quote, the text of a witness policy as base64, and what was seen before with the gateway's proof."""
    plain = quote_vector(slug, about, document or logged(SHOWN.member()), expect)
    raw = witnesses.encode() if isinstance(witnesses, str) else witnesses
    given = {"stage": "log", "witnesses": None if raw is None else b64(raw), "earlier": earlier}
    return replace(plain, stage="log", body=plain.body | given)


def cosignature(text: str, name: str, time: int, *, signed: str | None = None, cut: int = 0) -> str:
    """A line of cosignature/v1; `signed` is what the witness put its name to, if it was another note."""
    blob = ed25519_key(name).sign(f"cosignature/v1\ntime {time}\n{signed or text}".encode()).signature
    whole = time.to_bytes(8, "big") + blob
    return f"\u2014 {host(name)} {b64(key_id(host(name), name, 4) + whole[: len(whole) - cut])}\n"


def host(name: str) -> str:
    return f"{name}.example.com"


def cosigned(*names: str, extra: str = "") -> Document:
    lines = "".join(cosignature(SHOWN.text, name, seconds(NOW)) for name in names)
    return logged(SHOWN.member(lines=signature_line(SHOWN.text) + lines + extra))


def witness_policy(*lines: str, log: str | None = None) -> str:
    head = [f"log {log or vkey()}", *(f"witness {name} {vkey(host(name), name, 4)}" for name in NAMES)]
    return "\n".join([*head, *lines, ""])


MOST = witness_policy("group most 2 w1 w2 w3", "quorum most")


def good() -> Iterator[Vector]:
    yield history_vector("good", "Two of three witnesses.", document=cosigned("w1", "w3"), witnesses=MOST)
    yield history_vector("no-policy", "Neither policy nor memory: nothing more is demanded.")
    one = witness_policy("quorum w2")
    yield history_vector("one-witness", "One witness is the quorum.", document=cosigned("w2"), witnesses=one)
    nested = witness_policy("group far any w1 w2", "group both all far w3", "quorum both")
    yield history_vector("nested", "A group in a group.", document=cosigned("w2", "w3"), witnesses=nested)
    about = "A policy that asks for no witness demands none."
    yield history_vector("quorum-none", about, witnesses=witness_policy("quorum none"))
    spaced = "\ufeff".join(MOST.split("\ufeff")).replace(" ", "\u00a0\t").replace("\n", "\r\n\n# a line of words\n")
    about = "Any white space parts words, empty lines and comments are skipped."
    yield history_vector("white-space", about, document=cosigned("w1", "w2"), witnesses=spaced)
    again = cosignature(SHOWN.text, "w1", seconds(NOW) + 60)
    about = "A witness that cosigned twice counts once."
    yield history_vector("twice", about, UNSEEN, document=cosigned("w1", extra=again), witnesses=MOST)


def cosignatures() -> Iterator[Vector]:
    now, text = seconds(NOW), SHOWN.text
    yield history_vector("none", "No witness cosigned.", UNSEEN, witnesses=MOST)
    yield history_vector("too-few", "One witness of two.", UNSEEN, document=cosigned("w2"), witnesses=MOST)
    yield history_vector("stranger", "A stranger is no witness.", UNSEEN, document=cosigned("w1", "w4"), witnesses=MOST)
    nested = witness_policy("group far any w1 w2", "group both all far w3", "quorum both")
    yield history_vector("nested", "One half.", UNSEEN, document=cosigned("w1", "w2"), witnesses=nested)
    faults = {
        "other-note": ("The witness cosigned another note.", cosignature(text, "w3", now, signed="other\n1\nAA==\n")),
        "time-0": ("A cosignature of time 0.", cosignature(text, "w3", 0)),
        "time-10000": ("A time after the year 9999.", cosignature(text, "w3", 253402300800)),
        "time-2-63": ("A time beyond every calendar.", cosignature(text, "w3", 2**63)),
        "cut": ("A cosignature of 71 bytes.", cosignature(text, "w3", now, cut=1)),
    }
    for slug, (about, line) in faults.items():
        document = cosigned("w1", "w2", extra=line)
        yield history_vector(f"bad-{slug}", f"Beside a quorum: {about}", UNSEEN, document=document, witnesses=MOST)
    other = MOST.replace(vkey(), vkey("other.example.com", "other"))
    document = cosigned("w1", "w2")
    yield history_vector("other-log", "The policy names another log.", UNSEEN, document=document, witnesses=other)
    key = MOST.replace(vkey(), vkey(label="other"))
    yield history_vector("other-key", "The policy names another key.", UNSEEN, document=document, witnesses=key)
    bare = rejected(missing=["log.witness"])
    yield history_vector("no-log", "The workload names no log.", bare, document=quote(), witnesses=MOST)


def policies() -> Iterator[Vector]:
    place = "witness policy, line 5"
    faults: list[tuple[str, str, str, str]] = [
        ("no-quorum", "No quorum.", witness_policy(), "witness policy"),
        ("two-quorums", "Two quorums.", witness_policy("quorum none", "quorum w1"), "witness policy, line 6"),
        ("quorum-unknown", "A quorum of nobody.", witness_policy("quorum w4"), place),
        ("quorum-words", "A quorum of two words.", witness_policy("quorum w1 w2"), place),
        ("threshold-0", "A group of none.", witness_policy("group g 0 w1", "quorum g"), place),
        ("threshold-more", "More than there are.", witness_policy("group g 4 w1 w2 w3", "quorum g"), place),
        ("threshold-zeros", "A leading zero.", witness_policy("group g 02 w1 w2", "quorum g"), place),
        ("threshold-sign", "A sign.", witness_policy("group g +2 w1 w2", "quorum g"), place),
        ("threshold-long", "5000 digits.", witness_policy(f"group g {'1' * 5000} w1 w2", "quorum g"), place),
        ("threshold-name", "A name of every object.", witness_policy("group g constructor w1", "quorum g"), place),
        ("threshold-arabic", "Digits outside ASCII.", witness_policy("group g \u0662 w1 w2", "quorum g"), place),
        ("member-twice", "A member twice.", witness_policy("group g any w1 w1", "quorum g"), place),
        ("member-below", "A member from below.", witness_policy("group g any h", "group h any w1", "quorum g"), place),
        ("member-none", "A group without members.", witness_policy("group g any", "quorum g"), place),
        ("name-taken", "A name twice.", witness_policy("group w1 any w2", "quorum w1"), place),
        ("name-none", "A group called none.", witness_policy("group none any w2", "quorum none"), place),
        ("witness-again", "One key, two names.", witness_policy(f"witness w4 {vkey(kind=4, label='w1')}"), place),
        ("witness-log-key", "A log's key as a witness's.", witness_policy(f"witness w4 {vkey()}"), place),
        ("witness-words", "A witness without a key.", witness_policy("witness w4"), place),
        ("log-witness-key", "A witness's key as a log's.", witness_policy(f"log {vkey(kind=4)}"), place),
        ("log-words", "A log of three words.", witness_policy(f"log {vkey()} a b"), place),
        ("key-garbage", "A witness without a real key.", witness_policy("witness w4 key"), place),
        ("keyword", "An unknown keyword.", witness_policy("require w1"), place),
        ("keyword-case", "A keyword in upper case.", witness_policy("QUORUM w1"), place),
        ("keyword-object", "A keyword of every object.", witness_policy("constructor w1"), place),
        ("mark", "A byte order mark.", "\ufeff" + MOST, "witness policy, line 1"),
        ("no-log", "No log.", MOST.partition("\n")[2], "witness policy"),
        ("empty", "Nothing.", "", "witness policy"),
        ("long", "More than 64 KiB.", MOST + "#" * (64 << 10), "witness policy"),
        ("many", "101 witnesses and groups.", many(), "witness policy, line 102"),
    ]
    for slug, about, text, where in faults:
        yield history_vector(f"policy-{slug}", about, where, witnesses=text)
    yield history_vector("policy-utf-8", "Bytes that are no UTF-8.", "witness policy", witnesses=b"\xff\n")


def many() -> str:
    groups = [f"group g{at} any w1" for at in range(98)]
    return witness_policy(*groups, "quorum w1")


def seen(size: int, hashes: list[bytes] = LATER, **changes: Json) -> Json:
    """A memory of the tree over these first leaves, and the proof that joins it to the shown one."""
    old, new = sorted((size, SIZE))
    proof = [] if old == new else consistency(old, hashes[:new])
    row = {"vkey": vkey(), "size": size, "root": tree_root(hashes[:size]).hex()}
    return row | {"proof": [b64(value) for value in proof]} | changes


def consistency(old: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2."""
    if old == len(hashes):
        return [] if whole else [tree_root(hashes)]
    middle = largest_below(len(hashes))
    if old <= middle:
        return [*consistency(old, hashes[:middle], whole), tree_root(hashes[middle:])]
    return [*consistency(old - middle, hashes[middle:], False), tree_root(hashes[:middle])]


def memories() -> Iterator[Vector]:
    for size in (1, 4, 5, 6):
        yield history_vector(f"grown-from-{size}", f"The log grew from {size} leaves.", earlier=seen(size))
    yield history_vector("same", "The tree of last time.", earlier=seen(SIZE, proof=None))
    yield history_vector("later", "An older tree than last time, of one history.", earlier=seen(9))
    forked = [*LATER[:3], hashlib.sha256(b"forked").digest(), *LATER[4:]]
    other = vkey("other.example.com", "other")
    faults: list[tuple[str, str, Json]] = [
        ("root-other", "A split view: one size, two roots.", seen(SIZE, root="00" * 32)),
        ("forked", "The tree of last time is no beginning of this one.", seen(5, forked)),
        ("forked-later", "This tree is no beginning of that of last time.", seen(9, forked)),
        ("rolled-back", "The log is shorter than it was, and the gateway gives no proof.", seen(9, proof=None)),
        ("no-proof", "The log is longer, and the gateway gives no proof.", seen(5, proof=None)),
        ("proof-empty", "An empty proof.", seen(5, proof=[])),
        ("proof-other", "The proof of another pair of sizes.", seen(5, proof=seen(6)["proof"])),
        ("proof-longer", "One hash too many.", seen(5, proof=[*seen(5)["proof"], b64(bytes(32))])),
        ("proof-shorter", "One hash too few.", seen(5, proof=seen(5)["proof"][:-1])),
        ("proof-short-hash", "A hash of 31 bytes.", seen(5, proof=[b64(bytes(31))])),
        ("vkey-other", "Another log at this address.", seen(5, vkey=other)),
        ("vkey-other-same-tree", "Another key, the same tree.", seen(SIZE, vkey=vkey(LOG_ORIGIN, "other"))),
    ]
    for slug, about, earlier in faults:
        yield history_vector(f"seen-{slug}", about, SPLIT, earlier=earlier)
    bare = rejected(missing=["log.consistency"])
    about = "A gateway that had a log, and names none any more."
    yield history_vector("seen-no-log", about, bare, document=quote(), earlier=seen(5))
    broken = logged(SHOWN.member(lines=""), NAMED)
    about = "A checkpoint that nobody signed."
    both = rejected("log.inclusion", "log.consistency")
    yield history_vector("seen-unsigned", about, both, document=broken, earlier=seen(5))
