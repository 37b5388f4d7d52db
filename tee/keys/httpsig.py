"""HTTP message signatures of buffered answers (RFC 9421), over their digest (RFC 9530) and the request (SPEC §7.5)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from nacl.signing import SigningKey as Ed25519SigningKey

from tee.canonical import shown
from tee.errors import Malformed
from tee.keys.identity import verify_ed25519

LABEL = "saferouter"
TAG = "saferouter/answer/v1"
SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST = "signature-input", "signature", "content-digest"
COVERED = ('"@status"', '"content-type"', '"content-digest"', '"x-receipt-id"', '"@method";req', '"@path";req')
# One spelling of each field, the one that we make: whatever else a parser could read into it is refused.
_INPUT = re.compile(
    re.escape(f"{LABEL}=({' '.join(COVERED)})")
    + r'(?P<parameters>;created=(?:0|[1-9][0-9]{0,11});keyid="(?P<key>[0-9a-f]{64})"'
    + re.escape(f';alg="ed25519";tag="{TAG}"')
    + ")",
    re.ASCII,
)
_SIGNATURE = re.compile(re.escape(LABEL) + "=:([A-Za-z0-9+/]{86}==):", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """What a signature covers: an answer's head, its content digest, and the request's method and path."""

    status: int
    content_type: str
    content_digest: str
    receipt_id: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class SignatureFields:
    """The two fields of a signature, parsed: its parameters as they stand, and by which key (32 bytes) it was made."""

    parameters: str
    key: bytes
    signature: bytes


def content_digest(sha256: bytes) -> str:
    """The Content-Digest field of a body with that SHA-256 (32 bytes)."""
    return f"sha-256=:{b64encode(sha256).decode()}:"


def signature_base(covered: Sequence[tuple[str, str]], parameters: str) -> bytes:
    """The bytes that are signed (RFC 9421 §2.5): covered components by identifier and value, then the parameters."""
    lines = [f"{identifier}: {value}" for identifier, value in covered]
    identifiers = " ".join(identifier for identifier, _ in covered)
    return "\n".join([*lines, f'"@signature-params": ({identifiers}){parameters}']).encode()


def answer_base(answer: SignedAnswer, parameters: str) -> bytes:
    """The signature base of an answer."""
    head = str(answer.status), answer.content_type, answer.content_digest, answer.receipt_id
    values = (*head, answer.method, answer.path)
    return signature_base(list(zip(COVERED, values, strict=True)), parameters)


def sign_answer(answer: SignedAnswer, created: int, key: Ed25519SigningKey) -> dict[str, str]:
    """The three fields that go into the answer's head; `created` is in seconds since 1970."""
    public = bytes(key.verify_key).hex()
    parameters = f';created={created};keyid="{public}";alg="ed25519";tag="{TAG}"'
    signature = key.sign(answer_base(answer, parameters)).signature
    return {
        CONTENT_DIGEST: answer.content_digest,
        SIGNATURE_INPUT: f"{LABEL}=({' '.join(COVERED)}){parameters}",
        SIGNATURE: f"{LABEL}=:{b64encode(signature).decode()}:",
    }


def parse_signature(signature_input: str, signature: str, field: str) -> SignatureFields:
    """Parse the two fields in the one spelling that a gateway gives them. Raises Malformed."""
    found = _INPUT.fullmatch(signature_input)
    if found is None:
        wanted = f"{LABEL}=({' '.join(COVERED)}) with created, keyid, alg and tag {TAG}"
        raise Malformed(f"{field}.{SIGNATURE_INPUT}", shown(signature_input), wanted)
    value = _SIGNATURE.fullmatch(signature)
    raw = b64decode(value[1]) if value else b""
    if not value or b64encode(raw).decode() != value[1]:
        raise Malformed(f"{field}.{SIGNATURE}", shown(signature), f"{LABEL}=:64 bytes in base64:")
    return SignatureFields(found["parameters"], bytes.fromhex(found["key"]), raw)


def verify_answer_signature(answer: SignedAnswer, fields: SignatureFields) -> bool:
    """Whether the key that the fields name has signed this answer; whose key it is, the caller must know."""
    return verify_ed25519(fields.key, fields.signature, answer_base(answer, fields.parameters))
