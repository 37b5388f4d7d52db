"""The inference surface: chat completions, models, receipts."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.call import Answer, Demands, StreamedBody
from gateway.config import Limits
from gateway.errors import BodyStalled, BodyTooLarge, UnknownModel
from gateway.http.exchange import ON_LEAVE
from gateway.http.problems import NotFound, Pruned, speaks_anthropic
from gateway.languages import Service
from gateway.pipeline import Pipeline
from gateway.routing.route import PublicModel
from gateway.storage.calls import LoggedReceipt
from gateway.tenancy.tenant import ApiKey

STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
PIECE = 64 << 10  # bytes of a buffered answer at a time, each of which a client must take in time
BODY_SECONDS = 30.0  # a client that sends nothing of its body for so long holds a place for nothing
T = TypeVar("T")
PRIVATE = {"cache-control": "private"}
CREATED = 1767225600  # models carry a date; ours is the year's first second, since no provider tells


class ChatEndpoint:
    """A POST of `service`, as an ASGI application: a call is open until its last byte is sent."""

    def __init__(self, service: Service, pipeline: Pipeline, limits: Limits) -> None:
        self._service = service
        self._pipeline = pipeline
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, read the body, run the pipeline, send what it gives."""
        request = Request(scope, receive)
        with self._pipeline.running():
            key = await self._pipeline.admit_call(dict(request.headers))
            body = await read_body(request, self._limits.body)
            await while_connected(scope, receive, self._answer(request, key, body, send))

    async def _answer(self, request: Request, key: ApiKey, body: bytes, send: Send) -> None:
        answer = await self._pipeline.complete(key, body, request.url.path, self._service, _demands(request))
        # A client that takes nothing is as one that has left: it must hold neither a place nor the provider for ever.
        with suppress(TimeoutError):
            if isinstance(answer.body, bytes):
                signature = self._pipeline.sign(answer, answer.body, (request.method, request.url.path))
                await _send_whole(answer, answer.body, signature, send, self._limits.stall_seconds)
            else:
                await _relay(answer, answer.body, send, self._limits.stall_seconds)


async def _send_whole(answer: Answer, body: bytes, signature: dict[str, str], send: Send, stall: float) -> None:
    """Send a buffered answer. Raises TimeoutError if the client takes none of it for `stall` seconds."""
    head = Response(body, answer.status, _headers(answer) | signature, answer.content_type)
    await send_in_time(send, stall, type="http.response.start", status=answer.status, headers=head.raw_headers)
    for at in range(0, max(1, len(body)), PIECE):
        piece, more = body[at : at + PIECE], at + PIECE < len(body)
        await send_in_time(send, stall, type="http.response.body", body=piece, more_body=more)


async def _relay(answer: Answer, body: StreamedBody, send: Send, stall: float) -> None:
    """Send a stream; however it ends, its receipt is written. Raises TimeoutError as `_send_whole` does."""
    head = Response(None, answer.status, _headers(answer) | STREAM_HEADERS, answer.content_type)
    headers = [row for row in head.raw_headers if row[0] != b"content-length"]
    try:
        await send_in_time(send, stall, type="http.response.start", status=answer.status, headers=headers)
        async with aclosing(body.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await send_in_time(send, stall, type="http.response.body", body=chunk, more_body=True)
        await send_in_time(send, stall, type="http.response.body", body=b"", more_body=False)
    finally:
        await body.close()


async def send_in_time(send: Send, stall: float, **message: Any) -> None:
    """Send one message. Raises TimeoutError if the client takes none of it for `stall` seconds."""
    async with asyncio.timeout(stall):
        await send(message)


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


class ModelsEndpoint:
    """`GET /v1/models` and `GET /v1/models/{id}`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def listing(self, request: Request) -> Response:
        """Every public model, in OpenAI's list shape, or in Anthropic's for its clients."""
        await self._pipeline.admit(dict(request.headers))
        rows = [_model(row, request) for row in self._pipeline.models.models]
        if not speaks_anthropic(request):
            return JSONResponse({"object": "list", "data": rows})
        ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        return JSONResponse({"data": rows, "has_more": False, **ends})

    async def one(self, request: Request) -> Response:
        """One model; its id may hold slashes. Raises UnknownModel."""
        await self._pipeline.admit(dict(request.headers))
        name = request.path_params["model"]
        for row in self._pipeline.models.models:
            if row.id == name:
                return JSONResponse(_model(row, request))
        raise UnknownModel(f"The model `{name[:128]}` does not exist here.", param="model")


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
        key = await self._pipeline.admit(dict(request.headers))
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


async def read_body(request: Request, limit: int, patience: float = BODY_SECONDS) -> bytes:
    """The whole body, at most `limit` bytes; a longer one is refused before it is read.

    Raises BodyTooLarge; BodyStalled where nothing of it comes for `patience` seconds.
    """
    announced = request.headers.get("content-length", "0")
    refusal = BodyTooLarge(f"The body is longer than {limit} bytes.")
    if not announced.isdigit() or int(announced) > limit:
        raise refusal
    parts, size, pieces = [], 0, request.stream()
    try:
        async with asyncio.timeout(patience) as deadline:
            async for chunk in pieces:
                size += len(chunk)
                if size > limit:
                    raise refusal
                parts.append(chunk)
                deadline.reschedule(asyncio.get_running_loop().time() + patience)
    except ClientDisconnect:
        raise BodyTooLarge("The client left before its body was whole.", code="body_cut") from None
    except TimeoutError:
        raise BodyStalled(f"Nothing of the body came for {patience:g} seconds.") from None
    return b"".join(parts)


def _demands(request: Request) -> Demands:
    """What the headers ask; they win over the body's members of the same meaning."""
    headers = request.headers
    wanted = headers.get("x-sf-attestation", "on").lower()
    policy, provider = headers.get("x-sf-policy"), headers.get("x-sf-provider")
    return Demands(policy, provider, wanted != "off", wanted == "checkpoints", headers)


def _headers(answer: Answer) -> dict[str, str]:
    """Both vendors' request ids, and the receipt's."""
    request_id = "req_" + secrets.token_hex(12)
    headers = {"x-request-id": request_id, "request-id": request_id, "x-receipt-id": answer.receipt_id}
    if answer.retry_after is not None:
        headers["retry-after"] = answer.retry_after
    return headers


def _model(row: PublicModel, request: Request) -> dict[str, object]:
    if speaks_anthropic(request):
        created = dt.datetime.fromtimestamp(CREATED, dt.UTC).isoformat().replace("+00:00", "Z")
        return {"type": "model", "id": row.id, "display_name": row.id, "created_at": created}
    return {"id": row.id, "object": "model", "created": CREATED, "owned_by": row.provider}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
