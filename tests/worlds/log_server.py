"""A log on the web: a SmallLog's checkpoint and tiles over a real socket, as honest as its test wants it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tee.log.entry import NO_LEAF, LogEntry, chain_hash
from tee.log.note import Note
from tee.log.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, encode_entries, parse_tile_path, tile_width
from tests.worlds.small_log import SmallLog, SmallWitness

PREFIX = "/attestation/transparency"
STARTED_AT = 1_795_240_000
STARTUP: dict[str, Any] = {
    "keyset_digest": "sha256:" + "1" * 64,
    "workload_digest": "sha256:" + "2" * 64,
    "measurement": "a" * 96,
    "report_digest": "sha256:" + "3" * 64,
    "audience": "https://gw.example.com",
    "build": {"version": "1.0"},
    "configuration": {"models": "sha256:" + "4" * 64, "providers": "sha256:" + "5" * 64},
}
NOT_FOUND = b"<Error><Code>NoSuchKey</Code></Error>" * 20  # longer than a small tile, as such pages are
COMMITMENT = {"commitment": "sha256:" + "9" * 64}


def add(log: SmallLog, kind: str = "route", body: dict[str, Any] | None = None, **faults: Any) -> None:
    """One more leaf, chained to the last; `faults` replace its index or `prev`."""
    prev = chain_hash(log.leaves[-1]) if log.leaves else NO_LEAF
    members: dict[str, Any] = {"index": len(log.leaves), "prev": prev, "time": STARTED_AT + len(log.leaves)}
    log.leaves.append(LogEntry(**(members | faults), type=kind, body=COMMITMENT if body is None else body).encode())


def new_log(size: int, **members: Any) -> SmallLog:
    """A log whose first leaf is a startup and whose others are routes."""
    log = SmallLog(**members)
    add(log, "startup", STARTUP)
    while len(log.leaves) < size:
        add(log)
    return log


def cloned(log: SmallLog) -> SmallLog:
    """The same log on another machine: the same key, and from here on leaves of its own."""
    return SmallLog(log.origin, log.secret, list(log.leaves))


def read_tile(log: SmallLog, tile: Tile) -> bytes:
    places = range(tile.number * TILE_WIDTH, tile.number * TILE_WIDTH + tile.width)
    if tile.level is None:
        return encode_entries(log.leaves[at] for at in places)
    return b"".join(log.read(tile.level * TILE_HEIGHT, at) for at in places)


@dataclass
class LogServer:
    """Serves `log`. `lies` replace the answers at these paths below the prefix; each answer waits `delay` seconds."""

    log: SmallLog
    url: str = ""
    witnesses: list[SmallWitness] = field(default_factory=list)
    lies: dict[str, bytes] = field(default_factory=dict)
    delay: float = 0.0
    keeps_partial: bool = True
    asked: list[str] = field(default_factory=list)

    def checkpoint(self) -> Note:
        note = self.log.checkpoint()
        for witness in self.witnesses:
            note = witness.cosign(note)
        return note

    def answer(self, path: str) -> bytes | None:
        """What lies at this path; None for nothing."""
        if path in self.lies:
            return self.lies[path]
        if path == "":
            return json.dumps({"vkey": self.log.key.encode()}).encode()
        if path == "checkpoint":
            return self.checkpoint().encode()
        if not path.startswith("tile/"):
            return None
        tile = parse_tile_path(path)
        width = tile_width(tile, len(self.log.leaves))
        served = tile.width == width or (self.keeps_partial and tile.width < width)
        return read_tile(self.log, tile) if served else None


def _handler(server: LogServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.removeprefix(PREFIX).removeprefix("/")
            server.asked.append(path)
            body = server.answer(path)
            self.send_response(404 if body is None else 200)
            body = NOT_FOUND if body is None else body
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.flush()
            time.sleep(server.delay)
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print nothing."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that hangs up early is part of the game."""


@contextmanager
def log_server(log: SmallLog) -> Iterator[LogServer]:
    """A LogServer on a free port."""
    served = LogServer(log)
    with _Server(("127.0.0.1", 0), _handler(served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
