"""What a worker does not answer itself goes to the keeper and comes back as it is: the caller cannot tell."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx2
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config import Config
from gateway.errors import GatewayError, KeeperGone
from gateway.http.app import inference_routes, starlette_app, with_shortcut
from gateway.http.caller import headers_of, read_body, send_in_time, while_connected
from gateway.http.metrics import PATH, require_reader
from gateway.http.problems import NotFound, problem
from gateway.meters import CallMeters
from gateway.pipeline import Pipeline

DOOR = "keeper.sock"
MAX_BODY = 1 << 20  # bytes: only calls are longer, and those are not passed on
MAX_PASSED = 256  # connections to the keeper; who comes beyond waits for one
# Of one connection, not of the message (RFC 9110 §7.6.1); and a server writes its own date.
_OF_THE_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"date"}
_HOST = "http://keeper"


def open_door(state: Path) -> socket.socket:
    """The keeper's own listener: a Unix socket for this user only. What is served there is what everybody may ask."""
    (state / DOOR).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY)
    listener.bind(_short_path(folder))
    os.close(folder)
    (state / DOOR).chmod(0o600)
    return listener


def _short_path(folder: int) -> str:
    """A path to the door that fits into a socket's address (107 bytes), however long the folder's is."""
    return f"/proc/self/fd/{folder}/{DOOR}"


class KeeperDoor:
    """Requests to the keeper's own application."""

    def __init__(self, config: Config) -> None:
        self._stall = config.limits.stall_seconds
        self._token_file = config.metrics_token_file
        self._folder = os.open(config.state, os.O_PATH | os.O_DIRECTORY)
        limits = httpx2.Limits(max_connections=MAX_PASSED)
        # No time limit: the keeper has its own, and who hangs up here hangs up there.
        self._transport = httpx2.AsyncHTTPTransport(uds=_short_path(self._folder), limits=limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request and its answer."""
        try:
            # HTTP/2 lets a path be a whole URL, of which the keeper would take the path.
            if not scope["raw_path"].startswith(b"/"):
                raise NotFound("Nothing is served at what is no path.")
            if scope["path"] == PATH:
                require_reader(Request(scope), self._token_file)  # the keeper does not see where a caller comes from
            body = await read_body(scope, receive, headers_of(scope), MAX_BODY)
            await while_connected(scope, receive, self._pass(scope, body, send_in_time(scope, send, self._stall)))
        except GatewayError as error:
            await problem(Request(scope), error)(scope, receive, send)

    async def close(self) -> None:
        """Hang up."""
        await self._transport.aclose()
        os.close(self._folder)

    async def _pass(self, scope: Scope, body: bytes, send: Send) -> None:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        extensions = {"target": scope["raw_path"] + query}
        headers = [row for row in scope["headers"] if row[0] not in _OF_THE_HOP]
        request = httpx2.Request(scope["method"], _HOST, headers=headers, content=body, extensions=extensions)
        try:
            response = await self._transport.handle_async_request(request)
        except httpx2.HTTPError as error:
            raise KeeperGone(f"The gateway cannot answer this now ({type(error).__name__}).", retry_after=1.0) from None
        try:
            await self._return(response, send)
        finally:
            await response.aclose()

    async def _return(self, response: httpx2.Response, send: Send) -> None:
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        headers = [row for row in headers if row[0] not in _OF_THE_HOP]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def build_worker_app(pipeline: Pipeline, config: Config, door: KeeperDoor, meters: CallMeters) -> ASGIApp:
    """A worker's application: calls here, everything else at the door."""
    routes = inference_routes(pipeline, config, meters)
    own = starlette_app(routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mine = scope["type"] != "http" or any(route.matches(scope)[0] is not Match.NONE for route in routes)
        await (own if mine else door)(scope, receive, send)

    return with_shortcut(app, routes, config)
