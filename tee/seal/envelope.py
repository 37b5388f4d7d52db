"""The sealed envelope: a payload under a data key, the data key wrapped once or twice (SPEC §14.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError
from nacl.utils import random

from tee.canonical import encode_canonical, parse_json, step
from tee.errors import Malformed, Undecryptable
from tee.keys.identity import require_members, text
from tee.quote import decode_base64, encode_base64

FORMAT = "saferouter/sealed/v1"
DATA_KEY_SIZE = 32
SECRET_SIZE = 32
MAX_SLOTS = 2  # the wrapping in force, and during a hand-over the one before or after it
MAX_PLAINTEXT = 64 << 10  # keys and small state; a larger thing wants a key of its own, sealed here
MAX_ENVELOPE = 128 << 10
MAX_FACT = 8192  # the longest fact is a KMS ciphertext: 6144 bytes, in base64
MAX_FACTS = 16
_NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES  # 24 random bytes never meet twice
_OVERHEAD = _NONCE + 16
_PURPOSE = re.compile(r"[a-z][a-z0-9.-]{0,63}", re.ASCII)

Facts = dict[str, str | int]
"""What a slot says in the clear about its wrapping secret: `kind`, and what that kind needs to find it again."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The data key, wrapped (72 bytes) under the secret that `facts` describe."""

    facts: Facts
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed thing, closed. All of it may be public."""

    purpose: str
    payload: bytes
    slots: tuple[Slot, ...]


def parse_envelope(raw: bytes, purpose: str) -> Envelope:
    """An envelope that was sealed for `purpose`, from its one spelling. Raises Malformed."""
    if len(raw) > MAX_ENVELOPE:
        raise Malformed("sealed", f"{len(raw)} bytes", f"at most {MAX_ENVELOPE}")
    document = parse_json(raw, "sealed")
    require_members(document, {"format", "purpose", "payload_b64", "slots"}, "sealed", exact=True)
    if document["format"] != FORMAT:
        raise Malformed("sealed.format", text(document["format"], "sealed.format"), FORMAT)
    if document["purpose"] != purpose:
        raise Malformed("sealed.purpose", text(document["purpose"], "sealed.purpose"), purpose)
    payload = decode_base64(document["payload_b64"], "sealed.payload_b64")
    if not _OVERHEAD <= len(payload) <= _OVERHEAD + MAX_PLAINTEXT:
        raise Malformed("sealed.payload_b64", f"{len(payload)} bytes", f"{_OVERHEAD} to {_OVERHEAD + MAX_PLAINTEXT}")
    rows = document["slots"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_SLOTS:
        raise Malformed("sealed.slots", "another number of slots", f"1 or {MAX_SLOTS} in an array")
    envelope = Envelope(purpose, payload, tuple(_slot(row, f"sealed.slots[{at}]") for at, row in enumerate(rows)))
    if encode_envelope(envelope) != raw:
        raise Malformed("sealed", "another spelling", "its canonical form (RFC 8785), byte for byte")
    return envelope


def encode_envelope(envelope: Envelope) -> bytes:
    """The bytes of an envelope (RFC 8785)."""
    slots = [slot.facts | {"wrapped_b64": encode_base64(slot.wrapped)} for slot in envelope.slots]
    payload = encode_base64(envelope.payload)
    return encode_canonical({"format": FORMAT, "purpose": envelope.purpose, "payload_b64": payload, "slots": slots})


def lock_payload(plaintext: bytes, purpose: str, data_key: bytes) -> bytes:
    """The payload of an envelope. Raises ValueError for what no envelope carries."""
    if not _PURPOSE.fullmatch(purpose):
        raise ValueError(f"purpose: {purpose!r}, wanted lowercase letters, digits, dots and hyphens")
    if len(plaintext) > MAX_PLAINTEXT:
        raise ValueError(f"plaintext: {len(plaintext)} bytes, wanted at most {MAX_PLAINTEXT}")
    return _encrypt(plaintext, _header(purpose), data_key)


def open_payload(envelope: Envelope, data_key: bytes) -> bytes:
    """What was sealed. Raises Undecryptable."""
    return _decrypt(envelope.payload, _header(envelope.purpose), data_key)


def wrap_data_key(data_key: bytes, purpose: str, facts: Facts, secret: bytes) -> Slot:
    """A slot: the data key under a 32-byte secret, together with the facts that it cannot be parted from."""
    return Slot(facts, _encrypt(data_key, _header(purpose, facts), _wrapping_key(secret, purpose, facts)))


def unwrap_data_key(slot: Slot, purpose: str, secret: bytes) -> bytes:
    """The data key (32 bytes). Raises Undecryptable."""
    return _decrypt(slot.wrapped, _header(purpose, slot.facts), _wrapping_key(secret, purpose, slot.facts))


def _slot(row: Any, path: str) -> Slot:
    require_members(row, {"kind", "wrapped_b64"}, path)
    wrapped = decode_base64(row["wrapped_b64"], f"{path}.wrapped_b64")
    if len(wrapped) != _OVERHEAD + DATA_KEY_SIZE:
        raise Malformed(f"{path}.wrapped_b64", f"{len(wrapped)} bytes", f"{_OVERHEAD + DATA_KEY_SIZE} bytes")
    facts = {name: value for name, value in row.items() if name != "wrapped_b64"}
    if len(facts) > MAX_FACTS:
        raise Malformed(path, f"{len(facts)} facts", f"at most {MAX_FACTS}")
    for name, value in facts.items():
        if type(value) is not int:
            text(value, f"{path}.{step(name)}", MAX_FACT)
    text(facts["kind"], f"{path}.kind")
    return Slot(facts, wrapped)


def _header(purpose: str, facts: Facts | None = None) -> bytes:
    """What is authenticated beside a ciphertext: what it is, what for, and whose secret opens it.

    A payload's header names no slot, so that a hand-over leaves the payload as it is.
    """
    return encode_canonical({"format": FORMAT, "purpose": purpose, "slot": facts})


def _wrapping_key(secret: bytes, purpose: str, facts: Facts) -> bytes:
    if len(secret) != SECRET_SIZE:
        raise ValueError(f"secret: {len(secret)} bytes, wanted {SECRET_SIZE}")
    info = f"{FORMAT}\n{facts['kind']}\n{purpose}".encode()
    return HKDF(SHA256(), DATA_KEY_SIZE, None, info).derive(secret)


def _encrypt(plaintext: bytes, header: bytes, key: bytes) -> bytes:
    nonce = random(_NONCE)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, header, nonce, key)


def _decrypt(sealed: bytes, header: bytes, key: bytes) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], header, sealed[:_NONCE], key)
    except CryptoError:
        raise Undecryptable from None
