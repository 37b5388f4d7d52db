"""What the log costs: the same calls direct, through the gateway, and through it without its log, in turns."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.clients import CONCURRENCY, Target, calls_per_second
from tests.bench.record import leaves_per_second
from tests.worlds.gateway import RunningGateway, chat_body
from tests.worlds.load import LOAD_ENVIRON, load_config
from tests.worlds.provider import PROVIDER_KEY, running_provider

ROUNDS = 15  # many and short, so that what else the machine does falls on all sides alike
CALLS = {"buffered": 160, "streamed": 96}
SAID = "Say something. mock:chunks=62"  # 64 events of a stream, with its first and its last
BAR = 0.25  # of the gateway's CPU a call, at most, is the log's


@dataclass(frozen=True, slots=True)
class Round:
    """Calls a second, and CPU seconds a call; 0 where the process is not ours to measure."""

    rate: float
    cpu: float = 0.0


def cpu_seconds(pid: int) -> float:
    """CPU time that the threads of a process have used: finer than the ticks of its `stat`."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def through(gateway: RunningGateway, body: bytes, calls: int) -> Round:
    """One round of calls through a gateway."""
    before = cpu_seconds(gateway.pid)
    rate = asyncio.run(calls_per_second(Target(gateway.port, gateway.api_key), body, calls))
    return Round(rate, (cpu_seconds(gateway.pid) - before) / calls)


def measure(provider_port: int, logged: RunningGateway, unlogged: RunningGateway, shape: str) -> str:
    """Every side in turns; medians, as a line."""
    stream, calls = shape == "streamed", CALLS[shape]
    theirs, ours = (chat_body(SAID, model, stream=stream) for model in ("mock-1", "load-1"))
    rows: list[tuple[Round, Round, Round]] = []
    for turn in range(ROUNDS + 1):
        peer = Round(asyncio.run(calls_per_second(Target(provider_port, PROVIDER_KEY), theirs, calls)))
        order = (logged, unlogged) if turn % 2 else (unlogged, logged)
        found = {each.port: through(each, ours, calls) for each in order}
        rows.append((peer, found[logged.port], found[unlogged.port]))
    del rows[0]  # it warmed them up
    direct, on, off = (statistics.median(row[at].rate for row in rows) for at in range(3))
    cpu_on, cpu_off = (statistics.median(row[at].cpu for row in rows) for at in (1, 2))
    ratio = statistics.median(row[1].rate / row[0].rate for row in rows)
    share = statistics.median(1 - row[2].cpu / row[1].cpu for row in rows)
    return (
        f"{shape}: direct {direct:.0f}/s; log on {on:.0f}/s, {cpu_on * 1e3:.2f} ms CPU a call; "
        f"log off {off:.0f}/s, {cpu_off * 1e3:.2f} ms; through : direct {ratio:.2f}; "
        f"the log's share of CPU {share:.0%} ({'within' if share < BAR else 'OVER'} the bar of {BAR:.0%})"
    )


def resident_mib(pid: int) -> float:
    """Resident memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def log_share() -> list[str]:
    """A line for each shape of call, then memory, then what the disk takes."""
    lines = []
    with tempfile.TemporaryDirectory() as name, running_provider() as url:
        folder, config, port = Path(name), load_config(url), urlsplit(url).port or 0
        command = (sys.executable, "-m", "tests.bench.unlogged")
        with (
            RunningGateway(folder / "on", config=config, environ=LOAD_ENVIRON) as logged,
            RunningGateway(folder / "off", config=config, environ=LOAD_ENVIRON, command=command) as unlogged,
        ):
            for shape in CALLS:
                line = measure(port, logged, unlogged, shape)
                lines.append(f"{line} (medians of {ROUNDS}, {CONCURRENCY} clients)")
            calls = (ROUNDS + 1) * sum(CALLS.values())
            lines.append(f"resident memory after {calls} calls: {resident_mib(logged.pid):.0f} MiB")
        grouped, alone = leaves_per_second(folder)
        lines.append(f"log on disk: {grouped:.0f} durable leaves/s in groups, {alone:.0f}/s one after the other")
    return lines
