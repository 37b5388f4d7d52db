"""A lean HTTP/1.1 transport for httpx2: httptools for parsing, and a pool that looks at no idle connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

import httptools
import httpx2

from gateway.deadline import Deadline

MAX_HEAD = 64 << 10
MAX_HEADERS = 128
WAITING_BODY = 256 << 10  # bytes of an answer that wait for us before the provider must wait
IDLE_SECONDS = 5.0  # what common servers keep an idle connection for: later than that it breaks under a request
MAX_IDLE = 256  # of one provider
Key = tuple[str, str, int]


class Connection(asyncio.Protocol):
    """One connection to a provider: one request at a time, its answer's body as it arrives."""

    def __init__(self, key: Key, expire: Callable[[Connection], None]) -> None:
        """`expire` is called when it rests no longer: it has for too long, or it has ended."""
        self.key = key
        self.done = True  # the answer is whole
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # as there are many in a stream, the parser itself puts them there
        self._parser = httptools.HttpResponseParser(self)
        self._size = self._loose = 0
        self._moved = False
        self._in_head = self._until_close = self._keeps_alive = False
        self._paused = False
        self._failure: httpx2.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._expire = expire
        self._resting = False
        self._patience: float | None = None
        self._deadline = Deadline(self._time_out)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: both messages ended where they said they would."""
        # Bytes that nobody has read belong to the last answer: whoever came next would take them for its own.
        clean = self.done and self._keeps_alive and self._failure is None and not self._parts and not self._paused
        clean = clean and self._waiter is None  # who still reads the last answer would read on in the next
        return clean and not self.transport.is_closing() and self.transport.get_write_buffer_size() == 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast(asyncio.Transport, transport)

    async def send(self, raw: bytes, patience: float | None) -> None:
        """Send a request and wait for the answer's head. Raises httpx2.TransportError.

        `patience`: seconds without a byte, now and in the body, None for ever.
        """
        self.done, self._keeps_alive, self._until_close = False, False, False
        self.status, self.headers, self._in_head = 0, [], True
        self._size = self._loose = 0
        self._patience, self._resting = patience, False
        self._deadline.clear()
        self.transport.write(raw)
        while self._in_head:
            await self._wait()

    async def read(self) -> bytes:
        """More of the body; nothing at its end. Raises httpx2.TransportError."""
        while not self._parts:
            if self.done:
                return b""
            await self._wait()
        raw = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        return raw

    def rest(self) -> None:
        """Nothing is asked of it now."""
        self._resting = True
        self._deadline.set(IDLE_SECONDS)

    def abort(self) -> None:
        """Hang up, whatever is still to come."""
        self._deadline.end()
        self.transport.abort()

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        """Bytes from the provider."""
        if self.done:
            self.abort()  # an answer that nobody asked for would be taken for that of the next request
            return
        self._moved, parts = False, len(self._parts)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(f"The answer is no HTTP/1.1: {error}"))
            return
        # Heads, chunk extensions and trailers: what is neither body nor an end is bounded, whole or in pieces.
        self._loose = 0 if self._moved or len(self._parts) > parts else self._loose + len(data)
        if self._loose > MAX_HEAD:
            self._fail(httpx2.RemoteProtocolError(f"The answer's head or trailers pass {MAX_HEAD} bytes"))
            return
        self._size += len(data)
        if self._size > WAITING_BODY and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The provider has hung up, or we have."""
        if self.done or self._failure is not None:
            pass
        elif self._until_close and error is None:
            self.done = True
        else:
            self._failure = httpx2.ReadError(str(error) if error else "The provider hung up before its answer's end")
        self._deadline.end()
        self._wake()
        if self._resting:
            self._expire(self)

    # What httptools calls. An exception of these reaches `data_received` as a parser's error.

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        if self.done:
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer is none."""
        if not self._in_head:
            return
        if len(self.headers) == MAX_HEADERS:
            raise ValueError(f"more than {MAX_HEADERS} headers")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The whole head: of the answer, or of an interim one."""
        self._moved = True
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        if sum([len(name) + len(value) for name, value in self.headers]) > MAX_HEAD:
            raise ValueError(f"a head of more than {MAX_HEAD} bytes")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        lengths = sum([name == b"content-length" for name, _ in self.headers])
        if codings not in ([], [b"chunked"]) or len(codings) + lengths > 1:
            raise ValueError("a body that could end at two places")
        self.status, self._in_head = status, False
        self._until_close = not codings and not lengths and status not in (204, 304)
        self._keeps_alive = self._parser.should_keep_alive() and not self._until_close

    def on_message_complete(self) -> None:
        """The end of the answer, or of an interim one."""
        if not self._in_head:
            self.done = True

    # Our own.

    def _fail(self, failure: httpx2.TransportError) -> None:
        self._failure = failure
        self.abort()
        self._wake()

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._patience is not None:
            self._deadline.set(self._patience)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None and not self._parts:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _time_out(self) -> None:
        if self._resting:
            self._expire(self)
        elif self._waiter is not None:  # else it is we who take nothing
            self._fail(httpx2.ReadTimeout("No byte came in time"))


class LeanReply:
    """An answer: its head, and its body as it is read. Closing it gives the connection back, or ends it where the body
    was not read whole.
    """

    __slots__ = ("_connection", "_transport", "headers", "status")

    def __init__(self, connection: Connection, transport: LeanTransport) -> None:
        self.status, self.headers = connection.status, connection.headers
        self._connection = connection
        self._transport: LeanTransport | None = transport

    def read(self) -> Coroutine[Any, Any, bytes]:
        """More of the body; nothing at its end. Raises httpx2.ReadError once it is closed."""
        if self._transport is None:  # the connection may already bring another caller's answer
            raise httpx2.ReadError("The answer is closed")
        return self._connection.read()

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty if absent, joined by commas if it came several times."""
        return ", ".join([value.decode("latin-1") for each, value in self.headers if each == name])

    def get_extra_info(self, name: str) -> Any:
        """What asyncio knows of the connection."""
        return self._connection.transport.get_extra_info(name)

    async def aclose(self) -> None:
        """Read no more. May be called twice."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.release(self._connection)


class _Body(httpx2.AsyncByteStream):
    """A reply as httpx2 reads it."""

    def __init__(self, reply: LeanReply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._reply.read():
            yield piece

    async def aclose(self) -> None:
        await self._reply.aclose()


class LeanTransport(httpx2.AsyncBaseTransport):
    """Requests over connections that are kept; the one used last is used first, so that the others may end."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context` says whom to trust; by default whom httpx2 trusts."""
        self._context = context or httpx2.create_ssl_context()
        self._idle: dict[Key, list[Connection]] = {}
        self._open: set[Connection] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its answer's body is still to be read. Raises httpx2.TransportError."""
        if request.method == "HEAD":
            raise httpx2.UnsupportedProtocol("HEAD is not spoken here")
        timeout = request.extensions.get("timeout", {})
        raw = await _encode(request)
        reply = await self.exchange(key_of(request.url), raw, timeout.get("connect"), timeout.get("read"))
        extensions = {"http_version": b"HTTP/1.1", "network_stream": reply}
        return httpx2.Response(reply.status, headers=reply.headers, stream=_Body(reply), extensions=extensions)

    async def exchange(self, key: Key, raw: bytes, connect: float | None, silence: float | None) -> LeanReply:
        """Send a request's bytes; `connect` and `silence` are the seconds to wait. Raises httpx2.TransportError."""
        connection = self._reuse(key) or await self._connect(key, connect)
        self._open.add(connection)
        try:
            await connection.send(raw, silence)
        except BaseException:
            self.release(connection)
            raise
        return LeanReply(connection, self)

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next request, or end it."""
        self._open.discard(connection)
        idle = self._idle.setdefault(connection.key, [])
        if not connection.reusable or len(idle) >= MAX_IDLE:
            connection.abort()
            return
        idle.append(connection)
        connection.rest()

    async def aclose(self) -> None:
        """Hang up everywhere."""
        for connection in [*self._open, *(each for rows in self._idle.values() for each in rows)]:
            connection.abort()
        self._idle.clear()

    def _reuse(self, key: Key) -> Connection | None:
        rows = self._idle.get(key, [])
        while rows:
            connection = rows.pop()
            if connection.reusable:
                return connection
        return None

    def _expire(self, connection: Connection) -> None:
        rows = self._idle.get(connection.key, [])
        if connection in rows:
            rows.remove(connection)
        connection.abort()

    async def _connect(self, key: Key, patience: float | None) -> Connection:
        scheme, host, port = key
        context = self._context if scheme == "https" else None
        try:
            async with asyncio.timeout(patience):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(key, self._expire), host, port, ssl=context
                )
        except TimeoutError:
            raise httpx2.ConnectTimeout("No connection came about in time") from None
        except OSError as error:  # a refused certificate too: ssl.SSLError is one
            raise httpx2.ConnectError(str(error)) from error
        return connection


def key_of(url: httpx2.URL) -> Key:
    """Which connections lead to a URL."""
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


async def _encode(request: httpx2.Request) -> bytes:
    """The request's bytes. Raises httpx2.LocalProtocolError for a header with a line break."""
    rows = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)]
    for name, value in request.headers.raw:
        if b"\n" in value or b"\r" in value or b"\n" in name or b"\r" in name:
            raise httpx2.LocalProtocolError("a header of the request holds a line break")
        rows.append(b"%b: %b\r\n" % (name, value))
    rows.append(b"\r\n")
    body = cast(httpx2.AsyncByteStream, request.stream)
    rows.extend([piece async for piece in body])
    return b"".join(rows)
