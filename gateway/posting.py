"""One POST to a provider: over our own connections, or by httpx2's transport. Both raise httpx2's errors."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import httpx2

from gateway.transport import MAX_IDLE, Key, LeanTransport, key_of


class Reply(Protocol):
    """A provider's answer, its body still to be read."""

    status: int

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty if absent, joined by commas if it came several times."""

    def get_extra_info(self, name: str) -> Any:
        """What is known of the connection: `ssl_object`, None without TLS."""

    async def read(self) -> bytes:
        """More of the body; nothing at its end."""

    async def aclose(self) -> None:
        """Give the connection back. May be called twice."""


class Poster(Protocol):
    """The way to the providers that one set of CAs vouches for."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send `body` as it stands."""

    async def aclose(self) -> None:
        """Drop all connections."""


class LeanPoster:
    """By our own transport, and without httpx2's objects for a request and an answer: they cost as much as the rest."""

    def __init__(self, context: ssl.SSLContext, connect: float, silence: float) -> None:
        """`connect` and `silence` are the seconds to wait."""
        self._transport = LeanTransport(context)
        self._times = connect, silence
        self.aclose = self._transport.aclose

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send `body` as it stands."""
        key, opening, host = _opening(url)
        headers = {"host": host, **headers}  # AWS's are signed with one of their own, and two are refused
        rows = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if not rows.count("\r") == rows.count("\n") == len(headers):
            raise httpx2.LocalProtocolError("a header of the request holds a line break")
        raw = b"%b%bcontent-length: %d\r\n\r\n%b" % (opening, rows.encode("ascii"), len(body), body)
        return await self._transport.exchange(key, raw, *self._times)


class StockPoster:
    """By any transport of httpx2's shape."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, connect: float, silence: float) -> None:
        """`connect` and `silence` are the seconds to wait."""
        self._transport = transport
        self._extensions = {"timeout": httpx2.Timeout(silence, connect=connect).as_dict()}
        self.aclose = self._transport.aclose

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send `body` as it stands."""
        # Not through a client of httpx2: it would keep one caller's cookies for the next, and follow redirects.
        request = httpx2.Request("POST", url, headers=dict(headers), content=body, extensions=self._extensions)
        return _StockReply(await self._transport.handle_async_request(request))


def new_stock_transport(context: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
    """httpx2's own."""
    pool = httpx2.Limits(max_connections=None, max_keepalive_connections=MAX_IDLE)
    return httpx2.AsyncHTTPTransport(verify=context, limits=pool, trust_env=False)


class _StockReply:
    """httpx2's response as a Reply."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.aclose = response.aclose
        self._response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_raw()

    def header(self, name: bytes) -> str:
        """A header by its name in lower case."""
        value: str = self._response.headers.get(name.decode(), "")
        return value

    def get_extra_info(self, name: str) -> Any:
        """What is known of the connection."""
        stream = self._response.extensions.get("network_stream")
        return None if stream is None else stream.get_extra_info(name)

    async def read(self) -> bytes:
        """More of the body; nothing at its end."""
        return await anext(self._pieces, b"")


@lru_cache(512)  # one for each model of each provider
def _opening(url: str) -> tuple[Key, bytes, str]:
    """Where a URL leads, how a request for it begins, and the host that it names."""
    parsed = httpx2.URL(url)
    return key_of(parsed), b"POST %b HTTP/1.1\r\n" % parsed.raw_path, parsed.netloc.decode("ascii")
