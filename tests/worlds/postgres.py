"""A real PostgreSQL server on a socket in a folder of its own, and fresh databases for whoever wants one."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

START_SECONDS = 60.0
FOLDERS = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt")  # where packages keep versions
SKIPPED = "no PostgreSQL server here: install `postgresql`"


class PostgresServer:
    """One running cluster; whoever may reach its socket is its owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._emptied: list[str] = []  # making a database takes ten times as long as emptying one

    def url(self, database: str) -> str:
        """Where a database is."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create(self) -> str:
        """A fresh database; returns its URL."""
        if self._emptied:
            return self._emptied.pop()
        name = "t" + secrets.token_hex(6)
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def take_back(self, url: str) -> None:
        """Nobody wants that database any more: whoever is still connected to it is not from here on."""
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        self.run(f"SELECT pg_terminate_backend(pid) {others}", url)
        self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", url)
        self._emptied.append(url)

    def run(self, statement: str, url: str | None = None) -> None:
        """A statement of the owner, in a transaction of its own."""
        with psycopg.connect(url or self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def find_programs() -> Path | None:
    """The folder with `initdb` and `postgres`: the newest version's that is installed."""
    found = [path.parent for folder in FOLDERS for path in Path(folder).glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path is not None else []
    return max(found, default=None, key=lambda path: int("0" + "".join(filter(str.isdigit, path.parent.name))))


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a cluster, and remove it in the end; skips, or fails where SAFEROUTER_REQUIRE_SERVERS=1."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("SAFEROUTER_REQUIRE_SERVERS") == "1":
            pytest.fail(SKIPPED)
        pytest.skip(SKIPPED)
    folder = Path(tempfile.mkdtemp(prefix="sr-pg-", dir="/tmp"))  # a socket's path has at most 107 bytes
    user = _unprivileged(folder)
    made = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    try:
        subprocess.run([*made, "--no-locale", "--no-sync"], user=user, check=True, capture_output=True, cwd=folder)
        with _serving(programs, folder, user):
            yield PostgresServer(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def _serving(programs: Path, folder: Path, user: str | None) -> Iterator[None]:
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "200"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    # Whatever kills the tests, the server does not outlive them.
    bound = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
    with (folder.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(
            [*bound, str(programs / "postgres"), "-D", str(folder / "data"), *options],
            user=user,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, PostgresServer(folder), folder.with_suffix(".log"))
        yield
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        process.wait()
        folder.with_suffix(".log").unlink()


def _wait(process: subprocess.Popen[bytes], server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _unprivileged(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: then the folder is given to the package's user, or to nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(folder, user)
    return user
