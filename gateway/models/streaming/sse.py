"""Server-sent events out of a stream of bytes, by the frames of `gateway/dialects/sse.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from gateway.dialects.sse import FrameSplitter, ServerEvent, is_whole_frame, parse_frame
from gateway.errors import UpstreamFailed
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.options import CancellationToken
from gateway.models.streaming.cancel import guarded


async def sse_events(
    chunks: AsyncIterable[bytes], cancel: CancellationToken | None = None
) -> AsyncGenerator[ServerEvent, None]:
    """The events that carry data; one that its stream breaks off is none (WHATWG HTML §9.2.6).

    Raises: GatewayError, ABORTED when cancelled and PARSE for an event beyond the bound.
    """
    splitter = FrameSplitter()
    async with aclosing(guarded(chunks, cancel, "event stream")) as arriving:
        async for chunk in arriving:
            for frame in _frames(splitter, chunk):
                if (event := parse_frame(frame)).data:
                    yield event
    last = splitter.finish()
    if is_whole_frame(last) and (event := parse_frame(last)).data:
        yield event


def _frames(splitter: FrameSplitter, chunk: bytes) -> list[bytes]:
    try:
        return splitter.push(chunk)
    except UpstreamFailed as error:
        raise GatewayError(GatewayErrorKind.PARSE, error.message, cause=error) from None
