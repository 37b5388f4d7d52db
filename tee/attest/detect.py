"""Which attester this machine has, and why that one."""

from __future__ import annotations

from pathlib import Path

from tee.attest.attester import Attester
from tee.attest.configfs_tsm import REPORTS_PATH, ConfigfsTsm, ConfigfsTsmAttester, NotOffered
from tee.attest.mock import MockChip, load_chip_secrets
from tee.attest.sev_guest import DEVICE_PATH, SevGuestAttester, SevGuestDevice
from tee.errors import Unavailable
from tee.snp.collateral import Collateral, Endorser
from tee.snp.report import AttestationReport

SEV_GUEST_DEVICE = DEVICE_PATH
CONFIGFS_TSM = REPORTS_PATH


def no_other_source(_report: AttestationReport, _held: Collateral) -> Collateral:
    """Nothing, and why: certificates come from the host's table alone."""
    return Collateral("nowhere else, since no other source was given")


def detect_attester(
    folder: Path, mock_measurement: bytes, *, allow_mock: bool, endorse: Endorser = no_other_source
) -> tuple[Attester, str]:
    """The attester to use and a sentence that says why: configfs-tsm, the device, or the mock if allowed.

    Hardware that is there and does not work is an error even where the mock is allowed: a mock in its place would
    hide that. Where configfs-tsm is for root alone, the device may still be for this process too. Raises Unavailable.
    """
    unused = "; --insecure-mock was given and is not used" if allow_mock else ""
    try:
        reports = ConfigfsTsm(CONFIGFS_TSM)
    except NotOffered as error:
        passed_over = error
    else:
        reason = f"SEV-SNP attester, because {CONFIGFS_TSM} offers reports of VMPL {reports.level}"
        return ConfigfsTsmAttester(reports, endorse), reason + unused
    if SEV_GUEST_DEVICE.exists():
        reason = f"SEV-SNP attester, because {SEV_GUEST_DEVICE} exists; not by {passed_over}"
        return SevGuestAttester(SevGuestDevice(SEV_GUEST_DEVICE), endorse), reason + unused
    if passed_over.denied:
        raise passed_over
    if not allow_mock:
        raise Unavailable(
            "attester",
            f"{passed_over}; and {SEV_GUEST_DEVICE} does not exist: this is no SEV-SNP guest. "
            "To try SafeRouter without hardware, pass --insecure-mock; it proves nothing",
            retryable=False,
        )
    chip = MockChip(load_chip_secrets(folder), mock_measurement)
    return chip, "MOCK attester, because --insecure-mock was given: it proves nothing about hardware"
