"""Audit samples: digests of what a sampled call received and returned, signed by the identity (SPEC §15.14)."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey

from tee.canonical import digest, encode_canonical, shown
from tee.errors import Malformed
from tee.keys.identity import digest_text, hex_bytes, require_members, seconds, text, verify_ed25519

FORMAT = "saferouter/audit/v1"
CONTEXT = b"saferouter/audit/v1\n"  # the identity signs keysets too, under another word
ALGORITHM = "ed25519"
_DIGESTS = ("receipt_digest", "request_digest", "response_digest")
_MEMBERS = {"format", "receipt_id", *_DIGESTS, "complete", "served_at", "salt", "signature"}


def new_sample(receipt: dict[str, Any], salt: str) -> dict[str, Any]:
    """The unsigned sample of a signed receipt, under a fresh salt of 64 hex."""
    events = {event["type"]: event for event in receipt["event_log"]}
    return {
        "format": FORMAT,
        "receipt_id": receipt["receipt_id"],
        "receipt_digest": digest(receipt),
        "request_digest": events["request.received"]["body_hash"],
        "response_digest": events["response.returned"]["body_hash"],
        "complete": events["stream"]["complete"],
        "served_at": receipt["served_at"],
        "salt": salt,
    }


def sign_sample(sample: dict[str, Any], identity: SigningKey) -> dict[str, Any]:
    """The sample with its signature, whose `algo` leaves room for a stronger kind of proof in the same place."""
    value = identity.sign(CONTEXT + encode_canonical(sample)).signature.hex()
    return sample | {
        "signature": {"algo": ALGORITHM, "public_key": bytes(identity.verify_key).hex(), "value": value},
    }


def verify_sample(document: Any, identity_key: bytes) -> None:
    """That this identity (32 bytes, from a verified quote's workload) signed the sample. Raises Malformed."""
    require_members(document, _MEMBERS, "sample", exact=True)
    if document["format"] != FORMAT:
        raise Malformed("sample.format", shown(document["format"]), FORMAT)
    for name in _DIGESTS:
        digest_text(document[name], f"sample.{name}")
    text(document["receipt_id"], "sample.receipt_id")
    seconds(document["served_at"], "sample.served_at")
    hex_bytes(document["salt"], 32, "sample.salt")
    if type(document["complete"]) is not bool:
        raise Malformed("sample.complete", shown(document["complete"]), "true or false")
    signature = document["signature"]
    require_members(signature, {"algo", "public_key", "value"}, "sample.signature", exact=True)
    if signature["algo"] != ALGORITHM or signature["public_key"] != identity_key.hex():
        raise Malformed("sample.signature", "another key or algorithm", f"{ALGORITHM} by {identity_key.hex()}")
    message = CONTEXT + encode_canonical({name: document[name] for name in _MEMBERS - {"signature"}})
    if not verify_ed25519(identity_key, hex_bytes(signature["value"], 64, "sample.signature.value"), message):
        raise Malformed("sample.signature", "one that does not verify", "the identity's over this very sample")
