"""A provider that fails in every way there is, each by the name of a model, and a gateway that is looked into."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.worlds.gateway import RunningGateway, free_port

SILENCE_SECONDS = 3  # of the gateway that is used where a provider stalls: a busy machine is no stall
FRAME, ANSWER = 64 << 10, 1 << 20  # bytes: the bounds that huge lines and bodies pass
_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # SO_LINGER of 0: the connection ends in a reset
_PIECE = '{"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":%s,'
_WORDS = "".join("data: " + _PIECE % '{"content":"a"}' + '"finish_reason":null}]}\n\n' for _ in range(3)).encode()
_END = ("data: " + _PIECE % "{}" + '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n').encode()
_RECORD = b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"a"},"done":%b}\n'
_REFUSAL = b'{"error":{"message":"not now","type":"t","param":null,"code":"c"}}'


@dataclass(frozen=True, slots=True)
class Fault:
    """What its client gets. `status`; the error's `code`, none of an answer; whether it is `in_band`, in a stream that
    had begun; the `retry_after` that is passed on. `stream` is what the client asks for. `either`: 502 instead, where
    the fault comes so soon that nothing of the answer has left.
    """

    name: str
    stream: bool
    status: int
    code: str | None
    in_band: bool = False
    retry_after: str | None = None
    stalls: bool = False
    either: bool = False
    family: str = "vllm"


FAULTS = (
    Fault("refused", False, 502, "upstream_failed"),
    Fault("slow-headers", False, 502, "upstream_timeout", stalls=True),
    Fault("slow-stream", True, 502, "upstream_timeout", stalls=True),
    Fault("stall", True, 200, "upstream_timeout", in_band=True, stalls=True),
    Fault("stall-body", False, 502, "upstream_timeout", stalls=True),
    Fault("cut", True, 200, "upstream_failed", in_band=True),
    Fault("reset", True, 200, "upstream_failed", in_band=True, either=True),
    Fault("cut-early", True, 502, "upstream_failed"),
    Fault("cut-body", False, 502, "upstream_failed"),
    Fault("no-end", True, 200, "upstream_cut", in_band=True),
    Fault("broken-line", True, 200, None, family="ollama"),
    Fault("broken-body", False, 502, "upstream_failed"),
    Fault("content-type", True, 502, "upstream_failed"),
    Fault("429-after", False, 429, "c", retry_after="120"),
    Fault("429", True, 429, "c"),
    Fault("500", False, 500, "c"),
    Fault("503", True, 503, "c"),
    Fault("502-html", False, 502, "upstream_failed"),
    Fault("huge-line", True, 200, "upstream_frame_too_long", in_band=True, either=True),
    Fault("huge-body", False, 502, "upstream_too_large"),
    Fault("huge-header", False, 502, "upstream_failed"),
    Fault("none", True, 200, None),
)


def _head(status: int, content_type: str, *more: str, length: int | None = None) -> bytes:
    rows = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", "connection: close", *more]
    rows += [] if length is None else [f"content-length: {length}"]
    return ("\r\n".join(rows) + "\r\n\r\n").encode()


_STREAM = _head(200, "text/event-stream", "transfer-encoding: chunked")
_LINES = _head(200, "application/x-ndjson", "transfer-encoding: chunked")


def _chunk(raw: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(raw), raw)


def _whole(status: int, body: bytes, *more: str, content_type: str = "application/json") -> bytes:
    return _head(status, content_type, *more, length=len(body)) + body


# What is sent, and whether the connection is then held open until the other side leaves.
_ACTS: dict[str, tuple[bytes, bool]] = {
    "slow-headers": (b"", True),
    "slow-stream": (_STREAM + _chunk(b": soon\n\n"), True),
    "stall": (_STREAM + _chunk(_WORDS), True),
    "stall-body": (_head(200, "application/json", length=1000) + b'{"id":', True),
    "cut": (_STREAM + _chunk(_WORDS), False),
    "reset": (_STREAM + _chunk(_WORDS), False),
    "cut-early": (_STREAM, False),
    "cut-body": (_head(200, "application/json", length=1000) + b'{"id":', False),
    "no-end": (_STREAM + _chunk(_WORDS) + b"0\r\n\r\n", False),
    "broken-line": (
        _LINES + _chunk(_RECORD % b"false" + b'{"message":{"con\n' + _RECORD % b"true") + b"0\r\n\r\n",
        False,
    ),
    "broken-body": (_whole(200, b'{"id":'), False),
    "content-type": (_whole(200, b"<html>welcome</html>", content_type="text/html"), False),
    "429-after": (_whole(429, _REFUSAL, "retry-after: 120"), False),
    "429": (_whole(429, _REFUSAL), False),
    "500": (_whole(500, _REFUSAL), False),
    "503": (_whole(503, _REFUSAL), False),
    "502-html": (_whole(502, b"<html>oops</html>", content_type="text/html"), False),
    "huge-line": (_STREAM + _chunk(_WORDS) + _chunk(b"data: " + b"x" * 3 * FRAME), False),
    "huge-body": (_whole(200, b'{"id":"' + b"x" * 2 * ANSWER + b'"}'), False),
    "huge-header": (_whole(200, b"{}", "x-huge: " + "x" * (1 << 20)), False),
    "none": (_STREAM + _chunk(_WORDS) + _chunk(_END) + b"0\r\n\r\n", False),
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, and its fault; the connection ends with it."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = int(head.split("content-length:")[1].split("\r\n")[0])
        name = json.loads(await reader.readexactly(size))["model"]
        raw, held = _ACTS[name]
        writer.write(raw)
        await writer.drain()
        if held:
            await reader.read()
        if name == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
    writer.close()


@contextmanager
def failing_provider() -> Iterator[str]:
    """The provider, in a thread of its own; gives its origin."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024, limit=1 << 20))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process holds. `files` are by name, as often as each is open; sockets have one name."""

    tasks: int
    files: Counter[str]
    memory: int  # bytes

    @property
    def sockets(self) -> int:
        """How many are open."""
        return self.files["socket"]

    def __str__(self) -> str:
        held = f"{self.sockets} sockets, {self.files.total()} descriptors, {self.memory / (1 << 20):.1f} MiB"
        return f"{self.tasks} tasks, {held}"


class WatchedGateway(RunningGateway):
    """A gateway that can be asked what it holds."""

    def __init__(self, state: Path, config: str, chip: Path) -> None:
        self._watch = state.with_name("watch")
        environ = {"WATCHED_SOCKET": str(self._watch), "FAULT_KEY": "sk-fault"}
        command = (sys.executable, "-P", str(Path(__file__).with_name("watched.py")))
        super().__init__(state, config=config, chip=chip, environ=environ, command=command)

    def __enter__(self) -> WatchedGateway:
        self.start()
        return self

    def figures(self) -> Figures:
        """What it holds now."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self._watch))
            tasks = int(asking.recv(64))
        return Figures(tasks, Counter(self._open_files()), self.memory())

    def _open_files(self) -> Iterator[str]:
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                yield str(link.readlink()).split(":")[0]


def fault_config(origin: str, *, hasty: bool) -> str:
    """A gateway with a model for each fault: `hasty` waits for no provider that stalls."""
    rows = [f"[limits]\nframe = {FRAME}\nanswer = {ANSWER}"]
    rows += [f"silence_seconds = {SILENCE_SECONDS}\nfirst_token_seconds = {SILENCE_SECONDS}"] if hasty else []
    rows.append("[retry]\nattempts = 2\nbase_milliseconds = 1\ncap_milliseconds = 1")
    for fault in FAULTS:
        url = f"http://127.0.0.1:{free_port()}" if fault.name == "refused" else origin
        url += "/v1" if fault.family == "vllm" else ""
        rows.append(f'[[providers]]\nid = "at-{fault.name}"\nfamily = "{fault.family}"\nbase_url = "{url}"')
        rows.append('credential_env = "FAULT_KEY"')
        rows.append(f'[[models]]\nid = "{fault.name}"\nprovider = "at-{fault.name}"')
    return "\n".join(rows) + "\n"
