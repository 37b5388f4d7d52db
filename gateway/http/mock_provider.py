"""A provider for demonstrations and tests: OpenAI's API without a model, deterministic, with faults on request.

The last user message may order a fault, a pace or a tool: `mock:error=429|500|503|401|400`, `mock:cut`, `mock:stall`,
`mock:midstream-error`, `mock:endless-line`, `mock:slow=SECONDS`, `mock:chunks=N`, `mock:call=TOOL`,
`mock:parallel` (every tool at once). The models `mock-503`, `mock-429`, `mock-cut`, `mock-stall` and `mock-slow` do so
unasked, and `mock-text` calls no tool unless it is forced to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.mock_script import MODELS, number_of, read_orders, reply_to
from gateway.http.mock_wires import COMPLETIONS, RESPONSES, Reply, Wire, call_id, embeddings, frame
from gateway.transcripts import fragments

CREATED = 1_760_000_000  # A fixed time: equal requests get equal answers.
MAX_SLOW = 600.0  # seconds
# Status -> type, code and message, in OpenAI's recorded words.
_FAULTS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The mock was told to refuse this request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 2s."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def mock_provider_app(api_key: str = "mock-key") -> Starlette:
    """Build the app. It demands `Authorization: Bearer <api_key>`."""

    async def answer(wire: Wire, request: Request) -> ASGIApp:
        body = await _body(request, api_key)
        if not isinstance(body, dict):
            return body
        chat = wire.as_chat(body)
        return _refusal(chat) or await _answer(request, chat, wire)

    async def embed(request: Request) -> ASGIApp:
        body = await _body(request, api_key)
        if not isinstance(body, dict):
            return body
        orders, answer = MODELS.get(str(body.get("model"))), embeddings(body)
        if orders is None:
            return _fault(404)
        if answer is None:
            return _fault(400, "'$.input' is invalid.")
        return _ordered_fault(orders) or await _whole(request, JSONResponse(answer), orders)

    async def models(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {api_key}":
            return _fault(401)
        rows = [{"id": model, "object": "model", "created": CREATED, "owned_by": "mock"} for model in MODELS]
        return JSONResponse({"object": "list", "data": rows})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", partial(answer, CHAT), methods=["POST"]),
            Route("/v1/responses", partial(answer, RESPONSES), methods=["POST"]),
            Route("/v1/completions", partial(answer, COMPLETIONS), methods=["POST"]),
            Route("/v1/embeddings", embed, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
        ]
    )


async def _body(request: Request, api_key: str) -> dict[str, Any] | Response:
    """The body of a caller that knows the key, or the refusal."""
    if request.headers.get("authorization") != f"Bearer {api_key}":
        return _fault(401)
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        body = None
    return body if isinstance(body, dict) else _fault(400, "We could not parse the JSON body of your request.")


async def _answer(request: Request, body: dict[str, Any], wire: Wire) -> ASGIApp:
    orders = read_orders(body)
    if fault := _ordered_fault(orders):
        return fault
    reply = reply_to(body, orders)
    head = {"id": _chat_id(body), "created": CREATED, "model": body["model"]}
    if body.get("stream"):
        frames = list(wire.frames(reply, head, _wants_usage(body)))
        response = StreamingResponse(_paced(frames, orders, _pause(orders)), media_type="text/event-stream")
        return _without_end(response) if "cut" in orders else response
    return await _whole(request, JSONResponse(wire.whole(reply, head)), orders)


async def _whole(request: Request, response: Response, orders: Mapping[str, str]) -> ASGIApp:
    """A buffered answer, in its time, if ever."""
    if "stall" in orders or "endless-line" in orders:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    await asyncio.sleep(_pause(orders))
    if "midstream-error" in orders:
        return _fault(500)
    return _without_end(response) if "cut" in orders else response


def _ordered_fault(orders: Mapping[str, str]) -> Response | None:
    if "error" not in orders:
        return None
    status = int(number_of(orders["error"], 500))
    return _fault(status if status in _FAULTS else 500)


def _pause(orders: Mapping[str, str]) -> float:
    return min(max(number_of(orders.get("slow", ""), 0.0), 0.0), MAX_SLOW)


def _refusal(body: dict[str, Any]) -> Response | None:
    """OpenAI's complaints about a request, in the order in which it complains."""
    if not isinstance(body.get("model"), str):
        return _fault(400, "you must provide a model parameter")
    if body["model"] not in MODELS:
        return _fault(404)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        return _fault(400, "Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if body.get("n") not in (None, 1):
        return _fault(400, "This mock gives one choice only.", "n", "unsupported_value")
    if body.get("stream_options") and not body.get("stream"):
        return _fault(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    return None


def _fault(status: int, message: str | None = None, param: str | None = None, code: str | None = None) -> Response:
    kind, usual_code, usual_message = _FAULTS[status]
    error = {"message": message or usual_message, "type": kind, "param": param, "code": code or usual_code}
    return JSONResponse({"error": error}, status, {"retry-after": "2"} if status == 429 else None)


def _completion(reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(reply.text) if reply.text or not reply.calls else None,
        "refusal": None,
        "annotations": [],
    }
    if reply.reasoning:
        message["reasoning_content"] = "".join(reply.reasoning)
    if reply.calls:
        message["tool_calls"] = [
            {"id": call_id(head, at), "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(reply.calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage()}


def _frames(reply: Reply, head: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    head = {**head, "object": "chat.completion.chunk"}
    usage: dict[str, Any] = {"usage": None} if with_usage else {}
    for delta in _deltas(reply, head):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield frame({**head, "choices": [choice], **usage})
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reply.finish_reason}
    yield frame({**head, "choices": [last], **usage})
    if with_usage:
        yield frame({**head, "choices": [], "usage": reply.usage()})
    yield b"data: [DONE]\n\n"


def _deltas(reply: Reply, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "" if reply.text or not reply.calls else None, "refusal": None}
    for token in reply.reasoning:
        yield {"reasoning_content": token}
    for token in reply.text:
        yield {"content": token}
    for at, (name, arguments) in enumerate(reply.calls):
        function = {"name": name, "arguments": ""}
        yield {"tool_calls": [{"index": at, "id": call_id(head, at), "type": "function", "function": function}]}
        for fragment in fragments(arguments):
            yield {"tool_calls": [{"index": at, "function": {"arguments": fragment}}]}


async def _paced(frames: list[bytes], orders: Mapping[str, str], pause: float) -> AsyncIterator[bytes]:
    """Send the frames over `pause` seconds; a fault strikes after the third one."""
    faults = orders.keys() & {"cut", "stall", "midstream-error", "endless-line"}
    for piece in islice(frames, 3 if faults else None):
        yield piece
        await asyncio.sleep(pause / len(frames))
    if "stall" in faults:
        await asyncio.Event().wait()
    if "midstream-error" in faults:
        kind, code, message = _FAULTS[500]
        yield frame({"error": {"message": message, "type": kind, "param": None, "code": code}})
    if "endless-line" in faults:
        yield b"data: "
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)


def _without_end(response: Response) -> ASGIApp:
    """The response, but the server never hears that it is over, and so drops the connection."""

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_all_but_the_end(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                body = message.get("body", b"")
                message = {**message, "body": body[: len(body) // 2], "more_body": True}
            await send(message)

        await response(scope, receive, send_all_but_the_end)

    return cut


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _chat_id(body: dict[str, Any]) -> str:
    said = json.dumps([body["model"], body["messages"]], sort_keys=True).encode()
    return "chatcmpl-mock-" + hashlib.sha256(said).hexdigest()[:24]


CHAT = Wire(lambda body: body, _completion, _frames)
