"""How a report commits to a keyset: the statement and REPORT_DATA (SPEC §4.2; ACI/1 §3.2)."""

from __future__ import annotations

import hashlib
import re

from tee.canonical import encode_canonical, shown
from tee.errors import Malformed

NONCE_SIZE = 32
PURPOSE = "aci.report_data.v1"


def parse_nonce(value: object) -> bytes:
    """A nonce: 64 lowercase hex characters, 32 bytes. Raises Malformed."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value, re.ASCII):
        raise Malformed("nonce", shown(value), "64 lowercase hex characters (32 bytes)")
    return bytes.fromhex(value)


def encode_statement(keyset_digest: str, nonce: bytes | None) -> bytes:
    """The exact bytes that REPORT_DATA hashes; `nonce` is 32 bytes or None."""
    return encode_canonical(
        {"keyset_digest": keyset_digest, "nonce": None if nonce is None else nonce.hex(), "purpose": PURPOSE}
    )


def report_data_of(statement: bytes) -> bytes:
    """The 64 bytes of REPORT_DATA: SHA-256 of the statement, then 32 zero bytes."""
    return hashlib.sha256(statement).digest() + bytes(32)
