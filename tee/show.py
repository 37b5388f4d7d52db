"""A report in words, unverified: what `saferouter report show` prints (SPEC §2, §13.3)."""

from __future__ import annotations

from collections.abc import Iterable

from tee.errors import Malformed
from tee.policy import GUEST_RESTRICTIONS
from tee.snp.bulletins import TcbData
from tee.snp.grade import Finding, State, grade, status_of
from tee.snp.product import MILAN, Product, parse_tcb, product_of_cpuid, tcb_text
from tee.snp.report import HOST_REQUESTED_VMPL, PLATFORM_WORDS, AttestationReport, SigningKey

_PERMISSIONS = {"smt": 16, "migrate-ma": 18, "debug": 19, "cxl": 21}
_SIGNERS = {SigningKey.VCEK: "VCEK, a key of this chip", SigningKey.VLEK: "VLEK, a key of the cloud provider"}


def describe_report(report: AttestationReport, data: TcbData) -> dict[str, str]:
    """The fields by name, in reading order; the last is the TCB status."""
    product = _product_of(report)
    # Version 2 comes from Milan and Genoa only, whose layout is one.
    layout = MILAN if report.cpuid is None else product
    current, committed = (".".join(map(str, each)) for each in (report.current_firmware, report.committed_firmware))
    major, minor = report.abi
    permits = _listed(word for word, bit in _PERMISSIONS.items() if report.policy >> bit & 1)
    restricts = _listed(word for word, bit in GUEST_RESTRICTIONS.items() if report.policy >> bit & 1)
    on = _listed(word for word, bit in PLATFORM_WORDS.items() if report.platform_info & bit)
    launch, now = report.launch_mitigations, report.current_mitigations
    return {
        "version": str(report.version),
        "product": _product_text(report, product),
        "signed by": _SIGNERS[report.signing_key],
        "chip id": "none" if not any(report.chip_id) else report.chip_id.hex(),
        "measurement": report.measurement.hex(),
        "report data": report.report_data.hex(),
        "vmpl": "asked for by the host" if report.vmpl == HOST_REQUESTED_VMPL else str(report.vmpl),
        "guest policy": f"allows {permits}; restricts {restricts}; ABI at least {major}.{minor}",
        "platform": f"{on} (0x{report.platform_info:x})",
        "reported TCB": _tcb(report.reported_tcb, layout),
        "committed TCB": f"{_tcb(report.committed_tcb, layout)}; firmware {committed}",
        "current TCB": f"{_tcb(report.current_tcb, layout)}; firmware {current}",
        "launch TCB": _tcb(report.launch_tcb, layout),
        "mitigations": "not shown" if launch is None or now is None else f"launch 0x{launch:x}, current 0x{now:x}",
        "host data": report.host_data.hex(),
        "guest SVN": str(report.guest_svn),
        "family id": report.family_id.hex(),
        "image id": report.image_id.hex(),
        "id key digest": report.id_key_digest.hex(),
        "author key digest": report.author_key_digest.hex() if report.author_key_en else "no author key",
        "report id": report.report_id.hex(),
        "migration agent": "none" if report.report_id_ma == b"\xff" * 32 else report.report_id_ma.hex(),
        "TCB status": _status(report, product, data),
    }


def describe_bulletins(report: AttestationReport, data: TcbData) -> dict[str, str]:
    """Each bulletin of this product, with what the report says to it; empty where it cannot be graded."""
    product = _product_of(report)
    findings = _findings(report, product, data)
    return {finding.name: _said(finding) for finding in findings if finding.state is not State.NOTHING_ASKED}


def _product_of(report: AttestationReport) -> Product | None:
    return product_of_cpuid(*report.cpuid[:2]) if report.cpuid else None


def _said(finding: Finding) -> str:
    """The state, why, and the bulletin's own note."""
    words = finding.state + (f": {finding.why}" if finding.why else "")
    return f"{words}. {finding.bulletin.note}" if finding.bulletin.note else words


def _status(report: AttestationReport, product: Product | None, data: TcbData) -> str:
    if report.cpuid is None:
        return "not graded: a version 2 report does not name its CPU, its certificate does"
    findings = _findings(report, product, data)
    return status_of(findings) if findings else "not graded: this CPU or its TCB is not known here"


def _findings(report: AttestationReport, product: Product | None, data: TcbData) -> list[Finding]:
    try:
        return grade(report, product, data) if product else []
    except Malformed:
        return []


def _product_text(report: AttestationReport, product: Product | None) -> str:
    if report.cpuid is None:
        return "not named: a version 2 report, so Milan or Genoa"
    family, model, stepping = report.cpuid
    return f"{product.name if product else 'unknown'}, family {family:02x}h model {model:02x}h stepping {stepping}"


def _tcb(raw: bytes, layout: Product | None) -> str:
    try:
        return tcb_text(parse_tcb(raw, layout, "TCB")) if layout else raw.hex()
    except Malformed:
        return f"{raw.hex()}, which breaks the layout of this product"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "nothing"
