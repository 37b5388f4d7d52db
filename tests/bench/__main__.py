"""What the gateway costs, beside its peers and beside none at all: `make bench`, and QUICK=1 for a few minutes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.log_share import log_share
from tests.bench.native import compile_programs, running_provider
from tests.bench.peers import PEERS, Absent, Target, direct
from tests.bench.plot import draw
from tests.bench.report import Report
from tests.bench.rounds import CONCURRENCY, Size, memory_over_time, run_rounds

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT, RESULTS = ROOT / ".bench", ROOT / "bench" / "results"
FULL = Size(rounds=3, seconds=3.0, warm=1.0, concurrency=CONCURRENCY)
QUICK = Size(rounds=1, seconds=2.0, warm=0.5, concurrency=(1, 16))


def main() -> None:
    """Run, print the table, and write it with a plot into bench/results."""
    options = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round, at 1 and 16 clients")
    options.add_argument("--only", default=",".join(PEERS), help="which targets, by name, with commas between")
    chosen = options.parse_args()
    names = [name for name in chosen.only.split(",") if name]
    if unknown := set(names) - set(PEERS):
        raise SystemExit(f"--only: found {', '.join(sorted(unknown))}, wanted some of {', '.join(PEERS)}.")
    compile_programs(KEPT / "bin")
    report = _run(names, QUICK if chosen.quick else FULL, quick=chosen.quick)
    _write(report)
    print(report.to_markdown())


def _run(names: list[str], size: Size, *, quick: bool) -> Report:
    now, busy, skipped = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", os.getloadavg()[0], dict[str, str]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = stack.enter_context(running_provider(KEPT / "bin"))
        targets: list[Target] = [direct(ports)]
        for name in names:
            try:
                targets.append(stack.enter_context(PEERS[name](ports, folder, KEPT)))
            except Absent as error:
                skipped[name] = str(error)
                print(f"skipped: {name}, {error}", file=sys.stderr)
        results = run_rounds(targets, size, KEPT / "bin")
        ours = [target for target in targets if target.gateway]
        memory = memory_over_time(ours[0], KEPT / "bin") if ours and not quick else []
    return Report(now, busy, size, targets, skipped, results, memory, () if quick else log_share())


def _write(report: Report) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "latest.md").write_text(report.to_markdown())
    (RESULTS / "latest.json").write_text(json.dumps(report.to_json(), indent=1) + "\n")
    (RESULTS / "latest.svg").write_text(draw(report))


if __name__ == "__main__":
    main()
