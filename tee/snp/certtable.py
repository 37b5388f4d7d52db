"""The host's certificate table (GHCB, SNP_GET_EXT_REPORT), untrusted and bounded (SPEC §3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tee.errors import Malformed
from tee.snp.certs import decode_pem_or_der

MAX_TABLE_SIZE = 0x4000  # SEV_FW_BLOB_MAX_SIZE of the kernel
ENTRY_SIZE = 24
_NAMES = {
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"): "vcek",
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"): "vlek",
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"): "ask",  # also ASVK
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"): "ark",
    UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea"): "crl",
}


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One entry: its GUID, its name where it is known here, and its bytes as received."""

    guid: UUID
    name: str | None
    payload: bytes


def parse_certificate_table(raw: bytes) -> list[TableEntry]:
    """The entries of a table, in order; no bytes at all mean no certificates. Raises Malformed."""
    if len(raw) > MAX_TABLE_SIZE:
        raise Malformed("certificate table", f"{len(raw)} bytes", f"at most {MAX_TABLE_SIZE}")
    if not raw:
        return []
    rows = _read_header(raw)
    header_size = ENTRY_SIZE * (len(rows) + 1)
    entries: dict[UUID, TableEntry] = {}
    for guid, offset, length in rows:
        if offset < header_size or offset + length > len(raw) or length == 0:
            raise Malformed(
                f"certificate table entry {guid}",
                f"bytes {offset} to {offset + length}",
                f"{header_size} to {len(raw)}",
            )
        payload = raw[offset : offset + length]
        if guid in entries and entries[guid].payload != payload:
            raise Malformed(f"certificate table entry {guid}", "two different payloads", "one")
        entries[guid] = TableEntry(guid, _NAMES.get(guid), payload)
    return list(entries.values())


def certificates_of(entries: list[TableEntry]) -> dict[str, bytes]:
    """DER by name (`vcek`, `vlek`, `ask`, `ark`, `crl`) of the known entries; PEM is decoded. Raises Malformed."""
    found: dict[str, bytes] = {}
    for entry in entries:
        if entry.name is not None:
            blobs = decode_pem_or_der(entry.payload, entry.name)
            if len(blobs) != 1:
                raise Malformed(entry.name, f"{len(blobs)} certificates", "one")
            found[entry.name] = blobs[0]
    return found


def _read_header(raw: bytes) -> list[tuple[UUID, int, int]]:
    rows: list[tuple[UUID, int, int]] = []
    for at in range(0, len(raw), ENTRY_SIZE):
        row = raw[at : at + ENTRY_SIZE]
        if len(row) == ENTRY_SIZE and not any(row):
            return rows
        if len(row) < ENTRY_SIZE:
            break
        offset, length = int.from_bytes(row[16:20], "little"), int.from_bytes(row[20:24], "little")
        rows.append((_guid(row[:16]), offset, length))
    raise Malformed("certificate table", "no end", "an all-zero entry after the last one")


def _guid(raw: bytes) -> UUID:
    """RFC 4122 byte order is what hosts send; the mixed-endian spelling of a known GUID is met in the wild."""
    mixed = UUID(bytes_le=raw)
    return mixed if mixed in _NAMES else UUID(bytes=raw)
