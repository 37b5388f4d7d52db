"""The scenarios, and all targets in turns through each of them."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.native import Load
from tests.bench.peers import Target
from tests.bench.tree import cpu_seconds, memory_mib, settle
from tests.worlds.scrape import Scrape, scrape

CONCURRENCY = (1, 16, 64, 256)
FLAT_CALLS, FLAT_CLIENTS = 100_000, 16


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked of which lane."""

    name: str
    lane: str
    stream: bool
    words: str


SCENARIOS = (
    Scenario("buffered", "fast", False, "buffered answers of 1.2 kB, the provider answers at once"),
    Scenario("thinking", "thinking", False, "buffered answers, the provider takes 50 ms"),
    Scenario("streamed", "fast", True, "streams of 64 events that come at once"),
    Scenario("paced", "paced", True, "streams of 64 events, 10 ms apart"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run."""

    rounds: int
    seconds: float
    warm: float
    concurrency: Sequence[int]


@dataclass(slots=True)
class Results:
    """For each target and `scenario/clients` its rounds; and memory (MiB) as it started and after all."""

    rounds: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    loaded: dict[str, float] = field(default_factory=dict)

    def value(self, target: str, case: str, name: str) -> float | None:
        """The median over the rounds; None where nothing was measured."""
        found = [row[name] for row in self.rounds.get(target, {}).get(case, []) if name in row]
        return statistics.median(found) if found else None

    def cases(self) -> list[str]:
        """In the order in which they ran."""
        return list(dict.fromkeys(case for cases in self.rounds.values() for case in cases))


def run_rounds(targets: Sequence[Target], size: Size, programs: Path) -> Results:
    """Every target in turns, so that what else the machine does falls on all alike."""
    results = Results()
    for target in targets:
        results.idle[target.name] = memory_mib(target.pid) if target.pid else 0.0
    for turn in range(size.rounds):
        for scenario in SCENARIOS:
            for clients in size.concurrency:
                case, plain = f"{scenario.name}/{clients}", None
                for target in targets:
                    load = Load(clients, size.warm, size.seconds, scenario.stream)
                    row = _measure(target, scenario, load, programs)
                    plain = plain or row  # the first is the provider itself
                    _say(turn, case, target.name, row)
                    results.rounds.setdefault(target.name, {}).setdefault(case, []).append(_with_added(row, plain))
    for target in targets:
        results.loaded[target.name] = memory_mib(target.pid) if target.pid else 0.0
    return results


def memory_over_time(target: Target, programs: Path, calls: int = FLAT_CALLS) -> list[tuple[int, float]]:
    """Calls so far and memory then (MiB), until that many have been answered."""
    assert target.pid is not None
    done, points = 0, []
    while done < calls:
        seen = Load(FLAT_CLIENTS, 0.0, 4.0).put_on(programs, target.places["fast"])
        done += int(seen["all"])
        points.append((done, round(memory_mib(target.pid), 1)))
        if not seen["all"]:
            break
    return points


def _measure(target: Target, scenario: Scenario, load: Load, programs: Path) -> dict[str, float]:
    if target.pid:
        settle(target.pid)
    counts = scrape(target.gateway) if target.gateway else None
    before = cpu_seconds(target.pid) if target.pid else 0.0
    seen = load.put_on(programs, target.places[scenario.lane])
    row = _flat(seen)
    if target.pid and seen.get("all"):
        row["cpu_ms"] = (cpu_seconds(target.pid) - before) * 1000 / seen["all"]
    if target.gateway and counts is not None:
        row |= _own_words(counts, scrape(target.gateway), scenario.stream)
    return row


def _own_words(before: Scrape, after: Scrape, stream: bool) -> dict[str, float]:
    """What the gateway itself says of its time, in ms a call: waiting for durability, and overhead without it."""

    def came(name: str, **labels: str) -> float:
        return after.sum(f"saferouter_{name}", **labels) - before.sum(f"saferouter_{name}", **labels)

    calls = came("durable_wait_seconds_count", step="close") or 1.0
    kind = {"stream": "true" if stream else "false"}
    ours = came("overhead_seconds_count", **kind) or 1.0
    batches = came("log_batch_size_count") or 1.0
    return {
        "durable_ms": came("durable_wait_seconds_sum") * 1000 / calls,
        "overhead_ms": came("overhead_seconds_sum", **kind) * 1000 / ours,
        "batch": came("log_batch_size_sum") / batches,
    }


def _flat(seen: dict[str, Any]) -> dict[str, float]:
    names: list[str] = ["all", "whole", "refused", "broken", "partial", "rate"]
    row = {name: float(seen[name]) for name in names if name in seen}
    for series in ("latency_us", "first_byte_us"):
        if seen.get("whole"):
            row |= {f"{series.removesuffix('_us')}_{name}_ms": us / 1000 for name, us in seen[series].items()}
    return row


def _with_added(row: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """With what lies between it and the provider alone, of the same round."""
    names = [name for name in row if name.endswith(("_p50_ms", "_p99_ms")) and name in plain]
    return row | {f"added_{name}": row[name] - plain[name] for name in names}


def _say(turn: int, case: str, name: str, row: dict[str, float]) -> None:
    shown = [f"{key} {row[key]:.3g}" for key in ("rate", "cpu_ms", "latency_p50_ms", "latency_p99_ms") if key in row]
    bad = sum(row.get(key, 0) for key in ("refused", "broken", "partial"))
    print(
        f"round {turn + 1} {case:14} {name:11} {', '.join(shown)}{f', {bad:.0f} FAILED' if bad else ''}",
        file=sys.stderr,
    )


def failures(results: Results, targets: Iterable[str]) -> dict[str, int]:
    """Answers that were refused, broken or not whole, by target."""
    names = ("refused", "broken", "partial")
    return {
        target: int(sum(row.get(name, 0) for rows in results.rounds[target].values() for row in rows for name in names))
        for target in targets
    }
