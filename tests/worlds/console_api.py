"""A small gateway of the console's API, its books in memory: what a page may meet, refusals included."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.http.app import verifier_folder
from gateway.http.console import console_routes

Document = dict[str, Any]
NOW = 1_795_305_600
MODELS = [
    ("mock-1", "mock", "mock", 128_000, 8192, 0.15, 0.6, ["text"], ["tools", "streaming"], "hardened"),
    ("mock-reasoner", "mock", "mock", 200_000, 32_000, 3.0, 15.0, ["text", "image"], ["reasoning", "tools"], "sealed"),
    ("vendor/large-model-with-a-long-name-2026", "vendor", "large", 1_048_576, None, 1.25, 10, ["text"], [], "sealed"),
    ("other-small", "other", "small", None, None, None, None, [], [], "quarantine"),
]


@dataclass
class ConsoleApi:
    """What it knows. `refuse` answers the paths that begin so with this status and body instead."""

    origin: str = ""
    key: str = "sk-router-" + "A" * 40
    admin: str = "sk-admin-" + "B" * 40
    keys: list[Document] = field(default_factory=list)
    tenants: list[Document] = field(default_factory=list)
    balance: float = 12.5
    refuse: dict[str, tuple[int, Document, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    activity: list[Document] = field(default_factory=list)


def error(status: int, code: str, message: str, **headers: str) -> tuple[int, Document, dict[str, str]]:
    """A refusal in OpenAI's shape."""
    return status, {"error": {"message": message, "type": "refused", "code": code, "param": None}}, headers


def _key(name: str, **more: Any) -> Document:
    row: Document = {
        "object": "api_key",
        "id": f"key_{secrets.token_hex(4)}",
        "name": name,
        "prefix": "sk-router-AbCd…",
    }
    row |= {"tenant": "demo", "scopes": ["inference", "read", "keys"], "policy": None, "requests_per_minute": None}
    row |= {"tokens_per_minute": None, "created_at": NOW - 86_400, "expires_at": None, "revoked_at": None}
    return row | {"last_used_at": NOW, "usage": {"calls": 17, "usd": 0.004213}} | more


def _listing(rows: list[Document]) -> Response:
    return JSONResponse({"object": "list", "data": rows, "has_more": False})


def _models() -> list[Document]:
    names = ["provider", "family", "context_window", "max_output_tokens", "input_usd_per_million"]
    names += ["output_usd_per_million", "modalities", "capabilities", "tier"]
    return [
        {"id": row[0], "object": "model", "owned_by": row[1], "x_saferouter": dict(zip(names, row[1:], strict=True))}
        for row in MODELS
    ]


def _attempts() -> list[Document]:
    rows: list[Document] = []
    for at in range(24):
        failed = at % 13 == 7
        row: Document = {"object": "activity", "id": f"act_{at}", "call_id": f"call_{at}", "attempt": 1}
        row |= {"tenant": "demo", "key_prefix": "sk-router-AbCd…", "key_id": "key_1", "policy": "default"}
        row |= {"model": MODELS[at % 3][0], "original_model": None, "provider": MODELS[at % 3][1], "tier": "hardened"}
        row |= {"status": 502 if failed else 200, "started_at": int(time.time()) - at * 40, "partial": at % 17 == 5}
        row |= {"milliseconds": 300 + 37 * (at % 11), "first_token_ms": 120, "prompt_tokens": 1200 + at}
        row |= {
            "completion_tokens": 340,
            "cost_usd": None if at % 3 == 2 else 0.000214,
            "receipt_id": f"rcpt_{at:024x}",
        }
        row |= {"receipt_id": f"rcpt_{at:024x}"}
        rows.append(row | {"findings": [{"kind": "github_token", "count": 1}] if at == 3 else []})
    return rows


def _summary(rows: list[Document]) -> Document:
    series = [
        {"at": NOW - 60 * at, "calls": 3 + at % 7, "errors": int(at % 5 == 0), "p50_ms": 300 + 20 * (at % 6)}
        for at in range(40)
    ]
    group = {"calls": 20, "success_rate": 0.95, "p50_ms": 410, "p95_ms": 702, "usd": 0.0421}
    named = [{"name": row[0], **group} for row in MODELS[:3]]
    total = {"object": "activity.summary", "calls": len(rows), "success_rate": 0.9333, "p50_ms": 411, "p95_ms": 700}
    return total | {"by_model": named, "by_provider": [{"name": "mock", **group, "usd": None}], "series": series}


def _application(world: ConsoleApi) -> Starlette:
    async def keys(request: Request) -> Response:
        if request.method == "GET":
            return _listing(world.keys)
        body = await request.json()
        made = _key(body["name"], scopes=body["scopes"], usage={"calls": 0, "usd": 0}, last_used_at=None)
        world.keys.insert(0, made)
        return JSONResponse(made | {"key": "sk-router-" + "N" * 40}, 201)

    async def one_key(request: Request) -> Response:
        row = next(row for row in world.keys if row["id"] == request.path_params["id"])
        if request.method == "PATCH":
            row |= {"name": (await request.json())["name"]}
        if request.method == "DELETE":
            row |= {"revoked_at": NOW}
        return JSONResponse(row)

    async def credits_of(_request: Request) -> Response:
        usage = [{"model": row[0], "calls": 9, "prompt_tokens": 12_400, "completion_tokens": 310} for row in MODELS[:3]]
        body = {"object": "credits", "key_id": "key_1", "balance_usd": world.balance, "reserved_usd": 0.02}
        body |= {"spent_usd": 3.104, "tenant": {"id": "demo", "usd_cap": 50.0, "usd_spent": 21.7}}
        body |= {"usage": [row | {"usd": 1.2 - at / 2} for at, row in enumerate(usage)]}
        return JSONResponse(body | {"prices": {"version": "7", "date": "2026-11-01", "digest": "sha256:" + "ab" * 32}})

    async def top_up(request: Request) -> Response:
        world.balance += (await request.json())["usd"]
        return await credits_of(request)

    async def tenants(request: Request) -> Response:
        if request.method == "GET":
            return _listing(world.tenants)
        row = {"object": "tenant", "id": "new", "usd_spent": 0, "created_at": NOW, **(await request.json())}
        world.tenants.append(row)
        return JSONResponse(row | {"api_key": "sk-router-" + "T" * 40}, 201)

    async def chat(request: Request) -> Response:
        body = await request.json()
        return StreamingResponse(_stream(body), media_type="text/event-stream", headers={"x-receipt-id": "rcpt_1"})

    async def listed(request: Request) -> Response:
        return _listing(_LISTS[request.url.path])

    async def activity(request: Request) -> Response:
        if request.query_params.get("format") == "csv":
            return PlainTextResponse("id,model\nact_0,mock-1\n", media_type="text/csv")
        wanted = request.query_params.get("status", "")[:1]
        return _listing([row for row in world.activity if str(row["status"]).startswith(wanted)])

    async def summary(_request: Request) -> Response:
        return JSONResponse(_summary(world.activity))

    async def explain(_request: Request) -> Response:
        candidate = {"model": "mock-1", "provider": "mock", "tier": "hardened", "qualifies": False}
        candidate |= {"reasons": ["tier hardened is below sealed"], "would_change": ["a policy that requires hardened"]}
        return JSONResponse({"routed": False, "chosen": None, "candidates": [candidate]})

    async def ready(_request: Request) -> Response:
        return JSONResponse({"status": "ready", "tee_type": "mock"})

    async def health(_request: Request) -> Response:
        row = {"provider_id": "mock", "successes": 98, "failures": 2, "latency_p50_ms": 120, "latency_p95_ms": 410}
        return JSONResponse({"providers": [row | {"last_error": "status 502", "score": 0.98}]})

    routes: list[Route | Mount] = [
        Route("/v1/keys", keys, methods=["GET", "POST"]),
        Route("/v1/keys/{id}", one_key, methods=["PATCH", "DELETE"]),
        Route("/v1/credits", credits_of),
        Route("/v1/credits/topup", top_up, methods=["POST"]),
        Route("/v1/activity", activity),
        Route("/v1/activity/summary", summary),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/policies/{id}/explain", explain, methods=["POST"]),
        Route("/v1/providers/health", health),
        Route("/admin/tenants", tenants, methods=["GET", "POST"]),
        Route("/readyz", ready),
        *(Route(path, listed) for path in _LISTS),
        *console_routes(),
        Mount("/verifier", StaticFiles(directory=str(verifier_folder()), html=True)),
    ]
    return Starlette(routes=routes)


_POLICY: Document = {"object": "policy", "id": "clinical-strict", "version": 3, "digest": "sha256:" + "cd" * 32}
_POLICY |= {
    "display_name": "Clinical, strict",
    "require_tier": "sealed",
    "witness_scopes": ["clinical"],
    "models": None,
}
_POLICY |= {"allowed_origins": ["US", "DE"], "require_drift_clean": True, "max_latency_ms": 4000}
_POLICY |= {"max_cost_per_request_usd": 0.05, "models": None, "preferred_providers": ["mock"], "leak_scan": "refuse"}
_PROVIDER: Document = {"id": "mock", "kind": "mock", "display_name": "Mock", "endpoint": "http://127.0.0.1:1/v1"}
_PROVIDER |= {"serves_models": ["mock-1", "mock-reasoner"], "region": "EU", "cost_per_million_tokens_usd": 0.75}
_PROVIDER |= {"typical_latency_ms": 120, "api_key_id": "file:mock.key", "registered": True}
_LISTS: dict[str, list[Document]] = {
    "/v1/models": _models(),
    "/v1/policies": [_POLICY],
    "/admin/providers": [_PROVIDER],
    "/admin/routes": [{"model": "mock-1", "provider": "mock", "upstream_model": "mock-1", "fallback": ["other-small"]}],
}


async def _stream(body: Document) -> AsyncIterator[bytes]:
    words = ["**Hello** ", "from ", body["model"], ".\n\n", "```python\nprint(1)\n```\n", "- one\n- two\n"]
    deltas: list[Document] = [{"reasoning_content": "Counting words. "}, *({"content": word} for word in words)]
    tool = {"index": 0, "id": "t1", "function": {"name": "look_up", "arguments": '{"city": "Bern"}'}}
    for delta in [*deltas, {"tool_calls": [tool]}]:
        yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()
        await asyncio.sleep(0)
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 34}}
    yield f"data: {json.dumps(last)}\n\ndata: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode()


def _guarded(world: ConsoleApi, app: Starlette) -> Any:
    """The keys are asked for, and what a test wants refused is refused."""

    async def serve_one(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if not path.startswith(("/v1/", "/admin/")):
            await app(scope, receive, send)
            return
        world.asked.append(path)
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        wanted = world.admin if path.startswith("/admin/") else world.key
        known = given in (f"Bearer {wanted}", f"Bearer {world.admin}")
        refusal = next((row for start, row in world.refuse.items() if path.startswith(start)), None)
        if not known:
            refusal = error(401, "invalid_api_key", "The API key is not known here.")
        if refusal is None:
            await app(scope, receive, send)
        else:
            status, body, headers = refusal
            await JSONResponse(body, status, headers)(scope, receive, send)

    return serve_one


@contextmanager
def console_api() -> Iterator[ConsoleApi]:
    """A ConsoleApi that is served until the end of the block."""
    world = ConsoleApi(activity=_attempts())
    world.keys = [_key("search service"), _key("notebook", expires_at=NOW + 86_400 * 400), _key("old", revoked_at=NOW)]
    world.tenants = [{"object": "tenant", "id": "demo", "display_name": "Demo", "usd_spent": 21.7, "usd_cap": 50.0}]
    world.tenants[0] |= {"requests_per_minute": 600, "tokens_per_minute": None, "created_at": NOW}
    world.tenants[0] |= {"allowed_policies": ["default", "clinical-strict"]}
    config = Config()
    config.accesslog, config.errorlog, config.graceful_timeout = None, None, 1
    listener = socket.create_server(("127.0.0.1", 0))
    world.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config.bind = [f"fd://{listener.detach()}"]
    stop, loop = asyncio.Event(), asyncio.new_event_loop()

    async def run() -> None:
        await serve(_guarded(world, _application(world)), config, shutdown_trigger=stop.wait)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield world
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
