"""The bench's results as a table and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers import Target
from tests.bench.rounds import SCENARIOS, Results, Size, failures

OURS = "saferouter"
BARS = (("litellm", 20.0), ("portkey", 2.0))
MOST_CPU_MS = {"buffered": 0.35, "streamed": 0.8}
MOST_ADDED_MS = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the bench."""

    time: str
    busy: float  # the machine's load average as it began: above 0 somebody else was at work
    size: Size
    targets: Sequence[Target]
    skipped: Mapping[str, str]
    results: Results
    memory: Sequence[tuple[int, float]]
    parts: Sequence[str]

    @property
    def middle(self) -> int:
        """The concurrency at which targets are compared."""
        return 16 if 16 in self.size.concurrency else self.size.concurrency[-1]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        targets = {
            target.name: {
                "version": target.version,
                "idle_mib": self.results.idle[target.name],
                "loaded_mib": self.results.loaded[target.name],
                "rounds": self.results.rounds[target.name],
            }
            for target in self.targets
        }
        size = {"rounds": self.size.rounds, "seconds": self.size.seconds, "concurrency": list(self.size.concurrency)}
        shown = {"time": self.time, "machine": machine(), "busy": self.busy, "size": size, "targets": targets}
        return shown | {"skipped": dict(self.skipped), "memory": list(self.memory), "parts": list(self.parts)}

    def to_markdown(self) -> str:
        """What a person reads."""
        names = ", ".join(f"{each.name} {each.version}".strip() for each in self.targets)
        lines = [
            "# What the gateway costs",
            "",
            f"{self.time}, {machine()}. {self.size.rounds} round(s) of {self.size.seconds:g} s each, all targets in "
            f"turns; medians; load average {self.busy:.1f} as it began. "
            "Each target has one worker on one core, provider and clients have another. "
            f"{names}.",
            "",
            *(f"- {scenario.name}: {scenario.words}" for scenario in SCENARIOS),
            *(f"- **skipped: {name}**, {reason}" for name, reason in self.skipped.items()),
            "",
            "![CPU per call](latest.svg)",
            "",
            *self._summary(),
            *self._ratios(),
            *self._durability(),
            *self._memory(),
            *self._everything(),
        ]
        if self.parts:
            lines += ["## The log's share", "", *(f"- {part}" for part in self.parts), ""]
        return "\n".join(lines)

    def _summary(self) -> list[str]:
        at = self.middle
        lines = [
            f"## {at} clients",
            "",
            "| | CPU ms, buffered | CPU ms, stream | CPU ms, paced stream | answers/s | streams/s | added p50 / p99 "
            "ms, 50 ms provider | first byte of a paced stream, p50 / p99 ms | memory MiB, idle → loaded | failed |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        bad = failures(self.results, [each.name for each in self.targets])
        for target in self.targets:
            name = target.name
            cells = [self._cell(name, f"{case}/{at}", "cpu_ms", 3) for case in ("buffered", "streamed", "paced")]
            cells += [self._cell(name, f"{case}/{at}", "rate", 0) for case in ("buffered", "streamed")]
            added = [self._cell(name, f"thinking/{at}", f"added_latency_{p}_ms", 2) for p in ("p50", "p99")]
            first = [self._cell(name, f"paced/{at}", f"first_byte_{p}_ms", 1) for p in ("p50", "p99")]
            memory = f"{self.results.idle[name]:.0f} → {self.results.loaded[name]:.0f}" if target.pid else ""
            row = [name, *cells, " / ".join(added), " / ".join(first), memory, str(bad[name])]
            lines.append(f"| {' | '.join(row)} |")
        return [*lines, ""]

    def _ratios(self) -> list[str]:
        lines = [
            "## Ratios of this run",
            "",
            "| against | CPU, buffered | CPU, stream | answers/s | bar |",
            "|---|---|---|---|---|",
        ]
        for target in self.targets:
            if target.name in (OURS, "direct"):
                continue
            ratios = [self.ratio(target.name, case, "cpu_ms") for case in ("buffered", "streamed")]
            rates = self.ratio(OURS, "buffered", "rate", target.name)
            bar = dict(BARS).get(target.name)
            met = bar is not None and all(ratio is not None and ratio >= bar for ratio in ratios)
            verdict = "the limit" if bar is None else f"at least {bar:g}: {'met' if met else 'MISSED'}"
            cells = [f"{ratio:.2f}" if ratio is not None else "" for ratio in (*ratios, rates)]
            lines.append(f"| {target.name} | {' | '.join(cells)} | {verdict} |")
        lines += ["", "CPU: how many times as much as ours a call takes there. Answers/s: ours to theirs.", ""]
        for case, most in MOST_CPU_MS.items():
            found = self.results.value(OURS, f"{case}/{self.middle}", "cpu_ms")
            if found is not None:
                lines.append(
                    f"- {case}: {found:.3f} ms CPU; aim at most {most} ms: {'met' if found <= most else 'MISSED'}"
                )
        return [*lines, *self._added(), ""]

    def _added(self) -> list[str]:
        """What a caller of a provider that thinks waits longer, and for what."""
        case = f"thinking/{self.middle}"
        names = ("added_latency_p50_ms", "durable_ms", "overhead_ms")
        added, durable, own = (self.results.value(OURS, case, name) for name in names)
        if added is None or durable is None or own is None:
            return []
        verdict = "met" if added < MOST_ADDED_MS else "MISSED"
        return [
            f"- added to the median of a provider that takes 50 ms: {added:.2f} ms; aim under {MOST_ADDED_MS:g} ms: "
            f"{verdict}. Means: waiting for durability {durable:.2f}, our own part {own:.2f}"
        ]

    def ratio(self, above: str, case: str, name: str, below: str = OURS) -> float | None:
        """One target's value to another's, at the middle concurrency."""
        upper, lower = (self.results.value(target, f"{case}/{self.middle}", name) for target in (above, below))
        return None if upper is None or not lower else upper / lower

    def _durability(self) -> list[str]:
        lines = [
            "## Our time and the disk's, as the gateway's own metrics have it",
            "",
            "Means for a call, ms. Waiting for durability: until the opening and the receipt are on disk; a part of "
            "`added`, and not of CPU. Overhead: to the first byte, without that wait and without the provider.",
            "",
            "| | waiting for durability | overhead | operations a commit | added p50 |",
            "|---|---|---|---|---|",
        ]
        for case in self.results.cases():
            cells = [
                self._cell(OURS, case, name, 2)
                for name in ("durable_ms", "overhead_ms", "batch", "added_latency_p50_ms")
            ]
            lines.append(f"| {case} | {' | '.join(cells)} |")
        return [*lines, ""]

    def _memory(self) -> list[str]:
        if not self.memory:
            return []
        after_warm = [mib for calls, mib in self.memory if calls >= 10_000] or [self.memory[-1][1]]
        swing = max(after_warm) / min(after_warm) - 1
        words = (
            f"From the 10,000th to the {self.memory[-1][0]:,}th call: {after_warm[0]:.1f} → {after_warm[-1]:.1f} MiB"
        )
        return ["## Memory", "", f"{words}; the most is {swing:.0%} above the least.", ""]

    def _everything(self) -> list[str]:
        columns = (
            *("rate", "latency_p50_ms", "latency_p99_ms", "added_latency_p50_ms", "added_latency_p99_ms"),
            *("first_byte_p50_ms", "first_byte_p99_ms", "cpu_ms"),
        )
        lines = [
            "## Everything",
            "",
            "| scenario/clients | target | calls/s | p50 ms | p99 ms | added p50 | added p99 | first byte p50 | p99 | "
            "CPU ms |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for case in self.results.cases():
            for target in self.targets:
                cells = [self._cell(target.name, case, name, 3 if name == "cpu_ms" else 2) for name in columns]
                lines.append(f"| {case} | {target.name} | {' | '.join(cells)} |")
        return [*lines, ""]

    def _cell(self, target: str, case: str, name: str, digits: int) -> str:
        if target == "direct" and name.startswith("added"):
            return ""
        found = self.results.value(target, case, name)
        return "" if found is None else f"{found:,.{digits}f}"


def machine() -> str:
    """The processor and what runs on it."""
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), platform.machine())
    system = f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {model}, {system}"
