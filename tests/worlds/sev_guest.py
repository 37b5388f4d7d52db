"""A machine with a SEV-SNP guest device: a mock chip behind the LD_PRELOAD shim of sev_guest_shim.c."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tee.attest.mock import MockChip
from tests.worlds.sev_chip import certificate_table, certificates_of_chip, chip_server

SOURCE = Path(__file__).with_name("sev_guest_shim.c")
ROOT = SOURCE.parent.parent.parent


def build_shim(folder: Path) -> Path:
    """The shared object. Skips where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the sev-guest shim needs Linux and a C compiler named cc")
    shim = folder / "sev_guest_shim.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return shim


class SevGuestMachine:
    """A chip on a Unix socket, and processes that see it as /dev/sev-guest. `table` is the host's to choose."""

    def __init__(self, chip: MockChip, shim: Path) -> None:
        self._shim = shim
        self.certificates = certificates_of_chip(chip)
        self.table = certificate_table(self.certificates)
        self.patches: dict[int, bytes] = {}  # other facts of this guest, by their offset in the report
        self._folder = tempfile.TemporaryDirectory(prefix="sev-")  # a socket's path must be short
        self._server = chip_server(self._path("chip"), chip, lambda: self.table, self.patched)
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
            "SEV_GUEST_SCRIPT": script,
            "SEV_GUEST_SOCKET": str(self._path("chip")),
            "SEV_GUEST_LOG": str(self._path("log")),
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
