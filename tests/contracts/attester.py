"""The contract of every Attester: it answers with its report_data, and refuses other sizes."""

from __future__ import annotations

import datetime as dt

import pytest

from tee.attest.attester import Attester
from tee.snp.report import parse_report
from tee.verify import verify_report


def answers_with_its_report_data(attester: Attester) -> None:
    """The report carries what was asked for, and its certificates make it authentic."""
    assert attester.tee_type in ("sev_snp", "mock")
    for data in (bytes(64), bytes(range(64)), b"\xff" * 64):
        evidence = attester.attest(data)
        assert parse_report(evidence.report).report_data == data
        verdict = verify_report(evidence, now=dt.datetime.now(dt.UTC), policy=None, accept_mock=True)
        assert verdict.outcome == "authentic"


def refuses_other_sizes(attester: Attester) -> None:
    """REPORT_DATA is 64 bytes, and nothing is padded or cut."""
    for size in (0, 32, 63, 65):
        with pytest.raises(ValueError, match="wanted 64"):
            attester.attest(bytes(size))
