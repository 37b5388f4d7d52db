"""Calls go straight to their endpoint, past Starlette's router and middleware: same answers, a fifth of the layers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_VARY = (b"vary", b"Origin")  # a cache must not give a browser the answer of a caller without an origin
Handlers = Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]


class Shortcut:
    """An ASGI application before another. A browser's calls take the long way, where CORS is answered."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp], handlers: Handlers) -> None:
        """`endpoints` take POSTs to their paths; `handlers` are those of `app` by the errors that they answer."""
        self._app = app
        self._endpoints = endpoints
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST" or any(name == b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        started = False

        def sending(message: Message) -> Awaitable[None]:
            nonlocal started
            if not started:
                started = True
                message["headers"].append(_VARY)
            return send(message)

        try:
            await endpoint(scope, receive, sending)
        except Exception as error:  # the rim of the application, as Starlette's own: what it knows is an answer
            kind = next(kind for kind in type(error).__mro__ if kind in self._handlers)
            expected = kind is not Exception and not started
            response = await self._handlers[kind if expected else Exception](Request(scope), error)
            if not started:
                await response(scope, receive, sending)
            if not expected:
                raise
