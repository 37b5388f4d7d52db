"""`make foreign`: clients of other makers, installed as they are, against a live gateway and its mock provider.

Prints one line for each feature of each client, writes docs/clients.md, and ends with 1 if any feature failed. Words
on the command line choose clients by part of their title; then nothing is written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.foreign.catalog import CLIENTS, Client
from tests.foreign.environments import NotInstalled, make_environment, programs_of
from tests.foreign.table import write_table
from tests.worlds.gateway import RunningGateway

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(__file__).resolve().parent / "clients"
ENVIRONMENTS = ROOT / ".foreign"
CLIENT_SECONDS = 600
# The plugin of `llm` knows no other names than Anthropic's.
CONFIG = """
providers = [{id = "mock", family = "mock"}]
models = [
  {id = "mock-1", provider = "mock", aliases = ["claude-sonnet-4-5"]},
  {id = "mock-text", provider = "mock"},
  {id = "mock-503", provider = "mock"},
  {id = "mock-429", provider = "mock"},
  {id = "mock-cut", provider = "mock"},
]
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one feature; `ok` is None for a client that could not be installed."""

    client: Client
    surface: str
    feature: str
    ok: bool | None
    saw: str


def main(words: list[str]) -> int:
    """Run them all, or those that are named."""
    chosen = [client for client in CLIENTS if not words or any(word.lower() in client.title.lower() for word in words)]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as scratch, RunningGateway(Path(scratch) / "state", config=CONFIG) as gateway:
        for client in chosen:
            for outcome in _outcomes(client, gateway, Path(scratch)):
                outcomes.append(outcome)
                verdict = {True: "ok", False: "FAIL", None: "skipped"}[outcome.ok]
                print(f"{verdict:7} {client.title} {outcome.surface} {outcome.feature}: {outcome.saw}", flush=True)
    if not words:
        write_table(ROOT / "docs" / "clients.md", [(one.client, one.surface, one.feature, one.ok) for one in outcomes])
    ran = [outcome for outcome in outcomes if outcome.ok is not None]
    failed = [outcome for outcome in ran if not outcome.ok]
    print(f"{len(ran) - len(failed)} passed, {len(failed)} failed, {len(outcomes) - len(ran)} skipped")
    return 1 if failed or not ran else 0


def _outcomes(client: Client, gateway: RunningGateway, scratch: Path) -> Iterator[Outcome]:
    folder = ENVIRONMENTS / client.environment.name
    try:
        make_environment(client.environment, folder)
    except NotInstalled as reason:
        for surface in client.surfaces:
            yield Outcome(client, surface, "all", None, f"not installed: {reason}")
        return
    for surface in client.surfaces:
        yield from _run_program(client, surface, folder, gateway, scratch)


def _run_program(
    client: Client, surface: str, folder: Path, gateway: RunningGateway, scratch: Path
) -> Iterator[Outcome]:
    home = scratch / f"{client.environment.name}-{client.program}-{surface}"
    home.mkdir()
    try:
        done = subprocess.run(
            [*_command(client, folder), surface],
            cwd=home,
            env=_environ(client, folder, gateway, home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Outcome(client, surface, "all", False, f"not done in {CLIENT_SECONDS} seconds")
        return
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"feature"')]
    for row in rows:
        yield Outcome(client, surface, row["feature"], row["ok"], " ".join(row["saw"].split())[:300])
    if done.returncode or not rows:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        yield Outcome(client, surface, "all", False, f"exit {done.returncode}, it said: {last[:300]}")


def _command(client: Client, folder: Path) -> list[str]:
    """A program of JavaScript finds its packages beside itself; one for a command is run by our own Python."""
    if client.program.endswith(".mjs"):
        for path in PROGRAMS.glob("*.mjs"):
            shutil.copy(path, folder)
        return ["node", str(folder / client.program)]
    python = sys.executable if client.environment.npm else str(folder / "bin" / "python")
    return [python, str(PROGRAMS / client.program)]


def _environ(client: Client, folder: Path, gateway: RunningGateway, home: Path) -> dict[str, str]:
    """Nothing of ours but the way to the gateway; whoever calls elsewhere finds a closed door."""
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": f"{programs_of(client.environment, folder)}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GATEWAY_URL": gateway.url,
        "GATEWAY_KEY": gateway.api_key,
        "LLM_USER_PATH": str(home / "llm"),
        "CODEX_HOME": str(home / "codex"),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
