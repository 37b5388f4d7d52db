"""The bench's own instruments: its provider and clients count right, and what it writes can be read."""

from __future__ import annotations

import shutil
import socket
import threading
import xml.etree.ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.native import CHUNKS, LANES, Load, Place, compile_programs, running_provider
from tests.bench.peers import CHAT, Target
from tests.bench.plot import draw
from tests.bench.report import Report
from tests.bench.rounds import Results, Size

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no cc")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    compile_programs(folder)
    return folder


@contextmanager
def answering(raw: bytes) -> Iterator[int]:
    """A server that answers whatever it reads with these bytes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("lane", LANES)
def test_every_lane_answers_whole(programs: Path, lane: str, stream: bool) -> None:
    with running_provider(programs) as ports:
        seen = Load(2, 0.0, 1.5, stream).put_on(programs, Place(ports[lane], CHAT, "bench-model"))
    assert seen["all"] > 0
    assert seen["refused"] == seen["broken"] == seen["partial"] == 0


def test_clients_tell_what_is_no_whole_answer(programs: Path) -> None:
    """An error, a stream that lacks an event or its end, and one that breaks off."""

    def seen(raw: bytes, stream: bool) -> dict[str, float]:
        with answering(raw) as port:
            return Load(2, 0.0, 0.5, stream).put_on(programs, Place(port, CHAT, "bench-model"))

    def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
        return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)

    event, end = b"data: {}\n\n", b"data: [DONE]\n\n"
    whole = seen(answer(event * CHUNKS + end), True)
    assert whole["whole"] > 0
    assert whole["partial"] == whole["refused"] == whole["broken"] == 0
    assert seen(answer(b"{}", b"503 Service Unavailable"), False)["refused"] > 0
    for body in (event * CHUNKS, event * (CHUNKS - 2) + end, b"data" * CHUNKS + end):
        partial = seen(answer(body), True)
        assert partial["partial"] > 0
        assert partial["whole"] == 0
    cut = seen(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + event, True)
    assert cut["broken"] > 0
    assert cut["whole"] == 0


def test_table_and_plot_show_each_target() -> None:
    results = Results()
    names = ("direct", "saferouter", "litellm")
    for factor, name in enumerate(names, 1):
        row = {"rate": 100.0 / factor, "latency_p50_ms": 1.0, "added_latency_p50_ms": 0.5, "cpu_ms": 0.3 * 25**factor}
        results.rounds[name] = {f"{case}/16": [row, row] for case in ("buffered", "streamed", "paced", "thinking")}
        results.idle[name] = results.loaded[name] = 50.0
    targets = [Target(name, "1", 1, {}) for name in names]
    size = Size(rounds=2, seconds=1.0, warm=0.0, concurrency=(16,))
    report = Report(
        "now", 0.5, size, targets, {"portkey": "no node"}, results, [(9_000, 80.0), (100_000, 88.0)], ("a part",)
    )
    text = report.to_markdown()
    assert "| litellm | 25.00 | 25.00 | 1.50 | at least 20: met |" in text
    assert "**skipped: portkey**, no node" in text
    assert "88.0 → 88.0 MiB" in text
    assert report.to_json()["targets"]["litellm"]["rounds"]["paced/16"][0]["rate"] == 100 / 3
    drawing = xml.etree.ElementTree.fromstring(draw(report))
    words = {element.text for element in drawing.iter() if element.tag.endswith("text")}
    assert {"saferouter", "litellm", "188", "4,688"} <= words
