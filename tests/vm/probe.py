"""Runs in the guest beside the gateway: what a gateway does not ask of the device, one line of JSON each."""

from __future__ import annotations

import json

from tee.attest.sev_guest import PAGE_SIZE, SevGuestDevice


def main() -> None:
    """A bare report; a certificate table that one page does not hold; a derived key."""
    device = SevGuestDevice(table_size=PAGE_SIZE)
    print(json.dumps({"report": device.get_report(bytes(range(64)), vmpl=1).hex()}))
    report, table = device.get_ext_report(b"\x07" * 64)
    print(json.dumps({"report": report.hex(), "table": table.hex()}))
    print(json.dumps({"key": device.get_derived_key(4, 0x3F, 3, 0, 1).hex()}))


main()
