"""HPKE in base mode (RFC 9180), with X25519 and with X-Wing (MLKEM768-X25519), HKDF-SHA256 and one AEAD of three."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tee.errors import Malformed, Undecryptable

X25519, XWING = 0x0020, 0x647A
HKDF_SHA256 = 0x0001
AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, EXPORT_ONLY = 0x0001, 0x0002, 0x0003, 0xFFFF
TAG = 16  # bytes that every AEAD here adds
NONCE = 12
_KEY_SIZES = {AES_128_GCM: 16, AES_256_GCM: 32, CHACHA20_POLY1305: 32, EXPORT_ONLY: 0}
_XWING_LABEL = b"\\.//^\\"
_MLKEM_PUBLIC, _MLKEM_CIPHERTEXT = 1184, 1088
_HASH = 32  # of SHA-256
MOST_EXPORTED = 255 * _HASH
_LAST_SEQUENCE = (1 << 8 * NONCE) - 1

SECRET_SIZE = 32
"""Of a private key in either KEM: X-Wing's is the seed of both of its keys."""
PUBLIC_SIZES = {X25519: 32, XWING: _MLKEM_PUBLIC + 32}
ENC_SIZES = {X25519: 32, XWING: _MLKEM_CIPHERTEXT + 32}


@dataclass(slots=True)
class Context:
    """What both sides share after one encapsulation (RFC 9180 §5.1): one direction of messages, and exports.

    Messages are numbered by the order in which they are sealed or opened; a failed opening does not count.
    """

    aead: int
    key: bytes = field(repr=False)
    base_nonce: bytes = field(repr=False)
    exporter_secret: bytes = field(repr=False)
    suite_id: bytes
    sequence: int = 0

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """The next message: `plaintext`, and a tag of 16 bytes."""
        sealed = self._cipher().encrypt(self._nonce(), plaintext, aad)
        self.sequence += 1
        return sealed

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """The next message's plaintext. Raises Undecryptable."""
        try:
            opened = self._cipher().decrypt(self._nonce(), ciphertext, aad)
        except InvalidTag:
            raise Undecryptable() from None
        self.sequence += 1
        return opened

    def export(self, context: bytes, length: int) -> bytes:
        """A secret of `length` bytes, at most 8,160, for that purpose (§5.3)."""
        if not 0 <= length <= MOST_EXPORTED:
            raise ValueError(f"{length} bytes: HKDF-SHA256 gives at most {MOST_EXPORTED}")
        return _labeled_expand(self.exporter_secret, self.suite_id, b"sec", context, length)

    def _cipher(self) -> AESGCM | ChaCha20Poly1305:
        if self.aead == EXPORT_ONLY:
            raise ValueError("a context for export only seals nothing")
        return ChaCha20Poly1305(self.key) if self.aead == CHACHA20_POLY1305 else AESGCM(self.key)

    def _nonce(self) -> bytes:
        if self.sequence > _LAST_SEQUENCE:
            raise ValueError("no nonce is left")
        return xor_sequence(self.base_nonce, self.sequence)


def xor_sequence(base_nonce: bytes, sequence: int) -> bytes:
    """The nonce of one message of a sequence (§5.2)."""
    return bytes(a ^ b for a, b in zip(base_nonce, sequence.to_bytes(len(base_nonce)), strict=True))


def public_key_of(kem: int, secret: bytes) -> bytes:
    """The public key, as §7.1.1 and X-Wing §5.3 spell it, of a private key of 32 bytes."""
    if kem == X25519:
        return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    post_quantum, classic = _xwing_keys(secret)
    return post_quantum.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()


def new_secret() -> bytes:
    """A private key for either KEM: 32 random bytes."""
    return secrets.token_bytes(SECRET_SIZE)


def sender(kem: int, aead: int, public_key: bytes, info: bytes) -> tuple[bytes, Context]:
    """Encapsulate to `public_key`: what is sent, `enc`, and the context. Raises Malformed for what is no such key."""
    if len(public_key) != PUBLIC_SIZES[kem]:
        raise Malformed("hpke.public_key", f"{len(public_key)} bytes", f"{PUBLIC_SIZES[kem]} bytes")
    try:
        shared, enc = (_encapsulate_x25519 if kem == X25519 else _encapsulate_xwing)(public_key)
    except ValueError:  # a point of small order, or a coefficient out of range
        raise Malformed("hpke.public_key", "no usable key", "a public key of this KEM") from None
    return enc, schedule(kem, aead, shared, info)


def receiver(kem: int, aead: int, enc: bytes, secret: bytes, info: bytes) -> Context:
    """Decapsulate `enc` with the private key. Raises Malformed for what is no encapsulation of this KEM."""
    if len(enc) != ENC_SIZES[kem]:
        raise Malformed("hpke.enc", f"{len(enc)} bytes", f"{ENC_SIZES[kem]} bytes")
    try:
        shared = (_decapsulate_x25519 if kem == X25519 else _decapsulate_xwing)(enc, secret)
    except ValueError:  # a point of small order
        raise Malformed("hpke.enc", "no usable encapsulation", "an encapsulation of this KEM") from None
    return schedule(kem, aead, shared, info)


def schedule(kem: int, aead: int, shared: bytes, info: bytes) -> Context:
    """The key schedule of base mode (§5.1)."""
    suite = b"HPKE" + b"".join(number.to_bytes(2) for number in (kem, HKDF_SHA256, aead))
    psk_id_hash = _labeled_extract(b"", suite, b"psk_id_hash", b"")
    info_hash = _labeled_extract(b"", suite, b"info_hash", info)
    context = b"\0" + psk_id_hash + info_hash  # mode_base
    secret = _labeled_extract(shared, suite, b"secret", b"")

    def derive(label: bytes, length: int) -> bytes:
        return _labeled_expand(secret, suite, label, context, length)

    size = _KEY_SIZES[aead]
    return Context(aead, derive(b"key", size), derive(b"base_nonce", NONCE), derive(b"exp", _HASH), suite)


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract of RFC 5869 with SHA-256: 32 bytes."""
    return hmac.digest(salt or bytes(_HASH), ikm, "sha256")


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256."""
    out, block, at = b"", b"", 0
    while len(out) < length:
        at += 1
        block = hmac.digest(prk, block + info + bytes([at]), "sha256")
        out += block
    return out[:length]


def _labeled_extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hkdf_extract(salt, b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(prk: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand(prk, length.to_bytes(2) + b"HPKE-v1" + suite + label + info, length)


def _encapsulate_x25519(public_key: bytes) -> tuple[bytes, bytes]:
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    return _dhkem(ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key)), enc, public_key), enc


def _decapsulate_x25519(enc: bytes, secret: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(secret)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    return _dhkem(shared, enc, key.public_key().public_bytes_raw())


def _dhkem(shared: bytes, enc: bytes, public_key: bytes) -> bytes:
    """ExtractAndExpand (§4.1)."""
    suite = b"KEM" + X25519.to_bytes(2)
    prk = _labeled_extract(b"", suite, b"eae_prk", shared)
    return _labeled_expand(prk, suite, b"shared_secret", enc + public_key, _HASH)


def _encapsulate_xwing(public_key: bytes) -> tuple[bytes, bytes]:
    post_quantum = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC])
    classic = public_key[_MLKEM_PUBLIC:]
    first, ciphertext = post_quantum.encapsulate()
    ephemeral = X25519PrivateKey.generate()
    second, point = ephemeral.exchange(X25519PublicKey.from_public_bytes(classic)), ephemeral.public_key()
    return _combine(first, second, point.public_bytes_raw(), classic), ciphertext + point.public_bytes_raw()


def _decapsulate_xwing(enc: bytes, secret: bytes) -> bytes:
    post_quantum, classic = _xwing_keys(secret)
    ciphertext, point = enc[:_MLKEM_CIPHERTEXT], enc[_MLKEM_CIPHERTEXT:]
    second = classic.exchange(X25519PublicKey.from_public_bytes(point))
    return _combine(post_quantum.decapsulate(ciphertext), second, point, classic.public_key().public_bytes_raw())


def _xwing_keys(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Both keys of a seed of 32 bytes (X-Wing §5.2)."""
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def _combine(post_quantum: bytes, classic: bytes, point: bytes, public_key: bytes) -> bytes:
    """X-Wing's combiner (§5.3)."""
    return hashlib.sha3_256(post_quantum + classic + point + public_key + _XWING_LABEL).digest()
