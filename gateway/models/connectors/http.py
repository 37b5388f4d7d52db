"""HttpTransport: the one seam to the network, and what goes through it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.options import CancellationToken
from gateway.models.streaming.cancel import guarded

MAX_BODY = 64 << 20
"""Bytes of a body that is read whole: as much as the gateway takes for one answer."""


_SECONDS = re.compile(r"\d{1,6}(\.\d{1,3})?", re.ASCII)  # of a Retry-After; one that is a date is passed over


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST. The transport adds `content-type: application/json` where `headers`, in lower case, have none."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    cancel: CancellationToken | None = None


async def _nothing() -> None:
    """There is nothing to let go of."""


class HttpResponse:
    """An answer whose body is still to be read, by `into_byte_stream`, `read` or `text`, once."""

    def __init__(
        self,
        status: int,
        body: AsyncIterable[bytes] | None,
        content_type: str = "",
        close: Callable[[], Awaitable[None]] = _nothing,
        retry_after: str | None = None,
    ) -> None:
        self.status = status
        self.retry_after = float(retry_after) if retry_after and _SECONDS.fullmatch(retry_after) else None
        self.content_type = content_type.split(";")[0].strip().lower()
        self._body = body
        self._close = close

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300

    def has_body(self) -> bool:
        """Whether there is one that nobody has taken."""
        return self._body is not None

    async def into_byte_stream(
        self, cancel: CancellationToken | None = None, what: str = "response body"
    ) -> AsyncGenerator[bytes, None]:
        """The body as it arrives; its end, or closing it, lets go of the connection. Raises: GatewayError."""
        try:
            async with aclosing(guarded(self._take(), cancel, what)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await self._close()

    async def text(self) -> str:
        """The whole body in words, for diagnostics. Raises: GatewayError."""
        return (await self.read()).decode("utf-8", "replace")

    async def read(self) -> bytes:
        """The whole body; beyond `MAX_BODY` bytes it is cut off. Raises: GatewayError."""
        read = bytearray()
        try:
            async with aclosing(guarded(self._take(), None, "response body")) as chunks:
                async for chunk in chunks:
                    read += chunk
                    if len(read) > MAX_BODY:
                        break
        finally:
            await self._close()
        return bytes(read[:MAX_BODY])

    def _take(self) -> AsyncIterable[bytes]:
        if self._body is None:
            raise GatewayError(GatewayErrorKind.PARSE, "the response has no body, or it was taken before")
        taken, self._body = self._body, None
        return taken


class HttpTransport(Protocol):
    """Sends."""

    async def post(
        self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
    ) -> HttpResponse:
        """The answer, its body unread. Raises: GatewayError, ABORTED with `aborted_message` when cancelled before or
        meanwhile, TRANSPORT with `transport_message` and a reason when nobody answers.
        """
