"""The guest as its host runs it: QEMU, a serial log, a control line, and one forwarded port."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx2

from tests.vm.image import FOLDER, Image
from tests.worlds.gateway import PLAIN, free_port

PATIENCE = 180.0  # seconds for a start or an answer: an emulated machine on shared cores is that slow
LOG = FOLDER / "serial.log"


def accelerator() -> str:
    """`kvm` where it works. A /dev/kvm without the processor's help beneath it boots no kernel of Debian's."""
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    usable = {"svm", "vmx"} & set(flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return "kvm" if usable else "tcg"


class Guest:
    """A virtual machine. Its disk forgets everything when it is powered off, and nothing at a reboot."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.port, self.accelerator = free_port(), accelerator()
        self._image = image
        self._socket = folder / "control"
        self._qemu: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Guest:
        LOG.unlink(missing_ok=True)
        self._qemu = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._qemu is not None
        self._qemu.kill()  # only matters after a failure
        self._qemu.wait()

    @property
    def url(self) -> str:
        """Where the gateway is reached from outside."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the guest has written to its console."""
        return LOG.read_text(errors="replace").replace("\r", "") if LOG.exists() else ""

    def _command(self) -> list[str]:
        processor = ["-accel", "kvm", "-cpu", "host"] if self.accelerator == "kvm" else ["-accel", "tcg", "-cpu", "max"]
        forward = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:{self.port}"
        return [
            *("qemu-system-x86_64", *processor, "-smp", "2", "-m", "768"),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs)),
            *("-append", f"console=ttyS0 quiet saferouter.port={self.port}"),
            *("-drive", f"file={self._image.root},if=virtio,format=raw,snapshot=on"),
            *("-netdev", forward, "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-chardev", f"file,id=log,path={LOG}", "-serial", "chardev:log"),
            *("-chardev", f"socket,id=control,path={self._socket},server=on,wait=off", "-serial", "chardev:control"),
        ]

    def wait_ready(self) -> float:
        """Wait for the gateway; how many seconds that took."""
        began = time.monotonic()
        while not self._ready():
            assert self._qemu is not None
            waited = time.monotonic() - began
            ended = self._qemu.poll() is not None or "Kernel panic" in self.log
            if ended or waited > PATIENCE:
                raise RuntimeError(f"the guest is not ready after {waited:.0f} s: see {LOG}")
            time.sleep(0.2)
        return time.monotonic() - began

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5.0, **PLAIN).status_code == 200
        except httpx2.HTTPError:
            return False

    def tell(self, word: str) -> str:
        """Say one word on the control line; what came back."""
        heard = b""
        with self._line() as line:
            line.sendall(word.encode() + b"\n")
            while not heard.endswith(b"\n") or not heard.splitlines()[-1].startswith(b"= "):
                received = line.recv(65536)
                assert received, f"the guest hung up at {word}"
                heard += received
        text, status = heard.decode().rsplit("= ", 1)
        assert status.strip() == "0", f"{word}: {heard!r}"
        return text

    def reboot(self) -> float:
        """Boot again on the same disk; how many seconds it took."""
        began = time.monotonic()
        with self._line() as line:  # held: what is sent last before a hang-up may be lost
            line.sendall(b"reboot\n")
            while self._ready():  # the old one
                time.sleep(0.05)
            self.wait_ready()
        return time.monotonic() - began

    def power_off(self) -> tuple[int, float]:
        """QEMU's exit code and how many seconds it took."""
        assert self._qemu is not None
        began = time.monotonic()
        with self._line() as line:
            line.sendall(b"poweroff\n")
            return self._qemu.wait(timeout=PATIENCE), time.monotonic() - began

    def _line(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(PATIENCE)
        line.connect(str(self._socket))
        return line
