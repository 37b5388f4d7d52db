"""Throw-away environments: made once for a list of exact versions, and made anew when the list changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.foreign.catalog import Environment

INSTALL_SECONDS = 900


class NotInstalled(Exception):
    """What cannot be had here, and why."""


def make_environment(environment: Environment, folder: Path) -> None:
    """Install into `folder`, from the registries that this machine is set up for. Raises NotInstalled."""
    stamp, wanted = folder / "packages.txt", "\n".join(environment.packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if environment.npm:
        (folder / "package.json").write_text('{"private": true}')
        _run("npm", "install", "--save-exact", "--no-audit", "--no-fund", *environment.packages, cwd=folder)
    else:
        _run(sys.executable, "-m", "venv", str(folder), cwd=folder)
        pip = (str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        _run(*pip, "install", *environment.packages, cwd=folder)
    stamp.write_text(wanted)


def programs_of(environment: Environment, folder: Path) -> Path:
    """Where its commands are."""
    return folder / ("node_modules/.bin" if environment.npm else "bin")


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise NotInstalled(f"there is no {command[0]} here")
    try:
        done = subprocess.run(
            command, cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[0]} took more than {INSTALL_SECONDS} seconds") from None
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if "error" in line.lower()]
        raise NotInstalled((lines or ["it failed without a word"])[0].strip()[:200])
