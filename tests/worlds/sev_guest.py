"""A machine with a SEV-SNP guest device: a mock chip behind the LD_PRELOAD shim of sev_guest_shim.c."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import pytest

from tee.attest.mock import MockChip

SOURCE = Path(__file__).with_name("sev_guest_shim.c")
ROOT = SOURCE.parent.parent.parent
GUIDS = {
    "vcek": "63da758d-e664-4564-adc5-f4b93be8accd",
    "vlek": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "ask": "4ab7b379-bbac-4fe4-a02f-05aef327c782",
    "ark": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
    "crl": "92f81bc3-5811-4d3d-97ff-d19f88dc67ea",
}


def build_shim(folder: Path) -> Path:
    """The shared object. Skips where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the sev-guest shim needs Linux and a C compiler named cc")
    shim = folder / "sev_guest_shim.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return shim


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


class SevGuestMachine:
    """A chip on a Unix socket, and processes that see it as /dev/sev-guest. `table` is the host's to choose."""

    def __init__(self, chip: MockChip, shim: Path) -> None:
        self._shim = shim
        ends = chip.attest(bytes(64)).endorsements
        self.certificates = {"vcek": ends.vek, "ask": ends.intermediate, "ark": ends.ark, "crl": ends.crl or b""}
        self.table = certificate_table(self.certificates)
        self.patches: dict[int, bytes] = {}  # other facts of this guest, by their offset in the report
        self._folder = tempfile.TemporaryDirectory(prefix="sev-")  # a socket's path must be short
        machine = self

        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if self.rfile.read(1) == b"K":
                    self.wfile.write(derive_key(machine.patched(chip.attest(bytes(64)).report), self.rfile.read(32)))
                    return
                raw = machine.patched(chip.attest(self.rfile.read(64)).report)
                self.wfile.write(len(machine.table).to_bytes(4, "little") + raw + machine.table)

        self._server = socketserver.UnixStreamServer(str(self._path("chip")), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> SevGuestMachine:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.cleanup()

    def patched(self, report: bytes) -> bytes:
        """This guest's report; with any patch its signature no longer holds."""
        raw = bytearray(report)
        for at, content in self.patches.items():
            raw[at : at + len(content)] = content
        return bytes(raw)

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def environ(self, script: str) -> dict[str, str]:
        """The environment of a process on this machine, whose device plays `script`."""
        return os.environ | {
            "LD_PRELOAD": str(self._shim),
            "SEV_GUEST_SHIM_SCRIPT": script,
            "SEV_GUEST_SHIM_SOCKET": str(self._path("chip")),
            "SEV_GUEST_SHIM_LOG": str(self._path("log")),
        }

    def drive(self, script: str, *steps: str, driver: str = "sev_guest_driver") -> list[dict[str, Any]]:
        """What a driver, a module beside this one, got for each step."""
        self._path("log").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", f"tests.worlds.{driver}", *steps],
            cwd=ROOT,
            env=self.environ(script),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def requests(self) -> list[str]:
        """The requests that reached the device during the last `drive`, or since the machine was made, in order."""
        return [line for line in self._logged() if not line.startswith(("vmpl", "at"))]

    def times(self) -> list[float]:
        """When each of these requests came, in seconds of the monotonic clock."""
        return [int(line.split()[1]) / 1000 for line in self._logged() if line.startswith("at")]

    def levels(self) -> list[int]:
        """The VMPLs of the reports that were made."""
        return [int(line.split()[1]) for line in self._logged() if line.startswith("vmpl")]

    def _logged(self) -> list[str]:
        return self._path("log").read_text().splitlines() if self._path("log").exists() else []
