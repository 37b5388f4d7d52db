"""What the gateway costs: the same calls direct and through it, in one run, as ratios. `make bench`."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2

from gateway.sequencer import Sequencer
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD
from gateway.storage.writer import GroupCommit, Transaction

CALLS, CONCURRENCY, ROUNDS = 300, 16, 3
RECORDS = 20_000
BODY = {"model": "bench", "messages": [{"role": "user", "content": "Say something short."}]}
PROVIDER = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
from gateway.http.mock_provider import mock_provider_app
config = Config()
config.bind, config.accesslog, config.errorlog = [f"127.0.0.1:{sys.argv[1]}"], None, None
config.keep_alive_max_requests = 1 << 30
asyncio.run(serve(mock_provider_app("bench-key"), config))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def process(command: list[str], environ: dict[str, str], ready: str) -> Iterator[int]:
    """Run a command until its URL answers at all; gives its process id."""
    child = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(ready, timeout=1).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield child.pid
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(10)


def resident_mib(pid: int) -> float:
    """Resident memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def calls_per_second(url: str, key: str, stream: bool) -> float:
    """Whole calls a second at fixed concurrency."""
    body = BODY | ({"stream": True} if stream else {})
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False) as client:

        async def work(count: int) -> None:
            for _ in range(count):
                answer = await client.post(f"{url}/chat/completions", json=body)
                answer.raise_for_status()

        await work(5)
        start = time.perf_counter()
        await asyncio.gather(*(work(CALLS // CONCURRENCY) for _ in range(CONCURRENCY)))
        return CALLS / (time.perf_counter() - start)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def record(folder: Path, leaf: bool) -> tuple[float, float]:
    """Records a second that become durable on SQLite, and CPU seconds of each; with a leaf of the log, or without."""
    engine = open_database(f"sqlite:///{folder / f'bench-{leaf}.sqlite3'}")
    writer = GroupCommit(
        engine, Sequencer(1, EMPTY_HEAD, partial(hmac.digest, bytes(32), digest="sha256"), time.time, ())
    )
    body = {"commitment": "sha256:" + "0" * 64}

    def operation(transaction: Transaction) -> None:
        if leaf:
            transaction.sequence.append("receipt", body)

    start, cpu = time.perf_counter(), time.process_time()
    for done in [writer.submit(operation) for _ in range(RECORDS)]:
        done.result()
    took = RECORDS / (time.perf_counter() - start), (time.process_time() - cpu) / RECORDS
    writer.stop()
    return took


def main() -> None:
    """Print one line per shape of call: direct, through the gateway, and the ratio; then what the log costs."""
    provider_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "gateway.toml")
        config.write_text(
            f'[[providers]]\nid = "bench"\nfamily = "vllm"\nbase_url = "http://127.0.0.1:{provider_port}/v1"\n'
            '[[models]]\nid = "bench"\nprovider = "bench"\nupstream_model = "mock-1"\n'
        )
        environ = {"SAFEROUTER_STATE": folder, "PORT": str(port), "VLLM_API_KEY": "bench-key"}
        serve = [str(Path(sys.executable).parent / "saferouter"), "serve", "--insecure-mock", "--demo"]
        direct, through = f"http://127.0.0.1:{provider_port}/v1", f"http://127.0.0.1:{port}/v1"
        with (
            process([sys.executable, "-c", PROVIDER, str(provider_port)], {}, f"{direct}/models"),
            process([*serve, "--config", str(config)], environ, f"http://127.0.0.1:{port}/readyz") as pid,
        ):
            key = json.loads(Path(folder, "demo.json").read_text())["api_key"]
            cpu = cpu_seconds(pid)
            for stream in (False, True):
                rounds = []
                for _ in range(ROUNDS):
                    BODY["model"] = "mock-1"
                    peer = asyncio.run(calls_per_second(direct, "bench-key", stream))
                    BODY["model"] = "bench"
                    rounds.append((peer, asyncio.run(calls_per_second(through, key, stream))))
                ratio = statistics.median(ours / peer for peer, ours in rounds)
                peer, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
                shape = "streamed" if stream else "buffered"
                print(f"{shape}: direct {peer:.0f}/s, through the gateway {ours:.0f}/s, ratio {ratio:.2f}")
            a_call = (cpu_seconds(pid) - cpu) / (2 * ROUNDS * (CALLS + 5))
            print(f"resident memory of the gateway after {2 * ROUNDS * CALLS} calls: {resident_mib(pid):.0f} MiB")
        logged, bare = record(Path(folder), True), record(Path(folder), False)
        share = 2 * (logged[1] - bare[1]) / a_call  # a call has two leaves
        print(f"log: {logged[0]:.0f} durable leaves/s; two leaves: {share:.0%} of a call's {a_call * 1e3:.1f} ms CPU")


if __name__ == "__main__":
    main()
