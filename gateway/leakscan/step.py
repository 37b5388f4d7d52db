"""Step 2, scan: what of a request goes on, and what its record says of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.errors import CredentialInPrompt
from gateway.leakscan.scan import Finding, Scan

REDACT, REFUSE, OFF = POSTURES = ("redact", "refuse", "off")
"""What a policy may want of a request in which something was found."""
CLEAN, REDACTED, REFUSED = "clean", "redacted", "refused"


@dataclass(frozen=True, slots=True)
class Scanned:
    """The bytes of the request that go on; `outcome` is what the record says of the scan (SPEC §7.1)."""

    body: bytes = field(repr=False)
    outcome: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether it may not go on."""
        return bool(self.outcome["outcome"] == REFUSED)

    @property
    def counts(self) -> list[dict[str, Any]]:
        """What was found, as activity shows it: kinds and how many."""
        return [{"kind": row["kind"], "count": row["count"]} for row in self.outcome["findings"]]

    @property
    def redactions(self) -> int:
        """How many credentials were taken out."""
        found = self.outcome["findings"] if self.outcome["outcome"] == REDACTED else []
        return sum(row["count"] for row in found)

    def refusal(self, policy: str) -> CredentialInPrompt:
        """What the caller of a refused request is told: the kinds, and where. Never a credential."""
        rows = self.outcome["findings"]
        place = rows[0]["at"][0] if rows[0]["at"] else "body"
        kinds = ", ".join(f"{row['kind']} ({row['count']})" for row in rows)
        return CredentialInPrompt(
            f"{place}: found what looks like a credential ({kinds}), wanted none: policy {policy} refuses it. "
            "Nothing of it was sent on. Take it out; if it is a real one, revoke it.",
            param=place,
        )


def settle(found: Scan, body: bytes, posture: str) -> Scanned:
    """What becomes of a body in which that was found, by what its policy wants."""
    if posture == OFF:
        return Scanned(body, {"outcome": OFF, "findings": []})
    if not found.findings:
        return Scanned(body, {"outcome": CLEAN, "findings": []})
    word = REFUSED if posture == REFUSE else REDACTED
    return Scanned(found.redacted, {"outcome": word, "findings": [_row(finding) for finding in found.findings]})


def _row(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind, "count": finding.count, "at": list(finding.places)}
