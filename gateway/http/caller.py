"""The client at the other end: how long it may take, how much it may send, and what happens if it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from gateway.errors import BodyStalled, BodyTooLarge
from gateway.http.exchange import BOUND, ON_LEAVE

BODY_SECONDS = 30.0  # a client that sends nothing of its body for so long holds a place for nothing
T = TypeVar("T")


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request by their names in lower case; of several of one name the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


async def read_body(scope: Scope, receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body, at most `limit` bytes; a longer one is refused before it is read.

    Raises BodyTooLarge; BodyStalled where nothing of it comes for BODY_SECONDS.
    """
    announced = headers.get("content-length", "0")
    refusal = BodyTooLarge(f"The body is longer than {limit} bytes.")
    if not announced.isdigit() or int(announced) > limit:
        raise refusal
    receive, parts, size, more = _receive_in_time(scope, receive), [], 0, True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BodyTooLarge("The client left before its body was whole.", code="body_cut")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise refusal
            more = message.get("more_body", False)
    except TimeoutError:
        raise BodyStalled(f"Nothing of the body came for {BODY_SECONDS:g} seconds.") from None
    return b"".join(parts)


def send_in_time(scope: Scope, send: Send, stall: float) -> Send:
    """A `send` that raises TimeoutError if the client takes none of a message for `stall` seconds."""
    if (bound := _bound(scope)) is not None:
        bound(stall=stall)
        return send

    async def bounded(message: Message) -> None:
        async with asyncio.timeout(stall):
            await send(message)

    return bounded


def _receive_in_time(scope: Scope, receive: Receive) -> Receive:
    if (bound := _bound(scope)) is not None:
        bound(body=BODY_SECONDS)
        return receive

    async def bounded() -> Message:
        async with asyncio.timeout(BODY_SECONDS):
            return await receive()

    return bounded


def _bound(scope: Scope) -> Any:
    """How our own connections are told their patience: they set a clock only where they have to wait."""
    return scope.get("extensions", {}).get(BOUND)


async def while_connected(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Work until it is done, the client leaves (then None), or the gateway stops. Raises what the work raises."""
    on_leave = scope.get("extensions", {}).get(ON_LEAVE)
    if on_leave is not None:
        task = asyncio.current_task()
        assert task is not None
        on_leave(task.cancel)  # of whom nobody awaits anything any more
        return await work
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        working.cancel()
        # Both results are looked at, so that no error of theirs is lost; a cancellation is what we asked for.
        results = await asyncio.gather(working, gone, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]
    return None if isinstance(results[0], BaseException) else results[0]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
