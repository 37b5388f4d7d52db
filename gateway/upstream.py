"""Step 5, call: send the bytes to the provider, and read what comes back, bounded."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import httpx2

from gateway.config import Limits
from gateway.connectors.connector import Connector
from gateway.errors import UpstreamFailed
from gateway.google_token import GoogleTokens
from gateway.transport import LeanTransport
from gateway.upstream_tls import handshake_facts, new_context, refusal
from tee.aws.sigv4 import AwsCredentials

# What a broken connection raises; a broken TLS record comes as ssl.SSLError, which is an OSError.
_FAULTS = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError)
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "saferouter"}


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A provider's answer, its body still to be read."""

    status: int
    content_type: str
    retry_after: str | None
    tls: dict[str, Any] | None
    _response: httpx2.Response
    _limit: int

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        return self.content_type.split(";")[0].strip().lower()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises UpstreamFailed when it breaks off."""
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except _FAULTS as error:
            raise _failure(error) from None

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed, also for one beyond the bound."""
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > self._limit:
                raise UpstreamFailed(f"The provider's answer passes {self._limit} bytes.", code="upstream_too_large")
            parts.append(chunk)
        return b"".join(parts)

    async def close(self) -> None:
        """Give the connection back."""
        await self._response.aclose()


class Upstream:
    """The connections to providers."""

    def __init__(self, limits: Limits, *, stock: bool, carrier: httpx2.AsyncBaseTransport | None = None) -> None:
        """`stock`: by httpx2's own transport; `carrier`: by another, which trusts whom it will."""
        self._stock = stock
        self._carrier = carrier
        self._timeout = httpx2.Timeout(limits.silence_seconds, connect=limits.connect_seconds).as_dict()
        self._transports: dict[str | None, httpx2.AsyncBaseTransport] = {}  # by whom they trust: nothing is shared
        self._limit = limits.answer
        self._google = GoogleTokens()
        self._transport(None)  # now, since reading the public CAs takes its time

    async def call(
        self,
        connector: Connector,
        url: str,
        body: bytes,
        credential: str | AwsCredentials | None,
        extra: Mapping[str, str],
    ) -> UpstreamAnswer:
        """POST `body` as it stands, with the headers of its language in `extra`. Raises UpstreamFailed, NoRoute."""
        headers = {**_HEADERS, **extra}
        if isinstance(credential, str) and connector.service_account:
            credential = await self._google.token(connector.id, credential)
        if isinstance(credential, AwsCredentials):
            headers |= connector.signed_headers(credential, url, headers["content-type"], body, datetime.now(UTC))
        elif credential is not None:
            headers |= connector.credential_header(credential)
        try:
            # Not through a client of httpx2: it would keep one caller's cookies for the next, and follow redirects.
            extensions = {"timeout": self._timeout}
            request = httpx2.Request("POST", _parse_url(url), headers=headers, content=body, extensions=extensions)
            response = await self._transport(connector.roots).handle_async_request(request)
        except _FAULTS as error:
            raise _failure(error) from None
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise UpstreamFailed("The provider compressed an answer that it was asked to send plain.")
        if response.status_code == 401 and connector.service_account:
            self._google.forget(connector.id)
        return UpstreamAnswer(
            status=response.status_code,
            content_type=response.headers.get("content-type", "application/octet-stream"),
            retry_after=_retry_after(response),
            tls=_tls_facts(response, connector),
            _response=response,
            _limit=self._limit,
        )

    async def close(self) -> None:
        """Drop all connections."""
        for transport in self._transports.values():
            await transport.aclose()

    def _transport(self, roots: str | None) -> httpx2.AsyncBaseTransport:
        if self._carrier is not None:
            self._transports[roots] = self._carrier
        if roots not in self._transports:
            # trust_env off: a proxy named in the environment would see every prompt; a CA named there is not attested.
            context = httpx2.create_ssl_context(trust_env=False) if roots is None else new_context(roots)
            pool = httpx2.Limits(max_connections=None, max_keepalive_connections=256)
            stock = httpx2.AsyncHTTPTransport(verify=context, limits=pool, trust_env=False) if self._stock else None
            self._transports[roots] = stock or LeanTransport(context)
        return self._transports[roots]


@lru_cache(512)  # one for each model of each provider
def _parse_url(url: str) -> httpx2.URL:
    return httpx2.URL(url)


def _retry_after(response: httpx2.Response) -> str | None:
    """A number of seconds or a date, passed on as it is; anything that no header of ours could carry is dropped."""
    value: str = response.headers.get("retry-after", "")
    return value if 0 < len(value) <= 64 and value.isascii() and value.isprintable() else None


def _failure(error: Exception) -> UpstreamFailed:
    if isinstance(error, httpx2.TimeoutException):
        return UpstreamFailed("The provider did not answer in time.", code="upstream_timeout")
    if why := refusal(error):
        words = f"The provider was not called: its certificate {why}. Only the gateway's operator can mend that."
        return UpstreamFailed(words, code="upstream_unreachable")
    return UpstreamFailed(f"The provider could not be reached, or broke off ({type(error).__name__}).")


def _tls_facts(response: httpx2.Response, connector: Connector) -> dict[str, Any] | None:
    """What the handshake showed: recorded, not more than that."""
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    if not isinstance(tls, ssl.SSLObject | ssl.SSLSocket):
        return None
    return handshake_facts(tls, httpx2.URL(connector.base_url).host, connector.roots)
