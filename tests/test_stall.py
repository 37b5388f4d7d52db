"""A client that asks and then reads nothing holds its place for a bounded time, buffered answer or stream."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest

from gateway.errors import BodyStalled
from gateway.http import caller
from tests.worlds.gateway import RunningGateway, chat_body
from tests.worlds.upstream import STREAM, UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, wired_config

FRAME = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"again and again"}}]}\n\n'
WHOLE = json.dumps({"id": "c", "choices": [], "padding": "x" * (24 << 20)}).encode()


@pytest.mark.parametrize(
    "recording",
    [Recording(WHOLE, "application/json"), Recording(FRAME * 500, STREAM, ending="repeat")],
    ids=["buffered", "stream"],
)
def test_a_client_that_takes_nothing_loses_its_place(
    tmp_path: Path, chip_file: Path, upstream: ScriptedUpstream, recording: Recording
) -> None:
    upstream.play(recording)
    config = "[limits]\nstall_seconds = 1\nopen_calls = 1\n" + wired_config(upstream.base_url)
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    body = chat_body("x", "wire-1", stream=recording.content_type == STREAM)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nAuthorization: Bearer "
    with (
        RunningGateway(tmp_path / "state", config=config, chip=chip_file, environ=environ) as gateway,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(head.encode() + gateway.api_key.encode() + b"\r\n\r\n" + body)
        assert client.recv(12) == b"HTTP/1.1 200"
        assert gateway.ask("beside it").json["error"]["code"] == "overloaded"
        deadline = time.monotonic() + 20
        while gateway.ask("after it").status != 200:
            assert time.monotonic() < deadline, "the place is held for ever"
            time.sleep(0.1)


def test_a_body_that_never_comes_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive() -> dict[str, object]:
        if not sent:
            sent.append(b"x")
            return {"type": "http.request", "body": b"x", "more_body": True}
        await asyncio.sleep(60)
        raise AssertionError

    sent: list[bytes] = []
    monkeypatch.setattr(caller, "BODY_SECONDS", 0.1)
    with pytest.raises(BodyStalled):
        asyncio.run(caller.read_body({"type": "http"}, receive, {"content-length": "10"}, 100))
