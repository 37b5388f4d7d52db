"""Firmware images of one page: the tables that a measurement reads, and nothing that could run."""

from __future__ import annotations

import struct
import uuid

FOOTER = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
HASH_TABLE = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
RESET_BLOCK = uuid.UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
METADATA = uuid.UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
SVSM_INFO = uuid.UUID("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd")

METADATA_OFFSET = 0x100
SECTIONS = ((0x800000, 0x3000, 1), (0x803000, 0x1000, 2), (0x804000, 0x1000, 3), (0x805000, 0x1000, 0x10))


def firmware_image(
    sections: tuple[tuple[int, int, int], ...] = SECTIONS,
    leave_out: uuid.UUID | None = None,
    hash_table: int = 0x805400,
) -> bytes:
    """An image with these metadata sections (address, size, type), without the table entry `leave_out`."""
    page = bytearray(4096)
    metadata = struct.pack("<4sIII", b"ASEV", 16 + 12 * len(sections), 1, len(sections))
    metadata += b"".join(struct.pack("<III", *section) for section in sections)
    page[METADATA_OFFSET : METADATA_OFFSET + len(metadata)] = metadata
    entries = {HASH_TABLE: hash_table, RESET_BLOCK: 0x80B004, METADATA: 4096 - METADATA_OFFSET, SVSM_INFO: 0x40}
    table = b""
    for guid, number in entries.items():
        if guid != leave_out:
            table += struct.pack("<IH", number, 22) + guid.bytes_le
    table += struct.pack("<H", len(table) + 18) + FOOTER.bytes_le
    page[4096 - 32 - len(table) : 4096 - 32] = table
    return bytes(page)
