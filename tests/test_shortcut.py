"""The shorter way of a call: whatever is asked, the answer is that of Starlette's way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from gateway.errors import RateLimited
from gateway.http.app import _handlers, starlette_app
from gateway.http.shortcut import Shortcut
from tests.worlds.gateway import RunningGateway, chat_body

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[list[RunningGateway]]:
    """One gateway with our own HTTP and the shortcut, one with neither."""
    folder = tmp_path_factory.mktemp("shortcut", numbered=False)
    table = '[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
    table += "[limits]\nbody = 10000\n"
    with (
        RunningGateway(folder / "ours", config=table, chip=chip_file) as ours,
        RunningGateway(folder / "stock", config="stock_http = true\n" + table, chip=chip_file) as stock,
    ):
        yield [ours, stock]


ASKED: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "a call": ("POST", CHAT, chat_body("hi"), {}),
    "a stream": ("POST", CHAT, chat_body("hi", **WITH_USAGE), {}),
    "a browser's call": ("POST", CHAT, chat_body("hi"), {"origin": "https://a.example"}),
    "a browser's refusal": ("POST", CHAT, chat_body("hi"), {"origin": "https://a.example", "authorization": "x"}),
    "a browser's question": ("OPTIONS", CHAT, b"", {"origin": "https://a", "access-control-request-method": "POST"}),
    "no key": ("POST", CHAT, chat_body("hi"), {"authorization": ""}),
    "no key, Anthropic's way": ("POST", MESSAGES, b"{}", {"authorization": ""}),
    "no JSON": ("POST", CHAT, b"{", {}),
    "no model": ("POST", CHAT, chat_body("hi", "gpt-9"), {}),
    "too long": ("POST", CHAT, b"x" * 20_000, {}),
    "another method": ("GET", CHAT, b"", {}),
    "another path": ("POST", CHAT + "/", b"{}", {}),
}


@pytest.mark.parametrize("name", ASKED)
def test_both_ways_answer_alike(gateways: list[RunningGateway], name: str) -> None:
    method, path, body, headers = ASKED[name]
    answers = []
    for gateway in gateways:
        with gateway.client() as client:
            answer = client.request(method, path, content=body, headers=headers)
        answers.append((answer.status_code, told(dict(answer.headers)), plain(answer.text)))
    assert answers[0] == answers[1]


def told(headers: dict[str, str]) -> dict[str, str]:
    """What of the headers is the application's; of what differs from call to call only that it is there."""
    fresh = ("x-request-id", "request-id", "x-receipt-id", "content-digest", "signature", "signature-input")
    return {
        name: "" if name in fresh else value
        for name, value in headers.items()
        if name not in ("date", "location", "content-length", "connection", "server", "transfer-encoding")
    }


def plain(text: str) -> str:
    """An answer without its ids, numbers and times."""
    return re.sub(r"(rcpt|route|chatcmpl|msg|req)[-_][0-9a-zA-Z]+|\d+", "", text)


def test_an_error_after_the_beginning_is_raised_and_answered_no_more() -> None:
    """The connection then breaks off, so that half an answer does not look whole."""

    async def endpoint(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RateLimited("too late")

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/call", "headers": [], "query_string": b"", "root_path": ""}
    long_way = starlette_app([Route("/call", Endpoint(endpoint), methods=["POST"])])
    for app in (Shortcut(long_way, {"/call": endpoint}, _handlers()), long_way):
        sent: list[str] = []
        with pytest.raises((RateLimited, RuntimeError)):
            asyncio.run(app(dict(scope), receive, send))
        assert sent == ["http.response.start"]


class Endpoint:
    """An ASGI application, which Starlette tells from a function by its being none."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
