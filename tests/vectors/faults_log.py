"""Faults of the log that a quote shows: its checkpoint, its proof, its startup leaf and its key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import Document, digest_of, fill, jcs, keyset, quote, seconds, workload
from tests.vectors.faults_quote import changed, quote_vector, without
from tests.vectors.reports import MEASUREMENT
from tests.vectors.signing import ed25519_key
from tests.vectors.world import QUOTE_BROKEN, VERIFIED, Expect, Json, Vector, b64, rejected

LOG_ORIGIN = "gw.example.com/attestation/transparency"
SIZE, INDEX = 7, 2
INCLUSION, STARTUP = rejected("log.inclusion"), rejected("log.startup")
DISAGREE = rejected("log.inclusion", missing=["log.startup"])


def vkey(name: str = LOG_ORIGIN, label: str = "log", kind: int = 1) -> str:
    return f"{name}+{key_id(name, label, kind).hex()}+{b64(bytes([kind]) + bytes(ed25519_key(label).verify_key))}"


def key_id(name: str, label: str, kind: int = 1) -> bytes:
    body = bytes([kind]) + bytes(ed25519_key(label).verify_key)
    return hashlib.sha256(name.encode() + b"\n" + body).digest()[:4]


def signature_line(text: str, name: str = LOG_ORIGIN, label: str = "log") -> str:
    blob = ed25519_key(label).sign(text.encode()).signature
    return f"\u2014 {name} {b64(key_id(name, label) + blob)}\n"


NAMED: Json = {"origin": LOG_ORIGIN, "vkey": vkey()}


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def tree_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 §2.1, by its own recursion."""
    if len(hashes) == 1:
        return hashes[0]
    middle = largest_below(len(hashes))
    return hashlib.sha256(b"\x01" + tree_root(hashes[:middle]) + tree_root(hashes[middle:])).digest()


def audit_path(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1."""
    if len(hashes) == 1:
        return []
    middle = largest_below(len(hashes))
    if index < middle:
        return [*audit_path(index, hashes[:middle]), tree_root(hashes[middle:])]
    return [*audit_path(index - middle, hashes[middle:]), tree_root(hashes[:middle])]


def largest_below(width: int) -> int:
    power = 1
    while power * 2 < width:
        power *= 2
    return power


def body(work: Document | None = None, **changes: Any) -> Document:
    """What the log says of the start of this workload."""
    work = work or workload(log=NAMED)
    document = {
        "keyset_digest": digest_of(jcs(keyset(work))),
        "workload_digest": digest_of(jcs(work)),
        "measurement": MEASUREMENT.hex(),
        "report_digest": fill("first report"),
        "audience": work["audience"],
        "build": work["build"],
        "configuration": work["configuration"],
    }
    return document | changes


def entry(content: Json = None, **changes: Any) -> Document:
    document = {
        "body": content or body(),
        "index": INDEX,
        "prev": hashlib.sha256(b"the leaf before").hexdigest(),
        "time": seconds(NOW),
        "type": "startup",
        "v": 1,
    }
    return document | changes


@dataclass(frozen=True)
class Shown:
    """The log as a quote shows it; change one part with dataclasses.replace."""

    leaf: bytes = field(default_factory=lambda: jcs(entry()))
    index: int = INDEX
    size: int = SIZE
    origin: str = LOG_ORIGIN
    label: str = "log"

    @property
    def hashes(self) -> list[bytes]:
        return [leaf_hash(self.leaf if at == self.index else b"leaf %d" % at) for at in range(self.size)]

    @property
    def root(self) -> bytes:
        return tree_root(self.hashes)

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"

    @property
    def proof(self) -> list[bytes]:
        return audit_path(self.index, self.hashes)

    def member(self, text: str | None = None, lines: str | None = None, **startup: Any) -> Document:
        """The `log` member; `text` and `lines` replace the note's, `startup` members of the start."""
        text = self.text if text is None else text
        lines = signature_line(text, self.origin, self.label) if lines is None else lines
        shown = {"index": self.index, "leaf_b64": b64(self.leaf), "proof": [b64(value) for value in self.proof]}
        return {"checkpoint": f"{text}\n{lines}", "startup": shown | startup}


def logged(member: Json, named: Json = NAMED) -> Document:
    """A quote whose workload names the log, and that shows this of it."""
    return quote(workload_document=workload(log=named), log=member)


def log_vector(slug: str, about: str, member: Json, expect: Expect = VERIFIED, named: Json = NAMED) -> Vector:
    return quote_vector(f"log-{slug}", about, logged(member, named), expect)


def good() -> Iterator[Vector]:
    shown = Shown()
    yield log_vector("good", "A quote whose start is in its log.", shown.member())
    yield log_vector("one-leaf", "A log of one leaf has an empty proof.", one_leaf().member())
    last = Shown(jcs(entry(index=6)), index=6)
    yield log_vector("last-leaf", "The last leaf of a ragged tree.", last.member())
    witness = signature_line(shown.text, "w.example.com", "witness")
    about = "A line of a key that nobody here knows does no harm."
    yield log_vector("unknown-line", about, shown.member(lines=signature_line(shown.text) + witness))
    stranger = signature_line("other", LOG_ORIGIN, "other")
    about = "A line under the log's name by a key that is not its own is one of a key that nobody knows."
    yield log_vector("unknown-key", about, shown.member(lines=stranger + signature_line(shown.text)))
    odd = "\u2014 a\ufeffb AAAAAAA=\n"
    about = "A zero-width no-break space is no white space in a name."
    yield log_vector("name-feff", about, shown.member(lines=signature_line(shown.text) + odd))
    about = "An origin outside ASCII above a good line is another log's."
    other = replace(shown, origin="gw.ex\u00e4mple.com")
    yield log_vector("origin-umlaut", about, other.member(), INCLUSION)


def one_leaf() -> Shown:
    return Shown(jcs(entry(index=0)), index=0, size=1)


def inclusions() -> Iterator[Vector]:
    shown = Shown()
    text, line, root = shown.text, signature_line(shown.text), b64(shown.root)
    proof = [b64(value) for value in shown.proof]
    other_root = b64(hashlib.sha256(b"other").digest())
    flipped = base64.b64decode(line.split(" ")[2])
    forged = f"\u2014 {LOG_ORIGIN} {b64(flipped[:-1] + bytes([flipped[-1] ^ 1]))}\n"
    other = "other.example.com/attestation/transparency"
    signed_other = f"{other}\n{SIZE}\n{root}\n"
    faults: list[tuple[str, str, Document]] = [
        ("key-other", "The checkpoint is signed by another key.", replace(shown, label="other").member()),
        ("origin-other", "The checkpoint is another log's.", replace(shown, origin=other).member()),
        (
            "origin-other-same-key",
            "The log's key signed a checkpoint of another origin.",
            shown.member(signed_other, signature_line(signed_other)),
        ),
        ("size-changed", "The size was changed after the signature.", shown.member(f"{LOG_ORIGIN}\n8\n{root}\n", line)),
        ("root-changed", "The root was changed.", shown.member(f"{LOG_ORIGIN}\n{SIZE}\n{other_root}\n", line)),
        ("root-other", "A signed checkpoint of another tree.", shown.member(f"{LOG_ORIGIN}\n{SIZE}\n{other_root}\n")),
        ("size-smaller", "A signed size that ends before the leaf.", shown.member(f"{LOG_ORIGIN}\n2\n{root}\n")),
        ("size-zero", "A signed checkpoint of the empty tree.", shown.member(f"{LOG_ORIGIN}\n0\n{root}\n")),
        ("size-leading-zero", "A size with a leading zero.", shown.member(f"{LOG_ORIGIN}\n07\n{root}\n")),
        ("size-2-53", "A size of 2^53.", shown.member(f"{LOG_ORIGIN}\n{2**53}\n{root}\n")),
        ("root-short", "A root of 31 bytes.", shown.member(f"{LOG_ORIGIN}\n{SIZE}\n{b64(shown.root[:31])}\n")),
        ("extension-line", "An extension line, signed.", shown.member(f"{text}extension\n")),
        ("two-lines", "A note of two lines, signed.", shown.member(f"{LOG_ORIGIN}\n{SIZE}\n")),
        ("signature-bad", "A bad signature by the log's key.", shown.member(lines=forged)),
        (
            "signature-bad-beside-good",
            "A bad line of the log's key beside a good one.",
            shown.member(lines=line + forged),
        ),
        ("signature-none", "No signature line.", shown.member(lines="")),
        ("signature-no-break", "The last line does not end.", shown.member(lines=line[:-1])),
        ("signature-hyphen", "A hyphen for the dash.", shown.member(lines=line.replace("\u2014", "-"))),
        (
            "signature-next-line",
            "A line break of another kind in a name.",
            shown.member(lines=line + "\u2014 a\u0085b AAAAAAA=\n"),
        ),
        ("signature-short", "A line with a key id and nothing else.", shown.member(lines=line + "\u2014 w AAAAAA==\n")),
        ("signatures-101", "101 signature lines.", shown.member(lines=line * 101)),
        ("note-large", "A note of more than 64 KiB.", shown.member("x" * (64 << 10) + "\n")),
        ("note-control", "A control character.", shown.member(f"\x01{text}")),
        ("proof-truncated", "The proof lacks its last hash.", shown.member(proof=proof[:-1])),
        ("proof-longer", "The proof has one hash more.", shown.member(proof=[*proof, other_root])),
        ("proof-reordered", "The proof's hashes are exchanged.", shown.member(proof=[proof[1], proof[0], *proof[2:]])),
        ("proof-empty", "No proof.", shown.member(proof=[])),
        ("proof-hash-other", "Another hash in the proof.", shown.member(proof=[other_root, *proof[1:]])),
        ("proof-beside-one-leaf", "A proof beside a tree of one leaf.", one_leaf().member(proof=[other_root])),
    ]
    for slug, about, member in faults:
        yield log_vector(slug, about, member, INCLUSION)
    about = "The index is another leaf's: neither the proof nor the leaf agrees."
    yield log_vector("index-other", about, shown.member(index=3), rejected("log.inclusion", "log.startup"))
    about = "A leaf that nobody logged."
    yield log_vector("leaf-unlogged", about, shown.member(leaf_b64=b64(jcs(entry(time=seconds(NOW) + 1)))), INCLUSION)


def startups() -> Iterator[Vector]:
    build, configuration = workload()["build"], workload()["configuration"]
    faults: list[tuple[str, str, Document]] = [
        ("keyset", "of another keyset", entry(body(keyset_digest=fill("other")))),
        ("workload", "of another workload", entry(body(workload_digest=fill("other")))),
        ("measurement", "of another measurement", entry(body(measurement="ab" * 48))),
        ("audience", "of another audience", entry(body(audience="https://other.example.com"))),
        ("build", "of another build", entry(body(build=build | {"version": "9.9.9"}))),
        ("configuration", "of another configuration", entry(body(configuration=configuration | {"prices": fill("x")}))),
        ("report-digest-null", "without the digest of a report", entry(body(report_digest=None))),
        ("keyset-null", "whose keyset digest is null", entry(body(keyset_digest=None))),
        ("member-added", "with one more member", entry(body(extra=1))),
        ("member-missing", "without its measurement", entry(without(body(), "measurement"))),
        ("type-configuration", "of another type", entry(type="configuration")),
        ("type-receipt", "of a receipt", entry({"commitment": fill("x")}, type="receipt")),
        ("type-unknown", "of a type that is not known here", entry(type="start")),
        ("version-2", "of version 2", entry(v=2)),
        ("own-index", "that stands elsewhere by its own word", entry(index=INDEX + 1)),
        ("index-negative", "of a negative index", entry(index=-1)),
        ("time-negative", "before 1970", entry(time=-1)),
        ("prev-short", "whose prev has 31 bytes", entry(prev="00" * 31)),
        ("body-text", "whose body is text", entry("startup")),
        ("outer-member", "with one more member outside", entry() | {"extra": 1}),
    ]
    for slug, about, document in faults:
        yield log_vector(f"leaf-{slug}", f"The logged leaf is one {about}.", Shown(jcs(document)).member(), STARTUP)
    for slug, about, raw in (
        ("spaced", "The logged leaf has a space.", jcs(entry()).replace(b":", b": ", 1)),
        ("backwards", "The logged leaf is in another order.", backwards()),
        ("no-json", "The logged leaf is no JSON.", b"leaf"),
        ("large", "The logged leaf has 65,536 bytes.", jcs(entry(body(pad="")))),
    ):
        raw = raw if slug != "large" else jcs(entry(body(pad="x" * (65_536 - len(raw)))))
        yield log_vector(f"leaf-{slug}", about, Shown(raw).member(), STARTUP)
    about = "A report that cannot be read has no measurement to compare."
    work = workload(log=NAMED)
    document = quote(workload_document=work, log=Shown().member(), fields={"measurement": b"\x01" * 48})
    expect = rejected("code.measurement", "log.startup")
    yield quote_vector(
        "log-measurement-of-the-report", "The report has another measurement than log and policy.", document, expect
    )


def backwards() -> bytes:
    members = [jcs({name: value})[1:-1] for name, value in reversed(entry().items())]
    return b"{" + b",".join(members) + b"}"


def keys() -> Iterator[Vector]:
    member = Shown().member()
    body_of = vkey().split("+", 2)[2]
    for slug, about, key in (
        ("garbage", "The vkey is no key.", "none"),
        ("id-other", "The vkey's id is not its own.", f"{LOG_ORIGIN}+00000000+{body_of}"),
        (
            "id-upper",
            "The vkey's id in upper case.",
            f"{LOG_ORIGIN}+{key_id(LOG_ORIGIN, 'log').hex().upper()}+{body_of}",
        ),
        ("witness", "The vkey is a witness's, of type 4.", vkey(kind=4)),
        ("type-2", "The vkey is of a type that is not known here.", vkey(kind=2)),
        ("name-other", "The vkey has another name than the origin.", vkey("other.example.com")),
        ("name-empty", "The vkey has no name.", vkey("")),
        (
            "base64",
            "The vkey's base64 has no padding.",
            f"{LOG_ORIGIN}+{key_id(LOG_ORIGIN, 'log').hex()}+{body_of[:-1]}",
        ),
    ):
        # The leaf names the workload, and that names the key.
        named = {"origin": LOG_ORIGIN, "vkey": key}
        told = replace(Shown(), leaf=jcs(entry(body(workload(log=named)))))
        yield log_vector(f"vkey-{slug}", about, told.member(), INCLUSION, named)
    named = {"origin": "other.example.com", "vkey": vkey("other.example.com", "other")}
    told = replace(Shown(), leaf=jcs(entry(body(workload(log=named)))))
    yield log_vector("workload-other", "The workload names another log.", told.member(), INCLUSION, named)
    yield log_vector("missing", "The workload names a log, and the quote shows none.", None, DISAGREE)
    about = "The quote shows a log, and the workload names none."
    yield quote_vector("log-unnamed", about, quote(log=member), rejected("log.inclusion"))


def shapes() -> Iterator[Vector]:
    whole = Shown().member()
    faults: list[tuple[str, Json]] = [
        ("text", "log"),
        ("list", []),
        ("empty", {}),
        ("third-member", whole | {"extra": 1}),
        ("no-checkpoint", without(whole, "checkpoint")),
        ("no-startup", without(whole, "startup")),
        ("checkpoint-null", whole | {"checkpoint": None}),
        ("checkpoint-surrogate", whole | {"checkpoint": "\ud800"}),
        ("startup-null", whole | {"startup": None}),
        ("startup-member", changed(whole, 1, "startup", "extra")),
        ("index-negative", changed(whole, -1, "startup", "index")),
        ("index-float", changed(whole, 2.0, "startup", "index")),
        ("index-true", changed(whole, True, "startup", "index")),
        ("index-text", changed(whole, "2", "startup", "index")),
        ("index-2-53", changed(whole, 2**53 - 1, "startup", "index")),
        ("leaf-null", changed(whole, None, "startup", "leaf_b64")),
        ("leaf-spelling", changed(whole, "AAB=", "startup", "leaf_b64")),
        ("proof-object", changed(whole, {}, "startup", "proof")),
        ("proof-number", changed(whole, [1], "startup", "proof")),
        ("proof-short-hash", changed(whole, [b64(bytes(31))], "startup", "proof")),
        ("proof-64", changed(whole, [b64(bytes(32))] * 64, "startup", "proof")),
    ]
    for slug, value in faults:
        yield log_vector(f"shape-{slug}", f"The quote's log: {slug.replace('-', ' ')}.", value, QUOTE_BROKEN)
    for slug, named in (
        ("text", "log.example.com"),
        ("no-vkey", {"origin": LOG_ORIGIN}),
        ("member", NAMED | {"extra": 1}),
        ("origin-empty", NAMED | {"origin": ""}),
        ("vkey-null", NAMED | {"vkey": None}),
        ("vkey-line", NAMED | {"vkey": vkey() + "\n"}),
    ):
        yield log_vector(f"named-{slug}", f"The workload's log: {slug.replace('-', ' ')}.", whole, QUOTE_BROKEN, named)
