"""Runs the pages of tests/scripts: the HTTP surface as lines that a person can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.worlds.gateway import RunningGateway

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@dataclass
class Exchange:
    """One request of a script and what must hold of its answer."""

    line: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    method: str = ""
    path: str = ""
    body: str = ""
    demands: list[tuple[int, str]] = field(default_factory=list)


def read_script(path: Path, key: str) -> Iterator[Exchange]:
    """The exchanges of a script; a line that is none of its words fails."""
    current = Exchange()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        if not line or line.startswith("#"):
            continue
        if word in ("with", "GET", "POST") and current.method:
            yield current
            current = Exchange()
        if line == "with key":
            current.headers["authorization"] = f"Bearer {key}"
        elif word == "with":
            name, _, value = rest.partition(": ")
            current.headers[name] = value.replace("KEY", key)
        elif word in ("GET", "POST"):
            current.line, current.method = number, word
            current.path, _, current.body = rest.partition(" ")
        elif word in ("status", "header", "json", "has", "lacks"):
            current.demands.append((number, line))
        else:
            raise AssertionError(f"{path.name}:{number}: {line}")
    yield current


def holds(demand: str, answer: httpx2.Response) -> bool:
    """Whether one demand holds of an answer."""
    word, _, rest = demand.partition(" ")
    left, _, right = rest.partition(" = ")
    if word == "status":
        return answer.status_code == int(rest)
    if word == "header":
        return answer.headers.get(left) == right
    if word == "json":
        value: Any = answer.json()
        for name in left.split("."):
            value = value[int(name)] if isinstance(value, list) else value[name]
        return bool(value == json.loads(right))
    return (rest in answer.text) is (word == "has")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script: Path, live_gateway: RunningGateway) -> None:
    with httpx2.Client(base_url=live_gateway.url, trust_env=False, timeout=30) as client:
        for exchange in read_script(script, live_gateway.api_key):
            answer = client.request(
                exchange.method, exchange.path, content=exchange.body.encode(), headers=exchange.headers
            )
            for number, demand in exchange.demands:
                assert holds(demand, answer), (
                    f"{script.name}:{number}: {demand}: {answer.status_code} {answer.text[:400]}"
                )
