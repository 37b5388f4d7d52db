"""A client on a bare socket: it keeps every byte, also when the other side dies, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass, field

from tee.log.receipt import Receipt
from tests.worlds.gateway import RunningGateway


@dataclass(frozen=True, slots=True)
class Leaving:
    """When a client hangs up: after this much of its own body, of the answer (bytes on the wire), of its time."""

    sent: int | None = None
    taken: float = math.inf
    seconds: float | None = None


STAYS = Leaving()


@dataclass(slots=True)
class OpenStream:
    """One chat call; `raw` is what came over the wire so far, `reached` whether the gateway took the connection."""

    request: bytes
    raw: bytearray = field(default_factory=bytearray)
    reached: bool = False

    @property
    def status(self) -> int | None:
        """The status, once the head has arrived."""
        head, end, _ = bytes(self.raw).partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]) if end else None

    port: int = 0  # its own, once connected

    @property
    def receipt_id(self) -> str | None:
        """X-Receipt-Id, once the head has arrived."""
        return self.header(b"x-receipt-id")

    @property
    def body(self) -> bytes:
        """The body without its chunk sizes, as far as it came."""
        return self._read()[0]

    @property
    def whole(self) -> bool:
        """Whether the answer came to the end that HTTP demands."""
        return self._read()[1]

    def header(self, wanted: bytes) -> str | None:
        """The header of this name, in lower case."""
        head, end, _ = bytes(self.raw).partition(b"\r\n\r\n")
        rows = [row.split(b":", 1) for row in head.split(b"\r\n")[1:]] if end else []
        return next((value.strip().decode() for name, value in rows if name.lower() == wanted), None)

    def _read(self) -> tuple[bytes, bool]:
        rest = bytes(self.raw).partition(b"\r\n\r\n")[2]
        if (length := self.header(b"content-length")) is not None:
            return rest, len(rest) == int(length)
        whole = b""
        while True:
            size, end, rest = rest.partition(b"\r\n")
            if not end or not int(size, 16):
                return whole, end + rest == b"\r\n\r\n"
            whole += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]

    async def run(self, gateway: RunningGateway, api_key: str, leaving: Leaving = STAYS) -> None:
        """Ask, and read until the other side ends or dies, or it is time to leave."""
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.request)}\r\nConnection: close\r\n\r\n"
        )
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            self.reached = True
            self.port = writer.get_extra_info("sockname")[1]
            try:
                writer.write(head.encode() + self.request[: leaving.sent])
                if leaving.sent is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(leaving.seconds):
                            await self._take(reader, leaving.taken)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, most: float) -> None:
        while len(self.raw) < most and (piece := await reader.read(65536)):
            self.raw += piece


def covers(receipt: Receipt, got: bytes) -> bool:
    """Whether the client holds all that the receipt speaks of; then the hash must be of that very prefix."""
    size, body_hash = receipt.events["stream"]["bytes"], receipt.events["response.returned"]["body_hash"]
    if len(got) < size:
        return False
    assert body_hash == "sha256:" + hashlib.sha256(got[:size]).hexdigest()
    return True
