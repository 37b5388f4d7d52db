"""Runs in a process of its own under the shim: drives configfs-tsm, prints one line of JSON per step."""

from __future__ import annotations

import json
import sys
from typing import Any

from tee.attest.configfs_tsm import ConfigfsTsm, ConfigfsTsmAttester
from tee.attest.detect import no_other_source
from tee.errors import TeeError, Unavailable
from tests.contracts.attester import answers_with_its_report_data, refuses_other_sizes
from tests.worlds.sev_guest_driver import detect


def play(reports: ConfigfsTsm, step: str) -> dict[str, Any]:
    """One step: its name, and a byte to fill the report data with."""
    name, _, number = step.partition(":")
    if name == "report":
        report, table = reports.get_report(bytes([int(number)]) * 64)
        return {"report": report.hex(), "table": table.hex(), "level": reports.level}
    attester = ConfigfsTsmAttester(reports, no_other_source)
    if name == "attest":
        return {"report": attester.attest(bytes([int(number)]) * 64).report.hex()}
    assert name == "contract"
    answers_with_its_report_data(attester)
    refuses_other_sizes(attester)
    return {"tee_type": attester.tee_type}


def main(steps: list[str]) -> None:
    """`--level N` first asks for a VMPL; `serve …` runs the gateway, whose chip is then labelled as the mock it is."""
    if steps[0] == "serve":
        from tee.cli import main as saferouter

        ConfigfsTsmAttester.tee_type = "mock"
        sys.argv = ["saferouter", *steps]
        saferouter()
        return
    level: int | None = None
    if steps[0] == "--level":
        level, steps = int(steps[1]), steps[2:]
    reports: ConfigfsTsm | None = None
    for step in steps:
        answer: dict[str, Any]
        try:
            if step.startswith("detect"):
                answer = detect(step == "detect-mock")
            else:
                reports = reports or ConfigfsTsm(privlevel=level)
                answer = play(reports, step)
        except TeeError as error:
            retryable = error.retryable if isinstance(error, Unavailable) else None
            answer = {"error": type(error).__name__, "text": str(error), "retryable": retryable}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
