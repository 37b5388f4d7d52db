"""HTTP/1.1 at the socket: ours and hypercorn's own answer alike; what could be read in two ways is refused."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.http import http1
from gateway.http.exchange import Exchange
from tests.worlds.http_server import Seen, http_server

ENDLESS = 32 << 20
BOTH = pytest.mark.parametrize("server", [True, False], ids=["hypercorn", "ours"], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Seen]:
    with http_server(stock=getattr(request, "param", False)) as seen:
        yield seen


@contextmanager
def connected(seen: Seen) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", seen.port), timeout=5) as client:
        yield client


def exchange(seen: Seen, raw: bytes) -> bytes:
    """Everything that is answered to these bytes, until the server hangs up."""
    with connected(seen) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR) if raw.endswith(b"KEEP") else None
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    parts = []
    try:
        while piece := client.recv(65536):
            parts.append(piece)
    except ConnectionResetError:
        parts.append(b"RESET")
    return b"".join(parts)


def request(path: str = "/", *rows: str, method: str = "GET", body: bytes = b"", close: bool = True) -> bytes:
    rows = ("Host: x", *rows, *(["Connection: close"] if close else []))
    return "\r\n".join([f"{method} {path} HTTP/1.1", *rows, "", ""]).encode() + body


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    rows = head.decode().split("\r\n")
    return (
        int(rows[0].split()[1]),
        {name.lower(): value for name, _, value in (row.partition(": ") for row in rows[1:])},
        body,
    )


@BOTH
def test_a_request_is_answered_with_its_facts(server: Seen) -> None:
    status, headers, body = parts(
        exchange(server, request("/a%20b?c=d", "Content-Length: 3", method="POST", body=b"xyz"))
    )
    assert (status, json.loads(body)) == (200, {"path": "/a b", "query": "c=d", "size": 3, "method": "POST"})
    assert headers["connection"] == "close"
    assert headers["date"].endswith("GMT")


@BOTH
def test_a_chunked_body_arrives_whole(server: Seen) -> None:
    raw = request("/", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n")
    assert json.loads(parts(exchange(server, raw))[2])["size"] == 7
    assert server.requests == [("POST", "/", b"abcdefg")]


@BOTH
def test_every_byte_by_itself_makes_the_same_request(server: Seen) -> None:
    with connected(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("/", "Content-Length: 3", method="POST", body=b"xyz"):
            client.sendall(bytes([byte]))
        assert parts(read_all(client))[0] == 200
    assert server.requests == [("POST", "/", b"xyz")]


@BOTH
def test_requests_in_one_write_are_answered_in_order(server: Seen) -> None:
    raw = b"".join(request(f"/{n}", "Content-Length: 1", method="POST", body=b"x", close=n == 4) for n in range(5))
    answer = exchange(server, raw)
    assert [path for _, path, _ in server.requests] == [f"/{n}" for n in range(5)]
    assert [answer.index(b'"/%d"' % n) for n in range(5)] == sorted(answer.index(b'"/%d"' % n) for n in range(5))


@BOTH
def test_a_stream_is_chunked_and_ends(server: Seen) -> None:
    _, headers, body = parts(exchange(server, request("/stream")))
    assert headers["transfer-encoding"] == "chunked"
    assert body == b"9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"


@BOTH
def test_an_old_client_gets_no_chunks(server: Seen) -> None:
    status, headers, body = parts(exchange(server, b"GET /stream HTTP/1.0\r\n\r\n"))
    assert (status, body) == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert "transfer-encoding" not in headers


@BOTH
def test_a_head_request_gets_no_body(server: Seen) -> None:
    _, headers, body = parts(exchange(server, request(method="HEAD")))
    assert (int(headers["content-length"]) > 0, body) == (True, b"")


@BOTH
def test_a_client_that_waits_for_it_is_told_to_go_on(server: Seen) -> None:
    with connected(server) as client:
        client.sendall(request("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"ok")
        assert parts(read_all(client))[0] == 200


@BOTH
def test_an_answer_that_broke_off_does_not_look_whole(server: Seen) -> None:
    answer = exchange(server, request("/half"))
    assert b"0\r\n\r\n" not in answer


@BOTH
def test_a_failure_is_a_500(server: Seen) -> None:
    assert parts(exchange(server, request("/fail")))[0] == 500


@BOTH
def test_the_application_learns_that_a_client_left(server: Seen) -> None:
    with connected(server) as client:
        client.sendall(request("/leave", close=False))
        time.sleep(0.2)
    assert server.left.wait(3)


@pytest.mark.parametrize(
    "rows",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 3"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: +3",),
        ("Content-Length: 3 3",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding : chunked",),
        ("Bad Name: x",),
        ("X: a\x00b",),
        ("X: a\rb",),
        ("Host: another",),
    ],
)
def test_a_head_with_two_readings_reaches_no_application(server: Seen, rows: tuple[str, ...]) -> None:
    answer = exchange(
        server, request("/", *rows, method="POST", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    )
    status = parts(answer)[0]
    assert status in (400, 501), answer
    assert server.requests == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request_is_refused(server: Seen, head: bytes) -> None:
    assert parts(exchange(server, head))[0] in (400, 501, 505)
    assert server.requests == []


def test_the_target_may_be_a_whole_address(server: Seen) -> None:
    assert json.loads(parts(exchange(server, request("http://x/p?q=1")))[2]) == {
        "path": "/p", "query": "q=1", "size": 0, "method": "GET"
    }  # fmt: skip


@BOTH
@pytest.mark.parametrize("piece", [b"X: " + b"x" * 200, b"y" * 200, b"x: y\r\n"])
def test_a_head_without_end_is_refused(server: Seen, piece: bytes) -> None:
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        try:
            while sent < ENDLESS:
                client.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
    assert sent < ENDLESS


def test_too_many_headers_are_refused(server: Seen) -> None:
    assert parts(exchange(server, request("/", *["x: y"] * 101)))[0] == 431


def test_a_broken_chunk_ends_the_request(server: Seen) -> None:
    raw = request("/", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabcX\r\n0\r\n\r\n")
    assert parts(exchange(server, raw))[0] == 400
    assert server.requests == []


def test_an_upgrade_is_answered_as_if_none_was_asked_for(server: Seen) -> None:
    raw = request("/", "Upgrade: websocket", "Connection: Upgrade", close=False)
    status, headers, _ = parts(exchange(server, raw + b"not http at all"))
    assert (status, headers["connection"]) == (200, "close")


@BOTH
def test_a_refusal_before_the_body_reaches_who_still_sends(server: Seen) -> None:
    with connected(server) as client:
        client.sendall(request("/early", "Content-Length: 400000", method="POST", close=False) + b"x" * 100_000)
        assert client.recv(12) == b"HTTP/1.1 413"


def test_who_sends_for_ever_after_a_refusal_is_cut(server: Seen) -> None:
    with connected(server) as client, pytest.raises(ConnectionError):
        client.sendall(request("/early", "Content-Length: 900000000", method="POST", close=False))
        for _ in range(1000):
            client.sendall(b"x" * 65536)


def test_a_body_waits_in_the_network_not_in_memory(server: Seen) -> None:
    size = 24 << 20
    with connected(server) as client:
        client.sendall(request("/slow", f"Content-Length: {size}", method="POST", close=False))
        client.setblocking(False)
        sent, until = 0, time.monotonic() + 1
        while time.monotonic() < until:
            try:
                sent += client.send(b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.01)
    assert sent < size


def test_an_answer_waits_for_who_reads_slowly(server: Seen) -> None:
    with connected(server) as client:
        client.sendall(request("/flood"))
        client.recv(10)
        time.sleep(0.5)
        before = server.pulled
        time.sleep(0.3)
        assert server.pulled == before < 1000


def test_a_pipelining_client_cannot_make_us_read_ahead(server: Seen) -> None:
    one = request("/leave", close=False)
    with connected(server) as client:
        client.setblocking(False)
        sent, until = 0, time.monotonic() + 1
        while time.monotonic() < until:
            try:
                sent += client.send(one * 1000)
            except BlockingIOError:
                time.sleep(0.01)
    assert sent < 16 << 20


def test_an_idle_connection_is_closed() -> None:
    with http_server(stock=False, keep_alive=0.3) as seen, connected(seen) as client:
        client.sendall(request("/", close=False))
        client.recv(65536)
        assert client.recv(1) == b""


def test_a_head_that_never_ends_is_not_waited_for(server: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "HEAD_SECONDS", 0.2)
    with connected(server) as client:
        client.sendall(b"GET / HT")
        assert read_all(client) == b""


def test_a_stop_lets_a_running_answer_end() -> None:
    with http_server(stock=False) as seen:
        client = socket.create_connection(("127.0.0.1", seen.port), timeout=5)
        client.sendall(request("/slow", "Content-Length: 4", method="POST", close=False, body=b"ab"))
        time.sleep(0.1)
        client.sendall(b"cd")
    with client:
        assert parts(read_all(client))[0] == 200


@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_a_body_behind_an_upgrade_arrives(server: Seen, framing: str) -> None:
    """As Java's client sends each of its first requests."""
    rows = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__", framing)
    body = b"xyz" if framing.endswith("3") else b"3\r\nxyz\r\n0\r\n\r\n"
    head = request("/a", *rows, method="POST", close=False)
    answer = exchange(server, head + body + request("/b"))
    assert server.requests == [("POST", "/a", b"xyz"), ("GET", "/b", b"")]
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_body_behind_an_upgrade_may_come_in_pieces(server: Seen) -> None:
    head = request("/a", "Upgrade: h2c", "Content-Length: 4", method="POST")
    with connected(server) as client:
        for piece in (head[:30], head[30:], b"w", b"xy", b"z"):
            client.sendall(piece)
            time.sleep(0.02)
        assert parts(read_all(client))[0] == 200
    assert server.requests == [("POST", "/a", b"wxyz")]


def test_a_trailer_is_no_header(server: Seen) -> None:
    body = b"1\r\nx\r\n0\r\nauthorization: Bearer stolen\r\nhost: evil\r\n\r\n"
    exchange(server, request("/", "Transfer-Encoding: chunked", method="POST", body=body))
    assert [name for name, _ in server.headers[0]] == [b"host", b"transfer-encoding", b"connection"]


@pytest.mark.parametrize("piece", [b"x" * 8192, b"t: x\r\n" * 1000])
def test_trailers_without_end_are_refused(server: Seen, piece: bytes) -> None:
    with connected(server) as client:
        client.sendall(request("/", "Transfer-Encoding: chunked", method="POST", body=b"1\r\nx\r\n0\r\ntrailer: "))
        with pytest.raises(ConnectionError):
            for _ in range(ENDLESS // len(piece)):
                client.sendall(piece)


def test_what_follows_a_whole_request_does_not_take_its_answer(server: Seen) -> None:
    whole = request("/slow", "Content-Length: 1", method="POST", body=b"x", close=False)
    answer = exchange(server, whole + b"garbage\r\n\r\n")
    assert (answer.count(b"HTTP/1.1 200 OK"), answer.count(b"HTTP/1.1 4")) == (1, 0)


def test_a_long_body_before_half_a_head_is_no_long_head(server: Seen) -> None:
    size = 120_000
    raw = (
        request("/", f"Content-Length: {size}", method="POST", body=b"x" * size, close=False) + b"GET / HTTP/1.1\r\nHo"
    )
    with connected(server) as client:
        client.sendall(raw)
        client.sendall(b"st: x\r\nConnection: close\r\n\r\n")
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 2


def test_a_request_leaves_nothing_for_the_garbage_collector(server: Seen) -> None:
    gc.collect()
    gc.disable()
    try:
        with connected(server) as client:
            for _ in range(20):
                client.sendall(request("/", close=False))
                client.recv(65536)
            client.sendall(request("/"))
            read_all(client)
        left = sum(isinstance(each, Exchange) for each in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 1


def test_a_failure_ends_the_connection_with_what_waits_behind_it(server: Seen) -> None:
    answer = exchange(server, request("/fail", close=False) + request("/"))
    assert answer.count(b"HTTP/1.1") == 1
    assert parts(answer)[0] == 500


def test_a_broken_request_behind_another_ends_the_connection(server: Seen) -> None:
    broken = request("/", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n", close=False)
    answer = exchange(server, request("/a", close=False) + broken)
    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(b"HTTP/1.1") == 1
