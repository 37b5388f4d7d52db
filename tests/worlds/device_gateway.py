"""`saferouter` with the real driver in front of a mock chip: the device's way and its faults, under the mock's label.

Run as a module on a SevGuestMachine. Real hardware would be refused here, and a mock behind the device everywhere else.
"""

from __future__ import annotations

from typing import Any

from gateway import instance
from tee.attest.attester import Attester
from tee.attest.detect import no_other_source
from tee.attest.sev_guest import SevGuestAttester, SevGuestDevice
from tee.cli import main
from tee.evidence import Evidence


class DeviceOfAMock:
    """An Attester: the driver, and the label without which nobody would believe a mock."""

    tee_type = "mock"

    def __init__(self) -> None:
        self._attester = SevGuestAttester(SevGuestDevice(), no_other_source)

    def attest(self, report_data: bytes) -> Evidence:
        """What the driver gives."""
        return self._attester.attest(report_data)


def detect(*_: Any, **__: Any) -> tuple[Attester, str]:
    """The device, whatever else there is."""
    return DeviceOfAMock(), "a mock chip behind /dev/sev-guest"


if __name__ == "__main__":
    vars(instance)["detect_attester"] = detect
    main()
