"""Waiting that a token can end: the one place where cancellation meets asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine
from typing import Any, TypeVar

from gateway.models.contract.errors import aborted
from gateway.models.contract.options import CancellationToken

T = TypeVar("T")


async def race(work: Coroutine[Any, Any, T], cancel: CancellationToken | None, message: str) -> T:
    """What `work` gives, unless the token is cancelled first: then it is stopped. Raises: GatewayError(ABORTED)."""
    if cancel is None:
        return await work
    loop = asyncio.get_running_loop()
    task, stopped = asyncio.ensure_future(work), asyncio.Event()
    unwatch = cancel.watch(lambda: _wake(loop, stopped))
    waiter = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        if not cancel.cancelled:
            return task.result()
    finally:
        unwatch()
        for each in (task, waiter):
            each.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)
    raise aborted(message)


async def guarded(
    chunks: AsyncIterable[bytes], cancel: CancellationToken | None, what: str
) -> AsyncGenerator[bytes, None]:
    """The chunks until the token is cancelled; however it ends, a generator of chunks is closed.

    Raises: GatewayError(ABORTED), which says whether reading had begun.
    """
    iterator = aiter(chunks)
    try:
        if cancel is not None and cancel.cancelled:
            raise aborted(f"cancelled before the {what} was read")
        while (chunk := await race(_next(iterator), cancel, f"cancelled while the {what} was read")) is not None:
            yield chunk
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def _wake(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stopped.set)
