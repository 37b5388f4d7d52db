"""Hypercorn's connections, with its HTTP/1.1 replaced by ours; TLS, HTTP/2, sockets and the stop remain its own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.utils import parse_socket_addr

from gateway.http.http1 import Http1, base_scope

MOST = 1 << 20  # more than a stream reader ever holds: none of it may stay behind when the protocol changes
GRACE = 0.9
_HTTP2 = b"PRI * HTTP/2"  # how HTTP/2 begins where nothing was negotiated (RFC 9113 §3.4)


class LeanServer(TCPServer):
    """One connection: after its first bytes it belongs to `Http1`, or to hypercorn where it speaks HTTP/2."""

    async def run(self) -> None:
        """Serve it to its end."""
        secure = self.writer.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() == "h2":
            return await super().run()
        try:
            # In this very task: one hop more, and bytes could reach the reader after it was read.
            async with asyncio.timeout(self.config.keep_alive_timeout):
                first = await self.reader.read(MOST)
        except (OSError, TimeoutError):
            first = b""
        if not first:
            self.writer.close()
            return None
        if first.startswith(_HTTP2):
            self.reader.feed_data(first)
            return await super().run()
        return await self._serve(first, "http" if secure is None else "https")

    async def _serve(self, first: bytes, scheme: str) -> None:
        name = self.writer.get_extra_info("socket")
        addresses = [parse_socket_addr(name.family, read()) for read in (name.getpeername, name.getsockname)]
        scope = base_scope(scheme, addresses[0], addresses[1], dict(self.state))
        app: Any = cast(ASGIWrapper, self.app).app  # what we serve is never WSGI, the other kind of wrapper
        config = self.config
        protocol = Http1(app, scope, keep_alive=config.keep_alive_timeout, max_head=config.h11_max_incomplete_size)
        transport = self.writer.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(first)
        stopping = asyncio.ensure_future(self.context.terminated.wait())
        try:
            await asyncio.wait({stopping, protocol.closed}, return_when=asyncio.FIRST_COMPLETED)
            protocol.retire()
            # Within hypercorn's own grace, which ends in a cancellation that asyncio reports as an error.
            await asyncio.wait({protocol.closed}, timeout=GRACE * self.config.graceful_timeout)
        finally:
            stopping.cancel()
            protocol.abort()


def use(*, stock: bool) -> None:
    """Choose for all servers of this process. hypercorn is pinned: it has no public place for this."""
    vars(run)["TCPServer"] = TCPServer if stock else LeanServer
