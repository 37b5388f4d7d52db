"""Whether what has the form of a credential is one: drawn at random, or with a checksum that holds."""

from __future__ import annotations

import base64
import json
import re
import string
import zlib

_KINDS = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
_DISTINCT = 9  # different characters; 20 drawn at random have fewer once in many thousands
_ALPHABET = (string.digits + string.ascii_uppercase + string.ascii_lowercase).encode()
_CHECKED = 40  # GitHub and npm: 4 of prefix, 30 at random, 6 of CRC-32 in base 62
# What manuals and tests write instead of a credential. Each is too long to be drawn by chance.
_STAND_IN = re.compile(
    rb"(?i)example|placeholder|your[_-]|12345678|abcdefgh|xxxxx|(.)\1{6}|redacted|changeme|dummy_|insert[_-]|replace[_-]"
)
# Passwords of manuals, by which nobody gets in anywhere, and what only marks the place of one.
_NO_PASSWORD = re.compile(
    rb"(?i)pass(?:word|wd|w|phrase)?\d{0,3}|pwd|secret|tiger|changeme|example|test(?:ing)?|token|x{3,}|\*+|\.{3,}|"
    rb"my[_-]?(?:pass|secret)\w*|your[_-]?\w*|db_?pass\w*|user(?:name)?|root|admin|guest|port|\$\w+|\$?\{.*|\$\(.*|%[sdr]|%\(.*|%\w+%|\[.*|.*[`|].*"
)
_SHORTEST_SIGNATURE = 43  # characters of base64url: HMAC-SHA256


def is_random(value: bytes) -> bool:
    """Many different characters of two kinds or more, and no words of a manual."""
    kinds = sum(bool(set(value) & set(some.encode())) for some in _KINDS)
    return kinds > 1 and is_varied(value)


def is_varied(value: bytes) -> bool:
    """The same of formats that may well be drawn from one kind of characters."""
    return len(set(value)) >= _DISTINCT and not _STAND_IN.search(value)


def has_checksum(value: bytes) -> bool:
    """The form of GitHub and npm: 30 random characters after the prefix, and their CRC-32. Longer ones have none."""
    if len(value) != _CHECKED:
        return is_random(value)
    number, digits = zlib.crc32(value[4:34]), bytearray()
    while len(digits) < 6:
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return value[34:] == bytes(digits[::-1])


def is_signed_token(value: bytes) -> bool:
    """A JSON web token with a header that names an algorithm, claims, and a signature."""
    header, claims, signature = value.split(b".")
    algorithm = _read_part(header).get("alg", "none")
    return algorithm != "none" and bool(_read_part(claims)) and len(signature) >= _SHORTEST_SIGNATURE


def is_password(value: bytes) -> bool:
    """Not one that only shows where a password goes."""
    return not _NO_PASSWORD.fullmatch(value)


def is_no_digest(value: bytes) -> bool:
    """Random, and more than a hash in hex: 40 characters are also those of SHA-1."""
    return is_random(value) and not re.fullmatch(rb"[0-9a-f]+|[0-9A-F]+", value)


def _read_part(part: bytes) -> dict[str, object]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
