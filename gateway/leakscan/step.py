"""Step 2, scan: what of a request goes on, and what its record says of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import CredentialInPrompt
from gateway.inference import InferenceRequest
from gateway.leakscan.scan import Finding, Scan, scan

REDACT, REFUSE, OFF = POSTURES = ("redact", "refuse", "off")
"""What a policy may want of a request in which something was found."""
CLEAN, REDACTED, REFUSED = "clean", "redacted", "refused"


@dataclass(frozen=True, slots=True)
class Scanned:
    """The request that goes on, and its bytes; `outcome` is what the record says of the scan (SPEC §7.1)."""

    request: InferenceRequest
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


def scan_request(
    body: bytes,
    own: str | None,
    decode: Callable[[bytes], InferenceRequest],
    posture: Callable[[InferenceRequest], str],
) -> Scanned:
    """Scan a body, and read what is left of it. `own` is its caller's key; `posture` is what the policy wants.

    The request is read without what was found, so that no credential gets into a record by way of the model's name.
    Raises GatewayError as `decode` and `posture` do.
    """
    found = scan(body, own)
    request = decode(found.redacted)
    wanted = posture(request)
    if wanted != OFF:
        return Scanned(request, found.redacted, _outcome(found, wanted))
    whole = decode(body) if found.findings else request
    return Scanned(whole, body, {"outcome": OFF, "findings": []})


def _outcome(found: Scan, posture: str) -> dict[str, Any]:
    word = CLEAN if not found.findings else REFUSED if posture == REFUSE else REDACTED
    return {"outcome": word, "findings": [_row(finding) for finding in found.findings]}


def _row(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind, "count": finding.count, "at": list(finding.places)}
