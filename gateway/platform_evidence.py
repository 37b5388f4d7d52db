"""Platform evidence of a quote: made over the report, and checked before it is served."""

from __future__ import annotations

import datetime as dt
import hashlib

from gateway.workload import Document
from tee.attest.attester import PlatformAttester
from tee.errors import Unavailable
from tee.evidence import Outcome
from tee.nitro.checks import Circumstances, judge_document
from tee.quote import encode_base64
from tee.snp.report import SIGNED_SIZE


def make_platform_evidence(
    attest: PlatformAttester, report: bytes, nonce: bytes | None, *, mock: bool
) -> list[Document]:
    """The rows of a quote's `platform_evidence` (SPEC §4.5). It may block. Raises Unavailable."""
    document = attest(hashlib.sha256(report[:SIGNED_SIZE]).digest(), nonce)
    given = Circumstances(report, nonce, live=True, now=dt.datetime.now(dt.UTC), policy=None)
    checks, _ = judge_document(document, given, accept_mock=mock)
    for check in checks:
        if check.outcome is Outcome.FAIL:
            reason = f"its own document fails {check.id}: found {check.found}, wanted {check.wanted}"
            raise Unavailable("NitroTPM", reason, retryable=False)
    return [{"kind": "nitrotpm", "document_b64": encode_base64(document)}]
