"""TCB status: which bulletins a report answers, and whether that makes it up to date (SPEC §13.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tee.errors import Malformed
from tee.evidence import Check, failed, judged
from tee.policy import AppraisalPolicy
from tee.snp.bulletins import REVOKED, Bulletin, Requirement, TcbData
from tee.snp.product import Product, Tcb, parse_tcb
from tee.snp.report import PLATFORM_WORDS, AttestationReport, PlatformInfo


class State(StrEnum):
    """What a report says to a bulletin. `UNKNOWN` counts as not answered, but never as revoked."""

    ANSWERED = "answered"
    OPEN = "not answered"
    UNKNOWN = "cannot be told"
    WITHDRAWN = "withdrawn"
    UNPROVABLE = "no report can answer it"
    NOTHING_ASKED = "asks nothing of this product"


@dataclass(frozen=True, slots=True)
class Finding:
    """One bulletin and what this report says to it; `why` has found and wanted where it does not answer."""

    bulletin: Bulletin
    state: State
    why: str = ""

    @property
    def name(self) -> str:
        """`AMD-SB-3019 EntrySign`."""
        return f"{self.bulletin.id} {self.bulletin.title}"

    @property
    def lacking(self) -> bool:
        """Whether it keeps the report from being up to date."""
        return self.state in (State.OPEN, State.UNKNOWN)


def grade(report: AttestationReport, product: Product, data: TcbData) -> list[Finding]:
    """Every bulletin in order, with what `report` says to it. Raises Malformed where REPORTED_TCB does not parse."""
    reported = parse_tcb(report.reported_tcb, product, "REPORTED_TCB")
    stepping = _stepping_of(report, product, data)
    return [_find(bulletin, report, reported, product, stepping) for bulletin in data.bulletins]


def status_of(findings: Iterable[Finding]) -> str:
    """`up to date`, `needs update` or `revoked`."""
    lacking = [finding for finding in findings if finding.lacking]
    if any(finding.state is State.OPEN and finding.bulletin.status_below == REVOKED for finding in lacking):
        return "revoked"
    return "needs update" if lacking else "up to date"


def check_status(
    report: AttestationReport, product: Product, policy: AppraisalPolicy, data: TcbData, now: datetime
) -> Check:
    """guest.tcb-status: the status, and each bulletin that is not answered. Raises Malformed like grade()."""
    findings = grade(report, product, data)
    counted = [finding for finding in findings if finding.bulletin.id not in policy.tcb_accept]
    status, current = status_of(counted), policy.tcb_status == "up-to-date"
    details = "; ".join(f"{finding.name}: {finding.why}" for finding in counted if finding.lacking)
    accepted = ", ".join(finding.name for finding in findings if finding.lacking and finding not in counted)
    found = (
        status + (f": {details}" if details else "") + (f"; accepted by your policy: {accepted}" if accepted else "")
    )
    reason = f"TCB data {data.sequence} of {_day(data.issued)}"
    if current and status == "up to date" and _is_expired(data, now):
        return failed(
            "guest.tcb-status", f"{found}, by data that expired on {_day(data.expires)}", "data in force", reason
        )
    held = status == "up to date" if current else status != "revoked"
    return judged("guest.tcb-status", held, found, "up to date" if current else "not revoked", reason)


def unproven(
    report: AttestationReport, product: Product | None, policy: AppraisalPolicy | None, data: TcbData, now: datetime
) -> list[str]:
    """What no version shows of this product, what the policy accepts unanswered, and whether the data is old."""
    if product is None:
        return []
    lines = [
        f"{bulletin.id} {bulletin.title}: {bulletin.not_proven[product.name]}"
        for bulletin in data.bulletins
        if product.name in bulletin.not_proven
    ]
    if policy is None:
        return lines
    try:
        findings = grade(report, product, data)
    except Malformed:
        findings = []  # guest.tcb-lattice names the fault
    lines += [
        f"guest.tcb-status: {finding.name} is accepted by your policy: {finding.why}"
        for finding in findings
        if finding.lacking and finding.bulletin.id in policy.tcb_accept
    ]
    left = [finding for finding in findings if finding.bulletin.id not in policy.tcb_accept]
    if status_of(left) == "needs update" and policy.tcb_status == "any-not-revoked":
        names = ", ".join(finding.name for finding in left if finding.lacking)
        lines.append(f"guest.tcb-status: the firmware needs an update, which your policy does not demand: {names}")
    if _is_expired(data, now):
        expired = f"TCB data {data.sequence} expired on {_day(data.expires)}"
        lines.append(f"guest.tcb-status: {expired}: bulletins since {_day(data.issued)} are not known here")
    return lines


def _find(
    bulletin: Bulletin, report: AttestationReport, reported: Tcb, product: Product, stepping: str | None
) -> Finding:
    asked = bulletin.asked_of(product.name)
    rows = [row for row in asked if not row.withdrawn]
    if not asked and product.name in bulletin.not_proven:
        return Finding(bulletin, State.UNPROVABLE, bulletin.not_proven[product.name])
    if not asked:
        return Finding(bulletin, State.NOTHING_ASKED)
    if not rows:
        return Finding(bulletin, State.WITHDRAWN, f"asked until {max(row.withdrawn or '' for row in asked)}")
    if bulletin.smt_off_answers and not report.platform_info & PlatformInfo.SMT_EN:
        return Finding(bulletin, State.ANSWERED, "SMT is off")
    held = [row for row in rows if row.stepping in (None, stepping)]
    gaps = [gap for row in held for gap in _gaps(row, report, reported)]
    unknown = [gap for row in held for gap in _hidden_mitigations(row, report)]
    if any(row.stepping for row in rows) and not any(row.stepping for row in held):
        unknown.append(_no_floor(report, product, stepping))
    if not gaps and not unknown:
        return Finding(bulletin, State.ANSWERED)
    return Finding(bulletin, State.OPEN if gaps else State.UNKNOWN, ", and ".join([*gaps, *unknown]))


def _gaps(row: Requirement, report: AttestationReport, reported: Tcb) -> list[str]:
    """What is below the requirement for certain, as found and wanted."""
    where = row.stepping or row.product
    gaps = [
        f"{part} {reported[part]}, wanted at least {least} on {where}"
        for part, least in row.floor.items()
        if reported[part] < least
    ]
    gaps += [f"{word} off, wanted on" for word in row.platform if not report.platform_info & PLATFORM_WORDS[word]]
    if report.launch_mitigations is not None and report.current_mitigations is not None:
        active = report.launch_mitigations & report.current_mitigations
        gaps += [
            f"mitigation bit {bit} off at launch or now, wanted on"
            for bit in row.mitigation_bits
            if not active >> bit & 1
        ]
    return gaps


def _hidden_mitigations(row: Requirement, report: AttestationReport) -> list[str]:
    if report.launch_mitigations is not None:
        return []
    return [
        f"mitigation bit {bit} not shown by a version {report.version} report, wanted on" for bit in row.mitigation_bits
    ]


def _stepping_of(report: AttestationReport, product: Product, data: TcbData) -> str | None:
    if report.cpuid is None:
        return None
    for row in data.steppings:
        if (row.product, row.model, row.stepping) == (product.name, *report.cpuid[1:]):
            return row.name
    return None


def _no_floor(report: AttestationReport, product: Product, stepping: str | None) -> str:
    """Why no floor of one stepping applies: then nobody can say that this one is patched."""
    if report.cpuid is None:
        return f"a version {report.version} report names no stepping, wanted one: the floor depends on it"
    _, model, number = report.cpuid
    named = stepping or f"{product.name} model {model:02x}h stepping {number}"
    return f"no floor is known here for {named}"


def _is_expired(data: TcbData, now: datetime) -> bool:
    return now.timestamp() >= data.expires


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
