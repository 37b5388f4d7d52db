"""Wrapping secrets derived by the AMD firmware from the chip, the measurement and the TCB (SPEC §14.2)."""

from __future__ import annotations

from collections.abc import Callable

from tee.errors import Malformed, Unavailable
from tee.keys.identity import hex_bytes, require_members
from tee.seal.envelope import Facts
from tee.snp.product import Product, parse_tcb, product_of_cpuid, tcb_at_least, tcb_text
from tee.snp.report import AttestationReport, GuestPolicy, SigningKey

KIND = "snp-derived-key"
# Bit 0 clear: never the VMRK, which is random for each launch. Bits 2:1 = 1: the VCEK, never the fleet's VLEK,
# which firmware would take by itself where one is installed.
ROOT_KEY_SELECT = 1 << 1
# GUEST_POLICY, IMAGE_ID, FAMILY_ID, MEASUREMENT, GUEST_SVN and TCB_VERSION: all that message version 1 can mix in.
GUEST_FIELD_SELECT = 0x3F
MAX_VMPL = 3
_SIZES = {"chip_id": 64, "measurement": 48, "policy": 8, "family_id": 16, "image_id": 16, "tcb": 8}
_WORDS = {
    "product": "another CPU product",
    "chip_id": "another chip",
    "measurement": "another measurement",
    "policy": "another guest policy",
    "family_id": "another FAMILY_ID",
    "image_id": "another IMAGE_ID",
    "vmpl": "another VMPL",
}

Derive = Callable[[int, int, int, int, int], bytes]
"""root_key_select, guest_field_select, vmpl, guest_svn, tcb_version -> 32 bytes. Raises Unavailable."""


def why_not_isolating(report: AttestationReport, covers: str | None) -> str | None:
    """Why a derived key of this guest would be somebody else's as well; None where it is this workload's alone.

    `covers` is what the launch measurement covers: `workload`, `firmware`, or None where nobody has said.
    """
    if report.signing_key is not SigningKey.VCEK:
        return "a VLEK signs this machine's reports: its keys are shared by a whole fleet"
    if not any(report.chip_id):
        return "the report hides which chip made it"
    if report.policy & (GuestPolicy.DEBUG | GuestPolicy.MIGRATE_MA):
        return "the guest policy allows debugging or migration"
    if report.vmpl > MAX_VMPL:
        return "the report was not made by the guest"
    if _product(report) is None:
        return "the report names no CPU that is known here, so its TCB cannot be compared"
    if covers == "firmware":
        return "the launch measurement covers the firmware alone: every guest on it derives the same key"
    if covers != "workload":
        return "nobody has said that the launch measurement covers the workload (`sealing.measurement_covers`)"
    return None


class DerivedKeySource:
    """A SecretSource: the firmware's derived key, for the TCB that the chip has committed to."""

    def __init__(self, report: AttestationReport, derive: Derive, covers: str | None) -> None:
        """`report` is this guest's own. Raises Unavailable where a derived key would isolate nothing."""
        reason, product = why_not_isolating(report, covers), _product(report)
        if reason is not None or product is None:
            words = f"{reason}. Seal with a key of AWS KMS (`sealing.kms_key_arn`) or through a broker instead"
            raise Unavailable(KIND, words, retryable=False)
        self._product = product
        self._report = report
        self._derive = derive

    def new_secret(self, purpose: str) -> tuple[Facts, bytes]:
        """See SecretSource."""
        facts = self._facts()
        return facts, self.secret_of(facts, purpose)

    def secret_of(self, facts: Facts, _purpose: str) -> bytes:
        """See SecretSource. Firmware derives for an earlier TCB or GUEST_SVN, never for a later one."""
        own = self._facts()
        _require_shape(facts, own)
        for name, words in _WORDS.items():
            if facts[name] != own[name]:
                raise _elsewhere(f"{words} ({name} {facts[name]}, and this guest has {own[name]})")
        svn = int(facts["guest_svn"])
        if svn > self._report.guest_svn:
            raise _elsewhere(f"GUEST_SVN {svn}, and this guest was launched with {self._report.guest_svn}")
        raw = bytes.fromhex(str(facts["tcb"]))
        tcb = parse_tcb(raw, self._product, "sealed.slots.tcb")
        committed = parse_tcb(self._report.committed_tcb, self._product, "COMMITTED_TCB")
        if not tcb_at_least(committed, tcb):
            raise Unavailable(
                KIND,
                f"sealed under newer firmware ({tcb_text(tcb)}) than this machine has committed to "
                f"({tcb_text(committed)}): update its firmware again",
                retryable=False,
            )
        return self._derive(ROOT_KEY_SELECT, GUEST_FIELD_SELECT, self._report.vmpl, svn, int.from_bytes(raw, "little"))

    def is_current(self, facts: Facts) -> bool:
        """See SecretSource."""
        return facts == self._facts()

    def _facts(self) -> Facts:
        report = self._report
        return {
            "kind": KIND,
            "product": self._product.name,
            "chip_id": report.chip_id.hex(),
            "measurement": report.measurement.hex(),
            "policy": report.policy.to_bytes(8, "big").hex(),
            "family_id": report.family_id.hex(),
            "image_id": report.image_id.hex(),
            "vmpl": report.vmpl,
            "guest_svn": report.guest_svn,
            "tcb": report.committed_tcb.hex(),
            "guest_field_select": GUEST_FIELD_SELECT,
        }


def _product(report: AttestationReport) -> Product | None:
    return None if report.cpuid is None else product_of_cpuid(*report.cpuid[:2])


def _require_shape(facts: Facts, own: Facts) -> None:
    """The facts of this kind of slot, each of its type and size. Raises Malformed, Unavailable."""
    if facts["kind"] != KIND:
        raise _elsewhere(f"{facts['kind']}, and this guest seals with {KIND}")
    require_members(facts, set(own), "sealed.slots", exact=True)
    for name, size in _SIZES.items():
        hex_bytes(facts[name], size, f"sealed.slots.{name}")
    for name in ("vmpl", "guest_svn", "guest_field_select"):
        value = facts[name]
        if not isinstance(value, int) or not 0 <= value < 1 << 32:
            raise Malformed(f"sealed.slots.{name}", value, "an integer of 32 bits")
    if facts["guest_field_select"] != GUEST_FIELD_SELECT:
        raise Malformed("sealed.slots.guest_field_select", facts["guest_field_select"], GUEST_FIELD_SELECT)


def _elsewhere(words: str) -> Unavailable:
    reason = f"sealed under {words}. Start the release or machine that sealed it, or delete the file to begin anew"
    return Unavailable("sealed state", reason, retryable=False)
