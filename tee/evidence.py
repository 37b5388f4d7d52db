"""The values of verification: Evidence, Endorsements, Check, Verdict (SPEC §6, RFC 9334)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn


class Outcome(StrEnum):
    """A check's outcome. A skip carries a reason and is never a pass."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


class Scope(StrEnum):
    """What was asked: everything (`full`), or only whose hardware signed (`authenticity`)."""

    FULL = "full"
    AUTHENTICITY = "authenticity"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the transcript; `id` is stable and listed in tee/checks.json."""

    id: str
    outcome: Outcome
    found: str = ""
    wanted: str = ""
    reason: str = ""


def passed(check_id: str, found: str, wanted: str = "", reason: str = "") -> Check:
    """A check that was carried out and held."""
    return Check(check_id, Outcome.PASS, found, wanted, reason)


def failed(check_id: str, found: str, wanted: str, reason: str = "") -> Check:
    """A check that was carried out and did not hold."""
    return Check(check_id, Outcome.FAIL, found, wanted, reason)


def skipped(check_id: str, reason: str) -> Check:
    """A check that was not carried out; `reason` says why."""
    return Check(check_id, Outcome.SKIP, reason=reason)


def judged(check_id: str, held: bool, found: str, wanted: str, reason: str = "") -> Check:
    """PASS or FAIL, with the same words for both."""
    return Check(check_id, Outcome.PASS if held else Outcome.FAIL, found, wanted, reason)


@dataclass(frozen=True, slots=True)
class Endorsements:
    """Certificates that travel with a report, DER, untrusted until verified; `crl` may be None."""

    vek: bytes
    intermediate: bytes  # ASK for a VCEK, ASVK for a VLEK
    ark: bytes
    crl: bytes | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an attester hands out: the raw report (1184 bytes) and its endorsements, as received."""

    report: bytes
    endorsements: Endorsements


@dataclass(frozen=True, slots=True)
class Verdict:
    """The transcript of a verification. It has no truth value: ask for `outcome`."""

    scope: Scope
    checks: tuple[Check, ...]
    required: frozenset[str]
    mock: bool
    not_proven: tuple[str, ...]

    def __bool__(self) -> NoReturn:
        raise TypeError("a Verdict has no truth value: compare .outcome with 'verified' or 'authentic'")

    @property
    def outcome(self) -> str:
        """`verified` (full), `authentic` (authenticity) or `rejected`.

        Any failed check rejects; so does a required check that was skipped or never ran.
        """
        if any(check.outcome is Outcome.FAIL for check in self.checks) or self.missing():
            return "rejected"
        return "verified" if self.scope is Scope.FULL else "authentic"

    def missing(self) -> tuple[str, ...]:
        """Required checks without a PASS or a FAIL, in order of id."""
        done = {check.id for check in self.checks if check.outcome is not Outcome.SKIP}
        return tuple(sorted(self.required - done))

    def check(self, check_id: str) -> Check:
        """The check of that id. Raises KeyError."""
        for check in self.checks:
            if check.id == check_id:
                return check
        raise KeyError(check_id)

    def failures(self) -> tuple[str, ...]:
        """Ids of failed checks, in transcript order."""
        return tuple(check.id for check in self.checks if check.outcome is Outcome.FAIL)

    def sentence(self) -> str:
        """The verdict in one sentence a newcomer understands."""
        if self.outcome != "rejected":
            word = "Verified" if self.scope is Scope.FULL else "Authentic: real signatures, but no policy was applied"
            return f"{word}. MOCK: this proves nothing about hardware." if self.mock else f"{word}."
        failed = [check for check in self.checks if check.outcome is Outcome.FAIL]
        if failed:
            check, others = failed[0], ", ".join(each.id for each in failed[1:])
            reason = f" ({check.reason})" if check.reason else ""
            also = f" Also failed: {others}." if others else ""
            return f"Rejected: {check.id} failed: found {check.found}, wanted {check.wanted}{reason}.{also}"
        first = self.missing()[0]
        reasons = [check.reason for check in self.checks if check.id == first]
        return f"Rejected: {first} is required but was not checked: {reasons[0] if reasons else 'it never ran'}."

    def to_json(self) -> dict[str, object]:
        """The `--json` form of every verifying command."""
        return {
            "verdict": self.outcome,
            "scope": self.scope.value,
            "mock": self.mock,
            "checks": [
                {"id": c.id, "outcome": c.outcome.value, "found": c.found, "wanted": c.wanted, "reason": c.reason}
                for c in self.checks
            ],
            "not_proven": list(self.not_proven),
        }
