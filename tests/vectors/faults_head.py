"""Faults of an answer's head: its HTTP message signature, and what that covers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import (
    RESPONSE,
    Document,
    digest_of,
    events,
    fill,
    jcs,
    keyset,
    quote,
    receipt,
    seconds,
    workload,
)
from tests.vectors.faults_answer import answer_vector
from tests.vectors.signing import ed25519_public, ed25519_sign, second_spelling
from tests.vectors.world import VERIFIED, Expect, Vector, b64, rejected

COVERED = '("@status" "content-type" "content-digest" "x-receipt-id" "@method";req "@path";req)'
TAG = 'alg="ed25519";tag="saferouter/answer/v1"'
TYPE = "application/json"
BROKEN = rejected("receipt.http-signature")


def content_digest(body: bytes) -> str:
    return f"sha-256=:{b64(hashlib.sha256(body).digest())}:"


def parameters(label: str = "http", created: str = str(seconds(NOW))) -> str:
    return f';created={created};keyid="{ed25519_public(label)}";{TAG}'


def base(said: str, covered: str = COVERED, **changes: str) -> bytes:
    """The signature base (RFC 9421 §2.5) of the good answer, but for changed values."""
    values = {
        '"@status"': "200",
        '"content-type"': TYPE,
        '"content-digest"': content_digest(RESPONSE),
        '"x-receipt-id"': "rcpt-1",
        '"@method";req': "POST",
        '"@path";req': "/v1/chat/completions",
    }
    values |= {name: changes[key] for name in values if (key := name.strip('"@').split('"')[0]) in changes}
    lines = [f"{name}: {value}" for name, value in values.items()]
    return "\n".join([*lines, f'"@signature-params": {covered}{said}']).encode()


def head(
    made: str | None = None,
    said: str | None = None,
    status: str = "HTTP/1.1 200 ",
    label: str = "http",
    **fields: Any,
) -> bytes:
    """The good head as `curl -D` writes it; None drops a field, a list repeats it."""
    said = said or parameters(label)
    made = made or ed25519_sign(label, base(said))
    rows = {
        "content-length": str(len(RESPONSE)),
        "content-type": TYPE,
        "x-receipt-id": "rcpt-1",
        "content-digest": content_digest(RESPONSE),
        "signature-input": f"saferouter={COVERED}{said}",
        "signature": f"saferouter=:{b64(bytes.fromhex(made))}:",
    }
    rows |= {name.replace("_", "-"): value for name, value in fields.items()}
    listed = [(name, each) for name, value in rows.items() for each in (value if isinstance(value, list) else [value])]
    lines = [status, *(f"{name}: {value}" for name, value in listed if value is not None)]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode("latin-1")


def _returned(**changes: Any) -> Document:
    """The good receipt of a JSON answer, with members of its `response.returned` changed."""
    good = {"content_type": TYPE} | changes
    log = [event | good if event["type"] == "response.returned" else event for event in events()]
    return receipt(event_log=log)


def _vector(slug: str, about: str, headers: bytes, expect: Expect = VERIFIED, **changes: Any) -> Vector:
    signed = changes.pop("receipt", None) or _returned()
    vector = answer_vector(slug, about, signed, expect, **changes)
    return replace(vector, stage="head", body=vector.body | {"stage": "head", "headers": b64(headers)})


def good() -> Iterator[Vector]:
    yield _vector("good", "A head that the gateway signed.", head())
    yield _vector("http-2", "The status line of HTTP/2.", head(status="HTTP/2 200 "))
    about = "An interim answer came before the head."
    yield _vector("interim", about, b"HTTP/1.1 100 Continue\r\n\r\n" + head())
    yield _vector("line-feeds", "Lines that end in LF alone.", head().replace(b"\r\n", b"\n"))
    yield _vector("upper-case", "Names of fields in upper case.", head().replace(b"content-type:", b"Content-Type:"))
    yield _vector("spaces", "Spaces around a value.", head(content_type=f"  {TYPE} \t"))
    yield _vector("other-fields", "Another field twice.", head(vary=["origin", "accept"]))
    about = "The response is not given: the receipt's hash is compared."
    yield _vector("no-response", about, head(), rejected(missing=["receipt.response"]), response=None)
    stream = _returned(content_type="text/event-stream; charset=utf-8")
    unsigned = head(signature_input=None, signature=None, content_digest=None)
    yield _vector("stream", "A stream, whose head is not signed.", unsigned, receipt=stream)


def contradictions() -> Iterator[Vector]:
    yield _vector("status-other", "Another status than the receipt's.", head(status="HTTP/1.1 201 "), BROKEN)
    failure = _returned(status=404)
    yield _vector("status-receipt", "A receipt of another status.", head(), BROKEN, receipt=failure)
    yield _vector("status-text", "The receipt's status is text.", head(), BROKEN, receipt=_returned(status="200"))
    yield _vector("content-type-other", "Another content type.", head(content_type="text/html"), BROKEN)
    yield _vector("receipt-id-other", "The id of another receipt.", head(x_receipt_id="rcpt-2"), BROKEN)
    yield _vector("digest-other", "The digest of another body.", head(content_digest=content_digest(b"{}")), BROKEN)
    sha512 = f"sha-512=:{b64(hashlib.sha512(RESPONSE).digest())}:"
    yield _vector("digest-sha-512", "A digest by another algorithm.", head(content_digest=sha512), BROKEN)
    both = rejected("receipt.response", "receipt.http-signature")
    yield _vector("response-other", "Another response than the signed one.", head(), both, response=b"{}")
    about = "Receipt and signature are of different bodies; the response is the signature's."
    forked = _returned(body_hash=fill("fork"))
    yield _vector("receipt-other", about, head(), both, receipt=forked)
    about = "The receipt has no response.returned event."
    none = receipt(event_log=[event for event in events() if event["type"] != "response.returned"])
    yield _vector("no-returned", about, head(), both, receipt=none)


def signatures() -> Iterator[Vector]:
    said = parameters()
    signed = ed25519_sign("http", base(said))
    for name, value in (
        ("status", "201"),
        ("content-type", "text/html"),
        ("content-digest", content_digest(b"{}")),
        ("x-receipt-id", "rcpt-2"),
        ("method", "GET"),
        ("path", "/v1/completions"),
    ):
        other = ed25519_sign("http", base(said, **{name: value}))
        yield _vector(f"signed-{name}", f"The signature is over another {name}.", head(other), BROKEN)
    yield _vector("created-changed", "created was changed.", head(signed, parameters(created="1")), BROKEN)
    about = "Signed by another key than the workload's."
    yield _vector("key-other", about, head(label="other"), BROKEN)
    yield _vector("key-receipt", "Signed by the key of receipts.", head(label="receipt"), BROKEN)
    about = "Signed by another key, under the id of the workload's."
    yield _vector("key-id-borrowed", about, head(ed25519_sign("other", base(said))), BROKEN)
    yield _vector("malleable", "The same signature with L added to S.", head(second_spelling(signed)), BROKEN)
    keyless = workload(http_signature_key=None)
    signed_receipt = receipt(event_log=_returned()["event_log"], workload_keyset_digest=digest_of(jcs(keyset(keyless))))
    changes = {"quote_name": "quote-no-http-key", "document": quote(workload_document=keyless)}
    yield _vector("no-key", "The workload names no key.", head(), BROKEN, receipt=signed_receipt, **changes)


def heads() -> Iterator[Vector]:
    for name in ("content-type", "x-receipt-id", "content-digest", "signature-input", "signature"):
        fields: dict[str, Any] = {name.replace("-", "_"): None}
        yield _vector(f"no-{name}", f"No {name}.", head(**fields), BROKEN)
    whole = head()
    twice = whole.replace(b"content-type:", b"content-type: application/json\r\nContent-Type:")
    yield _vector("field-twice", "A covered field twice.", twice, BROKEN)
    mark = f"saferouter={COVERED}{parameters()}"
    for slug, about, value in (
        ("label", "Another label.", mark.replace("saferouter=", "sig1=")),
        ("uncovered", "A component is not covered.", mark.replace('"content-digest" ', "")),
        ("order", "Components in another order.", mark.replace('"@status" "content-type"', '"content-type" "@status"')),
        ("alg", "Another algorithm.", mark.replace("ed25519", "rsa-pss-sha512")),
        ("tag", "Another tag.", mark.replace("answer/v1", "answer/v2")),
        ("no-tag", "No tag.", mark.replace(';tag="saferouter/answer/v1"', "")),
        ("expires", "A parameter that is not known here.", mark + ";expires=1"),
        ("key-upper", "The key in upper case.", mark.replace(ed25519_public("http"), ed25519_public("http").upper())),
        ("created-zeros", "created with a zero before it.", mark.replace("created=", "created=0")),
        ("second", "A second signature beside it.", mark + ", proxy=()"),
    ):
        yield _vector(f"input-{slug}", about, head(signature_input=value), BROKEN)
    value = b64(bytes.fromhex(ed25519_sign("http", base(parameters()))))
    for slug, about, text in (
        ("bare", "A signature without colons.", f"saferouter={value}"),
        ("short", "A signature of 63 bytes.", f"saferouter=:{b64(bytes(63))}:"),
        ("spare-bits", "Unused bits of the base64 set.", f"saferouter=:{value[:-3]}{chr(ord(value[-3]) + 1)}==:"),
        ("url", "base64 of the URL kind.", f"saferouter=:{'-' * 86}==:"),
    ):
        yield _vector(
            f"signature-{slug}",
            about,
            whole.replace(b"signature: saferouter=:" + value.encode() + b":", b"signature: " + text.encode()),
            BROKEN,
        )
    for slug, about, raw in (
        ("empty", "No bytes.", b""),
        ("no-status", "No status line.", whole.split(b"\r\n", 1)[1]),
        ("status-short", "A status of two digits.", head(status="HTTP/1.1 20 ")),
        ("no-colon", "A line without a colon.", whole.replace(b"content-length:", b"content-length")),
        ("folded", "A folded line.", whole.replace(b"content-length: ", b"content-length:\r\n ")),
        ("not-ascii", "A byte beyond ASCII.", whole.replace(b"content-length: ", b"content-length: \xe9")),
        ("long", "More than 64 KiB.", head(x_long="x" * (1 << 16))),
        ("trailing", "Something after the head.", whole + b"x"),
    ):
        yield _vector(f"head-{slug}", about, raw, BROKEN)
