"""JSON values out of a stream of lines, by the lines of `gateway/dialects/ndjson.py`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from gateway.dialects.ndjson import LineSplitter
from gateway.errors import UpstreamFailed
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.options import CancellationToken
from gateway.models.streaming.cancel import guarded
from gateway.models.streaming.utf8 import Utf8Decoder


async def ndjson_lines(
    chunks: AsyncIterable[bytes], cancel: CancellationToken | None = None
) -> AsyncGenerator[object, None]:
    """The value of each line that is not blank, the last one with or without its line feed.

    Raises: GatewayError, ABORTED when cancelled and PARSE for a line that is no JSON or beyond the bound.
    """
    splitter = LineSplitter()
    async with aclosing(guarded(chunks, cancel, "ndjson stream")) as arriving:
        async for chunk in arriving:
            for line in _lines(splitter, chunk):
                yield _value(line)
    if last := splitter.finish():
        yield _value(last)


def _lines(splitter: LineSplitter, chunk: bytes) -> list[bytes]:
    try:
        return splitter.push(chunk)
    except UpstreamFailed as error:
        raise GatewayError(GatewayErrorKind.PARSE, error.message, cause=error) from None


def _value(line: bytes) -> object:
    decoder = Utf8Decoder()
    try:
        return json.loads(decoder.push(line) + decoder.finish())
    except (ValueError, RecursionError) as error:
        raise GatewayError(GatewayErrorKind.PARSE, "a line of the ndjson stream is no JSON", cause=error) from None
