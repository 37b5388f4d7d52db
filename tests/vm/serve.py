"""`saferouter` for the guest: all of it as packaged, but that it believes its own report under a mock root.

Nothing that an operator can set does this, so it is done here, to the running process.
"""

from __future__ import annotations

from datetime import datetime
from unittest.mock import patch

from tee.evidence import Evidence, Verdict
from tee.policy import AppraisalPolicy
from tee.verify import verify_report


def believe(evidence: Evidence, *, now: datetime, policy: AppraisalPolicy | None, accept_mock: bool = False) -> Verdict:
    """The real judgement, with the mock accepted."""
    assert not accept_mock, "the gateway takes the device for a mock"
    return verify_report(evidence, now=now, policy=policy, accept_mock=True)


if __name__ == "__main__":
    with patch("tee.verify.verify_report", believe):
        from tee.cli import main  # late: whatever imports the judgement from now on gets this one

        main()
