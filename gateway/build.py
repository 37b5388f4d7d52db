"""What this build is: version, commit, and the digest of the code that runs."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import version
from pathlib import Path

import gateway
import tee

DISTRIBUTION = "saferouter"
_SUFFIXES = {".py", ".json", ".js", ".css", ".html", ".svg"}  # the console's too


def build_version() -> str:
    """The installed version."""
    return version(DISTRIBUTION)


def source_digest() -> str:
    """`sha256:<hex>` over every module and data file of both packages, by name."""
    total = hashlib.sha256()
    for package in (tee, gateway):
        folder = Path(str(package.__file__)).parent
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{name}\0{content}\n".encode())
    return "sha256:" + total.hexdigest()


def repo_commit() -> str | None:
    """The commit of a checkout, or None where the code was installed otherwise. A claim, not evidence."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env={"PATH": "/usr/bin:/bin"}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
