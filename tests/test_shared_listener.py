"""A listener that several processes share, on uvloop: callers are taken in turn, and after a failure too."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from gateway.http import shared_listener
from gateway.http.shared_listener import SharedListener, SharingLoop
from gateway.places import ABSENT, Turns


class Exhausted(SharedListener):
    """Fails as often as it is told to, as where no file descriptor is left."""

    failures = 1

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def listener(kind: type[SharedListener], counts: memoryview) -> SharedListener:
    shared = kind(socket.create_server(("127.0.0.1", 0)).detach(), Turns(counts, 0))
    shared.setblocking(False)
    return shared


def greet(shared: SharedListener, callers: int) -> list[bytes]:
    """What so many callers are told, one after the other; the server is closed twice at the end."""
    port = shared.getsockname()[1]

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def run() -> list[bytes]:
        server = await asyncio.start_server(answer, sock=shared)
        heard = []
        for _ in range(callers):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            heard.append(await reader.read())
            writer.close()
        for _ in range(2):
            server.close()
            await server.wait_closed()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        return heard

    with asyncio.Runner(loop_factory=SharingLoop) as runner:
        return runner.run(run())


def counts(*taken: int) -> memoryview:
    shared = memoryview(bytearray(8 * len(taken))).cast("Q")
    for slot, number in enumerate(taken):
        shared[slot] = number
    return shared


def test_callers_are_taken_and_counted() -> None:
    taken = counts(ABSENT, ABSENT)
    assert greet(listener(SharedListener, taken), 3) == [b"hello"] * 3
    assert taken[0] == 3


def test_a_caller_whom_the_other_does_not_take_is_taken() -> None:
    taken = counts(ABSENT, 0)
    shared = listener(SharedListener, taken)
    taken[0] = 5
    assert greet(shared, 1) == [b"hello"]


def test_a_listener_that_failed_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_listener, "RETRY_SECONDS", 0.05)
    assert greet(listener(Exhausted, counts(ABSENT)), 2) == [b"hello"] * 2
