"""Faults of stream checkpoints: what a receipt says of a beginning of its answer that was signed while it left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import (
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
from tests.vectors.world import VERIFIED, Expect, Vector, rejected

FRAMES = [b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % n for n in range(5)]
STREAM = b"".join([*FRAMES, b"data: [DONE]\n\n"])
LEFT = sum(map(len, FRAMES[:3]))
WORKLOAD = workload(stream_key=ed25519_public("stream"))
KEYSET_DIGEST = digest_of(jcs(keyset(WORKLOAD)))
BROKEN = rejected("receipt.stream")
CONTEXT = b"saferouter/stream/v1\n"


def unsigned_checkpoint(**changes: Any) -> Document:
    document = {
        "receipt_id": "rcpt-1",
        "workload_keyset_digest": KEYSET_DIGEST,
        "events": 3,
        "bytes": LEFT,
        "body_hash": digest_of(STREAM[:LEFT]),
        "time": seconds(NOW),
    }
    return document | changes


def checkpoint(label: str = "stream", **changes: Any) -> Document:
    """A checkpoint signed by the key of that label."""
    document = unsigned_checkpoint(**changes)
    return document | {"signature": ed25519_sign(label, CONTEXT + jcs(document))}


def _vector(slug: str, about: str, carried: Any, expect: Expect = VERIFIED, **changes: Any) -> Vector:
    """A receipt over the stream that carries that checkpoint; `stream` changes its event, `response` what is given."""
    stream = {"type": "stream", "bytes": len(STREAM), "events": 6, "complete": True, "checkpoint": carried}
    stream |= changes.pop("stream", {})
    log = [*events(response=STREAM)[:-1], stream]
    log = [event for event in log if event["type"] not in changes.get("without", ())]
    work = changes.get("workload", WORKLOAD)
    signed = receipt(event_log=log, workload_keyset_digest=digest_of(jcs(keyset(work))))
    return answer_vector(
        "stream-" + slug,
        about,
        signed,
        expect,
        quote_name=changes.get("quote_name", "quote-stream"),
        document=quote(workload_document=work),
        response=changes.get("response", STREAM),
    )


def good() -> Iterator[Vector]:
    yield _vector("good", "The first three of six events were signed for.", checkpoint())
    everything = checkpoint(bytes=len(STREAM), events=6, body_hash=digest_of(STREAM))
    yield _vector("whole", "A checkpoint of the whole answer.", everything)
    nothing = checkpoint(bytes=0, events=0, body_hash=digest_of(b""))
    yield _vector("nothing", "A checkpoint before the first byte.", nothing)
    about = "The response is not given: the signature alone is judged."
    expect = rejected(missing=["receipt.response"])
    yield _vector("no-response", about, checkpoint(), expect, response=None)
    about = "The keyset was renewed meanwhile: the same key, another digest."
    yield _vector("renewed-keyset", about, checkpoint(workload_keyset_digest=fill("renewed")))
    about = "Of the boot that died, whose evidence is not given: nobody can judge it."
    dead = checkpoint("stream of the dead", workload_keyset_digest=fill("dead"))
    yield _vector("other-boot", about, dead)
    about = "An answer that was cut, with the beginning that was signed for."
    yield _vector("cut", about, checkpoint(), rejected("receipt.complete"), stream={"complete": False})


def contradictions() -> Iterator[Vector]:
    other = checkpoint(receipt_id="rcpt-2")
    yield _vector("other-receipt", "A checkpoint of another receipt.", other, BROKEN)
    longer = checkpoint(bytes=len(STREAM) + 1)
    yield _vector("more-bytes", "More bytes had left than the receipt says.", longer, BROKEN)
    yield _vector("more-events", "More events had left than the receipt says.", checkpoint(events=7), BROKEN)
    about = "As many bytes as the receipt's, and another hash."
    forked = checkpoint(bytes=len(STREAM), events=6, body_hash=fill("fork"))
    yield _vector("other-whole", about, forked, BROKEN)
    about = "The beginning of another answer."
    yield _vector("other-beginning", about, checkpoint(body_hash=fill("other")), BROKEN)
    about = "The first bytes of the response that is given were changed."
    changed = STREAM.replace(b'"0"', b'"9"')
    yield _vector(
        "changed-beginning", about, checkpoint(), rejected("receipt.response", "receipt.stream"), response=changed
    )
    about = "The response that is given ends before what was signed for."
    short = rejected("receipt.response", "receipt.stream")
    yield _vector("short-response", about, checkpoint(), short, response=STREAM[: LEFT - 1])
    about = "The response that is given was cut after what was signed for."
    yield _vector("cut-response", about, checkpoint(), rejected("receipt.response"), response=STREAM[:LEFT])


def signatures() -> Iterator[Vector]:
    signed = checkpoint()
    for name, value in (("events", 2), ("time", seconds(NOW) - 1)):
        yield _vector(f"changed-{name}", f"{name} was changed after the signature.", signed | {name: value}, BROKEN)
    yield _vector("receipt-key", "Signed by the key of receipts.", checkpoint("receipt"), BROKEN)
    yield _vector("other-key", "Signed by a key that nobody named.", checkpoint("other"), BROKEN)
    bare = unsigned_checkpoint()
    unmarked = bare | {"signature": ed25519_sign("stream", jcs(bare))}
    yield _vector("no-context", "Signed without its context.", unmarked, BROKEN)
    second = signed | {"signature": second_spelling(signed["signature"])}
    yield _vector("signature-malleable", "The same signature with L added to S.", second, BROKEN)
    about = "The workload names no stream key."
    keyless = checkpoint(workload_keyset_digest=digest_of(jcs(keyset())))
    yield _vector("no-key", about, keyless, BROKEN, workload=workload(), quote_name="quote-good")


def members() -> Iterator[Vector]:
    signed = checkpoint()
    for name in signed:
        part = {key: value for key, value in signed.items() if key != name}
        yield _vector(f"no-{name.replace('_', '-')}", f"The checkpoint has no {name}.", part, BROKEN)
    yield _vector("extra-member", "A member that is not known here.", checkpoint(extra=1), BROKEN)
    for slug, about, carried in (
        ("null", "The checkpoint is null.", None),
        ("text", "The checkpoint is text.", "checkpoint"),
        ("bytes-negative", "Fewer than no bytes.", checkpoint(bytes=-1)),
        ("bytes-true", "bytes is true.", checkpoint(bytes=True)),
        ("bytes-text", "bytes is text.", checkpoint(bytes="3")),
        ("events-null", "events is null.", checkpoint(events=None)),
        ("hash-upper", "body_hash in upper case.", checkpoint(body_hash="sha256:" + "AB" * 32)),
        ("time-negative", "time is negative.", checkpoint(time=-1)),
        ("signature-short", "A signature of 63 bytes.", signed | {"signature": "00" * 63}),
    ):
        yield _vector(slug, about, carried, BROKEN)
    about = "The stream event does not say how many {} left."
    yield _vector("event-bytes-null", about.format("bytes"), checkpoint(), BROKEN, stream={"bytes": None})
    yield _vector("event-events-null", about.format("events"), checkpoint(), BROKEN, stream={"events": None})
    about = "The receipt has no hash of the bytes that the checkpoint covers whole."
    everything = checkpoint(bytes=len(STREAM), events=6, body_hash=digest_of(STREAM))
    expect = rejected("receipt.response", "receipt.stream")
    yield _vector("no-returned", about, everything, expect, without=("response.returned",))
