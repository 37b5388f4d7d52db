"""Which attester this machine has, and why that one."""

from __future__ import annotations

from pathlib import Path

from tee.attest.attester import Attester
from tee.attest.mock import MockChip, load_chip_secrets
from tee.errors import Unavailable

SEV_GUEST_DEVICE = Path("/dev/sev-guest")
CONFIGFS_TSM = Path("/sys/kernel/config/tsm/report")


def detect_attester(folder: Path, mock_measurement: bytes, *, allow_mock: bool) -> tuple[Attester, str]:
    """The attester to use and a sentence that says why. The mock only if allowed. Raises Unavailable."""
    device = next((path for path in (CONFIGFS_TSM, SEV_GUEST_DEVICE) if path.exists()), None)
    if device is not None and not allow_mock:
        raise Unavailable(str(device), "found, but this release cannot drive it yet", retryable=False)
    if not allow_mock:
        raise Unavailable(
            "attester",
            f"neither {CONFIGFS_TSM} nor {SEV_GUEST_DEVICE} exists: this is no SEV-SNP guest. "
            "To try SafeRouter without hardware, pass --insecure-mock; it proves nothing",
            retryable=False,
        )
    chip = MockChip(load_chip_secrets(folder), mock_measurement)
    return chip, "MOCK attester, because --insecure-mock was given: it proves nothing about hardware"
