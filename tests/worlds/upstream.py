"""A provider over a real socket that plays the bytes it is given, and remembers the bytes it got."""

from __future__ import annotations

import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

STREAM = "text/event-stream"
HOLD_SECONDS = 20.0
UPSTREAM_CREDENTIAL = "sk-upstream-4d1c0ffee0ddba11"


@dataclass(frozen=True, slots=True)
class Recording:
    """What to answer. `piece` bytes go into each write, all of them if 0.

    `ending`: `end` as HTTP demands, `cut` the connection without an end, `hold` it open until the other side leaves,
    `repeat` the body for ever; `silence` is `hold` before the head. `after` follows, and then the end, once the
    `gate` of the upstream is open.
    """

    body: bytes
    content_type: str = STREAM
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    piece: int = 0
    ending: str = "end"
    after: bytes = b""


@dataclass(slots=True)
class Received:
    """One request as it came over the wire."""

    head: str
    body: bytes

    @property
    def credential(self) -> str | None:
        """The Authorization header."""
        return self.header("authorization")

    @property
    def path(self) -> str:
        """What was posted to."""
        return self.head.split(" ", 2)[1]

    def header(self, name: str) -> str | None:
        """The header of this name, in lower case."""
        rows = [row.split(":", 1) for row in self.head.split("\r\n") if ":" in row]
        return next((value.strip() for key, value in rows if key.lower() == name), None)


@dataclass
class ScriptedUpstream:
    """Plays `recording` to whoever calls, after each of `first` to one caller in its turn. `received`: the requests;
    `abandoned`: a caller left before the end.
    """

    base_url: str = ""
    recording: Recording = field(default_factory=lambda: Recording(b""))
    first: list[Recording] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    abandoned: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def play(self, *recordings: Recording) -> None:
        """Answer so from now on: in this order, and for ever by the last one."""
        self.received.clear()
        self.abandoned.clear()
        self.gate.clear()
        *self.first, self.recording = recordings

    @property
    def got(self) -> Received:
        """The one request since `play`."""
        assert len(self.received) == 1
        return self.received[0]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256
    upstream: ScriptedUpstream


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        """Requests until either side closes."""
        with suppress(ConnectionError, TimeoutError):
            while (request := self._read()) is not None:
                upstream = self.server.upstream
                recording = upstream.first.pop(0) if upstream.first else upstream.recording
                upstream.received.append(request)
                if not self._answer(recording):
                    return

    def _read(self) -> Received | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return None
            head += line
        rows = head.decode("latin-1").lower().split("\r\n")
        size = next((int(row.split(":")[1]) for row in rows if row.startswith("content-length:")), 0)
        return Received(head.decode("latin-1"), self.rfile.read(size))

    def _answer(self, recording: Recording) -> bool:
        """Play; whether the connection goes on."""
        if recording.ending == "silence":
            self._wait_for_leave()
            return False
        rows = [("content-type", recording.content_type), ("transfer-encoding", "chunked"), *recording.headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in rows)
        self.wfile.write(f"HTTP/1.1 {recording.status} Recorded\r\n{head}\r\n".encode())
        step = recording.piece or max(1, len(recording.body))
        try:
            while True:
                for at in range(0, len(recording.body), step):
                    self._write_chunk(recording.body[at : at + step])
                if recording.ending != "repeat":
                    break
            if recording.after and self.server.upstream.gate.wait(HOLD_SECONDS):
                self._write_chunk(recording.after)
            if recording.ending == "hold":
                self._wait_for_leave()
        except ConnectionError:
            self.server.upstream.abandoned.set()
        if recording.ending == "end":
            self.wfile.write(b"0\r\n\r\n")
        return recording.ending == "end"

    def _wait_for_leave(self) -> None:
        self.connection.settimeout(HOLD_SECONDS)
        if not self.connection.recv(1):
            self.server.upstream.abandoned.set()

    def _write_chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


class _TlsServer(_Server):
    context: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, Any]:
        # The handshake comes with the first read, in the connection's own thread.
        raw, address = super().get_request()
        return self.context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, _request: Any, _address: Any) -> None:
        """A client that refuses the certificate hangs up."""
        assert isinstance(sys.exc_info()[1], OSError)


@contextmanager
def scripted_upstream(context: ssl.SSLContext | None = None) -> Iterator[ScriptedUpstream]:
    """A ScriptedUpstream, listening; behind TLS where a context is given, as `localhost`."""
    with (_Server if context is None else _TlsServer)(("127.0.0.1", 0), _Connection) as server:
        origin = "http://127.0.0.1" if context is None else "https://localhost"
        server.upstream = ScriptedUpstream(f"{origin}:{server.server_address[1]}/v1")
        if isinstance(server, _TlsServer) and context is not None:
            server.context = context
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.upstream
        finally:
            server.shutdown()
            thread.join()


def wired_config(base_url: str) -> str:
    """A gateway's configuration: the embedded mock, a provider at `base_url`, and two that cannot answer.

    The provider's credential is in the environment as WIRE_KEY. What one test makes fail must not be spared in the
    next, so no breaker opens.
    """
    providers = [
        ("mock", "mock", None, None),
        ("wire", "vllm", base_url, "WIRE_KEY"),
        ("absent", "vllm", "http://127.0.0.1:1/v1", "WIRE_KEY"),
        ("keyless", "openai", base_url, "SAFEROUTER_TEST_NO_SUCH_KEY"),
        ("claude", "anthropic", base_url, "WIRE_KEY"),
        ("mini", "minimax", base_url, "WIRE_KEY"),
        ("gpt", "openai", base_url, "WIRE_KEY"),
        ("gpt-pro", "openai-responses", base_url, "WIRE_KEY"),
        ("llama", "ollama", base_url, "WIRE_KEY"),
    ]
    models = [
        ("mock-1", "mock", "mock-1"),
        ("mock-reasoner", "mock", "mock-reasoner"),
        ("wire-1", "wire", "wire-1"),
        ("wire/renamed", "wire", "vendor/their name"),
        ("absent-1", "absent", "absent-1"),
        ("keyless-1", "keyless", "keyless-1"),
        ("claude-1", "claude", "claude-opus-5"),
        ("mini-1", "mini", "MiniMax-M3"),
        ("gpt-1", "gpt", "gpt-5-nano"),
        ("pro-1", "gpt-pro", "gpt-5-pro"),
        ("llama-1", "llama", "embeddinggemma"),
    ]
    rows = []
    for name, family, url, variable in providers:
        rows += ["[[providers]]", f'id = "{name}"', f'family = "{family}"']
        rows += [f'base_url = "{url}"', f'credential_env = "{variable}"'] if url else []
        rows += ['auth_header = "authorization"', 'api_version = "2026-10-21"'] if name == "mini" else []
    for name, provider, theirs in models:
        rows += ["[[models]]", f'id = "{name}"', f'provider = "{provider}"', f'upstream_model = "{theirs}"']
    rows += ["[retry]", "base_milliseconds = 1", "[breaker]", "failures = 64", "window_seconds = 1"]
    return "\n".join(rows) + "\n"
