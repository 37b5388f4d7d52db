"""One HTTP/1.1 request and its answer, as an application sees them: `receive` and `send` (ASGI 3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

Message = dict[str, Any]
Scope = dict[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

ON_LEAVE = "saferouter.on_leave"  # scope extension: calls back once if the client goes before its answer is whole
BOUND = "saferouter.bound"  # scope extension: for how many seconds `receive` and `send` may wait
_NO_BODY = {204, 304}
_STATUS = {int(code): b"HTTP/1.1 %d %b\r\n" % (code, code.phrase.encode()) for code in HTTPStatus}


class Wire(Protocol):
    """What an exchange needs of its connection."""

    def write(self, raw: bytes) -> asyncio.Future[None] | None:
        """Send bytes; a future where the client is slow, to be waited for before more."""

    def taken(self) -> None:
        """The application took what had arrived of the body."""

    def ended(self, exchange: Exchange) -> None:
        """The answer is whole."""


class Exchange:
    """One request and its answer. `stays` says whether the connection may serve another request afterwards."""

    __slots__ = (
        "_body", "_body_seconds", "_chunked", "_expects", "_head", "_on_leave", "_stall_seconds", "_taken", "_waiter",
        "_wire", "answered", "gone", "is_read", "scope", "started", "stays", "waiting",
    )  # fmt: skip

    def __init__(self, wire: Wire, scope: Scope, *, stays: bool, expects: bool) -> None:
        self.scope = scope
        self.stays = stays
        self.started = self.answered = self.gone = False
        self.is_read = False  # the body has arrived whole
        self.waiting = 0  # bytes of the body that the application has not taken
        self._wire = wire
        self._expects = expects
        self._body: list[bytes] = []
        self._taken = False
        self._waiter: asyncio.Future[None] | None = None
        self._on_leave: Callable[[], object] | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._body_seconds: float | None = None
        self._stall_seconds: float | None = None

    def add_body(self, piece: bytes) -> None:
        """More of the request's body."""
        self._body.append(piece)
        self.waiting += len(piece)
        self._wake()

    def end_body(self) -> None:
        """The body has arrived."""
        self.is_read = True
        self._wake()

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True
        self._wake()
        if self._on_leave is not None and not self.answered:
            self._on_leave()

    def release(self) -> None:
        """Let go of the application, which holds us: else each request would wait for the garbage collector."""
        self.scope, self._on_leave = {}, None

    def on_leave(self, call: Callable[[], object]) -> None:
        """Have `call` called if the client goes; at once if it has."""
        self._on_leave = call
        if self.gone:
            call()

    def bound(self, *, body: float | None = None, stall: float | None = None) -> None:
        """Raise TimeoutError where nothing of the body comes for so long, or nothing of the answer is taken."""
        self._body_seconds, self._stall_seconds = body or self._body_seconds, stall or self._stall_seconds

    async def receive(self) -> Message:
        """What arrived of the body, once each; afterwards, when it is so, that the client has left."""
        if self._expects and not (self._body or self.is_read or self.started):
            self._expects = False
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            if not self._taken and (self._body or self.is_read):
                piece, self.waiting, self._taken = b"".join(self._body), 0, self.is_read
                self._body.clear()
                self._wire.taken()
                return {"type": "http.request", "body": piece, "more_body": not self._taken}
            if self.gone or self.answered:
                return {"type": "http.disconnect"}
            self._waiter = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(None if self._taken else self._body_seconds):
                await self._waiter

    async def send(self, message: Message) -> None:
        """A piece of the answer. The head leaves together with the first piece; who has gone is sent nothing."""
        if message["type"] == "http.response.start":
            self._head, self.started = self._encode_head(message), True
            return
        more = message.get("more_body", False)
        raw = self._framed(message.get("body", b""), more)
        if self._head is not None:
            raw, self._head = self._head + raw, None
        if self.gone:
            await asyncio.sleep(0)  # an application that has not noticed must not hold up the others
            return
        if raw and (slow := self._wire.write(raw)) is not None:
            async with asyncio.timeout(self._stall_seconds):
                await slow
        if not more:
            self.answered = True
            self._wake()
            self._wire.ended(self)

    def _framed(self, piece: bytes, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            return b""
        if not self._chunked:
            return piece
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        return framed if more else framed + b"0\r\n\r\n"

    def _encode_head(self, message: Message) -> bytes:
        status, method = message["status"], self.scope["method"]
        rows, sized = [_STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status], status in _NO_BODY or method == "HEAD"
        for name, value in message.get("headers", ()):
            if b"\n" in value or b"\r" in value or b"\n" in name or b"\r" in name:
                raise ValueError("a header of the answer holds a line break")
            kind = name.lower()
            if kind == b"connection":
                self.stays = self.stays and value.lower() != b"close"
                continue
            sized = sized or kind == b"content-length"
            rows.append(b"%b: %b\r\n" % (name, value))
        if not sized:
            # An HTTP/1.0 client knows no chunks: for it the end of the connection is the end of the body.
            self._chunked = self.scope["http_version"] == "1.1"
            self.stays = self.stays and self._chunked
            if self._chunked:
                rows.append(b"transfer-encoding: chunked\r\n")
        if not self.is_read:
            self.stays = False  # what the client still sends belongs to a request that is answered already
        if not self.stays:
            rows.append(b"connection: close\r\n")
        elif self.scope["http_version"] == "1.0":
            rows.append(b"connection: keep-alive\r\n")
        rows.append(_date())
        return b"".join(rows)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


_dates: dict[int, bytes] = {}  # the `date` header and the end of the head, for the running second


def _date() -> bytes:
    now = int(time.time())
    if now not in _dates:
        _dates.clear()
        _dates[now] = b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n\r\n"
    return _dates[now]
