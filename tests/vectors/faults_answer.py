"""Faults of answers: a receipt, the bodies that it commits to, and the quote whose key signed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import (
    NONCE,
    ORIGIN_URL,
    REQUEST,
    RESPONSE,
    Document,
    digest_of,
    events,
    fill,
    jcs,
    keyset,
    quote,
    receipt,
    unsigned_receipt,
)
from tests.vectors.faults_quote import without
from tests.vectors.signing import ed25519_sign, second_spelling
from tests.vectors.world import (
    GENOA,
    POLICY,
    QUOTE_BROKEN,
    RECEIPT,
    VERIFIED,
    Blob,
    Expect,
    Json,
    Vector,
    b64,
    iso,
    rejected,
)

RECEIPT_BROKEN = rejected("receipt.format", missing=RECEIPT[1:])
UNSIGNED = rejected("receipt.signature")


def answer_vector(
    slug: str,
    about: str,
    receipt_document: Document | bytes,
    expect: Expect = VERIFIED,
    *,
    quote_name: str = "quote-good",
    document: Document | None = None,
    request: bytes | None = REQUEST,
    response: bytes | None = RESPONSE,
    policy: dict[str, Json] | None = POLICY,
    accept_mock: bool = True,
    nonce: str | None = NONCE,
) -> Vector:
    """A quote by name, the receipt and both bodies as base64; a body may be missing."""
    text = json.dumps(document or quote())
    held = Blob(quote_name, text.encode())
    raw = receipt_document if isinstance(receipt_document, bytes) else json.dumps(receipt_document).encode()
    body = {
        "about": about,
        "stage": "answer",
        "now": iso(NOW),
        "quote": held.name,
        "receipt": b64(raw),
        "request": None if request is None else b64(request),
        "response": None if response is None else b64(response),
        "accept_mock": accept_mock,
        "policy": policy,
        "nonce": nonce,
        "audience": ORIGIN_URL,
        "expect": expect.to_json(),
    }
    used = tuple(part for part in GENOA.blobs() if "${" + part.name + "}" in text)
    return Vector("answer", slug, body, (held, *used))


def _event(kind: str, **changes: Any) -> list[Document]:
    """The good events with this one changed."""
    return [event | changes if event["type"] == kind else event for event in events()]


def _without_event(kind: str) -> list[Document]:
    return [event for event in events() if event["type"] != kind]


def good() -> Iterator[Vector]:
    yield answer_vector("good", "A whole answer of an unattested upstream, which is said and not judged.", receipt())
    claimed = _event("upstream.verified", required=True, result="verified", session_id="session-1")
    about = "The receipt claims an attested upstream: not judged, as its session was not given."
    yield answer_vector("upstream-claimed", about, receipt(event_log=claimed))
    about = "No upstream answered."
    yield answer_vector("no-upstream", about, receipt(event_log=_without_event("upstream.verified")))
    about = "A refusal: neither chat id nor model, and nothing was forwarded."
    refused = [events()[0], *events()[4:]]
    yield answer_vector("refusal", about, receipt(chat_id=None, model=None, event_log=refused))
    about = "Spaces and order outside the canonical form do not count."
    spaced = json.dumps(dict(reversed(receipt().items())), indent=3).encode()
    yield answer_vector("indented", about, spaced)
    yield answer_vector("signed-extra-member", "A member that is not known here, signed.", receipt(extra=["x", 1]))
    about = "Empty bodies are bodies."
    empty = receipt(event_log=events(b"", b""))
    yield answer_vector("empty-bodies", about, empty, request=b"", response=b"")
    for moment in (0, 253402300799):
        yield answer_vector(f"served-at-{moment}", "served_at at an end of its range.", receipt(served_at=moment))
    about = "Bodies are bytes, also where they are no UTF-8."
    raw = b"\xff\x00\xfe"
    yield answer_vector("binary-bodies", about, receipt(event_log=events(raw, raw)), request=raw, response=raw)


def bodies() -> Iterator[Vector]:
    for name, body in (("request", REQUEST), ("response", RESPONSE)):
        wrong = rejected(f"receipt.{name}")
        parts = {
            "changed": ("one byte changed", body.replace(b'":', b'":', 1)[:-1] + b"]"),
            "longer": ("a line break after it", body + b"\n"),
            "shorter": ("its last byte missing", body[:-1]),
            "empty": ("no bytes", b""),
            "re-encoded": ("the same JSON with spaces", json.dumps(json.loads(body)).encode()),
        }
        for slug, (about, part) in parts.items():
            sent: dict[str, Any] = {name: part}
            yield answer_vector(f"{name}-{slug}", f"The {name} has {about}.", receipt(), wrong, **sent)
        absent: dict[str, Any] = {name: None}
        expect = rejected(missing=[f"receipt.{name}"])
        yield answer_vector(f"no-{name}", f"The {name} was not given.", receipt(), expect, **absent)
    about = "Request and response exchanged."
    wrong = rejected("receipt.request", "receipt.response")
    yield answer_vector("bodies-exchanged", about, receipt(), wrong, request=RESPONSE, response=REQUEST)


def _event_logs() -> dict[str, tuple[str, Json, Expect]]:
    cut, none = rejected("receipt.complete"), "No {} event."
    many = [*events(), *({"type": f"x-{number}"} for number in range(59))]
    twice = [*events(), {"type": "stream", "bytes": 1, "complete": True}]
    return {
        "complete-false": ("The answer was cut.", _event("stream", complete=False), cut),
        "complete-text": ('complete is "true".', _event("stream", complete="true"), cut),
        "complete-one": ("complete is 1.", _event("stream", complete=1), cut),
        "complete-null": ("complete is null.", _event("stream", complete=None), cut),
        "no-stream": (none.format("stream"), _without_event("stream"), cut),
        "no-request": (
            none.format("request.received"),
            _without_event("request.received"),
            rejected("receipt.request"),
        ),
        "no-response": (
            none.format("response.returned"),
            _without_event("response.returned"),
            rejected("receipt.response"),
        ),
        "no-events": ("No events.", [], rejected("receipt.request", "receipt.response", "receipt.complete")),
        "event-twice": ("The stream event twice.", twice, RECEIPT_BROKEN),
        "events-64": ("64 events.", many[:64], VERIFIED),
        "events-65": ("65 events.", many, RECEIPT_BROKEN),
        "events-object": ("The events are an object.", {}, RECEIPT_BROKEN),
        "event-text": ("An event that is text.", ["stream"], RECEIPT_BROKEN),
        "event-no-type": ("An event without a type.", [*events(), {}], RECEIPT_BROKEN),
        "event-type-number": ("An event whose type is a number.", [*events(), {"type": 1}], RECEIPT_BROKEN),
        "hash-null": ("body_hash is null.", _event("response.returned", body_hash=None), RECEIPT_BROKEN),
        "hash-upper": (
            "body_hash in upper case.",
            _event("request.received", body_hash="sha256:" + "AB" * 32),
            RECEIPT_BROKEN,
        ),
        "hash-no-prefix": (
            "body_hash without its prefix.",
            _event("request.received", body_hash="ab" * 32),
            RECEIPT_BROKEN,
        ),
        "forwarded-hash-short": (
            "A forwarded body_hash of 31 bytes.",
            _event("request.forwarded", body_hash="sha256:" + "ab" * 31),
            RECEIPT_BROKEN,
        ),
        "event-float": ("A fraction in an event.", _event("route", seconds=0.25), RECEIPT_BROKEN),
        "event-integral-float": ("1.0 in an event.", _event("route", seconds=1.0), RECEIPT_BROKEN),
        "event-big-integer": ("2^53 in an event.", _event("route", seconds=2**53), RECEIPT_BROKEN),
        "event-name-not-ascii": ("A member name outside ASCII.", [*events(), {"type": "x", "é": 1}], RECEIPT_BROKEN),
    }


def events_of() -> Iterator[Vector]:
    for slug, (about, log, expect) in _event_logs().items():
        yield answer_vector(slug, about, receipt(event_log=log), expect)


def signatures() -> Iterator[Vector]:
    signed = receipt()
    message = jcs(unsigned_receipt())
    for name, value in (
        ("model", "demo-model-2"),
        ("endpoint", "/v1/completions"),
        ("method", "GET"),
        ("served_at", signed["served_at"] + 1),
        ("chat_id", None),
        ("receipt_id", "rcpt-2"),
    ):
        about = f"{name} was changed after the signature."
        yield answer_vector(f"changed-{name.replace('_', '-')}", about, signed | {name: value}, UNSIGNED)
    about = "A member was added after the signature."
    yield answer_vector("added-member", about, signed | {"extra": 1}, UNSIGNED)
    about = "An event was added after the signature."
    yield answer_vector("added-event", about, signed | {"event_log": [*events(), {"type": "x"}]}, UNSIGNED)
    about = "complete was changed to true after the signature."
    cut = receipt(event_log=_event("stream", complete=False)) | {"event_log": events()}
    yield answer_vector("changed-complete", about, cut, UNSIGNED)
    yield answer_vector("other-key", "Signed by a key that is not in the keyset.", receipt("other"), UNSIGNED)
    yield answer_vector(
        "identity-key", "Signed by the identity key, which signs keysets.", receipt("identity"), UNSIGNED
    )
    yield answer_vector(
        "unknown-key-id", "A key id that the keyset does not have.", receipt(key_id="receipt-2"), UNSIGNED
    )
    yield answer_vector("e2ee-key-id", "The key id of an encryption key.", receipt(key_id="seal-1"), UNSIGNED)
    about = "Signed with its own signature member, empty, in the message."
    whole = ed25519_sign("receipt", jcs(unsigned_receipt() | {"signature": ""}))
    yield answer_vector("signature-over-itself", about, signed | {"signature": whole}, UNSIGNED)
    about = "Signed over the text as sent, not over its canonical form."
    loose = ed25519_sign("receipt", json.dumps(unsigned_receipt()).encode())
    yield answer_vector("signature-not-canonical", about, signed | {"signature": loose}, UNSIGNED)
    about = "Signed over the digest of the message."
    hashed = ed25519_sign("receipt", digest_of(message).encode())
    yield answer_vector("signature-over-digest", about, signed | {"signature": hashed}, UNSIGNED)
    about = "The same signature with L added to S."
    second = second_spelling(signed["signature"])
    yield answer_vector("signature-malleable", about, signed | {"signature": second}, UNSIGNED)
    yield answer_vector("signature-zero", "A signature of zeros.", signed | {"signature": "00" * 64}, UNSIGNED)
    other = receipt(workload_keyset_digest=fill("other"))
    yield answer_vector(
        "other-keyset", "Made under another keyset, by the same key.", other, rejected("receipt.keyset")
    )


def members() -> Iterator[Vector]:
    whole = receipt()
    for name in whole:
        about = f"The receipt has no {name}."
        unsigned = {key: value for key, value in unsigned_receipt().items() if key != name}
        part = unsigned if name == "signature" else unsigned | {"signature": ed25519_sign("receipt", jcs(unsigned))}
        yield answer_vector(f"no-{name.replace('_', '-')}", about, part, RECEIPT_BROKEN)
    faults: list[tuple[str, str, Document]] = [
        ("api-version", "Another API version.", {"api_version": "aci/2"}),
        ("model-number", "The model is a number.", {"model": 4}),
        ("chat-id-list", "The chat id is a list.", {"chat_id": []}),
        ("receipt-id-empty", "The receipt id is empty.", {"receipt_id": ""}),
        ("receipt-id-line-break", "The receipt id has a line break.", {"receipt_id": "rcpt\n1"}),
        ("endpoint-null", "The endpoint is null.", {"endpoint": None}),
        ("served-at-negative", "served_at is negative.", {"served_at": -1}),
        ("served-at-float", "served_at has a fraction.", {"served_at": 1.5}),
        ("served-at-true", "served_at is true.", {"served_at": True}),
        ("key-id-number", "The key id is a number.", {"key_id": 1}),
        ("keyset-digest-upper", "The keyset digest in upper case.", {"workload_keyset_digest": "sha256:" + "AB" * 32}),
        ("extra-float", "A fraction in a member that is not known here.", {"extra": 0.5}),
    ]
    for slug, about, changes in faults:
        yield answer_vector(slug, about, receipt(**changes), RECEIPT_BROKEN)
    for slug, about, value in (
        ("signature-short", "A signature of 63 bytes.", "00" * 63),
        ("signature-upper", "The signature in upper case.", whole["signature"].upper()),
        ("signature-null", "The signature is null.", None),
    ):
        yield answer_vector(slug, about, whole | {"signature": value}, RECEIPT_BROKEN)
    text = json.dumps(whole).encode()
    for slug, about, raw in (
        ("member-twice", "A member twice.", text[:-1] + b', "model": "demo-model"}'),
        ("not-utf-8", "A byte that is no UTF-8.", text.replace(b"demo-model", b"demo-model\xff", 1)),
        ("byte-order-mark", "A byte order mark.", b"\xef\xbb\xbf" + text),
        ("list", "A list.", b"[]"),
        ("empty", "No bytes.", b""),
        ("trailing-text", "Text after the receipt.", text + b"x"),
    ):
        yield answer_vector(f"receipt-{slug}", about, raw, RECEIPT_BROKEN)


def quotes() -> Iterator[Vector]:
    """A good receipt does not mend a bad quote."""
    about = "The quote is a mock's, and mocks are not accepted."
    yield answer_vector("mock-not-accepted", about, receipt(), rejected("hw.root"), accept_mock=False)
    about = "The quote does not parse, so no key is known."
    expect = rejected("bind.quote", missing=[*QUOTE_BROKEN.missing, *RECEIPT])
    yield answer_vector(
        "quote-broken", about, receipt(), expect, quote_name="quote-no-log", document=without(quote(), "log")
    )
    about = "The keyset was exchanged for one that lists the receipt's signer."
    row = keyset()["receipt_signing_keys"][0]
    forged = keyset(receipt_signing_keys=[row | {"public_key": "00" * 31 + "01"}])
    signed = receipt(workload_keyset_digest=digest_of(jcs(forged)))
    expect = rejected("bind.report-data", "bind.identity", "receipt.signature")
    yield answer_vector(
        "keyset-exchanged",
        about,
        signed,
        expect,
        quote_name="quote-keyset-exchanged",
        document=quote() | {"keyset": forged},
    )
    about = "Stored evidence and a whole answer."
    yield answer_vector("stored-quote", about, receipt(), nonce=None)
    about = "The quote answers another nonce than mine."
    other = quote(nonce="ff" * 32)
    yield answer_vector(
        "nonce-other",
        about,
        receipt(),
        rejected("bind.report-data", "bind.nonce"),
        quote_name="quote-other-nonce",
        document=other,
    )
    about = "The receipt's key is not a point of the curve."
    broken = keyset(receipt_signing_keys=[row | {"public_key": "02" + "00" * 31}])
    signed = receipt(workload_keyset_digest=digest_of(jcs(broken)))
    yield answer_vector(
        "receipt-key-no-point",
        about,
        signed,
        UNSIGNED,
        quote_name="quote-key-no-point",
        document=quote(keyset_document=broken),
    )
