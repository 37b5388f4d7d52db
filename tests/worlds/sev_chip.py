"""The chip and the host behind a made-up /dev/sev-guest: reports and a certificate table on a Unix socket."""

from __future__ import annotations

import hashlib
import socketserver
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from tee.attest.mock import MockChip, load_chip_secrets

MEASUREMENT = bytes(range(48))
GUIDS = {
    "vcek": "63da758d-e664-4564-adc5-f4b93be8accd",
    "vlek": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "ask": "4ab7b379-bbac-4fe4-a02f-05aef327c782",
    "ark": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
    "crl": "92f81bc3-5811-4d3d-97ff-d19f88dc67ea",
}


def certificate_table(certificates: dict[str, bytes]) -> bytes:
    """A host's table: 24 bytes per entry, an all-zero entry, then the certificates."""
    head, body = b"", b""
    start = 24 * (len(certificates) + 1)
    for name, blob in certificates.items():
        head += UUID(GUIDS[name]).bytes + (start + len(body)).to_bytes(4, "little") + len(blob).to_bytes(4, "little")
        body += blob
    return head + bytes(24) + body


def derive_key(report: bytes, request: bytes) -> bytes:
    """MSG_KEY_RSP of a chip whose VCEK follows from its CHIP_ID: the status, and 32 bytes from what is mixed in."""
    root, fields, vmpl, svn, tcb = struct.unpack("<I4xQII8s", request)
    later_tcb = any(asked > committed for asked, committed in zip(tcb, report[0x1E0:0x1E8], strict=True))
    if vmpl < report[0x30] or svn > int.from_bytes(report[0x04:0x08], "little") or later_tcb:
        return (0x16).to_bytes(4, "little") + bytes(32)
    ranges = ((0x08, 0x10), (0x20, 0x30), (0x10, 0x20), (0x90, 0xC0))  # policy, image, family, measurement
    mixed = [report[start:end] for start, end in ranges] + [svn.to_bytes(4, "little"), tcb]
    seed = hashlib.sha512(bytes((root,)) + report[0x1A0:0x1E0]).digest() + bytes((vmpl,))
    for bit, content in enumerate(mixed):
        if fields >> bit & 1:
            seed = hashlib.sha512(seed + bytes((bit,)) + content).digest()
    return bytes(4) + seed[:32]


def certificates_of_chip(chip: MockChip) -> dict[str, bytes]:
    """Everything that a helpful host loads."""
    ends = chip.attest(bytes(64)).endorsements
    return {"vcek": ends.vek, "ask": ends.intermediate, "ark": ends.ark, "crl": ends.crl or b""}


def chip_server(
    path: Path, chip: MockChip, table: Callable[[], bytes], patched: Callable[[bytes], bytes] = bytes
) -> socketserver.UnixStreamServer:
    """'R' and REPORT_DATA in; the table's length, a report and the table out. 'K' and a key request in; a key out."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if self.rfile.read(1) == b"K":
                self.wfile.write(derive_key(patched(chip.attest(bytes(64)).report), self.rfile.read(32)))
                return
            raw, now = patched(chip.attest(self.rfile.read(64)).report), table()
            self.wfile.write(len(now).to_bytes(4, "little") + raw + now)

    return socketserver.UnixStreamServer(str(path), Answer)


def main(path: Path, folder: Path) -> None:
    """Serve the chip that is kept in `folder`."""
    chip = MockChip(load_chip_secrets(folder), MEASUREMENT)
    table = certificate_table(certificates_of_chip(chip))
    chip_server(path, chip, lambda: table).serve_forever()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
