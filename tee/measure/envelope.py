"""Signed documents: a DSSE envelope with Ed25519 signatures, of which k of n known keys must be good (SPEC §12.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from tee.canonical import kind_of, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import require_members, verify_ed25519
from tee.quote import decode_base64, encode_base64

MAX_ENVELOPE_SIZE = 2 << 20  # a release for every size of machine is about 100 KB
MAX_SIGNATURES = 16
MAX_SIGNERS = 16


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose word counts: Ed25519 public keys (32 bytes each, no two equal), and how many of them must sign."""

    keys: tuple[bytes, ...]
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= MAX_SIGNERS:
            raise Malformed("keys", f"{len(self.keys)} keys", f"1 to {MAX_SIGNERS}")
        if any(len(key) != 32 for key in self.keys) or len(set(self.keys)) != len(self.keys):
            raise Malformed("keys", "a key twice, or of another size", "different keys of 32 bytes")
        if not 1 <= self.threshold <= len(self.keys):
            raise Malformed("threshold", self.threshold, f"1 to {len(self.keys)}, the number of keys")

    def to_json(self) -> dict[str, Any]:
        """It, for a configuration's digest."""
        return {"keys": [key.hex() for key in self.keys], "threshold": self.threshold}


def encode_preauthentication(payload_type: str, payload: bytes) -> bytes:
    """What is signed (DSSE's PAE): type and payload, each behind its length, so that neither can run into the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal_envelope(payload: bytes, payload_type: str, keys: Sequence[SigningKey]) -> bytes:
    """An envelope that these keys sign; `keyid` is the public key in hex."""
    message = encode_preauthentication(payload_type, payload)
    signatures = [
        {"keyid": bytes(key.verify_key).hex(), "sig": encode_base64(key.sign(message).signature)} for key in keys
    ]
    envelope = {"payload": encode_base64(payload), "payloadType": payload_type, "signatures": signatures}
    return json.dumps(envelope, indent=1).encode() + b"\n"


def open_envelope(raw: bytes, signers: Signers, payload_type: str, field: str) -> bytes:
    """The payload, once `threshold` of the signers have signed it. Raises Malformed, which names `field`.

    Signatures by other keys are ignored; a bad one by a signer is an error, for nobody honest makes it.
    """
    if len(raw) > MAX_ENVELOPE_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_ENVELOPE_SIZE}")
    envelope = parse_json(raw, field)
    require_members(envelope, {"payload", "payloadType", "signatures"}, field, exact=True)
    if envelope["payloadType"] != payload_type:
        raise Malformed(f"{field}.payloadType", shown(envelope["payloadType"]), payload_type)
    payload = decode_base64(envelope["payload"], f"{field}.payload")
    message = encode_preauthentication(payload_type, payload)
    known = {key.hex(): key for key in signers.keys}
    signed: set[str] = set()
    for index, (keyid, signature) in enumerate(_signatures(envelope["signatures"], f"{field}.signatures")):
        place = f"{field}.signatures[{index}]"
        if keyid not in known:
            continue
        if keyid in signed:
            raise Malformed(place, f"a second signature by {keyid}", "one signature by each key")
        if not verify_ed25519(known[keyid], signature, message):
            raise Malformed(place, f"a bad signature by {keyid}", "a good signature, or none by this key")
        signed.add(keyid)
    if len(signed) < signers.threshold:
        wanted = f"{signers.threshold} of the {len(known)} keys that you trust"
        raise Malformed(f"{field}.signatures", f"good signatures by {len(signed)}", wanted)
    return payload


def _signatures(value: Any, path: str) -> list[tuple[str, bytes]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIGNATURES:
        found = f"{len(value)} signatures" if isinstance(value, list) else kind_of(value)
        raise Malformed(path, found, f"an array of 1 to {MAX_SIGNATURES} signatures")
    pairs = []
    for index, row in enumerate(value):
        place = f"{path}[{index}]"
        require_members(row, {"keyid", "sig"}, place, exact=True)
        if not isinstance(row["keyid"], str):
            raise Malformed(f"{place}.keyid", kind_of(row["keyid"]), "text")
        pairs.append((row["keyid"], decode_base64(row["sig"], f"{place}.sig")))
    return pairs
