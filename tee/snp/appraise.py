"""Acceptable? Whether an authentic report's values satisfy a policy: checks 15 and 17 to 22 of SPEC §6."""

from __future__ import annotations

from datetime import datetime

from tee.errors import Malformed
from tee.evidence import Check, failed, judged, passed, skipped
from tee.policy import GUEST_PERMISSIONS, GUEST_RESTRICTIONS, AppraisalPolicy
from tee.snp.bulletins import TcbData
from tee.snp.grade import check_status
from tee.snp.product import Product, Tcb, parse_tcb, tcb_at_least, tcb_text
from tee.snp.report import HOST_REQUESTED_VMPL, PLATFORM_WORDS, AttestationReport, GuestPolicy

CHECKS = (
    "guest.tcb-lattice",
    "guest.tcb-floor",
    "guest.tcb-status",
    "guest.vmpl",
    "guest.debug",
    "guest.migration",
    "guest.abi",
    "guest.policy",
    "guest.platform",
    "guest.mitigations",
    "guest.pins",
    "code.measurement",
)
FIRMWARE_ONLY = "this measurement covers firmware only: which image was booted is for code.boot-image to say"
EC2_FIRMWARE_ONLY = "on EC2 a measurement covers Amazon's firmware only, the same for every customer, and no image"
EC2_CSP_SUFFIX = ".amazonaws.com"  # a VLEK's cspID; with a VCEK (a Dedicated Host) nothing in a report says EC2


def appraise(
    report: AttestationReport,
    product: Product | None,
    csp_id: str | None,
    policy: AppraisalPolicy,
    tcb: TcbData,
    now: datetime,
) -> list[Check]:
    """Judge every value of `report` against `policy`; needs the product that authenticate() found."""
    if product is None:
        return [skipped(check_id, "the product is unknown") for check_id in CHECKS]
    return [
        *_check_tcbs(report, product, policy, tcb, now),  # 15, 19, 21
        _check_vmpl(report, policy),  # 17
        _check_debug(report),  # 18
        _check_migration(report),  # 18
        _check_abi(report, policy),  # 18
        _check_guest_policy(report, policy),  # 18
        _check_platform(report, policy),  # 19
        _check_mitigations(report, policy),  # 21
        _check_pins(report, csp_id, policy),  # 20, 22
        _check_measurement(report, csp_id, policy),  # 20
    ]


def _check_tcbs(
    report: AttestationReport, product: Product, policy: AppraisalPolicy, tcb: TcbData, now: datetime
) -> list[Check]:
    try:
        reported = parse_tcb(report.reported_tcb, product, "REPORTED_TCB")
        committed = parse_tcb(report.committed_tcb, product, "COMMITTED_TCB")
        current = parse_tcb(report.current_tcb, product, "CURRENT_TCB")
        launch = parse_tcb(report.launch_tcb, product, "LAUNCH_TCB")
    except Malformed as error:
        lattice = failed("guest.tcb-lattice", f"{error.field}: {error.found}", error.wanted)
        return [lattice, *(skipped(check_id, "the TCB versions do not parse") for check_id in CHECKS[1:3])]
    return [
        _check_lattice(report, reported, committed, current, policy),
        _check_floor(reported, launch, product, policy),
        check_status(report, product, policy, tcb, now),
    ]


def _check_lattice(
    report: AttestationReport, reported: Tcb, committed: Tcb, current: Tcb, policy: AppraisalPolicy
) -> Check:
    """REPORTED <= COMMITTED <= CURRENT; a CURRENT above COMMITTED can be rolled back by the host."""
    firmware = ".".join(map(str, report.current_firmware)), ".".join(map(str, report.committed_firmware))
    found = f"reported {tcb_text(reported)}; committed {tcb_text(committed)}, firmware {firmware[1]}; "
    found += f"current {tcb_text(current)}, firmware {firmware[0]}"
    ordered = report.current_firmware >= report.committed_firmware
    if not (tcb_at_least(committed, reported) and tcb_at_least(current, committed) and ordered):
        return failed("guest.tcb-lattice", found, "reported <= committed <= current, component by component")
    provisional = current != committed or report.current_firmware != report.committed_firmware
    if provisional and not policy.allow_provisional_firmware:
        return failed("guest.tcb-lattice", found, "current equal to committed: no provisional firmware")
    wanted = "reported <= committed <= current" if policy.allow_provisional_firmware else "current equal to committed"
    return passed("guest.tcb-lattice", found, wanted)


def _check_floor(reported: Tcb, launch: Tcb, product: Product, policy: AppraisalPolicy) -> Check:
    floor, launch_floor = policy.tcb_floor[product.name], policy.launch_tcb_floor.get(product.name, {})
    if not tcb_at_least(launch, launch_floor):
        return failed("guest.tcb-floor", f"launch {tcb_text(launch)}", f"at least {tcb_text(launch_floor)}")
    held = tcb_at_least(reported, floor)
    return judged("guest.tcb-floor", held, tcb_text(reported), f"at least {tcb_text(floor)}")


def _check_vmpl(report: AttestationReport, policy: AppraisalPolicy) -> Check:
    if report.vmpl == HOST_REQUESTED_VMPL:
        return failed("guest.vmpl", "requested by the host", f"VMPL {policy.vmpl}")
    return judged("guest.vmpl", report.vmpl == policy.vmpl, f"VMPL {report.vmpl}", f"VMPL {policy.vmpl}")


def _check_debug(report: AttestationReport) -> Check:
    debug = bool(report.policy & GuestPolicy.DEBUG)
    return judged("guest.debug", not debug, "DEBUG on" if debug else "DEBUG off", "DEBUG off")


def _check_migration(report: AttestationReport) -> Check:
    if report.policy & GuestPolicy.MIGRATE_MA:
        return failed("guest.migration", "MIGRATE_MA on", "MIGRATE_MA off")
    agent = report.report_id_ma != b"\xff" * 32
    found = f"migration agent {report.report_id_ma.hex()}" if agent else "no migration agent"
    return judged("guest.migration", not agent, found, "no migration agent")


def _check_abi(report: AttestationReport, policy: AppraisalPolicy) -> Check:
    found, wanted = (f"{major}.{minor}" for major, minor in (report.abi, policy.minimum_abi))
    held = report.abi >= policy.minimum_abi and report.guest_svn >= policy.minimum_guest_svn
    return judged(
        "guest.abi",
        held,
        f"policy ABI {found}, guest SVN {report.guest_svn}",
        f"policy ABI at least {wanted}, guest SVN at least {policy.minimum_guest_svn}",
    )


def _check_guest_policy(report: AttestationReport, policy: AppraisalPolicy) -> Check:
    """Permissions (SMT, CXL) only if allowed; restrictions only matter if required (SPEC §2.4)."""
    granted = [word for word, bit in GUEST_PERMISSIONS.items() if report.policy >> bit & 1]
    present = [word for word, bit in GUEST_RESTRICTIONS.items() if report.policy >> bit & 1]
    held = policy.guest_allow >= set(granted) and policy.guest_require <= set(present)
    return judged(
        "guest.policy",
        held,
        f"allows {_listed(granted)}; restricts {_listed(present)}",
        f"allows at most {_listed(sorted(policy.guest_allow))}; restricts {_listed(sorted(policy.guest_require))}",
    )


def _check_platform(report: AttestationReport, policy: AppraisalPolicy) -> Check:
    on = [word for word, bit in PLATFORM_WORDS.items() if report.platform_info & bit]
    held = policy.platform_require <= set(on) and not policy.platform_forbid & set(on)
    wanted = f"on {_listed(sorted(policy.platform_require))}; off {_listed(sorted(policy.platform_forbid))}"
    return judged("guest.platform", held, f"on {_listed(on)}", wanted)


def _check_mitigations(report: AttestationReport, policy: AppraisalPolicy) -> Check:
    required = policy.required_mitigations
    if not required:
        return skipped("guest.mitigations", "the policy requires none")
    if report.launch_mitigations is None or report.current_mitigations is None:
        return failed("guest.mitigations", f"a version {report.version} report, without them", f"0x{required:x}")
    active = report.launch_mitigations & report.current_mitigations
    found = f"launch 0x{report.launch_mitigations:x}, current 0x{report.current_mitigations:x}"
    return judged("guest.mitigations", active & required == required, found, f"all of 0x{required:x}")


def _check_pins(report: AttestationReport, csp_id: str | None, policy: AppraisalPolicy) -> Check:
    """The optional pins: chip, cloud, owner keys, HOST_DATA, family and image."""
    values: dict[str, str] = {
        "chip_ids": report.chip_id.hex(),
        "id_key_digests": report.id_key_digest.hex(),
        "author_key_digests": report.author_key_digest.hex(),
        "host_data": report.host_data.hex(),
        "family_ids": report.family_id.hex(),
        "image_ids": report.image_id.hex(),
    }
    pinned = {name: pins for name, pins in policy.pins.items() if pins}
    for name, pins in pinned.items():
        if values[name] not in pins:
            return failed("guest.pins", f"{name} {values[name]}", f"one of {', '.join(pins)}")
    if policy.csp_ids and csp_id not in policy.csp_ids:
        return failed("guest.pins", f"csp_ids {csp_id or 'none'}", f"one of {', '.join(policy.csp_ids)}")
    names = [*pinned, *(["csp_ids"] if policy.csp_ids else [])]
    if not names:
        return skipped("guest.pins", "the policy pins nothing")
    return passed("guest.pins", _listed(names), "pinned values")


def _check_measurement(report: AttestationReport, csp_id: str | None, policy: AppraisalPolicy) -> Check:
    found = report.measurement.hex()
    accepted = (*policy.measurements, *policy.firmware_measurements)
    if not accepted:
        return skipped("code.measurement", "your policy lists no measurement, and no signed manifest in force adds one")
    reason = ""
    if found in policy.firmware_measurements:
        reason = FIRMWARE_ONLY
    elif found in policy.measurements and csp_id is not None and csp_id.endswith(EC2_CSP_SUFFIX):
        reason = EC2_FIRMWARE_ONLY
    return judged("code.measurement", found in accepted, found, "one of " + ", ".join(accepted), reason)


def _listed(words: list[str]) -> str:
    return ", ".join(words) or "nothing"
