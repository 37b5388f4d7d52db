"""Faults of what a bundle keeps of an answer beside its place in the log: its head, and an earlier boot's quote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.documents import REQUEST as ASKED
from tests.vectors.documents import RESPONSE, Document, digest_of, events, jcs, keyset, quote, receipt, workload
from tests.vectors.faults_head import TYPE, base, head
from tests.vectors.faults_place import place_vector
from tests.vectors.faults_stream import FRAMES, STREAM, checkpoint
from tests.vectors.signing import ed25519_public, ed25519_sign
from tests.vectors.world import VERIFIED, Expect, Json, Vector, b64, rejected

DEAD = workload(stream_key=ed25519_public("stream of the dead"))
CARRIED = checkpoint("stream of the dead", workload_keyset_digest=digest_of(jcs(keyset(DEAD))))
HEAD, CUT = rejected("receipt.http-signature"), rejected("receipt.stream")


def _vector(
    slug: str, about: str, kept: Document, signed: Document, response: bytes, expect: Expect | str = VERIFIED
) -> Vector:
    given: dict[str, Any] = {"document": signed, "response": response, "links": None, "quote": quote()}
    return place_vector(slug, about, None, expect, **given, **kept)


def headed(slug: str, about: str, headers: Json, expect: Expect | str = VERIFIED) -> Vector:
    """A buffered answer with a head, as base64."""
    returned = {"type": "response.returned", "body_hash": digest_of(RESPONSE), "status": 200, "content_type": TYPE}
    log = [returned if event["type"] == "response.returned" else event for event in events(ASKED, RESPONSE)]
    return _vector(slug, about, {"headers_b64": headers}, receipt(event_log=log), RESPONSE, expect)


def cut(slug: str, about: str, past: Json, carried: Document = CARRIED, expect: Expect | str = VERIFIED) -> Vector:
    """A whole stream with a checkpoint of another boot, and that boot's quote."""
    said = {"bytes": len(STREAM), "events": len(FRAMES) + 1, "complete": True, "checkpoint": carried}
    log = [*events(ASKED, STREAM)[:-1], {"type": "stream"} | said]
    return _vector(slug, about, {"checkpoint_quote": past}, receipt(event_log=log), STREAM, expect)


def good() -> Iterator[Vector]:
    yield headed("kept-head", "The answer's head is kept.", b64(head()))
    about = "The quote of the boot that signed the checkpoint is kept."
    yield cut("kept-quote", about, quote(workload_document=DEAD, nonce=None))
    about = "The quote that is kept does not verify: nobody can judge the checkpoint."
    yield cut("kept-quote-unverified", about, quote(workload_document=DEAD, nonce=None) | {"identity_signature": "0"})


def faults() -> Iterator[Vector]:
    forged = ed25519_sign("other", base(""))
    yield headed("kept-head-forged", "The head that is kept has a forged signature.", b64(head(forged)), HEAD)
    yield headed("kept-head-empty", "The head that is kept is empty.", "", HEAD)
    forged_too = checkpoint("other", workload_keyset_digest=CARRIED["workload_keyset_digest"])
    about = "Another key signed the checkpoint than that of the quote that is kept."
    yield cut("kept-quote-forged", about, quote(workload_document=DEAD, nonce=None), forged_too, CUT)


def shapes() -> Iterator[Vector]:
    where = "bundle.answer.headers_b64"
    yield headed("shape-headers-number", "The head is a number.", 1, where)
    yield headed("shape-headers-spelling", "Another spelling of base64.", "AAB=", where)
    where = "bundle.answer.checkpoint_quote"
    yield cut("shape-quote-text", "The earlier quote is text.", "quote", expect=where)
    yield cut("shape-quote-list", "The earlier quote is a list.", [], expect=where)
