"""A hypercorn server in a thread, with our HTTP/1.1 or its own, and an application that says what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from gateway.http import connections
from gateway.http.exchange import ON_LEAVE

MAX_HEAD = 8192
BLOCK = b"b" * 65536


@dataclass
class Seen:
    """What the application saw."""

    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    pulled: int = 0
    port: int = 0


def _application(seen: Seen) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/early":
            await _answer(send, b"no", status=413)
            return
        if path == "/leave":
            await _hold(scope, receive, seen)
            return
        body = await _read(receive, seen, 0.2 if path == "/slow" else 0)
        seen.requests.append((scope["method"], path, body))
        seen.headers.append(list(scope["headers"]))
        if path == "/fail":
            raise RuntimeError("on purpose")
        if path == "/stream":
            await _stream(send)
        elif path == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("on purpose")
        elif path == "/flood":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
                seen.pulled += 1
        else:
            facts = {"path": path, "query": scope["query_string"].decode(), "size": len(body)}
            facts["method"] = scope["method"]
            await _answer(send, json.dumps(facts).encode())

    return app


async def _read(receive: Any, seen: Seen, pause: float) -> bytes:
    parts = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        parts.append(message["body"])
        seen.pulled += len(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
        await asyncio.sleep(pause)


async def _answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _hold(scope: Any, receive: Any, seen: Seen) -> None:
    """Wait for the client to leave, as the extension tells it, or else the messages."""
    if ON_LEAVE in scope.get("extensions", {}):
        scope["extensions"][ON_LEAVE](seen.left.set)
    while (await receive())["type"] != "http.disconnect":
        pass
    seen.left.set()


@contextmanager
def http_server(*, stock: bool, keep_alive: float = 5.0) -> Iterator[Seen]:
    """Serve until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen = Seen(port=listener.getsockname()[1])
    config = Config()
    config.bind, config.accesslog, config.errorlog = [f"fd://{listener.detach()}"], None, None
    config.h11_max_incomplete_size, config.keep_alive_timeout, config.graceful_timeout = MAX_HEAD, keep_alive, 2
    stop, loop = asyncio.Event(), asyncio.new_event_loop()
    connections.use(stock=stock)

    async def run() -> None:
        await serve(_application(seen), config, shutdown_trigger=stop.wait)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
        connections.use(stock=True)
        assert not thread.is_alive()
