"""Faults of an answer's place in the log: its receipt, the proof of it, its route, its witnesses and one history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import REQUEST as ASKED
from tests.vectors.documents import Document, digest_of, events, jcs, keyset, receipt, seconds, workload
from tests.vectors.faults_history import MOST, consistency, cosignature
from tests.vectors.faults_log import (
    LOG_ORIGIN,
    NAMED,
    SIZE,
    Shown,
    audit_path,
    leaf_hash,
    logged,
    signature_line,
    tree_root,
    vkey,
)
from tests.vectors.faults_quote import quote_vector
from tests.vectors.world import RECEIPT, VERIFIED, Expect, Json, Vector, b64, rejected

QUOTED = Shown()
ROUTE_AT, RECEIPT_AT, GROWN = 8, 10, 11  # the log when it held the answer; the quote's checkpoint is over SIZE leaves
EPOCH = f"{LOG_ORIGIN}/{'0123456789abcdef'}"
KEYS = digest_of(jcs(keyset(workload(log=NAMED))))
LOG, ROUTE = rejected("receipt.log"), rejected("receipt.route")
SEEN, ONE = rejected("receipt.witness"), rejected("receipt.consistency")


def answer(index: Json = ROUTE_AT) -> bytes:
    block = {"provider_id": "mock", "rekor_index": index, "receipt_id": "rcpt-1"}
    return jcs({"id": "chatcmpl-1", "choices": [], "_sf_attestation": block, "attestation": block})


def streamed(*indices: Json, line_end: str = "\n") -> bytes:
    said = json.dumps({"choices": [{"delta": {"content": 'I say "rekor_index":99'}}]})
    data = [said, *(answer(index).decode() for index in indices), "[DONE]"]
    return "".join(f"data: {each}{line_end}{line_end}" for each in data).encode()


def route(**changes: Any) -> Document:
    """The receipt's event, to which the route leaf commits."""
    return {"type": "route", "salt": "5a" * 32, "decision_id": "decision-1", "provider_id": "mock"} | changes


def signed(response: bytes, event: Document | None = None, **changes: Any) -> Document:
    """A receipt of this answer, routed by `event`; an empty one means that the call was refused."""
    event = route() if event is None else event
    log = [each for each in events(ASKED, response) if each["type"] != "route"]
    return receipt(workload_keyset_digest=KEYS, event_log=[*log[:1], *([event] if event else []), *log[1:]], **changes)


def named(document: Document, **changes: Any) -> Document:
    """What the receipt leaf commits to."""
    told = {"receipt_id": document["receipt_id"], "receipt_digest": digest_of(jcs(document)), "salt": "c3" * 32}
    return told | changes


def leaf(kind: str, document: Json, index: int, **changes: Any) -> bytes:
    body = {"commitment": digest_of(jcs(document))}
    entry = {"body": body, "index": index, "prev": "00" * 32, "time": seconds(NOW), "type": kind, "v": 1}
    return jcs(entry | changes)


@dataclass(frozen=True)
class Grown:
    """The log of the quote some leaves later; `leaves` stand at their indices."""

    leaves: dict[int, bytes]
    size: int = GROWN
    origin: str = LOG_ORIGIN
    label: str = "log"
    base: list[bytes] = field(default_factory=lambda: QUOTED.hashes)
    witnesses: tuple[str, ...] = ()

    @property
    def hashes(self) -> list[bytes]:
        told = [leaf_hash(b"leaf %d" % at) if at >= SIZE else self.base[at] for at in range(self.size)]
        return [leaf_hash(self.leaves[at]) if at in self.leaves else told[at] for at in range(self.size)]

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64(tree_root(self.hashes))}\n"

    def note(self) -> str:
        lines = "".join(cosignature(self.text, name, seconds(NOW)) for name in self.witnesses)
        return f"{self.text}\n{signature_line(self.text, self.origin, self.label)}{lines}"

    def path(self, index: int) -> list[bytes]:
        return audit_path(index, self.hashes)

    def shown(
        self, index: int, note: str | None = None, at: int | None = None, path: list[bytes] | None = None
    ) -> Json:
        """A leaf with its tlog-proof; the named parts of the proof may be others."""
        hashes = "".join(f"{b64(value)}\n" for value in (self.path(index) if path is None else path))
        head = f"c2sp.org/tlog-proof@v1\nindex {index if at is None else at}\n{hashes}\n"
        return {"leaf_b64": b64(self.leaves[index]), "proof": head + (self.note() if note is None else note)}

    def link(self, old: int = SIZE) -> Json:
        """The proof that this tree extends that of `old` leaves."""
        proof = [b64(value) for value in consistency(old, self.hashes)]
        return {"from": old, "to": self.size, "proof": proof}


RESPONSE = answer()
SIGNED = signed(RESPONSE)
NAMES = named(SIGNED)
ROUTE_LEAF, RECEIPT_LEAF = leaf("route", route(), ROUTE_AT), leaf("receipt", NAMES, RECEIPT_AT)
BOOK = Grown({ROUTE_AT: ROUTE_LEAF, RECEIPT_AT: RECEIPT_LEAF})
DECIDED, PLACED = BOOK.shown(ROUTE_AT), BOOK.shown(RECEIPT_AT)


def proof(**changes: Any) -> Document:
    """What the gateway serves of the receipt's place."""
    return {"document": NAMES, "receipt": PLACED, "route": DECIDED} | changes


def of_book(book: Grown, told: Document = NAMES) -> Document:
    return {"document": told, "receipt": book.shown(RECEIPT_AT), "route": book.shown(ROUTE_AT)}


def place_vector(
    slug: str,
    about: str,
    served: Json,
    expect: Expect | str = VERIFIED,
    *,
    document: Json = SIGNED,
    response: bytes = RESPONSE,
    links: Json = "grown",
    witnesses: str | None = None,
    quote: Document | None = None,
    **changes: Any,
) -> Vector:
    """A quote, an answer as a bundle keeps it, both bodies, and a witness policy as base64."""
    plain = quote_vector(slug, about, quote or logged(QUOTED.member()), expect)
    raw = served if isinstance(served, bytes) else None if served is None else jcs(served)
    kept = {
        "receipt_b64": b64(document if isinstance(document, bytes) else jcs(document)),
        "proof_b64": None if raw is None else b64(raw),
        "consistency": [BOOK.link()] if links == "grown" else links,
        "headers_b64": None,
        "checkpoint_quote": None,
    }
    given = {
        "stage": "place",
        "answer": kept | changes,
        "request": b64(ASKED),
        "response": b64(response),
        "witnesses": None if witnesses is None else b64(witnesses.encode()),
    }
    return replace(plain, stage="place", body=plain.body | given)


def whole(response: bytes, event: Document | None = None) -> tuple[Document, Document, Grown]:
    """A receipt of this answer with its names, in a log that holds both its leaves."""
    document = signed(response, event)
    leaves = {ROUTE_AT: leaf("route", route() if event is None else event, ROUTE_AT)}
    leaves[RECEIPT_AT] = leaf("receipt", named(document), RECEIPT_AT)
    return document, named(document), Grown(leaves)


def told(slug: str, about: str, response: bytes, expect: Expect = VERIFIED, event: Document | None = None) -> Vector:
    """An answer that shows something of its own place."""
    document, names, book = whole(response, event)
    served = of_book(book, names)
    return place_vector(slug, about, served, expect, document=document, response=response, links=[book.link()])


def good() -> Iterator[Vector]:
    yield place_vector("good", "An answer whose decision and receipt are in the log.", proof())
    yield place_vector("no-proof", "No proof was given: nothing of the log is judged.", None, links=None)
    yield place_vector("no-consistency", "No consistency proof: the trees stand unjoined.", proof(), links=None)
    for slug, end in (("stream", "\n"), ("stream-crlf", "\r\n"), ("stream-cr", "\r")):
        yield told(slug, "A stream names the leaf of its route.", streamed(ROUTE_AT, line_end=end))
    yield told("no-index", "The answer names no leaf.", answer(None))
    yield told("no-block", "The answer has no block.", b'{"choices":[]}')
    nested = jcs({"type": "response.completed", "response": json.loads(answer())})
    yield told("nested-block", "The block inside a response.", b"data: " + nested + b"\n\n")
    quoting = jcs({"choices": ['"rekor_index":99'], "rekor_index": 3})
    yield told("quoted-block", "A model's words, and a member of that name outside a block.", quoting)
    refused = signed(RESPONSE, {})
    names = named(refused)
    book = Grown({RECEIPT_AT: leaf("receipt", names, RECEIPT_AT)})
    served = {"document": names, "receipt": book.shown(RECEIPT_AT), "route": None}
    about = "A refused call has no route."
    yield place_vector("refused", about, served, document=refused, links=[book.link()])
    later = replace(BOOK, size=12)
    about = "Route and receipt are shown in trees of two sizes."
    both = [BOOK.link(), later.link(GROWN)]
    yield place_vector("two-trees", about, proof(receipt=later.shown(RECEIPT_AT)), links=both)
    beyond = {"extra": [1]}
    yield place_vector("extra-member", "A member that is not known here.", proof() | beyond)
    epoch = replace(BOOK, origin=EPOCH)
    about = "The route stands in another epoch of the same key, whose order against this one nobody can tell."
    yield place_vector("other-epoch", about, proof(route=epoch.shown(ROUTE_AT)))


def receipts() -> Iterator[Vector]:
    """The receipt itself is cut, reordered, exchanged or another's."""
    raw = jcs(SIGNED)
    broken = rejected("receipt.format", missing=RECEIPT[1:])
    yield place_vector("receipt-truncated", "The receipt lacks its last byte.", proof(), broken, document=raw[:-1])
    yield place_vector("receipt-empty", "The receipt has no bytes.", proof(), broken, document=b"")
    turned = SIGNED | {"event_log": SIGNED["event_log"][::-1]}
    forged = rejected("receipt.signature", "receipt.log")
    yield place_vector("events-reordered", "Events reordered below one signature.", proof(), forged, document=turned)
    cut = SIGNED | {"event_log": SIGNED["event_log"][:-1]}
    expect = rejected("receipt.signature", "receipt.complete", "receipt.log")
    yield place_vector("event-removed", "The last event was removed.", proof(), expect, document=cut)
    salted = [each | {"salt": "00" * 32} if each["type"] == "route" else each for each in SIGNED["event_log"]]
    other = SIGNED | {"event_log": salted}
    yield place_vector("salt-changed", "The route's salt was changed.", proof(), forged, document=other)
    document, _, book = whole(answer(9))
    about = "Two calls' receipts are exchanged, proofs and all."
    swapped, expect = of_book(book, named(document)), rejected("receipt.response")
    yield place_vector("receipts-swapped", about, swapped, expect, document=document, links=[book.link()])
    expect = rejected("receipt.response", "receipt.log")
    yield place_vector("receipt-of-another", "Two calls' receipts are exchanged.", proof(), expect, document=document)


def proofs() -> Iterator[Vector]:
    """The proof is cut, reordered, moved or another receipt's."""
    _, names, _ = whole(answer(9))
    path, note = BOOK.path(RECEIPT_AT), BOOK.note()
    shown_by: list[tuple[str, str, dict[str, Any]]] = [
        ("hashes-reordered", "The proof's hashes are exchanged.", {"path": [path[1], path[0], *path[2:]]}),
        ("hash-missing", "The proof lacks its last hash.", {"path": path[:-1]}),
        ("hash-added", "The proof has one hash more.", {"path": [*path, bytes(32)]}),
        ("index-moved", "The leaf is said to stand one place before.", {"at": RECEIPT_AT - 1}),
        ("index-beyond", "The leaf is said to stand behind the tree.", {"at": GROWN}),
    ]
    faults: list[tuple[str, str, Json, Expect]] = [
        (slug, about, proof(receipt=BOOK.shown(RECEIPT_AT, **changes)), LOG) for slug, about, changes in shown_by
    ]
    text = str(PLACED["proof"])
    faults += [
        ("of-another", "The proof of another receipt.", proof(document=names), LOG),
        ("id-other", "The document names another receipt.", proof(document=NAMES | {"receipt_id": "rcpt-2"}), LOG),
        ("salt-other", "The document has another salt.", proof(document=NAMES | {"salt": "00" * 32}), LOG),
        ("salt-short", "The document's salt has 31 bytes.", proof(document=NAMES | {"salt": "c3" * 31}), LOG),
        ("exchanged", "Route and receipt are exchanged.", proof(receipt=DECIDED, route=PLACED), LOG),
        ("own-index", "A leaf that stands elsewhere by its own word.", of_book(moved()), LOG),
        ("type-audit", "A leaf of another type.", of_book(typed()), LOG),
        ("truncated", "The proof is cut in its checkpoint.", proof(receipt=PLACED | {"proof": text[:-40]}), LOG),
        ("cut-before", "The proof ends before its checkpoint.", proof(receipt=PLACED | {"proof": text[:60]}), LOG),
        ("leaf-missing", "The proof without its leaf.", proof(receipt={"proof": text}), LOG),
        ("no-route-member", "No word on a route.", {"document": NAMES, "receipt": PLACED}, LOG),
        ("text", "The proof is text.", "proof", LOG),
        ("large", "A proof of more than 512 KiB.", jcs(proof()) + b" " * (1 << 19), LOG),
        ("bytes-truncated", "The served proof lacks its last byte.", jcs(proof())[:-1], LOG),
    ]
    stranger = replace(BOOK, label="other")
    other_root = f"{LOG_ORIGIN}\n{GROWN}\n{b64(hashlib.sha256(b'other').digest())}\n"
    swapped = other_root + note[len(BOOK.text) :]
    unsigned = note[: len(BOOK.text)] + "\n"
    foreign = replace(BOOK, origin="other.example.com/attestation/transparency", label="log")
    notes = [
        ("stranger", "The checkpoint is signed by a stranger.", stranger.note()),
        ("root-swapped", "The checkpoint's root was exchanged.", swapped),
        ("root-signed", "A signed checkpoint of another tree.", f"{other_root}\n{signature_line(other_root)}"),
        ("truncated", "The checkpoint is cut in its signature.", note[:-20]),
        ("unsigned", "The checkpoint has no signature.", unsigned),
        ("origin-other", "The log's key signed it under another origin.", foreign.note()),
        ("epoch-other", "The receipt stands in another epoch than its keyset's.", replace(BOOK, origin=EPOCH).note()),
    ]
    faults += [(f"note-{s}", about, proof(receipt=BOOK.shown(RECEIPT_AT, each)), LOG) for s, about, each in notes]
    for slug, about, served, expect in faults:
        yield place_vector(f"proof-{slug}", about, served, expect)


def moved() -> Grown:
    return replace(BOOK, leaves=BOOK.leaves | {RECEIPT_AT: leaf("receipt", NAMES, RECEIPT_AT + 1)})


def typed() -> Grown:
    return replace(BOOK, leaves=BOOK.leaves | {RECEIPT_AT: leaf("audit", NAMES, RECEIPT_AT)})


def routes() -> Iterator[Vector]:
    """The route is missing, late, another's or not where the answer says."""
    about = "The receipt has a route, and the proof gives none."
    yield place_vector("route-missing", about, proof(route=None), ROUTE)
    refused = signed(RESPONSE, {})
    book = Grown({ROUTE_AT: ROUTE_LEAF, RECEIPT_AT: leaf("receipt", named(refused), RECEIPT_AT)})
    about = "The proof gives a route that the receipt does not have."
    served = of_book(book, named(refused))
    yield place_vector("route-added", about, served, ROUTE, document=refused, links=[book.link()])
    late = Grown({RECEIPT_AT: RECEIPT_LEAF, 11: leaf("route", route(), 11)}, size=12)
    both = {"document": NAMES, "receipt": late.shown(RECEIPT_AT), "route": late.shown(11)}
    yield place_vector("route-late", "The route stands behind the receipt.", both, ROUTE, links=[late.link()])
    faults: list[tuple[str, str, Json]] = [
        ("index-moved", "The route is said to stand elsewhere.", BOOK.shown(ROUTE_AT, at=ROUTE_AT - 1)),
        ("hash-missing", "The route's proof lacks a hash.", BOOK.shown(ROUTE_AT, path=BOOK.path(ROUTE_AT)[:-1])),
        ("stranger", "The route's checkpoint is a stranger's.", replace(BOOK, label="other").shown(ROUTE_AT)),
        ("epoch-stranger", "Another epoch, another key.", replace(BOOK, origin=EPOCH, label="other").shown(ROUTE_AT)),
        ("host-other", "Another gateway's log.", replace(BOOK, origin="other.example.com").shown(ROUTE_AT)),
        ("epoch-upper", "No epoch's name.", replace(BOOK, origin=EPOCH.upper()).shown(ROUTE_AT)),
        ("text", "The route's proof is text.", "route"),
        ("of-receipt", "The receipt's own leaf for the route's.", PLACED),
    ]
    for slug, about, each in faults:
        yield place_vector(f"route-{slug}", about, proof(route=each), ROUTE)
    unsalted = {name: value for name, value in route().items() if name != "salt"}
    yield told("route-no-salt", "The route event has no salt.", RESPONSE, ROUTE, unsalted)
    yield told("route-salt-short", "The route event's salt is short.", RESPONSE, ROUTE, route(salt="5a"))
    document, names, book = whole(RESPONSE)
    another = replace(book, leaves=book.leaves | {ROUTE_AT: leaf("route", route(decision_id="other"), ROUTE_AT)})
    about = "The leaf commits to another decision."
    served = of_book(another, names)
    yield place_vector("route-other", about, served, ROUTE, document=document, links=[another.link()])
    for slug, about, response in (
        ("answer-other", "The answer names another leaf.", answer(9)),
        ("answer-text", "The answer names its leaf in words.", answer("8")),
        ("answer-true", "The answer names true.", answer(True)),
        ("stream-other", "The stream names another leaf.", streamed(9)),
        ("stream-two", "The stream names two leaves.", streamed(ROUTE_AT, 9)),
        ("answer-fraction", "The answer names 8.0.", answer().replace(b'"rekor_index":8', b'"rekor_index":8.0')),
        ("answer-unread", "A block that cannot be read.", answer()[:-1]),
        ("answer-twice", "Two members of one name.", answer()[:-1] + b',"attestation":{"rekor_index":8}}'),
    ):
        yield told(f"route-{slug}", about, response, ROUTE)


def attempts() -> Iterator[Vector]:
    """Who was asked is whom the logged decision names."""
    first, second = ({"provider_id": name, "upstream_model": f"model of {name}"} for name in ("first", "second"))
    ours, other = first | {"body_hash": digest_of(ASKED)}, second | {"body_hash": "sha256:" + "0" * 64}
    cases: list[tuple[str, str, Expect, Json, Json]] = [
        ("planned", "The first fails, and the second stands in.", VERIFIED, [second], [first, first, second]),
        ("none", "Nobody was asked.", VERIFIED, [second], []),
        ("provider-other", "A provider was asked that the route does not name.", ROUTE, [], [first, second]),
        (
            "model-other",
            "A model was asked that the route does not name.",
            ROUTE,
            [],
            [first | {"upstream_model": "m"}],
        ),
        ("crossed", "One's model was asked at the other.", ROUTE, [second], [first | {"provider_id": "second"}]),
        ("object", "The attempts are no list.", ROUTE, [second], first),
        ("null", "The attempts are null.", ROUTE, [second], None),
        ("text", "An attempt is text.", ROUTE, [second], ["first"]),
        ("no-model", "An attempt names no model.", ROUTE, [second], [{"provider_id": "first"}]),
        ("model-number", "An attempt's model is a number.", ROUTE, [second], [first | {"upstream_model": 1}]),
        ("fallback-null", "Those who may stand in are null.", ROUTE, None, [first]),
        ("fallback-number", "One who may stand in is a number.", ROUTE, [2], [first]),
    ]
    answers: list[tuple[str, str, Expect, Json]] = [
        ("answered", "The one who answered was sent what was forwarded.", VERIFIED, 1),
        ("answered-other", "The one who answered was sent another body.", ROUTE, 0),
        ("answered-bare", "The one who answered was sent nothing that is known.", ROUTE, 2),
        ("answered-beyond", "One answered who was not asked.", ROUTE, 3),
        ("answered-before", "One answered before the first.", ROUTE, -1),
        ("answered-true", "Who answered is no number.", ROUTE, True),
        ("answered-text", "Who answered is text.", ROUTE, "1"),
    ]
    rows: list[tuple[str, str, Expect, Json, Json, Json]] = [
        *((slug, about, expect, others, tried, None) for slug, about, expect, others, tried in cases),
        *((slug, about, expect, [second], [other, ours, second], number) for slug, about, expect, number in answers),
    ]
    for slug, about, expect, others, tried, answered in rows:
        event = route(**first, fallback=others)
        log = [*signed(RESPONSE, event)["event_log"], {"type": "attempts", "answered": answered, "tried": tried}]
        document = receipt(workload_keyset_digest=KEYS, event_log=log)
        leaves = {ROUTE_AT: leaf("route", event, ROUTE_AT), RECEIPT_AT: leaf("receipt", named(document), RECEIPT_AT)}
        book = Grown(leaves)
        served = of_book(book, named(document))
        yield place_vector(f"attempts-{slug}", about, served, expect, document=document, links=[book.link()])


def quorums() -> Iterator[Vector]:
    """With a witness policy, every checkpoint that the proof leads to needs its quorum."""
    quote = logged(QUOTED.member(lines=signature_line(QUOTED.text) + cosigners(QUOTED.text)))
    given: dict[str, Any] = {"quote": quote, "witnesses": MOST}
    seen = replace(BOOK, witnesses=("w1", "w3"))
    yield place_vector("witnessed", "Two of three witnesses saw quote and answer.", of_book(seen), **given)
    unseen = of_book(BOOK)
    yield place_vector("witness-none", "No witness saw the answer.", unseen, SEEN, **given)
    few = of_book(replace(BOOK, witnesses=("w1", "w4")))
    yield place_vector("witness-few", "One witness and a stranger.", few, SEEN, **given)
    mixed = of_book(seen) | {"route": DECIDED}
    yield place_vector("witness-not-of-route", "No witness saw the route's tree.", mixed, SEEN, **given)
    forged = cosignature(BOOK.text, "w2", seconds(NOW), signed=QUOTED.text)
    note = seen.note() + forged
    about = "Beside a quorum: a forged line of a witness."
    served = of_book(seen) | {"receipt": BOOK.shown(RECEIPT_AT, note)}
    yield place_vector("witness-forged", about, served, SEEN, **given)
    cut = seen.note() + cosignature(BOOK.text, "w2", seconds(NOW), cut=3)
    served = of_book(seen) | {"receipt": BOOK.shown(RECEIPT_AT, cut)}
    yield place_vector("witness-truncated", "Beside a quorum: a cut line of a witness.", served, SEEN, **given)
    missing = rejected(missing=["receipt.witness"])
    yield place_vector("witness-no-proof", "Witnesses are wanted, and no proof was given.", None, missing, **given)
    epoch = replace(seen, origin=EPOCH)
    about = "The route stands in an epoch that the policy does not name."
    served = of_book(seen) | {"route": epoch.shown(ROUTE_AT)}
    yield place_vector("witness-epoch", about, served, SEEN, **given)
    known = MOST.replace(f"log {vkey()}", f"log {vkey()}\nlog {vkey(EPOCH)}")
    about = "The policy names that epoch too."
    yield place_vector("witness-epoch-named", about, served, quote=quote, witnesses=known)


def cosigners(text: str) -> str:
    return "".join(cosignature(text, name, seconds(NOW)) for name in ("w1", "w2"))


def histories() -> Iterator[Vector]:
    """Quote, route and receipt stand in one history, as far as the log proves it."""
    link = BOOK.link()
    forked = replace(BOOK, base=[*QUOTED.hashes[:4], leaf_hash(b"forked"), *QUOTED.hashes[5:]])
    about = "The receipt's tree is no continuation of the quote's."
    yield place_vector("history-forked", about, of_book(forked), ONE, links=[forked.link()])
    faults: list[tuple[str, str, Json]] = [
        ("none", "The log gave no proof.", []),
        ("other", "The proof of another pair of sizes.", [BOOK.link(6)]),
        ("empty", "An empty proof.", [link | {"proof": []}]),
        ("reordered", "The proof's hashes are exchanged.", [link | {"proof": link["proof"][::-1]}]),
        ("shorter", "The proof lacks a hash.", [link | {"proof": link["proof"][:-1]}]),
        ("longer", "The proof has one hash more.", [link | {"proof": [*link["proof"], b64(bytes(32))]}]),
        ("short-hash", "A hash of 31 bytes.", [link | {"proof": [b64(bytes(31))]}]),
    ]
    for slug, about, links in faults:
        yield place_vector(f"history-{slug}", about, proof(), ONE, links=links)
    split = replace(BOOK, leaves=BOOK.leaves | {9: b"split"})
    about = "A split view: route and receipt in two trees of one size."
    served = proof(route=split.shown(ROUTE_AT))
    yield place_vector("history-split", about, served, ONE)
    yield place_vector("history-split-unjoined", about, served, ONE, links=None)
    later = replace(BOOK, size=12)
    about = "Of two steps of the log only one is proven."
    yield place_vector("history-gap", about, proof(receipt=later.shown(RECEIPT_AT)), ONE)
    broken = logged(QUOTED.member(lines=""))
    expect = rejected("log.inclusion")
    yield place_vector("history-no-quote", "Nobody signed the quote's checkpoint.", proof(), expect, quote=broken)


def shapes() -> Iterator[Vector]:
    """The bundle's own member."""
    path = "bundle.answer"
    link = BOOK.link()
    faults: list[tuple[str, str, Document]] = [
        ("receipt-null", f"{path}.receipt_b64", {"receipt_b64": None}),
        ("receipt-spelling", f"{path}.receipt_b64", {"receipt_b64": "AAB="}),
        ("proof-number", f"{path}.proof_b64", {"proof_b64": 1}),
        ("links-object", f"{path}.consistency", {"consistency": {}}),
        ("links-many", f"{path}.consistency", {"consistency": [link] * 5}),
        ("link-text", f"{path}.consistency", {"consistency": ["link"]}),
        ("link-size-text", f"{path}.consistency", {"consistency": [link | {"from": "7"}]}),
        ("link-size-float", f"{path}.consistency", {"consistency": [link | {"from": 7.5}]}),
        ("link-size-negative", f"{path}.consistency", {"consistency": [link | {"from": -1}]}),
        ("link-size-large", f"{path}.consistency", {"consistency": [link | {"to": 2**53}]}),
        ("link-size-true", f"{path}.consistency", {"consistency": [link | {"from": True}]}),
        ("link-proof-object", f"{path}.consistency.proof", {"consistency": [link | {"proof": {}}]}),
        ("link-proof-64", f"{path}.consistency.proof", {"consistency": [link | {"proof": [b64(bytes(32))] * 64}]}),
        ("link-hash-null", f"{path}.consistency.proof", {"consistency": [link | {"proof": [None]}]}),
    ]
    for slug, where, changes in faults:
        yield place_vector(f"shape-{slug}", f"The answer: {slug.replace('-', ' ')}.", proof(), where, **changes)
