"""HTTP/1.1 connections parsed by httptools: requests in order, one at a time, bounded at every point (RFC 9112)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote

import httptools

from gateway.deadline import Deadline
from gateway.http.exchange import BOUND, ON_LEAVE, App, Exchange, Scope

LOG = logging.getLogger("saferouter")
HEAD_SECONDS = 30.0  # for the head of a request to arrive whole, once it has begun
CLOSE_SECONDS = 30.0  # for a client to take what was sent before the end of the connection
LINGER_SECONDS, LINGER_BYTES = 2.0, 1 << 20  # what is read from a client that still sends, so that it reads why not
WAITING_BODY = 256 << 10  # bytes of a body that wait for the application before the client must wait
MAX_HEADERS = 100
_REFUSAL = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Refused(Exception):
    """A request that is answered without the application. Its text is the status line's end."""


class Http1(asyncio.Protocol):
    """One connection. Requests that arrive before their turn wait, and nothing more is read meanwhile."""

    def __init__(self, app: App, base: Scope, *, keep_alive: float, max_head: int) -> None:
        """`base` is what the scopes of all requests share; `keep_alive` seconds may pass between requests."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._app = app
        self._base = base
        self._keep_alive = keep_alive
        self._max_head = max_head
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deadline = Deadline(self._time_out)
        self._slow: asyncio.Future[None] | None = None
        self._reading = True
        self._in_head = False
        self._moved = False
        self._loose = 0
        self._upgrade: bytes | None = None  # how the body of a request is framed that asks for another protocol
        self._primed = False
        self._discarding: int | None = None  # bytes that may still be thrown away; None: bytes are parsed
        self._stays = True
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._deadline.set(self._keep_alive)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._discarding is not None:
            self._discarding -= len(data)
            if self._discarding < 0:
                self._transport.abort()
            return
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._refuse(str(error.__context__) if isinstance(error.__context__, Refused) else "400 Bad Request")
        except httptools.HttpParserError:
            self._refuse("400 Bad Request")
        else:
            # Heads, chunk extensions and trailers: what is neither body nor an end is bounded, whole or in pieces.
            self._loose = 0 if self._moved else self._loose + len(data)
            if self._loose > self._max_head:
                self._refuse("431 Request Header Fields Too Large")

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        self._slow = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        slow, self._slow = self._slow, None
        if slow is not None and not slow.done():
            slow.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """The client has gone, or we have closed."""
        self._deadline.end()
        for exchange in self._exchanges:
            exchange.leave()
        self.resume_writing()
        if not self.closed.done():
            self.closed.set_result(None)

    # What httptools calls, in the order of the bytes.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._primed:
            return
        self._url, self._headers, self._in_head = b"", [], True
        if not self._exchanges:
            self._deadline.set(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer is none, nor is what primes a parser. Raises Refused."""
        if not self._in_head:
            return
        if len(self._headers) == MAX_HEADERS:
            raise Refused("431 Request Header Fields Too Large")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A whole head. Raises Refused."""
        if self._primed:
            return
        self._in_head, self._moved = False, True
        headers, self._headers = self._headers, []
        if sum([len(name) + len(value) for name, value in headers]) + len(self._url) > self._max_head:
            raise Refused("431 Request Header Fields Too Large")
        version = self._parser.get_http_version()
        expects = _check(version, headers)
        self._upgrade = _framing(headers) if self._parser.should_upgrade() else None
        scope = self._base | _target(self._url)
        scope |= {"http_version": version, "method": self._parser.get_method().decode(), "headers": headers}
        exchange = Exchange(self, scope, stays=self._stays and self._parser.should_keep_alive(), expects=expects)
        scope["extensions"] = {ON_LEAVE: exchange.on_leave, BOUND: exchange.bound}
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            self._deadline.clear()
            self._start(exchange)
        else:
            self._read(False)

    def on_body(self, piece: bytes) -> None:
        """A piece of a body."""
        self._moved = True
        if not self._exchanges:
            return  # its request is answered, and nothing after it is
        exchange = self._exchanges[-1]
        exchange.add_body(piece)
        if exchange.waiting > WAITING_BODY:
            self._read(False)

    def on_message_complete(self) -> None:
        """The end of a request; of one that asks for another protocol only the end of its head."""
        self._moved = True
        if self._exchanges and not self._upgrade:
            self._exchanges[-1].end_body()

    # What exchanges call.

    def write(self, raw: bytes) -> asyncio.Future[None] | None:
        """Send bytes; a future where the client is slow."""
        self._transport.write(raw)
        return None if self._slow is None else asyncio.shield(self._slow)

    def taken(self) -> None:
        """The body that waited was taken."""
        if len(self._exchanges) < 2:
            self._read(True)

    def ended(self, exchange: Exchange) -> None:
        """An answer is whole: go on with the next request, or end."""
        if not exchange.stays:
            self._end(exchange.is_read)
            return
        self._exchanges.popleft()
        if self._exchanges:
            self._start(self._exchanges[0])
        else:
            self._deadline.set(HEAD_SECONDS if self._in_head else self._keep_alive)
        if len(self._exchanges) < 2:
            self._read(True)

    # What the server calls.

    def retire(self) -> None:
        """Take no more requests: an idle connection ends now, a busy one after its answer."""
        self._retire()
        if not self._exchanges:
            self._transport.close()

    def abort(self) -> None:
        """Hang up."""
        self._transport.abort()

    # Our own.

    def _start(self, exchange: Exchange) -> None:
        task = self._loop.create_task(self._run(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, exchange: Exchange) -> None:
        """Run the application. An answer that it leaves unfinished must not look finished."""
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:  # the rim of the connection: what the application's own rim let through
            if not exchange.started:
                LOG.error("A request ended without an answer (%s).", type(error).__name__)
        finally:
            if not exchange.answered and not exchange.gone:
                if exchange.started:
                    self._transport.abort()
                else:
                    self._answer("500 Internal Server Error")
            exchange.release()

    def _refuse(self, status: str) -> None:
        """Answer in the application's stead, unless an answer is on its way, and read nothing more."""
        if self._exchanges and not self._exchanges[-1].is_read:
            broken = self._exchanges.pop()  # what follows is no end of its body
            if self._exchanges or broken.started:
                broken.leave()
                self._retire()
                return
            self._exchanges.append(broken)
        elif self._exchanges:
            self._retire()  # those that arrived whole have their answers first
            return
        self._answer(status)

    def _answer(self, status: str) -> None:
        """The last answer of this connection, whatever waits behind it."""
        self._transport.write(_REFUSAL % status.encode())
        for exchange in self._exchanges:
            exchange.leave()
        self._end(False)

    def _stay(self, rest: bytes) -> None:
        """No other protocol is spoken here: read the body, which the parser takes for that of the other protocol."""
        framing, self._upgrade = self._upgrade, None
        if not framing:
            self._retire()  # without a body nobody can say where this request ends and the other protocol begins
            return
        self._parser, self._primed = httptools.HttpRequestParser(self), True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
        self._primed = False
        if rest:
            self.data_received(rest)

    def _retire(self) -> None:
        """What has arrived is answered, and nothing after it."""
        self._stays = False
        if self._exchanges:
            self._exchanges[-1].stays = False
        self._read(False)

    def _end(self, is_read: bool) -> None:
        """Close once all is sent. Bytes that still arrive are read for a while, else the answer would be lost."""
        self._exchanges.clear()
        self._stays = False
        self._discarding = LINGER_BYTES
        if is_read or not self._transport.can_write_eof():
            self._transport.close()
            self._deadline.set(CLOSE_SECONDS)
            return
        self._read(True)
        self._transport.write_eof()
        self._deadline.set(LINGER_SECONDS)

    def _read(self, reading: bool) -> None:
        if reading != self._reading and not self._transport.is_closing():
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def _time_out(self) -> None:
        """Too long without a request, or with half a head; or, once the end has begun, until that came."""
        if self._discarding is None:
            self._end(is_read=True)
        else:
            self._transport.abort()


def _check(version: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Refuse a head whose message could be framed in two ways; returns whether the client waits for a 100.

    Raises Refused.
    """
    names = [name for name, _ in headers]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    lengths, hosts = names.count(b"content-length"), names.count(b"host")
    if version not in ("1.0", "1.1"):
        raise Refused("505 HTTP Version Not Supported")
    if codings and (codings != [b"chunked"] or version != "1.1"):
        raise Refused("501 Not Implemented")
    if lengths + len(codings) > 1 or hosts > 1 or (version == "1.1" and hosts == 0):
        raise Refused("400 Bad Request")
    expects = [value.lower() for name, value in headers if name == b"expect"]
    return version == "1.1" and b"100-continue" in expects


def _framing(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The header that says how long the body is; empty where there is no body."""
    rows = [name + b": " + value for name, value in headers if name in (b"content-length", b"transfer-encoding")]
    return b"" if rows in ([], [b"content-length: 0"]) else rows[0]


def _target(url: bytes) -> Scope:
    """Path and query of a request's target, in origin or absolute form. Raises Refused."""
    if not url.startswith(b"/") and url != b"*":
        with suppress(httptools.HttpParserInvalidURLError):
            parsed = httptools.parse_url(url)
            url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    if not url.isascii():
        raise Refused("400 Bad Request")
    path, _, query = url.partition(b"?")
    text = path.decode("ascii")
    return {"path": unquote(text) if "%" in text else text, "raw_path": path, "query_string": query}


def base_scope(scheme: str, client: Any, server: Any, state: dict[str, Any]) -> Scope:
    """What the scopes of one connection's requests share."""
    asgi = {"version": "3.0", "spec_version": "2.3"}
    named = {"scheme": scheme, "client": client, "server": server, "state": state}
    return {"type": "http", "asgi": asgi, "root_path": "", **named}
