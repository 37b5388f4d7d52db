"""The lean transport at the socket: what httpx2's own does, it does, whatever the provider plays."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import pytest

from gateway import transport
from gateway.posting import LeanPoster, Poster, StockPoster
from gateway.transport import LeanTransport, key_of

Script = Callable[[socket.socket, int], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
BOTH = pytest.mark.parametrize("make", [httpx2.AsyncHTTPTransport, LeanTransport], ids=["httpx2", "ours"])
TIMEOUT = httpx2.Timeout(0.5, connect=2)


class Provider:
    """Answers each connection by a script, and counts."""

    def __init__(self, script: Script) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.requests: list[bytes] = []
        self.script = script
        self.threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1/x?y=z"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                thread.start()
                self.threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(30)
        with client, suppress(OSError):
            number = 0
            while request := read_request(client):
                self.requests.append(request)
                self.script(client, number)
                number += 1


def read_request(client: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = client.recv(65536)
        if not piece:
            return b""
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    rows = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:])
    while len(body) < int(rows.get(b"content-length", b"0")):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def provider(script: Script | bytes) -> Iterator[Provider]:
    play = script if callable(script) else lambda client, _: client.sendall(script)
    world = Provider(play)
    try:
        yield world
    finally:
        world.listener.close()


def ask(make: Any, url: str, times: int = 1, body: bytes = b"question") -> list[httpx2.Response]:
    async def run() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=make(), timeout=TIMEOUT) as client:
            return [await client.post(url, content=body) for _ in range(times)]

    return asyncio.run(run())


@BOTH
def test_an_answer_comes_back_whole(make: Any) -> None:
    with provider(OK) as world:
        (answer,) = ask(make, world.url)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"ok", "2")
    assert world.requests[0].startswith(b"POST /v1/x?y=z HTTP/1.1\r\n")
    assert world.requests[0].endswith(b"\r\n\r\nquestion")


@BOTH
def test_a_connection_is_used_again(make: Any) -> None:
    with provider(OK) as world:
        assert [each.content for each in ask(make, world.url, 3)] == [b"ok"] * 3
    assert world.connections == 1


@BOTH
@pytest.mark.parametrize(
    ("raw", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 3),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 3),
    ],
    ids=["chunked", "interim", "close", "old"],
)
def test_every_framing_is_understood(make: Any, raw: bytes, connections: int) -> None:
    with provider(raw) as world:
        assert [each.content for each in ask(make, world.url, 3)] == [b"ok"] * 3
    assert world.connections == connections


def test_the_headers_of_an_interim_answer_are_not_those_of_the_answer() -> None:
    with provider(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK) as world:
        (answer,) = ask(LeanTransport, world.url)
    assert (answer.content, "link" in answer.headers) == (b"ok", False)


@BOTH
def test_a_body_may_end_with_the_connection(make: Any) -> None:
    def script(client: socket.socket, _: int) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\nok")
        client.shutdown(socket.SHUT_RDWR)

    with provider(script) as world:
        assert [each.content for each in ask(make, world.url, 2)] == [b"ok"] * 2
    assert world.connections == 2


@BOTH
def test_an_empty_answer_has_no_body(make: Any) -> None:
    with provider(b"HTTP/1.1 204 No Content\r\n\r\n") as world:
        assert [each.content for each in ask(make, world.url, 2)] == [b""] * 2
    assert world.connections == 1


@BOTH
def test_bytes_may_come_one_by_one(make: Any) -> None:
    def script(client: socket.socket, _: int) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for (
            byte
        ) in b"HTTP/1.1 200 OK\r\nX-Long: abc\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nT: x\r\n\r\n":
            client.sendall(bytes([byte]))

    with provider(script) as world:
        (answer,) = ask(make, world.url)
    assert (answer.content, answer.headers["x-long"]) == (b"ok", "abc")


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
    ids=["short", "in a chunk", "no last chunk", "in the head", "at once"],
)
def test_a_cut_is_an_error(make: Any, raw: bytes) -> None:
    def script(client: socket.socket, _: int) -> None:
        client.sendall(raw)
        client.shutdown(socket.SHUT_RDWR)

    with provider(script) as world, pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        ask(make, world.url)


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(make: Any, raw: bytes) -> None:
    def script(client: socket.socket, _: int) -> None:
        client.sendall(raw)
        client.shutdown(socket.SHUT_RDWR)

    with provider(script) as world, pytest.raises(httpx2.RemoteProtocolError):
        ask(make, world.url)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"X: y\r\n" * 129,
        b"X: " + b"y" * (70 << 10) + b"\r\n",
    ],
    ids=["two ends", "many headers", "a long head"],
)
def test_ours_is_stricter(head: bytes) -> None:
    with provider(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nok") as world, pytest.raises(httpx2.RemoteProtocolError):
        ask(LeanTransport, world.url)


@BOTH
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"], ids=["head", "body"])
def test_silence_is_a_timeout(make: Any, first: bytes) -> None:
    held = threading.Event()

    def script(client: socket.socket, _: int) -> None:
        client.sendall(first)
        held.wait(5)

    with provider(script) as world, pytest.raises(httpx2.ReadTimeout):
        try:
            ask(make, world.url)
        finally:
            held.set()


def test_a_slow_stream_is_no_silence() -> None:
    def script(client: socket.socket, _: int) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            threading.Event().wait(0.2)  # six of these are longer than the patience, none by itself
            client.sendall(b"x")

    with provider(script) as world:
        assert ask(LeanTransport, world.url)[0].content == b"xxxxxx"


@BOTH
def test_nobody_there_is_said(make: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(httpx2.ConnectError):
        ask(make, f"http://127.0.0.1:{port}/")


def test_an_answer_nobody_asked_for_is_given_to_nobody() -> None:
    def script(client: socket.socket, number: int) -> None:
        client.sendall(OK + (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" if number == 0 else b""))

    async def run(url: str) -> list[bytes]:
        async with httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT) as client:
            bodies = []
            for _ in range(3):
                with suppress(httpx2.RemoteProtocolError):
                    bodies.append((await client.post(url, content=b"q")).content)
                await asyncio.sleep(0.05)
            return bodies

    with provider(script) as world:
        assert b"evil" not in asyncio.run(run(world.url))
    assert world.connections > 1


def test_a_connection_the_provider_closed_is_not_used() -> None:
    def script(client: socket.socket, _: int) -> None:
        client.sendall(OK)
        client.shutdown(socket.SHUT_RDWR)

    async def run(url: str) -> list[bytes]:
        async with httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT) as client:
            bodies = []
            for _ in range(3):
                bodies.append((await client.post(url, content=b"q")).content)
                await asyncio.sleep(0.05)
            return bodies

    with provider(script) as world:
        assert asyncio.run(run(world.url)) == [b"ok"] * 3
    assert world.connections == 3


def test_an_idle_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.1)

    async def run(url: str) -> None:
        async with httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT) as client:
            await client.post(url, content=b"q")
            await asyncio.sleep(0.3)
            await client.post(url, content=b"q")

    with provider(OK) as world:
        asyncio.run(run(world.url))
    assert world.connections == 2


def test_an_answer_left_unread_ends_its_connection() -> None:
    left = threading.Event()

    def script(client: socket.socket, _: int) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for _ in range(1000):
                client.sendall(b"x" * (1 << 20))
        except OSError:
            left.set()
            raise

    async def run(url: str) -> int:
        client = httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT)
        async with client, client.stream("POST", url, content=b"q") as answer:
            await asyncio.sleep(0.3)  # nothing is read: what arrives must wait in the network
            async for piece in answer.aiter_raw():
                return len(piece)
        return 0

    with provider(script) as world:
        assert asyncio.run(run(world.url)) < 2 << 20
        assert left.wait(3)


def test_a_cancelled_request_hangs_up() -> None:
    left = threading.Event()

    def script(client: socket.socket, _: int) -> None:
        if client.recv(1) == b"":
            left.set()

    async def run(url: str) -> None:
        async with httpx2.AsyncClient(transport=LeanTransport(), timeout=None) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.post(url, content=b"q")

    with provider(script) as world:
        asyncio.run(run(world.url))
        assert left.wait(3)


def test_a_header_with_a_line_break_is_not_sent() -> None:
    async def run(url: str) -> None:
        request = httpx2.Request("POST", url, headers=[(b"a", b"b\r\nc: d")], content=b"q")
        await LeanTransport().handle_async_request(request)

    with provider(OK) as world, pytest.raises(httpx2.LocalProtocolError):
        asyncio.run(run(world.url))
    assert world.connections == 0


def test_a_server_that_speaks_no_tls_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(httpx2.ConnectError, match="SSL"):
            ask(lambda: LeanTransport(ssl.create_default_context()), f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


@pytest.mark.parametrize("how", ["unread", "half read"])
def test_what_one_caller_left_unread_reaches_no_other(how: str) -> None:
    """The answer has arrived whole, and is given up: its bytes must not be the beginning of the next one's."""
    answers = iter(range(1, 9))

    def script(client: socket.socket, _: int) -> None:
        body = b"answer %d" % next(answers)
        client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n%b\r\n" % body[:6])
        client.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 6, body[6:]))

    async def run(url: str) -> bytes:
        client = httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT)
        async with client:
            async with client.stream("POST", url, content=b"q") as first:
                if how == "half read":
                    await anext(first.aiter_raw())
                await asyncio.sleep(0.2)
            return (await client.post(url, content=b"q")).content

    with provider(script) as world:
        assert asyncio.run(run(world.url)) == b"answer 2"


def test_half_a_second_head_is_not_kept_for_the_next_caller() -> None:
    def script(client: socket.socket, number: int) -> None:
        extra = b"HTTP/1.1 200 OK\r\nContent-Type: evil/x\r\nContent-Len" if number == 0 else b"gth: 4\r\n\r\nEVIL"
        client.sendall((OK if number == 0 else b"") + extra)

    async def run(url: str) -> list[Any]:
        async with httpx2.AsyncClient(transport=LeanTransport(), timeout=TIMEOUT) as client:
            seen: list[Any] = []
            for _ in range(2):
                try:
                    answer = await client.post(url, content=b"q")
                    seen.append((answer.content, answer.headers.get("content-type")))
                except httpx2.TransportError as error:
                    seen.append(type(error))
            return seen

    with provider(script) as world:
        first, second = asyncio.run(run(world.url))
    assert first in ((b"ok", None), httpx2.RemoteProtocolError)
    assert b"EVIL" not in repr(second).encode()


@pytest.mark.parametrize("trailer", [b"t: " + b"x" * 200_000, b"t: x\r\n" * 40_000], ids=["one", "many"])
def test_trailers_without_end_are_refused(trailer: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"

    def script(client: socket.socket, _: int) -> None:
        client.sendall(raw)
        for at in range(0, len(trailer), 1000):
            client.sendall(trailer[at : at + 1000])
            threading.Event().wait(0.0005)

    with provider(script) as world, pytest.raises(httpx2.RemoteProtocolError):
        ask(LeanTransport, world.url)


def test_a_trailer_is_no_header() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nretry-after: 9\r\n\r\n"
    with provider(raw) as world:
        (answer,) = ask(LeanTransport, world.url)
    assert (answer.content, "retry-after" in answer.headers) == (b"ok", False)


def test_an_answer_that_was_closed_gives_nothing_of_the_next() -> None:
    """As where time is up for a stream whose client is slow: the connection is another caller's by then."""

    async def run(url: str) -> None:
        transport, key = LeanTransport(), key_of(httpx2.URL(url))
        first = await transport.exchange(key, POST, 2, 2)
        assert await first.read() == b"ok"
        await first.aclose()
        second = await transport.exchange(key, POST, 2, 2)
        with pytest.raises(httpx2.ReadError):
            await first.read()
        assert await second.read() == b"ok"
        await transport.aclose()

    with provider(OK) as world:
        asyncio.run(run(world.url))
    assert world.connections == 1


def test_a_connection_whose_last_answer_is_still_read_is_not_used() -> None:
    """Its end has come, and its reader was not woken yet."""

    async def run(url: str) -> None:
        transport, key = LeanTransport(), key_of(httpx2.URL(url))
        first = await transport.exchange(key, POST, 2, 2)
        assert await first.read() == b"o"
        reading = asyncio.ensure_future(first.read())
        await asyncio.sleep(0)
        first._connection.data_received(b"0\r\n\r\n")
        await first.aclose()
        second = await transport.exchange(key, POST, 2, 2)
        with suppress(httpx2.ReadError):
            assert await reading == b""
        assert await second.read() == b"o"
        await transport.aclose()

    with provider(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n") as world:
        asyncio.run(run(world.url))
    assert world.connections == 2


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stock", [False, True])
def test_a_post_names_its_host_once(stock: bool, signed: bool) -> None:
    """Also where a signature brings along the host that it holds for, as AWS's do: servers refuse two (RFC 9112)."""

    async def run(url: str) -> None:
        context = ssl.create_default_context()
        poster: Poster = StockPoster(httpx2.AsyncHTTPTransport(), 2, 2) if stock else LeanPoster(context, 2, 2)
        reply = await poster.post(url, {"host": "signed.test", "x": "y"} if signed else {"x": "y"}, b"question")
        assert await reply.read() == b"ok"
        await reply.aclose()
        await poster.aclose()

    with provider(OK) as world:
        asyncio.run(run(world.url))
        wanted = "signed.test" if signed else httpx2.URL(world.url).netloc.decode()
    head = world.requests[0].partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert [row for row in head if row.startswith(b"host:")] == [f"host: {wanted}".encode()]
