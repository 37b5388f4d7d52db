"""Certificate tables of a host: untrusted, bounded, and read in 64 bits."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from uuid import UUID

from tests.vectors.world import Json, Vector, plain_vector

VCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
VLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1"
ASK = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
ARK = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
CRL = "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"
OTHER = "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6"
NAMES = {VCEK: "vcek", VLEK: "vlek", ASK: "ask", ARK: "ark", CRL: "crl", OTHER: None}
END = bytes(24)
# The table is not asked what a certificate is: any DER will do.
CERT, CERT2 = b"\x30\x04cert", b"\x30\x04CERT"
LIMIT = 0x4000


def _entry(guid: str, offset: int, length: int, *, mixed: bool = False) -> bytes:
    value = UUID(guid)
    head = value.bytes_le if mixed else value.bytes
    return head + offset.to_bytes(4, "little") + length.to_bytes(4, "little")


def _table(*rows: tuple[str, bytes], mixed: bool = False) -> bytes:
    """A well-formed table of these payloads, in order."""
    at = 24 * (len(rows) + 1)
    header = body = b""
    for guid, payload in rows:
        header += _entry(guid, at + len(body), len(payload), mixed=mixed)
        body += payload
    return header + END + body


def _reads(
    slug: str, about: str, raw: bytes, *rows: tuple[str, bytes], certificates: dict[str, bytes] | None = None
) -> Vector:
    found = {NAMES[guid]: payload for guid, payload in rows if NAMES[guid]} if certificates is None else certificates
    expect: dict[str, Json] = {
        "entries": [[guid, NAMES[guid], hashlib.sha256(payload).hexdigest()] for guid, payload in rows],
        "certificates": {str(name): hashlib.sha256(payload).hexdigest() for name, payload in found.items()},
    }
    return plain_vector("table", slug, about, raw, expect)


def _pem(payload: bytes) -> bytes:
    body = base64.encodebytes(payload)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def good() -> Iterator[Vector]:
    rows = ((VCEK, CERT), (ASK, CERT2), (ARK, b"\x30\x01k"), (CRL, b"\x30\x01r"))
    yield _reads("good", "Four certificates.", _table(*rows), *rows)
    yield _reads("empty", "No bytes mean no certificates.", b"")
    yield _reads("no-entries", "Only the end.", END)
    about = "AWS sends the VLEK alone, at offset 48."
    yield _reads("vlek-only", about, _table((VLEK, CERT)), (VLEK, CERT))
    yield _reads("unknown-guid", "An entry of another vendor.", _table((OTHER, b"{}")), (OTHER, b"{}"))
    about = "Some hosts write GUIDs in mixed-endian order."
    yield _reads("mixed-endian", about, _table(*rows, mixed=True), *rows)
    about = "The same payload twice under one GUID."
    yield _reads("same-twice", about, _table((VCEK, CERT), (VCEK, CERT)), (VCEK, CERT))
    about = "Two entries may share their bytes."
    shared = _entry(ASK, 72, 6) + _entry(ARK, 72, 6) + END + CERT
    yield _reads("shared-payload", about, shared, (ASK, CERT), (ARK, CERT))
    pem = _pem(CERT)
    yield _reads("pem", "A payload in PEM.", _table((VCEK, pem)), (VCEK, pem), certificates={"vcek": CERT})
    about = "Bytes after the last payload."
    yield _reads("slack", about, _table((VCEK, CERT)) + bytes(9), (VCEK, CERT))
    about = "A table of exactly 16 KiB."
    yield _reads("16-kib", about, _table((VCEK, CERT)).ljust(LIMIT, b"\0"), (VCEK, CERT))
    about = "A payload that ends with the table."
    last = _entry(VCEK, 49, 5) + END + b"x" + CERT[:5]
    yield _reads("ends-with-table", about, last, (VCEK, CERT[:5]))


def faults() -> Iterator[Vector]:
    table, vcek = "certificate table", f"certificate table entry {VCEK}"
    rows: list[tuple[str, str, bytes, str]] = [
        ("too-long", "16 KiB and one byte.", _table((VCEK, CERT)).ljust(LIMIT + 1, b"\0"), table),
        ("no-end", "No all-zero entry.", _entry(VCEK, 24, 6), table),
        ("no-end-payload", "The payload follows the entries at once.", _entry(VCEK, 24, 6) + CERT, table),
        ("end-cut", "The all-zero entry is one byte short.", _entry(VCEK, 24, 6) + END[:-1], table),
        ("end-dirty", "The last entry is zero but for its last byte.", END[:-1] + b"\1", table),
        ("one-byte", "A single byte.", b"\0", table),
        ("into-header", "A payload inside the header.", _entry(VCEK, 0, 24) + END + CERT, vcek),
        ("overlaps-header", "A payload that starts in the header's last byte.", _entry(VCEK, 47, 6) + END + CERT, vcek),
        ("past-end", "A payload that ends a byte after the table.", _entry(VCEK, 48, 7) + END + CERT, vcek),
        ("starts-at-end", "A payload that starts where the table ends.", _entry(VCEK, 54, 1) + END + CERT, vcek),
        ("no-length", "A payload of no bytes.", _entry(VCEK, 48, 0) + END + CERT, vcek),
        ("wraps-32-bits", "Offset and length sum to 54 in 32 bits.", _entry(VCEK, 48, 2**32 - 1) + END + CERT, vcek),
        ("offset-wraps", "An offset near 2^32.", _entry(VCEK, 2**32 - 8, 62) + END + CERT, vcek),
        ("two-payloads", "Two payloads of one GUID.", _table((VCEK, CERT), (VCEK, CERT2)), vcek),
        ("two-lengths", "One payload of a GUID starts with the other.", _table((VCEK, CERT), (VCEK, CERT[:5])), vcek),
        ("pem-not-closed", "PEM without its end.", _table((VCEK, _pem(CERT)[:40])), "vcek"),
        ("pem-broken", "PEM with a foreign character.", _table((VCEK, _pem(CERT).replace(b"MAR", b"M!R"))), "vcek"),
        ("pem-two", "Two certificates in PEM.", _table((VCEK, _pem(CERT) * 2)), "vcek"),
        ("neither", "A payload that is neither DER nor PEM.", _table((ASK, b"text")), "ask"),
    ]
    mixed = _entry(VCEK, 72, 6) + _entry(VCEK, 78, 6, mixed=True) + END + CERT + CERT2
    about = "Two payloads of one GUID, once in each byte order."
    rows.append(("two-payloads-mixed", about, mixed, vcek))
    for slug, about, raw, field in rows:
        yield plain_vector("table", slug, about, raw, {"malformed": field})
