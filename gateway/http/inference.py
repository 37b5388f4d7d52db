"""The inference surface: chat completions, models, receipts."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.call import Answer, Demands, StreamedBody
from gateway.config import Limits
from gateway.errors import UnknownModel
from gateway.http.caller import headers_of, read_body, send_in_time, while_connected
from gateway.http.model_cards import ModelCards
from gateway.http.problems import NotFound, Pruned, speaks_anthropic
from gateway.http.rate_headers import rate_headers
from gateway.languages import Service
from gateway.meters import CallMeters
from gateway.pipeline import Pipeline
from gateway.random_hex import random_hex
from gateway.routing.route import PublicModel
from gateway.stopwatch import stopwatch
from gateway.storage.calls import LoggedReceipt
from gateway.tenancy.tenant import INFERENCE, READ, ApiKey

STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
PIECE = 64 << 10  # bytes of a buffered answer at a time, each of which a client must take in time
PRIVATE = {"cache-control": "private"}
CREATED = 1767225600  # models carry a date; ours is the year's first second, since no provider tells


class ChatEndpoint:
    """A POST of `service`, as an ASGI application: a call is open until its last byte is sent."""

    def __init__(self, service: Service, pipeline: Pipeline, limits: Limits, meters: CallMeters, surface: str) -> None:
        """`surface` is what the counts call it."""
        self._meters = meters
        self._surface = surface
        self._service = service
        self._pipeline = pipeline
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, read the body, run the pipeline, send what it gives."""
        headers = headers_of(scope)
        with self._meters.call(self._surface) as watch, self._pipeline.running():
            key = await self._pipeline.admit_call(headers)
            arrived = time.monotonic()
            body = await read_body(scope, receive, headers, self._limits.body)
            watch.waited_body = time.monotonic() - arrived
            send = send_in_time(scope, send, self._limits.stall_seconds)
            await while_connected(scope, receive, self._answer(scope["path"], headers, key, body, send))

    async def _answer(self, path: str, headers: dict[str, str], key: ApiKey, body: bytes, send: Send) -> None:
        answer = await self._pipeline.complete(key, body, path, self._service, _demands(headers))
        # A client that takes nothing is as one that has left: it must hold neither a place nor the provider for ever.
        with suppress(TimeoutError):
            if isinstance(answer.body, bytes):
                signature = self._pipeline.sign(answer, answer.body, ("POST", path))
                await _send_whole(answer, answer.body, signature, send)
            else:
                await _relay(answer, answer.body, send)


async def _send_whole(answer: Answer, body: bytes, signature: dict[str, str], send: Send) -> None:
    """Send a buffered answer. Raises TimeoutError if the client takes none of it in time."""
    await send(_head(answer, signature | {"content-length": str(len(body))}))
    for at in range(0, max(1, len(body)), PIECE):
        piece, more = body[at : at + PIECE], at + PIECE < len(body)
        await send({"type": "http.response.body", "body": piece, "more_body": more})
        stopwatch().sent()


async def _relay(answer: Answer, body: StreamedBody, send: Send) -> None:
    """Send a stream; however it ends, its receipt is written. Raises TimeoutError as `_send_whole` does."""
    watch = stopwatch()
    try:
        await send(_head(answer, STREAM_HEADERS))
        async with aclosing(body.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": not body.ended})
                watch.sent()
    finally:
        await body.close()


class ModelsEndpoint:
    """`GET /v1/models` and `GET /v1/models/{id}`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._cards = ModelCards()

    async def listing(self, request: Request) -> Response:
        """Every public model, in OpenAI's list shape, or in Anthropic's for its clients."""
        await self._pipeline.admit(dict(request.headers), INFERENCE, READ)
        rows = [self._model(row, request) for row in self._pipeline.models.models]
        if not speaks_anthropic(request):
            return JSONResponse({"object": "list", "data": rows})
        ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        return JSONResponse({"data": rows, "has_more": False, **ends})

    async def one(self, request: Request) -> Response:
        """One model; its id may hold slashes. Raises UnknownModel."""
        await self._pipeline.admit(dict(request.headers), INFERENCE, READ)
        name = request.path_params["model"]
        for row in self._pipeline.models.models:
            if row.id == name:
                return JSONResponse(self._model(row, request))
        raise UnknownModel(f"The model `{name[:128]}` does not exist here.", param="model")

    def _model(self, row: PublicModel, request: Request) -> dict[str, object]:
        if speaks_anthropic(request):
            created = dt.datetime.fromtimestamp(CREATED, dt.UTC).isoformat().replace("+00:00", "Z")
            return {"type": "model", "id": row.id, "display_name": row.id, "created_at": created}
        first = self._pipeline.decisions.candidates(row.id, None, None)[0]
        card = self._cards.card(replace(first.route, tier=first.tier), self._pipeline.prices.tariff(first.route))
        return {
            "id": row.id,
            "object": "model",
            "created": CREATED,
            "owned_by": row.provider,
            "x_saferouter": card,
        }


class ReceiptsEndpoint:
    """`GET /v1/aci/receipts/{id}` and `…/proof`: to the key that made the call, and to nobody else."""

    def __init__(
        self,
        pipeline: Pipeline,
        find: Callable[[str, str], LoggedReceipt | None],
        prove: Callable[[LoggedReceipt], dict[str, object]],
    ) -> None:
        self._pipeline = pipeline
        self._find = find
        self._prove = prove

    async def receipt(self, request: Request) -> Response:
        """The signed receipt. Raises NotFound, also for somebody else's; Pruned once retention has removed it."""
        found = await self._own(request)
        return Response(found.receipt, 200, PRIVATE, "application/json")

    async def proof(self, request: Request) -> Response:
        """Where the log has the call: its leaves, what they commit to, and their proofs. Raises NotFound."""
        found = await self._own(request)
        try:
            document = await asyncio.to_thread(self._prove, found)
        except LookupError as error:
            raise NotFound(f"{error.args[0]}.") from None
        return JSONResponse(document, headers=PRIVATE)

    async def _own(self, request: Request) -> LoggedReceipt:
        key = await self._pipeline.admit(dict(request.headers), INFERENCE, READ)
        found = await asyncio.to_thread(self._find, request.path_params["receipt_id"][:64], key.id)
        if found is None:
            raise NotFound("No receipt of that id belongs to this key. A call still running has none yet.")
        if found.pruned_at is not None:
            raise Pruned(_removal(found, found.pruned_at))
        return found


def _removal(found: LoggedReceipt, pruned_at: int) -> str:
    """When a receipt went, by which policy, and what stays."""
    moment = datetime.fromtimestamp(pruned_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"This receipt was removed on {moment}: the gateway's policy was retention.receipt_days = {found.pruned_days}. "
        f"Leaf {found.receipt_leaf} in epoch {found.receipt_epoch} of the log still commits to it, so a copy of "
        "receipt and proof that you kept verifies as before."
    )


def _demands(headers: Mapping[str, str]) -> Demands:
    """What the headers ask; they win over the body's members of the same meaning."""
    wanted = headers.get("x-sf-attestation", "on").lower()
    policy, provider = headers.get("x-sf-policy"), headers.get("x-sf-provider")
    return Demands(policy, provider, wanted != "off", wanted == "checkpoints", headers)


def _head(answer: Answer, more: Mapping[str, str]) -> Message:
    """The start of an answer, with both vendors' request ids, and the receipt's."""
    request_id = "req_" + random_hex(12)
    headers = {
        "x-request-id": request_id,
        "request-id": request_id,
        "x-receipt-id": answer.receipt_id,
        **answer.headers,
    }
    watch = stopwatch()
    if watch.rates is not None:
        anthropic = watch.surface.startswith("messages")
        headers |= rate_headers(watch.rates.standings, anthropic=anthropic, now=time.time())
    if answer.retry_after is not None:
        headers["retry-after"] = answer.retry_after
    headers |= {**more, "content-type": answer.content_type}
    rows = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": answer.status, "headers": rows}
