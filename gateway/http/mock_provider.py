"""A provider for demonstrations and tests: OpenAI's API without a model, deterministic, with faults on request.

The last user message may order a fault or a pace: `mock:error=429|500|401|400`, `mock:cut`, `mock:stall`,
`mock:midstream-error`, `mock:endless-line`, `mock:slow=SECONDS`, `mock:chunks=N`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.mock_wires import COMPLETIONS, RESPONSES, Reply, Wire, embeddings, frame
from gateway.transcripts import fragments

MODELS = ("mock-1", "mock-reasoner")
CREATED = 1_760_000_000  # A fixed time: equal requests get equal answers.
MAX_SLOW = 600.0  # seconds
MAX_CHUNKS = 100_000
_ORDER = re.compile(r"mock:([a-z-]+)(?:=([0-9.]+))?")
_TOKEN = re.compile(r"\s*\S+")
_REASONING = "This is a mock: it does not think, it only counts words."
# Status -> type, code and message, in OpenAI's recorded words.
_FAULTS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The mock was told to refuse this request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 2s."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
}


def mock_provider_app(api_key: str = "mock-key") -> Starlette:
    """Build the app. It demands `Authorization: Bearer <api_key>`."""

    async def answer(wire: Wire, request: Request) -> ASGIApp:
        body = await _body(request, api_key)
        if not isinstance(body, dict):
            return body
        chat = wire.as_chat(body)
        return _refusal(chat) or await _answer(request, chat, wire)

    async def embed(request: Request) -> Response:
        body = await _body(request, api_key)
        if not isinstance(body, dict):
            return body
        if body.get("model") not in MODELS:
            return _fault(404)
        answer = embeddings(body)
        return _fault(400, "'$.input' is invalid.") if answer is None else JSONResponse(answer)

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
    orders = dict(_ORDER.findall(_last_user_text(body)))
    if "error" in orders:
        status = int(float(_digits(orders["error"], 500)))
        return _fault(status if status in _FAULTS else 500)
    reply = _reply(body, orders)
    head = {"id": _chat_id(body), "created": CREATED, "model": body["model"]}
    pause = min(_digits(orders.get("slow", ""), 0.0), MAX_SLOW)
    if body.get("stream"):
        frames = list(wire.frames(reply, head, _wants_usage(body)))
        response = StreamingResponse(_paced(frames, orders, pause), media_type="text/event-stream")
        return _without_end(response) if "cut" in orders else response
    if "stall" in orders or "endless-line" in orders:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    await asyncio.sleep(pause)
    if "midstream-error" in orders:
        return _fault(500)
    whole = JSONResponse(wire.whole(reply, head))
    return _without_end(whole) if "cut" in orders else whole


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


def _reply(body: dict[str, Any], orders: dict[str, str]) -> Reply:
    words = sum(len(_text_of(message.get("content")).split()) for message in body["messages"])
    effort = body.get("reasoning_effort")
    thinks = effort != "none" and (effort is not None or body["model"] == "mock-reasoner")
    tool = _tool_call(body)
    text = [] if tool else _tokens(_text(body))
    if "chunks" in orders and not tool:
        text = ["mock", *(f" {number}" for number in range(1, int(min(_digits(orders["chunks"], 1), MAX_CHUNKS))))]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    most = max(0, int(limit)) if isinstance(limit, int | float) else len(text)
    finish = "tool_calls" if tool else "length" if len(text) > most else "stop"
    return Reply(_tokens(_REASONING) if thinks else [], text[:most], tool, finish, words)


def _text(body: dict[str, Any]) -> str:
    wanted = body.get("response_format")
    wanted = wanted if isinstance(wanted, dict) else {}
    if wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema")
        return json.dumps(_sample(schema.get("schema") if isinstance(schema, dict) else None))
    last = body["messages"][-1]
    said = _text_of(last.get("content"))
    if wanted.get("type") == "json_object":
        return json.dumps({"mock": True, "echo": said})
    if last.get("role") == "tool":
        return f"This is a mock answer. The tool said: {said}"
    return f"This is a mock answer. You said: {_last_user_text(body)}"


def _tool_call(body: dict[str, Any]) -> tuple[str, str] | None:
    """Name and arguments of the call to make: the forced tool, else the first one, and only to a user's message."""
    choice = body.get("tool_choice")
    if choice == "none" or body["messages"][-1].get("role") != "user" or not isinstance(body.get("tools"), list):
        return None
    entries = [tool.get("function") for tool in body["tools"] if isinstance(tool, dict)]
    tools = [function for function in entries if isinstance(function, dict)]
    forced = choice.get("function") if isinstance(choice, dict) else None
    wanted = forced.get("name") if isinstance(forced, dict) else None
    chosen = next((tool for tool in tools if wanted in (None, tool.get("name"))), None)
    return (str(chosen.get("name")), json.dumps(_sample(chosen.get("parameters")))) if chosen else None


def _sample(schema: Any, depth: int = 0) -> Any:
    """A smallest value for a JSON schema, whatever garbage the schema is."""
    if not isinstance(schema, dict) or depth > 16:
        return "mock" if depth else {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema or not depth else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        return {name: _sample(part, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [_sample(schema.get("items"), depth + 1)]
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(str(kind), "mock")


def _completion(reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if reply.tool else "".join(reply.text),
        "refusal": None,
        "annotations": [],
    }
    if reply.reasoning:
        message["reasoning_content"] = "".join(reply.reasoning)
    if reply.tool:
        name, arguments = reply.tool
        call = {"id": _call_id(head), "type": "function", "function": {"name": name, "arguments": arguments}}
        message["tool_calls"] = [call]
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
    yield {"role": "assistant", "content": None if reply.tool else "", "refusal": None}
    for token in reply.reasoning:
        yield {"reasoning_content": token}
    for token in reply.text:
        yield {"content": token}
    if reply.tool:
        name, arguments = reply.tool
        function = {"name": name, "arguments": ""}
        yield {"tool_calls": [{"index": 0, "id": _call_id(head), "type": "function", "function": function}]}
        for fragment in fragments(arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]}


async def _paced(frames: list[bytes], orders: dict[str, str], pause: float) -> AsyncIterator[bytes]:
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


def _last_user_text(body: dict[str, Any]) -> str:
    users = [message for message in body["messages"] if message.get("role") == "user"]
    return _text_of(users[-1].get("content")) if users else ""


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else ""


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _chat_id(body: dict[str, Any]) -> str:
    said = json.dumps([body["model"], body["messages"]], sort_keys=True).encode()
    return "chatcmpl-mock-" + hashlib.sha256(said).hexdigest()[:24]


def _call_id(head: dict[str, Any]) -> str:
    return "call_" + str(head["id"])[-24:]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _digits(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if math.isfinite(value) else default


CHAT = Wire(lambda body: body, _completion, _frames)
