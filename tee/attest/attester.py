"""Attester: whoever can make the hardware sign 64 bytes (RFC 9334 §4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tee.evidence import Evidence

# Makes a platform's document over user data (32 bytes) and a verifier's nonce, if there is one. Raises Unavailable.
PlatformAttester = Callable[[bytes, bytes | None], bytes]


class Attester(Protocol):
    """A device, or the mock. One call at a time; run it outside the event loop, it may block."""

    @property
    def tee_type(self) -> str:
        """`sev_snp` or `mock`: a label for people; verifiers judge the root."""

    def attest(self, report_data: bytes) -> Evidence:
        """A report over these 64 bytes, with its endorsements. Raises Unavailable, ValueError."""
