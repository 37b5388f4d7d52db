"""A real redis-server on this machine, with a password, which a test may kill and start again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.worlds.gateway import free_port

SERVER = shutil.which("redis-server")
PASSWORD = "sesame-of-the-redis-world"
START_SECONDS = 30.0


class RedisWorld:
    """One server on one port; it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert SERVER is not None
        words = f"port {self.port}\nbind 127.0.0.1\nsave ''\nappendonly no\ndir {self._folder}\n"
        settings = f"{words}requirepass {PASSWORD}\n".encode()
        self._process = subprocess.Popen([SERVER, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(settings)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self._process.poll() is None and time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def tell(self, command: str) -> bytes:
        """The answer to one inline command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n".encode())
            assert connection.recv(64) == b"+OK\r\n"
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(1 << 16)

    def answers(self) -> bool:
        """Whether it does."""
        with suppress(OSError):
            return self.tell("PING") == b"+PONG\r\n"
        return False


@contextmanager
def redis_world(folder: Path) -> Iterator[RedisWorld]:
    """One that runs."""
    world = RedisWorld(folder)
    world.start()
    try:
        yield world
    finally:
        world.kill()
