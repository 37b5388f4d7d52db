"""The network: requests over the gateway's own connections to providers, kept as long as their event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from weakref import WeakKeyDictionary

from gateway.config import Limits
from gateway.connectors.connector import Connector
from gateway.errors import UpstreamFailed
from gateway.models.connectors.http import HttpRequest, HttpResponse
from gateway.models.contract.errors import GatewayError, GatewayErrorKind, aborted
from gateway.models.streaming.cancel import race
from gateway.upstream import Upstream, UpstreamAnswer


class NetworkTransport:
    """An HttpTransport over `gateway/upstream.py`: no redirects, no proxies, no cookies, bounded times."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        # Connections belong to a loop. The loop ends generators that are still open when it closes, and so these.
        self._upstreams: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[Upstream, None]] = (
            WeakKeyDictionary()
        )
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Upstream] = WeakKeyDictionary()

    async def post(
        self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
    ) -> HttpResponse:
        """Send. Raises: GatewayError."""
        if request.cancel is not None and request.cancel.cancelled:
            raise aborted(aborted_message)
        upstream, answers = await self._upstream(), list[UpstreamAnswer]()
        headers = {"content-type": "application/json"} | request.headers
        place = Connector(provider, provider, "", request.url, needs_credential=False)

        async def send() -> None:
            answers.append(await upstream.call(place, request.url, request.body, None, headers))

        try:
            await race(send(), request.cancel, aborted_message)
        except UpstreamFailed as error:
            raise _transport_error(error, provider, transport_message) from None
        except BaseException:
            for answer in answers:  # it came in the very moment of the cancellation
                await answer.close()
            raise
        answer = answers[0]
        body = _chunks(answer, provider)
        return HttpResponse(answer.status, body, answer.content_type, answer.close, answer.retry_after)

    async def _upstream(self) -> Upstream:
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            held = self._upstreams[loop] = _held(self._limits)
            self._open[loop] = await anext(held)
        return self._open[loop]


shared_transport = NetworkTransport()
"""What connectors send through unless they are given another; it opens nothing before its first request."""


async def _held(limits: Limits) -> AsyncGenerator[Upstream, None]:
    upstream = Upstream(limits, stock=False)
    try:
        yield upstream
    finally:
        await upstream.close()


async def _chunks(answer: UpstreamAnswer, provider: str) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    except UpstreamFailed as error:
        raise _transport_error(error, provider, f"{provider} broke off its answer") from None


def _transport_error(error: UpstreamFailed, provider: str, message: str) -> GatewayError:
    return GatewayError(GatewayErrorKind.TRANSPORT, f"{message}: {error.message}", provider=provider, cause=error)
