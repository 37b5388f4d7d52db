"""Receipts: what was received, forwarded and returned, signed by an attested key (SPEC §7; ACI/1 §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey as Ed25519SigningKey

from tee.canonical import MAX_SAFE_INTEGER, digest_bytes, encode_canonical, encode_members, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, judged, skipped
from tee.keys.identity import WorkloadKeyset, digest_text, hex_bytes, require_members, seconds, text, verify_ed25519
from tee.log.leakscan import require_agreement, require_leak_scan, tell_leak_scan

API_VERSION = "aci/1"
MAX_RECEIPT_SIZE = 1 << 18
_MEMBERS = {
    "api_version",
    "receipt_id",
    "chat_id",
    "model",
    "endpoint",
    "method",
    "served_at",
    "event_log",
    "key_id",
    "workload_keyset_digest",
    "signature",
}
CHECKS = (
    "receipt.format",
    "receipt.keyset",
    "receipt.signature",
    "receipt.request",
    "receipt.response",
    "receipt.complete",
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt. `events` maps an event's type to its members; each type occurs once."""

    receipt_id: str
    endpoint: str
    method: str
    model: str | None
    served_at: int
    key_id: str
    keyset_digest: str
    events: dict[str, dict[str, Any]]
    signature: bytes
    document: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether these bytes are the whole answer."""
        return self.events.get("stream", {}).get("complete") is True


def parse_receipt(raw: bytes) -> Receipt:
    """Parse a receipt from its JSON bytes. Raises Malformed."""
    if len(raw) > MAX_RECEIPT_SIZE:
        raise Malformed("receipt", f"{len(raw)} bytes", f"at most {MAX_RECEIPT_SIZE}")
    document = parse_json(raw, "receipt")
    require_members(document, _MEMBERS, "receipt")
    if document["api_version"] != API_VERSION:
        raise Malformed("receipt.api_version", shown(document["api_version"]), API_VERSION)
    for name in ("chat_id", "model"):
        if document[name] is not None and not isinstance(document[name], str):
            raise Malformed(f"receipt.{name}", kind_of(document[name]), "text or null")
    return Receipt(
        receipt_id=text(document["receipt_id"], "receipt.receipt_id"),
        endpoint=text(document["endpoint"], "receipt.endpoint"),
        method=text(document["method"], "receipt.method"),
        model=document["model"],
        served_at=seconds(document["served_at"], "receipt.served_at"),
        key_id=text(document["key_id"], "receipt.key_id"),
        keyset_digest=digest_text(document["workload_keyset_digest"], "receipt.workload_keyset_digest"),
        events=_parse_events(document["event_log"]),
        signature=hex_bytes(document["signature"], 64, "receipt.signature"),
        document=document,
    )


def signing_input(document: dict[str, Any]) -> bytes:
    """The bytes that a receipt's signature covers: its canonical form without `signature`."""
    return encode_canonical({name: value for name, value in document.items() if name != "signature"})


def sign_receipt(document: dict[str, Any], key: Ed25519SigningKey) -> dict[str, Any]:
    """The receipt `document` with its Ed25519 signature."""
    return document | {"signature": key.sign(signing_input(document)).signature.hex()}


def sign_encoded(members: dict[str, bytes], key: Ed25519SigningKey) -> bytes:
    """The same of members that are canonical already: the canonical form of the signed receipt."""
    signature = key.sign(encode_members(members)).signature.hex()
    return encode_members(members | {"signature": b'"%b"' % signature.encode()})


def verify_receipt(raw: bytes, keyset: WorkloadKeyset, request: bytes | None, response: bytes | None) -> list[Check]:
    """The `receipt.*` checks. `keyset` must come from a verified quote; None means: not at hand."""
    try:
        receipt = parse_receipt(raw)
        message = signing_input(receipt.document)
    except Malformed as error:
        broken = failed("receipt.format", f"{error.field}: {error.found}", error.wanted)
        return [broken, *(skipped(check_id, "the receipt does not parse") for check_id in CHECKS[1:])]
    key = keyset.receipt_key(receipt.key_id)
    signed = key is not None and verify_ed25519(key.public_key, receipt.signature, message)
    told = tell_leak_scan(receipt.events)
    return [
        judged("receipt.format", True, f"receipt {receipt.receipt_id}", "an ACI/1 receipt"),
        judged("receipt.keyset", receipt.keyset_digest == keyset.digest, receipt.keyset_digest, keyset.digest),
        judged(
            "receipt.signature",
            signed,
            "a signature that verifies" if signed else "a signature that does not verify",
            f"Ed25519 by key {receipt.key_id} of the keyset",
        ),
        _check_body("receipt.request", receipt, "request.received", request, "the request", told),
        _check_body("receipt.response", receipt, "response.returned", response, "the response"),
        judged(
            "receipt.complete",
            receipt.complete,
            "these bytes are the whole answer" if receipt.complete else "the answer was cut",
            "these bytes are the whole answer",
        ),
    ]


def _check_body(check_id: str, receipt: Receipt, event: str, body: bytes | None, name: str, reason: str = "") -> Check:
    if body is None:
        return skipped(check_id, f"{name} was not given")
    if event not in receipt.events:
        return failed(check_id, f"no {event} event", digest_bytes(body))
    recorded, observed = receipt.events[event]["body_hash"], digest_bytes(body)
    wanted = f"{observed}, the SHA-256 of {name} that was given"
    return judged(check_id, recorded == observed, f"{recorded} in the receipt", wanted, reason)


def _parse_events(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, list) or len(value) > 64:
        raise Malformed("receipt.event_log", kind_of(value), "a list of at most 64 events")
    events: dict[str, dict[str, Any]] = {}
    for event in value:
        require_members(event, {"type"}, "receipt.event_log")
        kind = text(event["type"], "receipt.event_log.type")
        if kind in events:
            raise Malformed("receipt.event_log", f"{kind} twice", "each event once")
        if kind in ("request.received", "request.forwarded", "response.returned"):
            digest_text(event.get("body_hash"), f"receipt.event_log.{kind}.body_hash")
        if kind in ("route", "route.refused") and "policy" in event:
            _require_policy(event, f"receipt.event_log.{kind}")
        if kind in ("route", "route.refused") and "leak_scan" in event:
            require_leak_scan(event, f"receipt.event_log.{kind}")
        events[kind] = event
    require_agreement(events)
    return events


def _require_policy(event: dict[str, Any], path: str) -> None:
    """That an event names its policy by id, version and digest, and no other by its id alone."""
    policy = event["policy"]
    require_members(policy, {"id", "version", "digest"}, f"{path}.policy", exact=True)
    name, version = text(policy["id"], f"{path}.policy.id", 64), policy["version"]
    if type(version) is not int or not 1 <= version <= MAX_SAFE_INTEGER:
        raise Malformed(f"{path}.policy.version", shown(version), "an integer from 1 on")
    digest_text(policy["digest"], f"{path}.policy.digest")
    if event.get("policy_id", name) != name:
        raise Malformed(f"{path}.policy_id", shown(event["policy_id"]), f"{name}, the id of the policy")
