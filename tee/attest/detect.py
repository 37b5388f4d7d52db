"""Which attester this machine has, and why that one."""

from __future__ import annotations

from pathlib import Path

from tee.attest.attester import Attester
from tee.attest.mock import MockChip, load_chip_secrets
from tee.attest.sev_guest import DEVICE_PATH, SevGuestAttester, SevGuestDevice
from tee.errors import Unavailable
from tee.snp.collateral import Collateral, Endorser
from tee.snp.report import AttestationReport

SEV_GUEST_DEVICE = DEVICE_PATH
CONFIGFS_TSM = Path("/sys/kernel/config/tsm/report")


def no_other_source(_report: AttestationReport, _held: Collateral) -> Collateral:
    """Nothing, and why: certificates come from the host's table alone."""
    return Collateral("nowhere else, since no other source was given")


def detect_attester(
    folder: Path, mock_measurement: bytes, *, allow_mock: bool, endorse: Endorser = no_other_source
) -> tuple[Attester, str]:
    """The attester to use and a sentence that says why. Hardware first; the mock only if allowed. Raises Unavailable.

    A device that is there and does not work is an error even where the mock is allowed: a mock in its place would
    hide that.
    """
    if SEV_GUEST_DEVICE.exists():
        reason = f"SEV-SNP attester, because {SEV_GUEST_DEVICE} exists"
        unused = "; --insecure-mock was given and is not used" if allow_mock else ""
        return SevGuestAttester(SevGuestDevice(SEV_GUEST_DEVICE), endorse), reason + unused
    if not allow_mock and CONFIGFS_TSM.exists():
        raise Unavailable(str(CONFIGFS_TSM), "found, but this release cannot drive it yet", retryable=False)
    if not allow_mock:
        raise Unavailable(
            "attester",
            f"neither {CONFIGFS_TSM} nor {SEV_GUEST_DEVICE} exists: this is no SEV-SNP guest. "
            "To try SafeRouter without hardware, pass --insecure-mock; it proves nothing",
            retryable=False,
        )
    chip = MockChip(load_chip_secrets(folder), mock_measurement)
    return chip, "MOCK attester, because --insecure-mock was given: it proves nothing about hardware"
