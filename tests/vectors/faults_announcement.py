"""Faults of an announcement: its leaf, its proof, its witnesses, its age; and of the demand in a policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import Document, fill, jcs, quote, seconds
from tests.vectors.faults_history import cosignature, host
from tests.vectors.faults_log import INDEX, SIZE, Shown, entry, leaf_hash, signature_line, tree_root, vkey
from tests.vectors.faults_nitro import FIRMWARE, carrying, stated
from tests.vectors.faults_policy import policy_vector
from tests.vectors.faults_quote import quote_vector, without
from tests.vectors.nitro import IMAGE
from tests.vectors.reports import MEASUREMENT
from tests.vectors.world import POLICY, QUOTE_BROKEN, REPORT_BROKEN, VERIFIED, Expect, Json, Vector, b64, rejected

RELEASES = "owner.example.com/releases"
HOUR, HOURS = 3600, 72
DUE = seconds(NOW) - HOURS * HOUR  # the last second that is early enough
UNANNOUNCED, NOT_GIVEN = rejected("code.announcement"), rejected(missing=["code.announcement"])


def key(kind: int = 1, label: str = "releases") -> str:
    return vkey(RELEASES, label, kind)


def witnesses(*lines: str, log: str | None = None) -> str:
    named = [f"witness {name} {vkey(host(name), name, 4)}" for name in ("w1", "w2", "w3")]
    return "\n".join([f"log {log or key()}", *named, *(lines or ("group most 2 w1 w2 w3", "quorum most")), ""])


def demand(**changes: Json) -> dict[str, Json]:
    return {"announcement": {"log": key(), "witnesses": witnesses(), "minimum_hours": HOURS} | changes}


def announced(**changes: Json) -> Document:
    """The body of the leaf that announces the measurement of every good report."""
    row = {"value": MEASUREMENT.hex(), "platform": "qemu", "covers": "workload"}
    document: Document = {
        "release": "saferouter 1.0",
        "manifest_digest": fill("manifest"),
        "build": {"source_digest": fill("source"), "image_digest": None},
        "measurements": [{"value": "cd" * 48, "platform": "ec2", "covers": "firmware"}, row],
        "boot_images": [],
    }
    return document | changes


def shown(content: Json = None, **changes: Json) -> Shown:
    leaf = entry(content or announced(), **({"type": "release.announce"} | changes))
    return Shown(jcs(leaf), origin=RELEASES, label="releases")


def proof_text(log: Shown, lines: str, *, index: int | None = None, hashes: list[bytes] | None = None) -> str:
    path = log.proof if hashes is None else hashes
    head = ["c2sp.org/tlog-proof@v1", f"index {log.index if index is None else index}", *(b64(value) for value in path)]
    return "\n".join([*head, "", log.text, lines])


def lines_of(log: Shown, *times: int, label: str = "releases") -> str:
    """The log's line, and those of w1, w2 and w3 at these times."""
    cosigned = (cosignature(log.text, f"w{at}", time) for at, time in enumerate(times, 1))
    return signature_line(log.text, log.origin, label) + "".join(cosigned)


def document(log: Shown, *times: int, lines: str | None = None, **changes: Json) -> Document:
    lines = lines_of(log, *(times or (DUE, DUE))) if lines is None else lines
    whole = {"format": "saferouter/announcement/v1", "leaf_b64": b64(log.leaf), "proof": proof_text(log, lines)}
    return whole | changes


def vector(slug: str, about: str, given: Document | bytes | None, expect: Expect = VERIFIED, **settings: Any) -> Vector:
    """A quote, the good one unless `of` is another, judged with this announcement."""
    raw = json.dumps(given).encode() if isinstance(given, dict) else given
    settings = {"policy": POLICY | demand()} | settings
    plain = quote_vector(slug, about, settings.pop("of", None) or quote(), expect, **settings)
    body = plain.body | {"stage": "announcement", "announcement": None if raw is None else b64(raw)}
    return replace(plain, stage="announcement", body=body)


def good() -> Iterator[Vector]:
    log = shown()
    yield vector("good", "Two of three witnesses cosigned exactly 72 hours ago.", document(log))
    about = "The quorum was complete with the second witness; when the third came says nothing."
    yield vector("third-late", about, document(log, DUE - HOUR, DUE, seconds(NOW) - 1))
    yield vector("third-future", "The third witness's clock is wrong.", document(log, DUE, DUE, seconds(NOW) + HOUR))
    yield vector("leaf-time", "The leaf's own time says nothing.", document(shown(time=seconds(NOW) + HOUR)))
    now: Any = {"policy": POLICY | demand(minimum_hours=0)}
    yield vector("hours-0", "Nothing but to be announced.", document(log, *[seconds(NOW)] * 2), **now)
    nested = witnesses("group far any w1 w2", "group both all far w3", "quorum both")
    policy: Any = {"policy": POLICY | demand(witnesses=nested)}
    about = "A group in a group: complete with w3."
    yield vector("nested", about, document(log, seconds(NOW), DUE - HOUR, DUE), **policy)
    row = {"value": MEASUREMENT.hex(), "platform": "ec2", "covers": "firmware"}
    ec2 = shown(announced(measurements=[row], boot_images=[IMAGE]))
    settings: Any = {"of": carrying(stated()), "policy": FIRMWARE | demand()}
    yield vector("firmware", "Firmware, and an announced boot image.", document(ec2), **settings)
    plain: Any = {"policy": POLICY}
    yield vector("not-demanded", "A policy without the demand looks at nothing.", b"{", **plain)


def ages() -> Iterator[Vector]:
    log, now = shown(), seconds(NOW)
    late = {
        "second-young": ("One second too young.", (DUE + 1, DUE + 1)),
        "quorum-young": ("The witness that completes the quorum is one second too young.", (DUE - HOUR, DUE + 1)),
        "now": ("Cosigned just now.", (now, now)),
        "future": ("Cosigned in the future.", (now + 1, now + 1)),
        "far-future": ("Cosigned in the year 9999.", (253402300799, 253402300799)),
    }
    for slug, (about, times) in late.items():
        yield vector(slug, about, document(log, *times), UNANNOUNCED)
    future: Any = {"policy": POLICY | demand(minimum_hours=0)}
    given = document(log, now + 1, now + 1)
    yield vector("future-hours-0", "In the future, and no age is asked.", given, UNANNOUNCED, **future)
    text, line = log.text, signature_line(log.text, RELEASES, "releases")
    one, bad = cosignature(text, "w1", DUE), cosignature(text, "w2", DUE, signed="other\n1\nAA==\n")
    faults = {
        "cosigned-by-none": ("No cosignature.", line),
        "cosigned-by-one": ("One of two.", line + one),
        "cosigned-twice": ("One witness, twice.", line + one + cosignature(text, "w1", DUE - HOUR)),
        "cosigned-by-stranger": ("A stranger is no witness.", line + one + cosignature(text, "w4", DUE)),
        "cosignature-forged": ("A forged cosignature.", line + one + bad),
        "cosignature-forged-beside": (
            "A forged one beside the quorum.",
            line + one + cosignature(text, "w3", DUE) + bad,
        ),
        "cosignature-cut": ("A cut cosignature.", line + one + cosignature(text, "w2", DUE, cut=1)),
        "unsigned": ("Cosigned, and not signed by the log.", one + cosignature(text, "w2", DUE)),
        "key-other": ("Signed by another key.", lines_of(log, DUE, DUE, label="other")),
    }
    for slug, (about, lines) in faults.items():
        yield vector(slug, about, document(log, lines=lines), UNANNOUNCED)


def leaves() -> Iterator[Vector]:
    body, row = announced(), announced()["measurements"][1]
    bodies: list[tuple[str, str, Json]] = [
        ("measurement-other", "Another measurement.", announced(measurements=[row | {"value": "ab" * 48}])),
        ("measurements-none", "No measurement.", announced(measurements=[])),
        ("measurement-twice", "One measurement twice.", announced(measurements=[row, row | {"covers": "firmware"}])),
        ("measurement-upper", "Upper-case hex.", announced(measurements=[row | {"value": MEASUREMENT.hex().upper()}])),
        ("measurement-member", "One member too many.", announced(measurements=[row | {"extra": 1}])),
        ("measurement-bare", "A bare measurement.", announced(measurements=[MEASUREMENT.hex()])),
        ("measurements-object", "An object for the list.", announced(measurements={"0": row})),
        ("covers-other", "It covers something else.", announced(measurements=[row | {"covers": "all"}])),
        ("covers-firmware", "It covers firmware only.", announced(measurements=[row | {"covers": "firmware"}])),
        ("images-null", "null for boot images.", announced(boot_images=None)),
        ("image-short", "A boot image without PCR 12.", announced(boot_images=[without(IMAGE, "pcr12")])),
        ("image-upper", "A register in upper case.", announced(boot_images=[IMAGE | {"pcr4": "AB" * 48}])),
        ("body-member", "One member too many.", announced(extra=1)),
        ("body-release", "No release.", without(body, "release")),
        ("release-number", "A number for a release.", announced(release=1)),
        ("manifest-digest", "The digest of no manifest.", announced(manifest_digest="none")),
        ("build-member", "A build without its image.", announced(build={"source_digest": fill("source")})),
    ]
    for slug, about, content in bodies:
        yield vector(f"leaf-{slug}", about, document(shown(content)), UNANNOUNCED)
    retired = {"measurements": [MEASUREMENT.hex()], "reason": "a leak"}
    others: dict[str, tuple[str, Shown]] = {
        "type-retire": ("A retirement.", shown(retired, type="release.retire")),
        "type-startup": ("An announcement that calls itself a start.", shown(type="startup")),
        "type-unknown": ("A type that is not known here.", shown(type="release")),
        "own-index": ("It stands elsewhere by its own word.", shown(index=INDEX + 1)),
        "version-2": ("A leaf of version 2.", shown(v=2)),
        "no-json": ("No JSON.", replace(shown(), leaf=b"leaf")),
        "spaced": ("A space in the leaf.", replace(shown(), leaf=jcs(entry(body, type="release.announce")) + b" ")),
    }
    for slug, (about, log) in others.items():
        yield vector(f"leaf-{slug}", about, document(log), UNANNOUNCED)


def proofs() -> Iterator[Vector]:
    log = shown()
    lines, hashes = lines_of(log, DUE, DUE), log.proof
    other = replace(log, origin="other.example.com/releases")
    grown = f"{RELEASES}\n{SIZE}\n{b64(tree_root([leaf_hash(b'x')] * SIZE))}\n"
    wrong = "".join([signature_line(grown, RELEASES, "releases"), *(cosignature(grown, w, DUE) for w in ("w1", "w2"))])
    text = proof_text(log, lines)
    faults: list[tuple[str, str, str]] = [
        ("truncated", "The proof lacks its last hash.", proof_text(log, lines, hashes=hashes[:-1])),
        ("longer", "One hash too many.", proof_text(log, lines, hashes=[*hashes, bytes(32)])),
        ("reordered", "Two hashes exchanged.", proof_text(log, lines, hashes=[hashes[1], hashes[0], *hashes[2:]])),
        ("short-hash", "A hash of 31 bytes.", proof_text(log, lines, hashes=[bytes(31), *hashes[1:]])),
        ("index-other", "Another index.", proof_text(log, lines, index=INDEX + 1)),
        ("index-zero", "An index with a leading zero.", text.replace(f"index {INDEX}", f"index 0{INDEX}")),
        ("header", "Another header.", text.replace("@v1", "@v2")),
        ("extra", "An extra line.", text.replace("index", "extra AAAA\nindex", 1)),
        ("cut", "Cut in the checkpoint.", text[:-10]),
        ("empty", "Nothing.", ""),
        ("origin-other", "The checkpoint of another log.", proof_text(other, lines_of(other, DUE, DUE))),
        ("root-other", "A checkpoint of another tree.", text.split("\n\n")[0] + f"\n\n{grown}\n{wrong}"),
    ]
    for slug, about, proof in faults:
        yield vector(f"proof-{slug}", about, document(log, proof=proof), UNANNOUNCED)
    unlogged = b64(jcs(entry(announced(release="saferouter 1.1"), type="release.announce")))
    yield vector("leaf-unlogged", "A leaf that nobody logged.", document(log, leaf_b64=unlogged), UNANNOUNCED)


def files() -> Iterator[Vector]:
    whole = document(shown())
    faults: list[tuple[str, str, Document | bytes]] = [
        ("format", "Another format.", whole | {"format": "saferouter/announcement/v2"}),
        ("member", "One member too many.", whole | {"extra": 1}),
        ("no-leaf", "No leaf.", without(whole, "leaf_b64")),
        ("leaf-number", "A number for the leaf.", whole | {"leaf_b64": 7}),
        ("proof-null", "No proof.", whole | {"proof": None}),
        ("list", "A list.", b"[]"),
        ("not-json", "No JSON.", b"announced"),
        ("surrogate", "A lone surrogate.", whole | {"proof": "\ud800"}),
        ("large", "More than 256 KiB.", json.dumps(whole | {"extra": "x" * (1 << 18)}).encode()),
    ]
    for slug, about, given in faults:
        yield vector(f"file-{slug}", about, given, UNANNOUNCED)
    yield vector("none", "None is given.", None, NOT_GIVEN)
    broken = replace(QUOTE_BROKEN, missing=(*QUOTE_BROKEN.missing, "code.announcement"))
    yield vector("quote-broken", "The quote does not parse.", whole, broken, of=without(quote(), "keyset"))
    missing = (*REPORT_BROKEN.missing, "bind.report-data", "code.announcement")
    about = "A report that does not parse has no measurement."
    unread = quote() | {"report_b64": b64(bytes(1184))}
    yield vector("report-broken", about, whole, replace(REPORT_BROKEN, missing=missing), of=unread)


def firmware() -> Iterator[Vector]:
    row = {"value": MEASUREMENT.hex(), "platform": "ec2", "covers": "firmware"}
    other = announced(measurements=[row], boot_images=[IMAGE | {"pcr4": "11" * 48}])
    settings: Any = {"of": carrying(stated()), "policy": FIRMWARE | demand()}
    about = "The firmware is announced with another boot image."
    yield vector("image-other", about, document(shown(other)), UNANNOUNCED, **settings)
    none = announced(measurements=[row])
    yield vector("image-none", "With no boot image.", document(shown(none)), UNANNOUNCED, **settings)
    about = "The log calls workload what the policy calls firmware: the image is asked for all the same."
    yield vector("image-called-workload", about, document(shown()), UNANNOUNCED, **settings)


def policies() -> Iterator[Vector]:
    """The demand itself."""
    at = "policy.announcement"
    yield policy_vector("announcement", "A demand for announced releases.", POLICY | demand(), None)
    rows: list[tuple[str, str, dict[str, Json], str]] = [
        ("null", "null for the table.", {"announcement": None}, at),
        ("empty", "Nothing in the table.", {"announcement": {}}, f"{at}.log"),
        ("misspelt", "minimum_hour for minimum_hours.", demand(minimum_hour=1), f"{at}.minimum_hour"),
        ("log-garbage", "The log's key is none.", demand(log="key"), f"{at}.log"),
        (
            "log-umlaut",
            "A key with a name outside ASCII.",
            demand(log=key().replace("owner", "\u00f6wner")),
            f"{at}.log",
        ),
        ("log-witness", "The key of a witness.", demand(log=key(4)), f"{at}.log"),
        ("log-other", "The witnesses' policy names another log.", demand(log=key(label="other")), f"{at}.witnesses"),
        ("witnesses-none", "A quorum of none.", demand(witnesses=witnesses("quorum none")), f"{at}.witnesses"),
        ("witnesses-empty", "No quorum.", demand(witnesses=f"log {key()}\n"), f"{at}.witnesses"),
        ("witnesses-word", "A keyword misspelt.", demand(witnesses=witnesses("quorums w1")), f"{at}.witnesses, line 5"),
        ("witnesses-list", "A list.", demand(witnesses=[]), f"{at}.witnesses"),
        ("witnesses-surrogate", "A lone surrogate.", demand(witnesses="\ud800"), f"{at}.witnesses"),
        ("hours-negative", "Before it is announced.", demand(minimum_hours=-1), f"{at}.minimum_hours"),
        ("hours-century", "A hundred years.", demand(minimum_hours=876_000), f"{at}.minimum_hours"),
        ("hours-text", "Hours as text.", demand(minimum_hours="72"), f"{at}.minimum_hours"),
        ("hours-fraction", "Half an hour.", demand(minimum_hours=0.5), f"{at}.minimum_hours"),
    ]
    for slug, about, change, field in rows:
        yield policy_vector(f"announcement-{slug}", about, POLICY | change, field)
    for name in ("log", "witnesses", "minimum_hours"):
        table = without(demand()["announcement"], name)
        field = f"{at}.{name}"
        slug = f"announcement-no-{name}".replace("_", "-")
        yield policy_vector(slug, f"No {name}.", POLICY | {"announcement": table}, field)
