"""Clients and providers that mean harm: each is refused in time, in bounds, and the gateway goes on answering."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tee.log.receipt import parse_receipt
from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream, wired_config

GIGABYTE = 1 << 30
PIECE = b"x" * (1 << 20)
BODY_LIMIT = 32 << 20
MEMORY_GROWTH = 150 << 20
QUOTES = 150
FRAME = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"again and again"}}]}\n\n'


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, provider: ScriptedUpstream
) -> Iterator[RunningGateway]:
    """A gateway of its own: its memory is watched."""
    state = tmp_path_factory.mktemp("hostile", numbered=False) / "state"
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    with RunningGateway(state, config=wired_config(provider.base_url), chip=chip_file, environ=environ) as running:
        yield running


@pytest.fixture(autouse=True)
def _bounded(gateway: RunningGateway) -> Iterator[None]:
    """After every attack: memory has not grown out of bounds, the gateway answers, and its log shows no failure."""
    gateway.ask("warm up")
    before = gateway.memory()
    yield
    growth = gateway.memory() - before
    assert growth < MEMORY_GROWTH, f"grew by {growth >> 20} MB"
    assert gateway.ask("still there?").status == 200
    assert "unexpected" not in gateway.log.read_text()


@contextmanager
def connected(gateway: RunningGateway, *rows: str, key: str | None = None) -> Iterator[socket.socket]:
    """A bare connection on which the head of a chat request was sent."""
    first = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {key or gateway.api_key}"]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall("\r\n".join([*first, *rows, "", ""]).encode())
        yield client


def send_until_refused(client: socket.socket, piece: bytes, most: int) -> tuple[int, bytes]:
    """Send until the other side answers or hangs up; how much was sent, and the answer."""
    sent = 0
    while sent < most:
        try:
            client.setblocking(False)
            return sent, client.recv(65536)
        except BlockingIOError:
            client.settimeout(10)
            try:
                client.sendall(piece)
            except ConnectionError:
                return sent, b""
        except ConnectionError:
            return sent, b""
        sent += len(piece)
    return sent, b""


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_gigabyte_that_is_announced_is_refused_before_it_is_sent(gateway: RunningGateway) -> None:
    with connected(gateway, f"Content-Length: {GIGABYTE}") as client:
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert status_of(answer) == 413
    assert b'"code":"body_too_large"' in answer


@pytest.mark.parametrize("size", ["-1", "1e9", "9" * 30, "0x10", "\u0662"])
def test_an_impossible_length_is_refused(gateway: RunningGateway, size: str) -> None:
    with connected(gateway, f"Content-Length: {size}") as client:
        assert status_of(client.recv(65536)) in (400, 413)


def test_a_gigabyte_without_an_announcement_is_refused_once_it_is_too_long(gateway: RunningGateway) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    with connected(gateway, "Transfer-Encoding: chunked") as client:
        sent, answer = send_until_refused(client, chunk, GIGABYTE)
    # What the kernel's buffers hold at both ends is sent, but never read.
    assert BODY_LIMIT <= sent < 2 * BODY_LIMIT
    assert not answer or status_of(answer) == 413


@pytest.mark.parametrize("rows", [("Content-Length: 1000000000",), ("Transfer-Encoding: chunked",)])
def test_a_stranger_is_refused_without_reading_a_body(gateway: RunningGateway, rows: tuple[str, ...]) -> None:
    with connected(gateway, *rows, key="sk-router-unknown") as client:
        assert status_of(client.recv(65536)) == 401


@pytest.mark.parametrize("row", [b"X-Long: " + b"x" * 1000, b"", b"x: y\r\n" * 100])
def test_a_head_without_end_is_refused_early(gateway: RunningGateway, row: bytes) -> None:
    piece = row * 100 or b"x" * 65536  # many long headers, one endless header, very many short ones
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent, answer = send_until_refused(client, piece, 100 << 20)
    assert sent < 16 << 20
    assert not answer or 400 <= status_of(answer) < 500


def test_many_slow_heads_do_not_keep_others_out(gateway: RunningGateway) -> None:
    idle = [socket.create_connection(("127.0.0.1", gateway.port), timeout=10) for _ in range(300)]
    try:
        for client in idle:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nX-Slow: ")
        assert gateway.ask("hello").status == 200
    finally:
        for client in idle:
            client.close()


DEEP = b"[" * 10_000 + b"]" * 10_000
BAD_BODIES = {
    "nested 10,000 deep": b'{"model":"mock-1","messages":' + DEEP + b"}",
    "nested 10,000 deep in a field that nobody knows": chat_body("x")[:-1] + b',"x":' + DEEP + b"}",
    "nested and never closed": b'{"a":' * 1_000_000,
    "millions of objects": chat_body("x")[:-1] + b',"x":[' + b"{}," * 6_000_000 + b"{}]}",
    "a key twice": b'{"model":"mock-1","model":"mock-2","messages":[{"role":"user","content":"x"}]}',
    "a key twice, once in disguise": chat_body("x").replace(b'"model"', b'"mod\\u0065l":"mock-2","model"'),
    "a key twice, deep inside": chat_body("x")[:-1] + b',"x":[{"y":{"z":1,"z":2}}]}',
    "no UTF-8": chat_body("x").replace(b'"x"', b'"\xff\xfe"'),
    "an overlong slash": chat_body("x").replace(b'"x"', b'"\xc0\xaf"'),
    "half a character": chat_body("x").replace(b'"x"', b'"\\ud83d"'),
    "UTF-16": chat_body("x").decode().encode("utf-16"),
    "a number of 5,000 digits": chat_body("x")[:-1] + b',"x":' + b"9" * 5000 + b"}",
    "infinity": chat_body("x")[:-1] + b',"x":Infinity}',
    "a quote that never ends": b'{"model":"' + b'\\"' * 1_000_000,
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_two_parsers_may_read_in_two_ways_is_a_400(gateway: RunningGateway, name: str) -> None:
    answered = gateway.post(BAD_BODIES[name])
    assert answered.status == 400
    assert answered.json["error"]["type"] == "invalid_request_error"
    gateway.verified(answered)


@pytest.mark.parametrize(
    "body", [DEEP, b'{"nonce":"x"}', b'{"nonce":1}', b"\xff", b'{"nonce":null,"nonce":null}', b"[]"]
)
def test_a_bad_nonce_is_a_400(gateway: RunningGateway, body: bytes) -> None:
    response = httpx2.post(f"{gateway.url}/attestation/quote", content=body, **PLAIN)
    assert response.status_code in (400, 413)
    assert response.json()["error"]["message"]


def test_a_line_of_the_provider_that_never_ends_ends_the_call(gateway: RunningGateway) -> None:
    answered = gateway.post(chat_body("mock:endless-line", stream=True))
    assert b"This is" not in answered.raw[-500:]
    assert b'"code":"' in answered.raw.rsplit(b"data: ", 1)[1]
    gateway.verified(answered, complete=False)


def test_a_buffered_answer_that_never_ends_ends_the_call(gateway: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(Recording(PIECE, "application/json", ending="repeat"))
    answered = gateway.ask("x", "wire-1")
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_too_large")
    assert provider.abandoned.wait(5)
    gateway.verified(answered)


def test_a_stream_that_never_ends_is_ended_by_its_client(gateway: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(Recording(FRAME, ending="repeat"))
    body, got = chat_body("x", "wire-1", stream=True), b""
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", content=body) as response:
        for piece in response.iter_raw():
            got += piece
            if len(got) > 1 << 20:
                break
    assert got.startswith(FRAME)
    assert provider.abandoned.wait(5)
    raw = gateway.fetch_receipt(response.headers["x-receipt-id"])
    assert gateway.judge(raw, body).failures() == ("receipt.complete",)
    assert parse_receipt(raw).events["stream"]["bytes"] >= len(got)


def test_a_client_that_does_not_read_slows_its_provider_and_fills_no_memory(
    gateway: RunningGateway, provider: ScriptedUpstream
) -> None:
    provider.play(Recording(FRAME * 500, ending="repeat"))
    body = chat_body("x", "wire-1", stream=True)
    before = gateway.memory()
    with connected(gateway, f"Content-Length: {len(body)}") as client:
        client.sendall(body)
        head = client.recv(400)
        assert status_of(head) == 200
        assert not provider.abandoned.wait(2), "the provider was cut off"
        assert gateway.memory() - before < 32 << 20
    assert provider.abandoned.wait(5)


def test_a_crowd_that_asks_for_quotes_gets_its_own_or_is_told_to_wait(gateway: RunningGateway) -> None:
    nonces = [secrets.token_hex(32) for _ in range(QUOTES)]

    async def ask_all() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=QUOTES)
        async with httpx2.AsyncClient(base_url=gateway.url, limits=limits, timeout=20.0, **PLAIN) as client:
            asked = [client.post("/attestation/quote", json={"nonce": nonce}) for nonce in nonces]
            return await asyncio.gather(*asked)

    served = 0
    for nonce, response in zip(nonces, asyncio.run(ask_all()), strict=True):
        if response.status_code == 200:
            served += 1
            assert json.loads(response.json()["statement"])["nonce"] == nonce
        else:
            assert response.status_code == 429
            assert float(response.headers["retry-after"]) > 0
    assert 32 <= served < QUOTES
