"""The mock provider in a process of its own: it outlives every gateway that calls it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config

from gateway.http.mock_provider import mock_provider_app
from tests.worlds.gateway import free_port

PROVIDER_KEY = "sk-mock-provider"
START_SECONDS = 20.0
ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def running_provider() -> Iterator[str]:
    """Start it; gives its base URL. It demands PROVIDER_KEY."""
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", __name__, str(port)], cwd=ROOT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the mock provider did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(port: int) -> None:
    config = Config()
    config.bind, config.accesslog, config.errorlog = [f"127.0.0.1:{port}"], None, None
    config.keep_alive_max_requests, config.keep_alive_timeout, config.backlog = 1 << 30, 75, 1024
    asyncio.run(serve(mock_provider_app(PROVIDER_KEY), config))  # type: ignore[arg-type]


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
