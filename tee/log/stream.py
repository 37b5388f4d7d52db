"""Checkpoints of a stream: how much of an answer had left, signed while it left (SPEC §7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nacl.signing import SigningKey as Ed25519SigningKey

from tee.canonical import digest_bytes, encode_canonical, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, passed, skipped
from tee.keys.identity import Workload, digest_text, hex_bytes, require_members, seconds, text, verify_ed25519
from tee.log.receipt import Receipt, parse_receipt
from tee.snp.chain import iso_seconds

CHECK = "receipt.stream"
CONTEXT = b"saferouter/stream/v1\n"
LARGEST = 2**53 - 1  # what JSON carries exactly in every language
_MEMBERS = {"receipt_id", "workload_keyset_digest", "events", "bytes", "body_hash", "time", "signature"}
_FIELD = "receipt.event_log.stream"


@dataclass(frozen=True, slots=True)
class StreamCheckpoint:
    """A parsed checkpoint: the first `size` bytes of an answer, `events` events, hash to `body_hash`."""

    receipt_id: str
    keyset_digest: str
    events: int
    size: int
    body_hash: str
    time: int
    signature: bytes
    document: dict[str, Any]


def parse_stream_checkpoint(document: Any, field: str) -> StreamCheckpoint:
    """Parse a checkpoint's JSON. Raises Malformed."""
    require_members(document, _MEMBERS, field, exact=True)
    return StreamCheckpoint(
        receipt_id=text(document["receipt_id"], f"{field}.receipt_id"),
        keyset_digest=digest_text(document["workload_keyset_digest"], f"{field}.workload_keyset_digest"),
        events=_count(document["events"], f"{field}.events"),
        size=_count(document["bytes"], f"{field}.bytes"),
        body_hash=digest_text(document["body_hash"], f"{field}.body_hash"),
        time=seconds(document["time"], f"{field}.time"),
        signature=hex_bytes(document["signature"], 64, f"{field}.signature"),
        document=document,
    )


def stream_message(document: dict[str, Any]) -> bytes:
    """The bytes that a checkpoint's signature covers: its context, then its canonical form without `signature`."""
    return CONTEXT + encode_canonical({name: value for name, value in document.items() if name != "signature"})


def sign_stream_checkpoint(document: dict[str, Any], key: Ed25519SigningKey) -> dict[str, Any]:
    """The checkpoint `document` with its Ed25519 signature."""
    return document | {"signature": key.sign(stream_message(document)).signature.hex()}


def checkpoint_of(receipt: Receipt) -> StreamCheckpoint | None:
    """The checkpoint that a receipt carries, None where it carries none. Raises Malformed."""
    event = receipt.events.get("stream", {})
    return parse_stream_checkpoint(event["checkpoint"], f"{_FIELD}.checkpoint") if "checkpoint" in event else None


def judge_stream(raw: bytes, workload: Workload, response: bytes | None, earlier: Workload | None) -> Check:
    """`receipt.stream`: how far the answer had left while it was signed for.

    `workload` is that of the quote which vouches for the receipt; `earlier` that of the verified quote of the keyset
    which the checkpoint names, None if not at hand: a receipt made after a crash holds a checkpoint of the boot
    that died. `response` is the answer as the client holds it, None if not given.
    """
    try:
        receipt = parse_receipt(raw)
    except Malformed:
        return skipped(CHECK, "the receipt does not parse")
    try:
        checkpoint = checkpoint_of(receipt)
        if checkpoint is None:
            return skipped(CHECK, "the receipt carries no checkpoint: the answer was no stream, or a short one")
        return (
            _contradiction(checkpoint, receipt)
            or _unsigned(checkpoint, receipt, workload, earlier)
            or _prefix(checkpoint, receipt, response)
        )
    except Malformed as error:
        return failed(CHECK, f"{error.field}: {error.found}", error.wanted)


def _contradiction(checkpoint: StreamCheckpoint, receipt: Receipt) -> Check | None:
    """What the checkpoint says that its receipt cannot mean. Raises Malformed."""
    event = receipt.events["stream"]
    if checkpoint.receipt_id != receipt.receipt_id:
        found = f"a checkpoint of {shown(checkpoint.receipt_id)}"
        return failed(CHECK, found, f"{receipt.receipt_id}, this receipt")
    for name, said in (("bytes", checkpoint.size), ("events", checkpoint.events)):
        left = _count(event.get(name), f"{_FIELD}.{name}")
        if said > left:
            return failed(CHECK, f"{said} {name} in the checkpoint", f"at most {left}, as the receipt says")
    body_hash = receipt.events.get("response.returned", {}).get("body_hash")
    if checkpoint.size == event["bytes"] and checkpoint.body_hash != body_hash:
        wanted = f"{shown(body_hash)}, the receipt's hash of as many bytes"
        return failed(CHECK, f"{checkpoint.body_hash} in the checkpoint", wanted)
    return None


def _unsigned(
    checkpoint: StreamCheckpoint, receipt: Receipt, workload: Workload, earlier: Workload | None
) -> Check | None:
    """Whether no stream key at hand has signed it. A renewed keyset has another digest and the same workload."""
    message = stream_message(checkpoint.document)
    known = [each.stream_key for each in (workload, earlier) if each is not None and each.stream_key is not None]
    if any(verify_ed25519(key, checkpoint.signature, message) for key in known):
        return None
    if checkpoint.keyset_digest != receipt.keyset_digest and earlier is None:
        return skipped(
            CHECK, f"the checkpoint is of keyset {checkpoint.keyset_digest}, of which no verified evidence is at hand"
        )
    if not known:
        return failed(CHECK, "a checkpoint", "none: the workload names no stream_key")
    return failed(CHECK, "a signature that does not verify", f"Ed25519 by stream key {known[-1].hex()} of the workload")


def _prefix(checkpoint: StreamCheckpoint, receipt: Receipt, response: bytes | None) -> Check:
    """A signed prefix of the answer, compared with the answer if that is at hand."""
    stream, moment = receipt.events["stream"], iso_seconds(datetime.fromtimestamp(checkpoint.time, UTC))
    reach = f"{checkpoint.size} of {stream['bytes']} bytes and {checkpoint.events} of {stream['events']} events"
    found = f"the first {reach} had left at {moment}"
    if response is None:
        return passed(CHECK, found, "a signed beginning of the answer", "the response was not given")
    if len(response) < checkpoint.size:
        wanted = f"at least {checkpoint.size}, which the checkpoint covers"
        return failed(CHECK, f"{len(response)} bytes in the response that was given", wanted)
    observed = digest_bytes(response[: checkpoint.size])
    wanted = f"{observed}, the SHA-256 of the first {checkpoint.size} bytes of the response that was given"
    if checkpoint.body_hash != observed:
        return failed(CHECK, f"{checkpoint.body_hash} in the checkpoint", wanted)
    return passed(CHECK, found, "a signed beginning of the response that was given")


def _count(value: Any, field: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise Malformed(field, shown(value), "an integer of at least 0")
    return value
