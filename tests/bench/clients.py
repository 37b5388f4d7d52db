"""Clients that cost next to nothing: bare sockets that ask again and again, and read to the end of each answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where a chat call goes, and by which key."""

    port: int
    api_key: str


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    _, found, rest = head.lower().partition(b"content-length:")
    if found:
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    else:
        await reader.readuntil(b"\r\n0\r\n\r\n")  # JSON writes no bare line ends, so this is the last chunk


async def calls_per_second(target: Target, body: bytes, calls: int) -> float:
    """Whole calls a second at fixed concurrency, each client on one connection."""
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {target.api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def work(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        for _ in range(count):
            await _ask(reader, writer, request)
        writer.close()
        await writer.wait_closed()

    start = time.perf_counter()
    await asyncio.gather(*(work(calls // CONCURRENCY) for _ in range(CONCURRENCY)))
    return (calls // CONCURRENCY) * CONCURRENCY / (time.perf_counter() - start)
