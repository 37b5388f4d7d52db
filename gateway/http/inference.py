"""The inference surface: chat completions, models, receipts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.errors import BodyTooLarge, UnknownModel
from gateway.http.problems import NotFound
from gateway.pipeline import Answer, Pipeline
from gateway.routing.route import ModelTable, PublicModel

Headers = list[tuple[bytes, bytes]]
CREATED = 1767225600  # models carry a date; ours is the year's first second, since no provider tells


class ChatEndpoint:
    """`POST /v1/chat/completions`."""

    def __init__(self, pipeline: Pipeline, max_body: int) -> None:
        self._pipeline = pipeline
        self._max_body = max_body

    async def __call__(self, request: Request) -> Response:
        """Admit, read the body, run the pipeline."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        key = await self._pipeline.admit(headers)
        body = await read_body(request, self._max_body)
        wants = headers.get("x-sf-attestation", "on").lower() != "off"
        answer = await self._pipeline.complete(key, body, wants_attestation=wants, endpoint=request.url.path)
        if isinstance(answer.body, bytes):
            return Response(answer.body, answer.status, _headers(answer), answer.content_type)
        return RelayResponse(answer, answer.body)


class RelayResponse(Response):
    """A stream to the client, frame by frame as the provider sends it; closed the moment the client leaves."""

    def __init__(self, answer: Answer, chunks: AsyncIterator[bytes]) -> None:
        super().__init__(None, answer.status, _headers(answer), answer.content_type)
        self._chunks = chunks
        self.raw_headers = [row for row in self.raw_headers if row[0] != b"content-length"]
        self.raw_headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Pump until the stream ends, the client leaves, or the gateway stops."""
        pump = asyncio.ensure_future(self._pump(send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:  # type: ignore[type-var]
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class ModelsEndpoint:
    """`GET /v1/models` and `GET /v1/models/{id}`."""

    def __init__(self, pipeline: Pipeline, table: ModelTable) -> None:
        self._pipeline = pipeline
        self._table = table

    async def listing(self, request: Request) -> Response:
        """Every public model, in OpenAI's list shape."""
        await self._pipeline.admit(dict(request.headers))
        return JSONResponse({"object": "list", "data": [_model(row) for row in self._table.models]})

    async def one(self, request: Request) -> Response:
        """One model; its id may hold slashes. Raises UnknownModel."""
        await self._pipeline.admit(dict(request.headers))
        name = request.path_params["model"]
        for row in self._table.models:
            if row.id == name:
                return JSONResponse(_model(row))
        raise UnknownModel(f"The model `{name[:128]}` does not exist here.", param="model")


class ReceiptsEndpoint:
    """`GET /v1/aci/receipts/{id}`: to the key that made the call, and to nobody else."""

    def __init__(self, pipeline: Pipeline, find: Callable[[str, str], str | None]) -> None:
        self._pipeline = pipeline
        self._find = find

    async def __call__(self, request: Request) -> Response:
        """The signed receipt. Raises NotFound, also for somebody else's."""
        key = await self._pipeline.admit(dict(request.headers))
        receipt = await asyncio.to_thread(self._find, request.path_params["receipt_id"][:64], key.id)
        if receipt is None:
            raise NotFound("No receipt of that id belongs to this key. A call still running has none yet.")
        return Response(receipt, 200, {"cache-control": "private"}, "application/json")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes; a longer one is refused before it is read. Raises BodyTooLarge."""
    announced = request.headers.get("content-length", "0")
    refusal = BodyTooLarge(f"The body is longer than {limit} bytes.")
    if not announced.isdigit() or int(announced) > limit:
        raise refusal
    parts, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise refusal
            parts.append(chunk)
    except ClientDisconnect:
        raise BodyTooLarge("The client left before its body was whole.", code="body_cut") from None
    return b"".join(parts)


def _headers(answer: Answer) -> dict[str, str]:
    """Both vendors' request ids, and the receipt's."""
    request_id = "req_" + secrets.token_hex(12)
    headers = {"x-request-id": request_id, "request-id": request_id, "x-receipt-id": answer.receipt_id}
    if answer.retry_after is not None:
        headers["retry-after"] = answer.retry_after
    return headers


def _model(row: PublicModel) -> dict[str, object]:
    return {"id": row.id, "object": "model", "created": CREATED, "owned_by": row.provider}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
