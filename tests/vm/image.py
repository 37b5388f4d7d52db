"""Builds the guest in .vm/: Debian's kernel, an initramfs, and a root file system with the packaged gateway."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tee.attest.mock import load_chip_secrets

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FOLDER = ROOT / ".vm"
DEBIAN = ("python3", "busybox-static", "linux-image-cloud-amd64")
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
    "cc": "gcc and libc6-dev",
    "apt-get": "apt, and run this on Debian or Ubuntu",
    "dpkg-deb": "dpkg",
}
SOURCES = ("tee", "gateway", "verifier-web", "tests/vm", "tests/worlds", "deploy/lock/gateway.txt", "pyproject.toml")
# In the order in which they need one another. The kernel has ext4 and the serial port built in.
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
    *("failover", "net_failover", "virtio_net", "fuse", "cuse"),
)
# Ours that run in the guest as modules.
PROGRAMS = (
    *("tests/__init__.py", "tests/worlds/__init__.py", "tests/worlds/sev_chip.py"),
    *("tests/vm/__init__.py", "tests/vm/serve.py", "tests/vm/probe.py"),
)
IMAGE_SIZE = "512M"  # a sparse file; about half is used
BIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # mke2fs is root's


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots. `root` is never written to."""

    kernel: Path
    initramfs: Path
    root: Path


class Missing(Exception):
    """Something that the build needs and does not install."""


def build_image() -> Image:
    """The image of this very source tree, made anew where anything in it has changed. Raises Missing."""
    require_tools()
    image, stamp = Image(FOLDER / "vmlinuz", FOLDER / "initramfs", FOLDER / "root.ext4"), FOLDER / "stamp"
    archives = _archives()
    key = _key(archives)
    if stamp.exists() and stamp.read_text() == key:
        return image
    stamp.unlink(missing_ok=True)
    stage = FOLDER / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    _unpack(archives, stage)
    _boot_files(stage, image)
    python = (stage / "usr/bin/python3").readlink().name
    _install_gateway(stage, python)
    _install_world(stage)
    _compile(stage, python)
    image.root.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-t", "ext4", "-d", stage, "-E", "root_owner=0:0", image.root, IMAGE_SIZE)
    stamp.write_text(key)
    return image


def require_tools() -> None:
    """Raises Missing, which names the first tool that is not here."""
    if platform.machine() != "x86_64":
        raise Missing(f"make test-vm needs x86-64, and this is {platform.machine()}")
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=BIN) is None:
            raise Missing(f"make test-vm needs {tool}: install {package}")


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)], env=os.environ | {"PATH": BIN}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _apt(archives: str, word: str) -> str:
    """apt with this machine's sources and keys, and an empty system to install to: it resolves everything."""
    (FOLDER / archives / "partial").mkdir(parents=True, exist_ok=True)
    (FOLDER / "status").touch()
    options = {
        "Dir::State::status": FOLDER / "status",
        "Dir::Cache::archives": FOLDER / archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": 1,
        "APT::Sandbox::User": "root",
    }
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    try:
        return _run("apt-get", *settings, "--no-install-recommends", "-y", "-qq", word, "install", *DEBIAN)
    except RuntimeError as error:
        if "Unable to locate" in str(error):
            raise Missing("make test-vm needs apt's lists: run apt-get update") from None
        raise


def _archives() -> list[Path]:
    """Debian's packages for the guest, downloaded and not installed."""
    uris = _apt("none", "--print-uris")  # an archive that is there already would not be named
    _apt("archives", "--download-only")
    return [FOLDER / "archives" / name for name in re.findall(r"^'\S+' (\S+) ", uris, re.MULTILINE)]


def _key(archives: list[Path]) -> str:
    total = hashlib.sha256(repr(sorted(path.name for path in archives)).encode())
    for source in SOURCES:
        top = ROOT / source
        for path in sorted(path for path in (top.rglob("*") if top.is_dir() else [top]) if path.is_file()):
            if not {"__pycache__", "node_modules"} & set(path.parts):
                total.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _unpack(archives: list[Path], stage: Path) -> None:
    stage.mkdir()
    for archive in archives:
        _run("dpkg-deb", "-x", archive, stage)
    for name in ("doc", "man", "locale", "info"):
        shutil.rmtree(stage / "usr/share" / name, ignore_errors=True)


def _boot_files(stage: Path, image: Image) -> None:
    """The kernel and the initramfs, which has all modules: the rest of Debian's are left out."""
    (kernel,) = (stage / "boot").glob("vmlinuz-*")
    shutil.move(kernel, image.kernel)
    early = FOLDER / "early"
    shutil.rmtree(early, ignore_errors=True)
    (early / "bin").mkdir(parents=True)
    (early / "modules").mkdir()
    shutil.copy(stage / "bin/busybox", early / "bin")
    _place(HERE / "initramfs", early / "init")
    for at, name in enumerate(MODULES):
        (module,) = (stage / "lib/modules").rglob(f"{name}.ko")
        shutil.copy(module, early / "modules" / f"{at:02}-{name}.ko")
    shutil.rmtree(stage / "lib/modules")
    shutil.rmtree(stage / "boot")
    names = "\n".join(str(path.relative_to(early)) for path in sorted(early.rglob("*")))
    with image.initramfs.open("wb") as target:  # the guest's busybox is static: it runs here too
        command = [str(early / "bin/busybox"), "cpio", "-o", "-H", "newc"]
        subprocess.run(command, input=names.encode(), cwd=early, stdout=target, stderr=subprocess.DEVNULL, check=True)


def _install_gateway(stage: Path, python: str) -> None:
    """The wheel of this tree, and the packages of its lock for the guest's Python."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wheels = FOLDER / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    _run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
    (wheel,) = wheels.iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wanted = FOLDER / "requirements.txt"
    lock = (ROOT / "deploy/lock/gateway.txt").read_text()
    wanted.write_text(f"{lock}\nsaferouter @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    glibc = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)]  # Debian 12 has 2.36
    target = stage / f"usr/local/lib/{python}/dist-packages"
    version = python.removeprefix("python")
    foreign = ("--only-binary=:all:", f"--python-version={version}", "--implementation=cp", *glibc)
    old = ("--platform=manylinux2014_x86_64", "--platform=manylinux2010_x86_64", "--platform=manylinux1_x86_64")
    _run(*pip, "install", "--no-deps", "--require-hashes", *foreign, *old, "--target", target, "-r", wanted)
    script = (target / "bin/saferouter").read_text().splitlines(keepends=True)
    script[0] = "#!/usr/bin/python3\n"  # and not the Python that pip ran on
    command = stage / "usr/local/bin/saferouter"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text("".join(script))
    command.chmod(0o755)


def _install_world(stage: Path) -> None:
    """What makes a machine of it: users, init, the device and its chip."""
    for name in ("dev", "proc", "sys", "run", "tmp", "var/lib", "etc/saferouter", "opt/vm"):
        (stage / name).mkdir(parents=True, exist_ok=True)
    (stage / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nsaferouter:x:990:990::/:/bin/sh\n")
    (stage / "etc/group").write_text("root:x:0:\nsaferouter:x:990:\nsev-guest:x:991:saferouter\n")
    (stage / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (stage / "bin/sh").unlink(missing_ok=True)
    (stage / "bin/sh").symlink_to("busybox")
    (stage / "sbin/init").unlink(missing_ok=True)
    _place(HERE / "init", stage / "sbin/init")
    shutil.copy(HERE / "models.toml", stage / "etc/saferouter")
    for name in PROGRAMS:
        _place(ROOT / name, stage / "opt/vm" / name)
    _run("cc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", stage / "opt/vm/sev-guest", HERE / "cuse.c")
    chip = FOLDER / "chip"
    chip.mkdir(mode=0o700, exist_ok=True)
    load_chip_secrets(chip)
    shutil.copytree(chip, stage / "opt/vm/chip")


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    target.chmod(0o755)


def _compile(stage: Path, python: str) -> None:
    """Bytecode for all of the guest's Python, where this Python makes what that one reads: the guest starts sooner."""
    if python != f"python{sys.version_info.major}.{sys.version_info.minor}":
        return
    places = (stage / "usr/lib" / python, stage / "usr/local/lib" / python)
    _run(sys.executable, "-m", "compileall", "-q", "-s", stage, "-p", "/", *places)


if __name__ == "__main__":
    try:
        build_image()
    except Missing as missing:
        sys.exit(str(missing))
