"""CMS EnvelopedData (RFC 5652 §6) of the one kind that AWS KMS returns to an attested recipient."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7

from tee.errors import Undecryptable

MAX_DEPTH = 12  # the format nests 8 deep
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_ENVELOPED_DATA = bytes.fromhex("2a864886f70d010703")
_DATA = bytes.fromhex("2a864886f70d010701")
_RSAES_OAEP = bytes.fromhex("2a864886f70d010107")
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


class _Element(NamedTuple):
    tag: int
    content: bytes


def open_enveloped_data(raw: bytes, key: RSAPrivateKey) -> bytes:
    """The plaintext that was enveloped for this key: RSAES-OAEP with SHA-256, AES-256-CBC. Raises Undecryptable.

    The content is not authenticated: it must come over TLS, and serve as a key that something else authenticates.
    """
    try:
        encrypted_key, iv, ciphertext = _parse(raw)
        content_key = key.decrypt(encrypted_key, _OAEP)
        decryptor = Cipher(AES256(content_key), CBC(iv)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        unpadder = PKCS7(128).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:  # whichever step it was
        raise Undecryptable from None


def _parse(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """The encrypted key, the IV and the ciphertext. Raises ValueError."""
    outer = _children(_only(raw, _SEQUENCE))
    _require([element.tag for element in outer] == [_OID, 0xA0] and outer[0].content == _ENVELOPED_DATA)
    enveloped = _children(_only(outer[1].content, _SEQUENCE))
    _require([element.tag for element in enveloped] == [_INTEGER, _SET, _SEQUENCE])
    recipient = _children(_only(enveloped[1].content, _SEQUENCE))  # exactly one: ourselves
    _require([element.tag for element in recipient[2:]] == [_SEQUENCE, _OCTETS])
    _require(_children(recipient[2].content)[0] == _Element(_OID, _RSAES_OAEP))
    content = _children(enveloped[2].content)
    _require(len(content) == 3 and content[0] == _Element(_OID, _DATA) and content[1].tag == _SEQUENCE)
    algorithm = _children(content[1].content)
    _require(len(algorithm) == 2 and algorithm[0] == _Element(_OID, _AES_256_CBC) and algorithm[1].tag == _OCTETS)
    if content[2].tag == 0xA0:  # BER: in pieces
        pieces = _children(content[2].content)
        _require(all(piece.tag == _OCTETS for piece in pieces))
        return recipient[3].content, algorithm[1].content, b"".join(piece.content for piece in pieces)
    _require(content[2].tag == 0x80)
    return recipient[3].content, algorithm[1].content, content[2].content


def _children(content: bytes) -> list[_Element]:
    elements = []
    while content:
        element, content = _read(content, 0)
        elements.append(element)
    _require(bool(elements))
    return elements


def _only(raw: bytes, tag: int) -> bytes:
    element, rest = _read(raw, 0)
    _require(element.tag == tag and not rest)
    return element.content


def _read(raw: bytes, depth: int) -> tuple[_Element, bytes]:
    """The first element and the rest. BER: a length may be indefinite, ended by two zero bytes (X.690 §8.1.3.6)."""
    _require(len(raw) >= 2 and depth < MAX_DEPTH and raw[0] & 0x1F != 0x1F)
    tag, length, start = raw[0], raw[1], 2
    if length == 0x80:
        _require(bool(tag & 0x20))
        rest = raw[start:]
        while rest[:2] != b"\0\0":
            _, rest = _read(rest, depth + 1)
        return _Element(tag, raw[start : len(raw) - len(rest)]), rest[2:]
    if length > 0x80:
        count = length & 0x7F
        _require(count <= 3 and len(raw) >= 2 + count)
        start, length = 2 + count, int.from_bytes(raw[2 : 2 + count])
    _require(len(raw) >= start + length)
    return _Element(tag, raw[start : start + length]), raw[start + length :]


def _require(held: bool) -> None:
    if not held:
        raise ValueError
