"""The chip and the host behind a made-up /dev/sev-guest: reports and a certificate table on a Unix socket."""

from __future__ import annotations

import socketserver
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


def certificates_of_chip(chip: MockChip) -> dict[str, bytes]:
    """Everything that a helpful host loads."""
    ends = chip.attest(bytes(64)).endorsements
    return {"vcek": ends.vek, "ask": ends.intermediate, "ark": ends.ark, "crl": ends.crl or b""}


def chip_server(path: Path, chip: MockChip, table: Callable[[], bytes]) -> socketserver.UnixStreamServer:
    """REPORT_DATA in; the table's length, a report and the table out."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            raw, now = chip.attest(self.rfile.read(64)).report, table()
            self.wfile.write(len(now).to_bytes(4, "little") + raw + now)

    return socketserver.UnixStreamServer(str(path), Answer)


def main(path: Path, folder: Path) -> None:
    """Serve the chip that is kept in `folder`."""
    chip = MockChip(load_chip_secrets(folder), MEASUREMENT)
    table = certificate_table(certificates_of_chip(chip))
    chip_server(path, chip, lambda: table).serve_forever()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
