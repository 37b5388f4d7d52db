"""A machine whose kernel offers configfs-tsm: a mock chip behind Linux's rules, seen through configfs_tsm_shim.c."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tee.attest.mock import ChipSecrets, MockChip
from tests.worlds.sev_chip import certificate_table

SOURCE = Path(__file__).with_name("configfs_tsm_shim.c")
ROOT = SOURCE.parent.parent.parent
# Of Linux's ABI: what may be opened how, and which are binary (buffered until close).
READABLE = {"generation", "provider", "privlevel_floor", "outblob", "auxblob"}
WRITABLE = {"inblob", "privlevel"}
SVSM_READABLE = {"manifestblob"}
SVSM_WRITABLE = {"service_provider", "service_guid", "service_manifest_version"}
BINARY = {"inblob", "outblob", "auxblob", "manifestblob"}
MANIFEST = b"the manifest of an SVSM's services"


@dataclass
class Folder:
    """One report request, as the kernel keeps it."""

    generation: int = 0
    read_generation: int | None = None
    values: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def store(self, name: str, value: bytes) -> None:
        """A write to an attribute, whoever writes."""
        self.generation += 1
        self.values[name] = value


@dataclass
class OpenFile:
    """An open attribute: what is left to read, or was written so far."""

    folder: str
    name: str
    content: bytes | None = None
    written: bytes = b""


class TsmMachine:
    """The kernel on a Unix socket, and processes that see its tree.

    `plan` holds errors to come by operation ("mkdir", "open privlevel", "read outblob", "write inblob"; 0 is none), and
    `intrusions` what another process does to a folder after an operation.
    """

    def __init__(self, secret: ChipSecrets, measurement: bytes, shim: Path) -> None:
        self._shim, self._secret = shim, secret
        self._chip = MockChip(secret, measurement)
        ends = self._chip.attest(bytes(64)).endorsements
        certificates = {"vcek": ends.vek, "ask": ends.intermediate, "ark": ends.ark, "crl": ends.crl or b""}
        self.table = certificate_table(certificates)
        self.provider, self.floor, self.lose_inblob = "sev_guest", 0, False
        self.most_taken = 0x100000  # bytes of one write
        self.plan: dict[str, Iterator[int]] = {}
        self.intrusions: dict[str, Iterator[Callable[[Folder], None]]] = {}
        self.forge: Callable[[bytes], bytes] = lambda report: report
        self.key_is_gone = False
        self.log: list[str] = []
        self.reports = 0  # that the firmware signed
        self.peer = 0  # the process that calls
        self._files: dict[int, OpenFile] = {}
        self._folders: dict[str, Folder] = {}
        self._place = tempfile.TemporaryDirectory(prefix="tsm-")  # a socket's path must be short
        self.mirror.mkdir()
        machine = self

        class Answer(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                machine.serve(self.request)

        self._server = socketserver.UnixStreamServer(str(self._path("kernel")), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> TsmMachine:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._place.cleanup()

    def _path(self, name: str) -> Path:
        return Path(self._place.name) / name

    @property
    def mirror(self) -> Path:
        """How the tree looks: real folders, whose age a test may set."""
        return self._path("tree")

    @property
    def folders(self) -> list[str]:
        """The requests that are there."""
        return sorted(path.name for path in self.mirror.iterdir())

    def make_folder(self, name: str) -> None:
        """As another process does."""
        self._folders[name] = Folder()
        (self.mirror / name).mkdir()

    def serve(self, connection: socket.socket) -> None:
        """One call of the shim."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.peer = struct.unpack("iII", credentials)[0]
        verb, number, size = struct.unpack("<III", connection.recv(12, socket.MSG_WAITALL))
        payload = connection.recv(size, socket.MSG_WAITALL) if size else b""
        result, answer = 0, b""
        try:
            result, answer = self._call(chr(verb), number, payload)
            head = struct.pack("<III", 0, result, len(answer))
        except OSError as error:
            head = struct.pack("<III", error.errno, 0, 0)
        with suppress(BrokenPipeError):  # a test had the caller killed
            connection.sendall(head + answer)

    def _call(self, verb: str, number: int, payload: bytes) -> tuple[int, bytes]:
        if verb == "m":
            self._note("mkdir")
            if payload.decode() in self._folders:
                raise OSError(errno.EEXIST, "")
            self.make_folder(payload.decode())
            return 0, b""
        if verb == "d":
            self._note("rmdir")
            if self._folders.pop(payload.decode(), None) is None:
                raise OSError(errno.ENOENT, "")
            (self.mirror / payload.decode()).rmdir()
            return 0, b""
        if verb == "o":
            return self._open(payload.decode(), number), b""
        file = self._files[number]
        folder = self._folders.get(file.folder)
        if verb == "c":
            del self._files[number]
            if file.written and folder is not None and not self.lose_inblob:  # errors here reach nobody
                folder.store(file.name, file.written)
                self._intrude(f"write {file.name}", folder)
            return 0, b""
        if folder is None:
            raise OSError(errno.ENOENT, "")
        if verb == "w":
            return self._write(file, folder, payload), b""
        assert verb == "r"
        return self._read(file, folder, int.from_bytes(payload, "little"))

    def _note(self, operation: str) -> None:
        """Log it, and fail as planned."""
        self.log.append(operation)
        planned = next(self.plan.get(operation, iter(())), 0)
        if planned:
            self.key_is_gone |= operation == "read outblob" and planned in (errno.EIO, errno.EBADMSG)
            raise OSError(planned, "")

    def _intrude(self, operation: str, folder: Folder) -> None:
        next(self.intrusions.get(operation, iter(())), lambda _: None)(folder)

    def _open(self, path: str, flags: int) -> int:
        folder, _, name = path.partition("/")
        self._note(f"open {name}")
        readable = READABLE | (SVSM_READABLE if self.floor else set())
        writable = WRITABLE | (SVSM_WRITABLE if self.floor else set())
        if folder not in self._folders or name not in readable | writable:
            raise OSError(errno.ENOENT, "")
        mode = flags & os.O_ACCMODE
        if mode == os.O_RDWR or name not in (writable if mode == os.O_WRONLY else readable):
            raise OSError(errno.EACCES, "")
        handle = max(self._files, default=0) + 1
        self._files[handle] = OpenFile(folder, name)
        return handle

    def _write(self, file: OpenFile, folder: Folder, value: bytes) -> int:
        self._note(f"write {file.name}")
        value = value[: self.most_taken]
        if file.name in BINARY:
            if len(file.written + value) > 64:
                raise OSError(errno.EFBIG, "")
            file.written += value
            return len(value)
        if file.name == "privlevel" and not self.floor <= int(value.decode().removesuffix("\n"), 0) <= 3:
            raise OSError(errno.EINVAL, "")
        folder.store(file.name, value)
        self._intrude(f"write {file.name}", folder)
        return len(value)

    def _read(self, file: OpenFile, folder: Folder, size: int) -> tuple[int, bytes]:
        if file.content is None:
            self._note(f"read {file.name}")
            if file.name in BINARY:
                file.content = self._blob(folder, file.name)
            else:
                texts = {"generation": folder.generation, "provider": self.provider, "privlevel_floor": self.floor}
                file.content = f"{texts[file.name]}\n".encode()
            self._intrude(f"read {file.name}", folder)
        answer, file.content = file.content[:size], file.content[size:]
        return len(answer), answer

    def _blob(self, folder: Folder, name: str) -> bytes:
        """The kernel asks the firmware only where something was written since."""
        inblob = folder.values.get("inblob", b"")
        if not inblob:
            raise OSError(errno.EINVAL, "")
        if folder.read_generation != folder.generation:
            if len(inblob) != 64:
                raise OSError(errno.EINVAL, "")
            if self.key_is_gone:
                raise OSError(errno.ENOTTY, "")
            level = int(folder.values.get("privlevel", b"0"), 0)
            if level < self.floor:  # the firmware's status 0x16
                raise OSError(errno.EINVAL, "")
            if folder.values.get("service_provider") == b"svsm":  # which answers itself, from VMPL 0
                inblob, level = hashlib.sha512(inblob + MANIFEST).digest(), 0
            report = self.forge(self._sign(self._chip.attest(inblob).report, level))
            folder.blobs = {"outblob": report, "auxblob": self.table, "manifestblob": MANIFEST}
            folder.read_generation = folder.generation
        return folder.blobs[name]

    def _sign(self, report: bytes, level: int) -> bytes:
        """The chip's report at that VMPL."""
        self.reports += 1
        body = report[:0x30] + level.to_bytes(4, "little") + report[0x34:0x2A0]
        r, s = decode_dss_signature(self._secret.vcek_key.sign(body, ec.ECDSA(hashes.SHA384())))
        return body + r.to_bytes(72, "little") + s.to_bytes(72, "little") + report[0x330:]

    def environ(self, *others: Path) -> dict[str, str]:
        """The environment of a process on this machine; `others` are more shims."""
        return os.environ | {
            "LD_PRELOAD": ":".join(map(str, (self._shim, *others))),
            "TSM_SHIM_SOCKET": str(self._path("kernel")),
            "TSM_SHIM_FOLDER": str(self.mirror),
            "PYTHONPATH": str(ROOT),
        }

    def drive(self, *steps: str, others: tuple[Path, ...] = (), killed: bool = False) -> list[dict[str, Any]]:
        """What configfs_tsm_driver.py got for each step."""
        self.log.clear()
        done = subprocess.run(
            [sys.executable, "-m", "tests.worlds.configfs_tsm_driver", *steps],
            cwd=ROOT,
            env=self.environ(*others),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == (-9 if killed else 0), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def build_tsm_shim(folder: Path) -> Path:
    """The shared object. Skips where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the configfs-tsm shim needs Linux and a C compiler named cc")
    shim = folder / "configfs_tsm_shim.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return shim
