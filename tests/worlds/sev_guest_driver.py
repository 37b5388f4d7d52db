"""Runs in a process of its own under the shim: drives the device, prints one line of JSON per step."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tee.attest.detect import detect_attester, no_other_source
from tee.attest.sev_guest import SevGuestAttester, SevGuestDevice
from tee.errors import TeeError, Unavailable
from tests.contracts.attester import answers_with_its_report_data, refuses_other_sizes


def play(device: SevGuestDevice, step: str) -> dict[str, Any]:
    """One step: its name, and numbers after colons."""
    name, *words = step.split(":")
    numbers = [int(word, 0) for word in words]
    if name == "report":
        vmpl = numbers[1] if len(numbers) > 1 else 0
        return {"report": device.get_report(bytes(numbers[:1]) * 64, vmpl=vmpl).hex()}
    if name == "extended":
        report, table = device.get_ext_report(bytes(numbers) * 64)
        return {"report": report.hex(), "table": table.hex()}
    if name == "key":
        return {"key": device.get_derived_key(*numbers).hex()}
    attester = SevGuestAttester(device, no_other_source)
    if name == "attest":
        return {"report": attester.attest(bytes(numbers) * 64).report.hex()}
    assert name == "contract"
    answers_with_its_report_data(attester)
    refuses_other_sizes(attester)
    return {"tee_type": attester.tee_type}


def detect(allow_mock: bool) -> dict[str, Any]:
    """Which attester a gateway on this machine gets."""
    with tempfile.TemporaryDirectory() as folder:
        attester, reason = detect_attester(Path(folder), bytes(48), allow_mock=allow_mock)
    return {"tee_type": attester.tee_type, "reason": reason}


def main(steps: list[str]) -> None:
    """`--pages N` first sets the buffer for certificates."""
    size = 0x4000
    if steps[0] == "--pages":
        size, steps = int(steps[1]) * 4096, steps[2:]
    device: SevGuestDevice | None = None
    for step in steps:
        answer: dict[str, Any]
        try:
            if step.startswith("detect"):
                answer = detect(step == "detect-mock")
            else:
                device = device or SevGuestDevice(table_size=size)
                answer = play(device, step)
        except TeeError as error:
            retryable = error.retryable if isinstance(error, Unavailable) else None
            answer = {"error": type(error).__name__, "text": str(error), "retryable": retryable}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
