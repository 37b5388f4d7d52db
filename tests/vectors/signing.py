"""Test keys and reproducible signatures: RSA-PSS with a fixed salt, deterministic ECDSA, Ed25519."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from nacl.signing import SigningKey

from tests.vectors import der

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
RSA_ENCRYPTION, RSASSA_PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True)
class RsaKey:
    """An RSA key by its primes."""

    p: int
    q: int
    e: int

    @property
    def modulus(self) -> int:
        return self.p * self.q

    def spki(self, algorithm: bytes | None = None) -> bytes:
        """DER SubjectPublicKeyInfo; plain rsaEncryption unless another AlgorithmIdentifier is given."""
        algorithm = algorithm or der.sequence(der.oid(RSA_ENCRYPTION), der.null())
        return der.sequence(algorithm, der.bits(der.sequence(der.integer(self.modulus), der.integer(self.e))))

    def raw(self, block: int) -> bytes:
        """The private operation, by the Chinese remainder theorem."""
        d = pow(self.e, -1, (self.p - 1) * (self.q - 1))
        m1, m2 = pow(block, d % (self.p - 1), self.p), pow(block, d % (self.q - 1), self.q)
        value = m2 + self.q * ((m1 - m2) * pow(self.q, -1, self.p) % self.p)
        return value.to_bytes((self.modulus.bit_length() + 7) // 8, "big")

    def sign(self, message: bytes, hash_name: str = "sha384", salt_size: int = 48) -> bytes:
        """RSASSA-PSS (RFC 8017 §9.1.1) with the salt 00 01 02 … so that the bytes are the same every time."""
        size = self.modulus.bit_length() - 1
        length = (size + 7) // 8
        salt = bytes(range(salt_size))
        digest = hashlib.new(hash_name, message).digest()
        seal = hashlib.new(hash_name, bytes(8) + digest + salt).digest()
        block = bytes(length - len(seal) - salt_size - 2) + b"\x01" + salt
        mask = _mgf1(seal, len(block), hash_name)
        masked = int.from_bytes(block) ^ int.from_bytes(mask)
        masked &= (1 << 8 * len(block) - (8 * length - size)) - 1
        return self.raw(int.from_bytes(masked.to_bytes(len(block), "big") + seal + b"\xbc"))

    def signer(self, hash_name: str = "sha384", salt_size: int = 48) -> Signer:
        return lambda message: self.sign(message, hash_name, salt_size)


def _mgf1(seed: bytes, size: int, hash_name: str) -> bytes:
    mask, counter = b"", 0
    while len(mask) < size:
        mask += hashlib.new(hash_name, seed + counter.to_bytes(4, "big")).digest()
        counter += 1
    return mask[:size]


def _read_rsa_keys() -> dict[str, RsaKey]:
    rows = json.loads(Path(__file__).with_name("keys.json").read_text())["rsa"]
    return {name: RsaKey(int(row["p"], 16), int(row["q"], 16), row["e"]) for name, row in rows.items()}


RSA = _read_rsa_keys()


def ec_key(label: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """The elliptic-curve key of a label: P-384 unless another curve is given."""
    seed = int.from_bytes(hashlib.sha384(f"saferouter vectors ec {label}".encode()).digest())
    curve = curve or ec.SECP384R1()
    return ec.derive_private_key(seed >> (384 - curve.key_size + 1) | 1, curve)


def ec_spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def ecdsa(key: ec.EllipticCurvePrivateKey, message: bytes, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    """A DER signature with the nonce of RFC 6979."""
    return key.sign(message, ec.ECDSA(algorithm or hashes.SHA384(), deterministic_signing=True))


def ecdsa_numbers(
    key: ec.EllipticCurvePrivateKey, message: bytes, algorithm: hashes.HashAlgorithm | None = None
) -> tuple[int, int]:
    return decode_dss_signature(ecdsa(key, message, algorithm))


def ed25519_key(label: str) -> SigningKey:
    return SigningKey(hashlib.sha256(f"saferouter vectors ed25519 {label}".encode()).digest())


def ed25519_public(label: str) -> str:
    return bytes(ed25519_key(label).verify_key).hex()


def ed25519_sign(label: str, message: bytes) -> str:
    return ed25519_key(label).sign(message).signature.hex()


def second_spelling(signature: str) -> str:
    """The same Ed25519 signature with S + L for S: a strict verifier refuses it (RFC 8032 §5.1.7)."""
    raw = bytes.fromhex(signature)
    larger = int.from_bytes(raw[32:], "little") + ED25519_ORDER
    return (raw[:32] + larger.to_bytes(32, "little")).hex()
