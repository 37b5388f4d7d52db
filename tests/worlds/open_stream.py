"""A streaming client on a bare socket: it keeps every byte, also when the other side dies."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from tests.worlds.gateway import RunningGateway


@dataclass(slots=True)
class OpenStream:
    """One chat call; `raw` is what came over the wire so far."""

    request: bytes
    raw: bytearray = field(default_factory=bytearray)
    port: int = 0  # its own, once connected

    @property
    def receipt_id(self) -> str | None:
        """X-Receipt-Id, once the head has arrived."""
        head, end, _ = bytes(self.raw).partition(b"\r\n\r\n")
        rows = [row.split(b":", 1) for row in head.split(b"\r\n")[1:]] if end else []
        return next((value.strip().decode() for name, value in rows if name.lower() == b"x-receipt-id"), None)

    @property
    def body(self) -> bytes:
        """The body without its chunk sizes, as far as it came."""
        rest = bytes(self.raw).partition(b"\r\n\r\n")[2]
        whole = b""
        while True:
            size, end, rest = rest.partition(b"\r\n")
            if not end or not int(size, 16):
                return whole
            whole += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]

    async def run(self, gateway: RunningGateway, api_key: str) -> None:
        """Ask, and read until the other side ends or dies."""
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.request)}\r\nConnection: close\r\n\r\n"
        )
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            self.port = writer.get_extra_info("sockname")[1]
            try:
                writer.write(head.encode() + self.request)
                while piece := await reader.read(65536):
                    self.raw += piece
            finally:
                writer.close()
                await writer.wait_closed()
