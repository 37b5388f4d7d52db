"""The errors of tee: one base, one leaf per decision a caller can make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tee.evidence import Verdict


class TeeError(Exception):
    """Base of every error that tee raises on purpose."""


class Malformed(TeeError):
    """Bytes that do not follow their format. `field` names the place, `found` and `wanted` say how."""

    def __init__(self, field: str, found: object, wanted: object) -> None:
        self.field, self.found, self.wanted = field, str(found), str(wanted)
        super().__init__(f"{field}: found {self.found}, wanted {self.wanted}")


class Unverified(TeeError):
    """A verdict that is not good enough for what the caller wanted to do."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(verdict.sentence())


class Unavailable(TeeError):
    """A source (device, file, URL) that did not answer; `retryable` says whether trying again can help."""

    def __init__(self, source: str, reason: str, *, retryable: bool) -> None:
        self.source, self.reason, self.retryable = source, reason, retryable
        super().__init__(f"{source}: {reason}")


class DeviceDead(Unavailable):
    """The attestation device answers nothing more until the guest is rebooted; never retryable."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason, retryable=False)


class Undecryptable(TeeError):
    """A sealed thing did not open. One message for every stage, so that the stage cannot be probed."""

    def __init__(self) -> None:
        super().__init__("the sealed message could not be opened")
