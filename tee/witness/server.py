"""The witness over HTTP: add-checkpoint for logs, the last checkpoint for monitors (C2SP tlog-witness)."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypercorn.asyncio import serve
from hypercorn.config import Config as ServerConfig
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tee.errors import Unavailable
from tee.log.note import NoteKey
from tee.log.submission import MAX_SUBMISSION_SIZE, Refused, origin_digest, parse_submission
from tee.witness.memory import WitnessMemory

BODY_SECONDS = 10.0  # a submission is a few kilobytes
STOP_SECONDS = 1.0
BACKLOG = 128
_PUBLIC = {"access-control-allow-origin": "*", "cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class WitnessEndpoints:
    """What this witness answers. `logs` by origin."""

    memory: WitnessMemory
    logs: Mapping[str, NoteKey]

    async def add_checkpoint(self, request: Request) -> Response:
        """`POST /add-checkpoint`: our cosignature, or why not."""
        try:
            submission = parse_submission(await _read_body(request), self.logs)
            line = await asyncio.to_thread(self.memory.cosign, submission, int(time.time()))
        except Refused as refused:
            return Response(refused.body, refused.status, {"content-type": refused.content_type})
        except Unavailable as error:
            print(f"saferouter: {error}", file=sys.stderr)
            return PlainTextResponse("this witness cannot write its memory\n", 503)
        return PlainTextResponse(line.encode())

    async def checkpoint(self, request: Request) -> Response:
        """`GET /<hex SHA-256 of the origin>/checkpoint`: what we cosigned last."""
        by_digest = {origin_digest(origin): origin for origin in self.logs}
        origin = by_digest.get(request.path_params["digest"])
        try:
            note = await asyncio.to_thread(self.memory.checkpoint, origin) if origin else None
        except Unavailable as error:
            print(f"saferouter: {error}", file=sys.stderr)
            return PlainTextResponse("this witness cannot read its memory\n", 503, headers=_PUBLIC)
        if note is None:
            return PlainTextResponse("this witness has cosigned no such log\n", 404, headers=_PUBLIC)
        return PlainTextResponse(note, headers=_PUBLIC)


def build_witness_app(memory: WitnessMemory, logs: Mapping[str, NoteKey]) -> Starlette:
    """The application of a witness."""
    endpoints = WitnessEndpoints(memory, logs)
    return Starlette(
        routes=[
            Route("/add-checkpoint", endpoints.add_checkpoint, methods=["POST"]),
            Route("/{digest}/checkpoint", endpoints.checkpoint, methods=["GET"]),
        ]
    )


async def run_witness(app: Starlette, host: str, port: int, on_ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told the port. Raises Unavailable."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    listener = _listen(host, port)
    bound = int(listener.getsockname()[1])
    settings = ServerConfig()
    settings.bind = [f"fd://{listener.detach()}"]
    settings.include_server_header = False
    settings.keep_alive_timeout = 75  # logs come back every second or so
    settings.graceful_timeout = STOP_SECONDS
    settings.backlog = BACKLOG
    settings.accesslog = settings.errorlog = None

    async def stopped() -> None:
        await stop.wait()

    on_ready(bound)
    await serve(app, settings, shutdown_trigger=stopped)  # type: ignore[arg-type]


async def _read_body(request: Request) -> bytes:
    """The body within its bounds. Raises Refused."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_SUBMISSION_SIZE:
                    raise Refused(413, f"more than {MAX_SUBMISSION_SIZE} bytes")
    except TimeoutError:
        raise Refused(408, f"no whole body within {BODY_SECONDS:.0f} seconds") from None
    except ClientDisconnect:
        raise Refused(400, "half a body") from None
    return body


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # before anybody is told that we listen
    except OSError as error:
        listener.close()
        reason = f"{error.strerror}: stop what listens there, or choose another port"
        raise Unavailable(f"{host}:{port}", reason, retryable=False) from None
    return listener
