"""A NitroTPM attestation document: COSE_Sign1 around AWS's payload, parsed strictly (SPEC §11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tee.errors import Malformed
from tee.nitro.cbor import parse_cbor

MAX_DOCUMENT_SIZE = 16384  # AWS's own buffer holds 8 kB, its documents have about 5
MAX_CERTIFICATE_SIZE = 1024
MAX_BUNDLE = 8  # AWS sends four: root, regional, zonal, instance
MAX_MODULE_ID = 128
MAX_USER_DATA = 1024
MAX_TIMESTAMP = 253402300799999  # milliseconds, the end of the year 9999
PCRS = 32
PCR_SIZE = 48  # SHA-384
SIGNATURE_SIZE = 96  # r, then s
COSE_SIGN1_TAG = b"\xd2"
PROTECTED_ES384 = b"\xa1\x01\x38\x22"  # {1: -35}
_REQUIRED = ("module_id", "digest", "timestamp", "nitrotpm_pcrs", "certificate", "cabundle")
_OPTIONAL = ("public_key", "user_data", "nonce")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NitroDocument:
    """A parsed document; everything in it is a claim until its chain and signature are verified."""

    module_id: str
    timestamp: datetime  # to the millisecond
    pcrs: dict[int, bytes]  # 48 bytes each
    certificate: bytes  # DER of the signer
    cabundle: tuple[bytes, ...]  # DER, root first
    user_data: bytes | None
    nonce: bytes | None
    signed: bytes  # the Sig_structure, RFC 9052 §4.4
    signature: bytes  # 96


def parse_document(raw: bytes) -> NitroDocument:
    """Parse a document, with the tag 18 of COSE_Sign1 or without it. Raises Malformed."""
    if len(raw) > MAX_DOCUMENT_SIZE:
        raise Malformed("document", f"{len(raw)} bytes", f"at most {MAX_DOCUMENT_SIZE}")
    envelope = parse_cbor(raw.removeprefix(COSE_SIGN1_TAG), "document")
    if not isinstance(envelope, list) or len(envelope) != 4:
        raise Malformed("document", "another shape", "COSE_Sign1: an array of four")
    protected, unprotected, payload, signature = envelope
    if protected != PROTECTED_ES384:
        raise Malformed("document.protected", "another header", "ES384 (-35) and nothing else")
    if unprotected != {}:
        raise Malformed("document.unprotected", "another value", "an empty map")
    body = parse_cbor(_bytes(payload, 1, MAX_DOCUMENT_SIZE, "document.payload"), "document.payload")
    _require_members(body)
    return NitroDocument(
        module_id=_module_id(body["module_id"]),
        timestamp=_timestamp(body["timestamp"]),
        pcrs=_pcrs(body["nitrotpm_pcrs"]),
        certificate=_bytes(body["certificate"], 1, MAX_CERTIFICATE_SIZE, "document.certificate"),
        cabundle=_cabundle(body["cabundle"]),
        user_data=_optional(body, "user_data"),
        nonce=_optional(body, "nonce"),
        signed=b"\x84\x6aSignature1\x44" + PROTECTED_ES384 + b"\x40" + _bstr_head(payload) + payload,
        signature=_bytes(signature, SIGNATURE_SIZE, SIGNATURE_SIZE, "document.signature"),
    )


def _require_members(body: Any) -> None:
    if not isinstance(body, dict):
        raise Malformed("document.payload", "another kind of value", "a map")
    if missing := [name for name in _REQUIRED if name not in body]:
        raise Malformed(f"document.{missing[0]}", "nothing", "a value: it is required")
    if len(body) != len(_REQUIRED) + sum(name in body for name in _OPTIONAL):
        raise Malformed("document.payload", "an unknown member", ", ".join((*_REQUIRED, *_OPTIONAL)))
    if body["digest"] != "SHA384":
        raise Malformed("document.digest", "another function", "SHA384")
    _optional(body, "public_key")


def _module_id(value: Any) -> str:
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    if not plain or not 0 < len(value) <= MAX_MODULE_ID:
        raise Malformed("document.module_id", "another value", f"printable ASCII, 1 to {MAX_MODULE_ID} characters")
    text: str = value
    return text


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, int) or not 0 < value <= MAX_TIMESTAMP:
        raise Malformed("document.timestamp", "another value", "milliseconds since 1970")
    return _EPOCH + timedelta(milliseconds=value)


def _pcrs(value: Any) -> dict[int, bytes]:
    if not isinstance(value, dict) or not value:
        raise Malformed("document.nitrotpm_pcrs", "another value", "a map of registers")
    for index in value:
        if not isinstance(index, int) or not 0 <= index < PCRS:
            raise Malformed("document.nitrotpm_pcrs", "another key", f"0 to {PCRS - 1}")
    return {index: _bytes(pcr, PCR_SIZE, PCR_SIZE, f"document.nitrotpm_pcrs.{index}") for index, pcr in value.items()}


def _cabundle(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_BUNDLE:
        raise Malformed("document.cabundle", "another value", f"an array of 1 to {MAX_BUNDLE} certificates")
    return tuple(_bytes(row, 1, MAX_CERTIFICATE_SIZE, f"document.cabundle[{at}]") for at, row in enumerate(value))


def _optional(body: dict[Any, Any], name: str) -> bytes | None:
    """A member that AWS leaves null where the instance gave none."""
    value = body.get(name)
    return None if value is None else _bytes(value, 0, MAX_USER_DATA, f"document.{name}")


def _bytes(value: Any, least: int, most: int, field: str) -> bytes:
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        found = f"{len(value)} bytes" if isinstance(value, bytes) else "another kind of value"
        raise Malformed(field, found, f"{least} to {most} bytes" if least < most else f"{most} bytes")
    return value


def _bstr_head(content: bytes) -> bytes:
    """The head of a byte string of at most 16384 bytes."""
    size = len(content)
    if size < 24:
        return bytes((0x40 | size,))
    return b"\x58" + bytes((size,)) if size < 256 else b"\x59" + size.to_bytes(2)
