"""Step 5, call: send the bytes to the provider, and read what comes back, bounded."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx2

from gateway.config import Limits
from gateway.connectors.connector import Connector
from gateway.errors import UpstreamFailed
from gateway.google_token import GoogleTokens
from gateway.posting import LeanPoster, Poster, Reply, StockPoster, new_stock_transport
from gateway.routing.identity import Identities, Shown
from gateway.stopwatch import stopwatch, waiting_for_provider
from gateway.upstream_tls import handshake_facts, judge_handshakes, new_context, refusal
from tee.aws.sigv4 import AwsCredentials

# What a broken connection raises; a broken TLS record comes as ssl.SSLError, which is an OSError.
_FAULTS = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError)
_ANYBODY = Connector("", "", "", "")
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "saferouter"}


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A provider's answer, its body still to be read."""

    status: int
    content_type: str
    retry_after: str | None
    tls: dict[str, Any] | None
    _reply: Reply
    _limit: int

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        return self.content_type.split(";")[0].strip().lower()

    async def next(self) -> bytes:
        """More of the body as it arrives; nothing at its end. Raises UpstreamFailed when it breaks off."""
        watch = stopwatch()
        asked = time.monotonic() if watch.to_first_byte is None else 0.0  # what comes later is no part of the overhead
        try:
            return await self._reply.read()
        except _FAULTS as error:
            raise _failure(error) from None
        finally:
            if asked:
                watch.waited_provider += time.monotonic() - asked

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What `next` gives, to its end. Raises UpstreamFailed."""
        while piece := await self.next():
            yield piece

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed, also for one beyond the bound."""
        parts, size = [], 0
        while piece := await self.next():
            size += len(piece)
            if size > self._limit:
                raise UpstreamFailed(f"The provider's answer passes {self._limit} bytes.", code="upstream_too_large")
            parts.append(piece)
        return b"".join(parts)

    async def close(self) -> None:
        """Give the connection back."""
        await self._reply.aclose()


class Upstream:
    """The connections to providers."""

    def __init__(self, limits: Limits, *, stock: bool, carrier: httpx2.AsyncBaseTransport | None = None) -> None:
        """`stock`: by httpx2's own transport; `carrier`: by another, which trusts whom it will."""
        self._stock = stock
        self._carrier = carrier
        self._limits = limits
        self.identities = Identities()
        self._posters: dict[tuple[object, ...], Poster] = {}  # by whom they trust: nothing is shared
        self._google = GoogleTokens()
        self._poster(_ANYBODY, clean=False)  # now, since reading the public CAs takes its time

    async def call(
        self,
        connector: Connector,
        url: str,
        body: bytes,
        credential: str | AwsCredentials | None,
        extra: Mapping[str, str],
        clean: bool = False,
    ) -> UpstreamAnswer:
        """POST `body` as it stands, with the headers of its language in `extra`. `clean`: to a known identity only.

        Raises UpstreamFailed, NoRoute.
        """
        headers = {**_HEADERS, **extra}
        if isinstance(credential, str) and connector.service_account:
            credential = await self._google.token(connector.id, credential)
        if isinstance(credential, AwsCredentials):
            headers |= connector.signed_headers(credential, url, headers["content-type"], body, datetime.now(UTC))
        elif credential is not None:
            headers |= connector.credential_header(credential)
        try:
            with waiting_for_provider():
                reply = await self._poster(connector, clean=clean).post(url, headers, body)
        except _FAULTS as error:
            raise _failure(error) from None
        if reply.header(b"content-encoding") not in ("", "identity"):
            await reply.aclose()
            raise UpstreamFailed("The provider compressed an answer that it was asked to send plain.")
        if reply.status == 401 and connector.service_account:
            self._google.forget(connector.id)
        return UpstreamAnswer(
            status=reply.status,
            content_type=reply.header(b"content-type") or "application/octet-stream",
            retry_after=_retry_after(reply.header(b"retry-after")),
            tls=_tls_facts(reply.get_extra_info("ssl_object"), connector),
            _reply=reply,
            _limit=self._limits.answer,
        )

    async def close(self) -> None:
        """Drop all connections."""
        for poster in self._posters.values():
            await poster.aclose()

    def _poster(self, connector: Connector, *, clean: bool) -> Poster:
        # Over plain HTTP, and for those who embed this without a table, nobody's identity is looked at.
        demanded = clean or bool(connector.pins) or self.identities.watches(connector.id)
        judged = self._carrier is None and connector.authenticated and demanded
        who = (connector.id, clean, self.identities.standard(connector.id)) if judged else ()
        key = connector.roots, *who
        if key not in self._posters:
            judge = partial(self.identities.meet, connector.id, clean=clean) if judged else None
            self._posters[key] = self._new_poster(connector.roots, judge)
        return self._posters[key]

    def _new_poster(self, roots: str | None, judge: Callable[[Shown | None], str | None] | None) -> Poster:
        times = self._limits.connect_seconds, self._limits.silence_seconds
        if self._carrier is not None:
            return StockPoster(self._carrier, *times)
        # trust_env off: a proxy named in the environment would see every prompt; a CA named there is not attested.
        context = httpx2.create_ssl_context(trust_env=False) if roots is None else new_context(roots)
        if judge is not None:
            judge_handshakes(context, judge)
        return StockPoster(new_stock_transport(context), *times) if self._stock else LeanPoster(context, *times)


def _retry_after(value: str) -> str | None:
    """A number of seconds or a date, passed on as it is; anything that no header of ours could carry is dropped."""
    return value if 0 < len(value) <= 64 and value.isascii() and value.isprintable() else None


def _failure(error: Exception) -> UpstreamFailed:
    if isinstance(error, httpx2.TimeoutException):
        return UpstreamFailed("The provider did not answer in time.", code="upstream_timeout")
    if why := refusal(error):
        words = f"The provider was not called: its certificate {why}. Only the gateway's operator can mend that."
        return UpstreamFailed(words, code="upstream_unreachable")
    return UpstreamFailed(f"The provider could not be reached, or broke off ({type(error).__name__}).")


def _tls_facts(tls: Any, connector: Connector) -> dict[str, Any] | None:
    """What the handshake showed: recorded, not more than that."""
    if not isinstance(tls, ssl.SSLObject | ssl.SSLSocket):
        return None
    return handshake_facts(tls, httpx2.URL(connector.base_url).host, connector.roots)
