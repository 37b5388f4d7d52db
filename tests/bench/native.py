"""The two C programs of the bench, compiled where they run: a provider and clients that cost next to nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "c"
CHUNKS = 64
# Lanes of the provider: how long it thinks, how many events a stream has, and how far they are apart (µs).
LANES = {"fast": (0, CHUNKS, 0), "thinking": (50_000, CHUNKS, 0), "paced": (0, CHUNKS, 10_000)}
SUBJECT_CORE, OUR_CORE = 0, 1
MODEL = "bench-model"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how one lane of a target is asked."""

    port: int
    path: str
    model: str
    headers: tuple[tuple[str, str], ...] = ()

    def request(self, stream: bool) -> bytes:
        """The whole request: 300 bytes of a chat."""
        question = (
            "Write a short haiku about gateways on a machine with two cores, and say what it is that they wait for."
        )
        messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": question}]
        fields = {"model": self.model, "messages": messages, "temperature": 0.7} | ({"stream": True} if stream else {})
        body = json.dumps(fields, separators=(",", ":")).encode()
        head = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers] + [f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", ""]).encode() + body


def on_core(core: int) -> tuple[str, ...]:
    """The command's beginning that keeps a program on one core, so that ours do not compete with what is measured."""
    several = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ("taskset", "-c", str(core)) if several else ()


def compile_programs(folder: Path) -> None:
    """Make both, unless they are newer than their sources."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("The bench needs a C compiler, `cc`: its clients and its provider must cost next to nothing.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("provider", "load"):
        source, program = SOURCES / f"{name}.c", folder / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)


@contextmanager
def running_provider(folder: Path) -> Iterator[dict[str, int]]:
    """The provider; its port by lane."""
    lanes = [":".join(map(str, lane)) for lane in LANES.values()]
    command = [*on_core(OUR_CORE), str(folder / "provider"), *lanes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield {lane: int(process.stdout.readline()) for lane in LANES}
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Load:
    """One run of clients: how many, for how long (seconds), and whether they ask for streams."""

    clients: int
    warm: float
    seconds: float
    stream: bool = False

    def put_on(self, folder: Path, place: Place) -> dict[str, Any]:
        """What they saw."""
        events = CHUNKS if self.stream else 0
        times = [str(int(seconds * 1000)) for seconds in (self.warm, self.seconds)]
        command = [*on_core(OUR_CORE), str(folder / "load"), str(place.port), str(self.clients), *times, str(events)]
        done = subprocess.run(
            command, input=place.request(self.stream), stdout=subprocess.PIPE, timeout=self.warm + self.seconds + 90
        )
        if done.returncode:
            print(f"the clients ended with {done.returncode}", file=sys.stderr)
            return {}
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen
