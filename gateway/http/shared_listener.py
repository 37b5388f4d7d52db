"""One listening socket for several processes. uvloop accepts whoever waits; here each process accepts in its turn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

from gateway.places import Turns

BURST = 64  # callers taken at once, before those that are here are served
RETRY_SECONDS = 1.0  # after an accept that failed for want of file descriptors or memory
Factory = Callable[[], asyncio.BaseProtocol]


class SharedListener(socket.socket):
    """A listening socket on which several processes accept."""

    def __init__(self, handle: int, turns: Turns) -> None:
        super().__init__(fileno=handle)
        self._turns = turns

    def accept(self) -> tuple[socket.socket, Any]:
        """The next caller. Raises BlockingIOError also where another process shall take it."""
        if not self._turns.mine():
            raise BlockingIOError
        accepted = super().accept()
        self._turns.took()
        return accepted


class SharingLoop(uvloop.Loop):
    """uvloop, which would accept at once whoever waits at a listener."""

    async def create_server(self, protocol_factory: Factory, *places: Any, sock: Any = None, **options: Any) -> Any:
        """A server on `sock`; on a shared listener one that asks it for each caller."""
        if isinstance(sock, SharedListener):
            return _SharedServer(self, sock, protocol_factory)
        return await super().create_server(protocol_factory, *places, sock=sock, **options)


class _SharedServer:
    """Takes callers from a shared listener until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: SharedListener, factory: Factory) -> None:
        self._loop = loop
        self._listener = listener
        self._factory = factory
        self._arriving: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._watch()

    def close(self) -> None:
        """Take nobody any more. May be called twice."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_closed(self) -> None:
        """It is, once `close` has returned."""

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        try:
            for _ in range(BURST):
                caller, _address = self._listener.accept()
                caller.setblocking(False)
                task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, caller))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass  # nobody waits, or not for us
        except OSError:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(RETRY_SECONDS, self._watch)
