"""Authentic? Whether AMD's hardware signed this report: checks 6 to 14 of SPEC §6, in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tee.errors import Malformed
from tee.evidence import Check, Endorsements, failed, judged, passed, skipped
from tee.snp.certs import (
    Certificate,
    RevocationList,
    VekExtensions,
    parse_certificate,
    parse_crl,
    parse_vek_extensions,
    require_p384_spki,
    signed_by,
    verify_p384,
)
from tee.snp.product import (
    MOCK_ARK_CN,
    MOCK_ASK_CN,
    Product,
    parse_tcb,
    product_of_cpuid,
    product_of_name,
    tcb_text,
)
from tee.snp.report import SIGNED_SIZE, AttestationReport, SigningKey

CHECKS = (
    "hw.certificate",
    "hw.product",
    "hw.chain",
    "hw.root",
    "hw.validity",
    "hw.revocation",
    "hw.signature",
    "hw.tcb-certificate",
    "hw.chip-id",
)
MOCK_REASON = "MOCK: a root made on this machine, accepted because you asked; it proves nothing about hardware"


@dataclass(frozen=True, slots=True)
class Chain:
    """The parsed certificates of one piece of evidence."""

    vek: Certificate
    extensions: VekExtensions
    intermediate: Certificate
    ark: Certificate


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The transcript of these checks; `product` and `chain` are None where parsing already failed."""

    checks: list[Check]
    product: Product | None
    chain: Chain | None
    mock: bool


def authenticate(
    raw: bytes, report: AttestationReport, endorsements: Endorsements, *, now: datetime, accept_mock: bool
) -> Authenticated:
    """Run checks 6 to 14. `raw` is the report as received: never a re-serialised one."""
    try:
        chain = _parse_chain(endorsements)
        checks = [_check_certificate(report, chain)]  # 7, 8
    except Malformed as error:
        why = "the certificates do not parse"
        broken = [failed("hw.certificate", f"{error.field}: {error.found}", error.wanted)]
        return Authenticated(broken + [skipped(check_id, why) for check_id in CHECKS[1:]], None, None, False)
    mock = accept_mock and chain.ark.subject_cn == MOCK_ARK_CN
    product, check = _check_product(report, chain)  # 6, 13
    checks.append(check)
    checks.append(_check_chain(chain, report.signing_key))  # 9
    checks.append(_check_root(chain, report.signing_key, product, mock))  # 9
    checks.append(_check_validity(chain, now))  # 10
    checks.append(_check_revocation(endorsements.crl, chain, now))  # 11
    checks.append(_check_signature(raw, report, chain.vek))  # 12
    checks.append(_check_tcb(report, chain.extensions, product))  # 13
    checks.append(_check_chip_id(report, chain.extensions, product))  # 14
    return Authenticated(checks, product, chain, mock)


def _parse_chain(endorsements: Endorsements) -> Chain:
    vek = parse_certificate(endorsements.vek, "VEK")
    require_p384_spki(vek.spki, "VEK.spki")
    return Chain(
        vek,
        parse_vek_extensions(vek),
        parse_certificate(endorsements.intermediate, "ASK"),
        parse_certificate(endorsements.ark, "ARK"),
    )


def _check_certificate(report: AttestationReport, chain: Chain) -> Check:  # 8
    """The leaf is of the kind that the report says signed it: name and extensions agree."""
    wanted = "SEV-VCEK with hwID" if report.signing_key is SigningKey.VCEK else "SEV-VLEK with cspID"
    found = f"{chain.vek.subject_cn} with {'hwID' if chain.extensions.hwid is not None else 'cspID'}"
    return judged("hw.certificate", found == wanted, found, wanted, f"the report names {report.signing_key.name}")


def _check_product(report: AttestationReport, chain: Chain) -> tuple[Product | None, Check]:  # 6, 13
    named = product_of_name(chain.extensions.product_name)
    found = f"certificate for {chain.extensions.product_name}"
    if report.cpuid is None:  # version 2 carries no CPUID, and Turin never emits version 2
        if named is None or "fmc" in named.tcb_layout:
            return None, failed("hw.product", found, "Milan or Genoa for a version 2 report")
        return named, passed("hw.product", found, "Milan or Genoa for a version 2 report")
    product = product_of_cpuid(report.cpuid[0], report.cpuid[1])
    cpu = f"family 0x{report.cpuid[0]:02x} model 0x{report.cpuid[1]:02x}"
    if product is None:
        return None, failed("hw.product", cpu, "a CPU of Milan, Genoa or Turin")
    return product, judged(
        "hw.product", named is product, found, f"{product.name}, the CPU that the report names ({cpu})"
    )


def _check_chain(chain: Chain, signing_key: SigningKey) -> Check:  # 9
    """VEK signed by ASK or ASVK, that by ARK, that by itself, and every name the one of its role."""
    wanted_cn = _intermediate_cn(chain.ark.subject_cn, signing_key)
    ask, ark, vek = chain.intermediate, chain.ark, chain.vek
    names = (
        f"{vek.subject_cn} by {vek.issuer_cn}, {ask.subject_cn} by {ask.issuer_cn}, {ark.subject_cn} by {ark.issuer_cn}"
    )
    wanted = f"{vek.subject_cn} by {wanted_cn}, {wanted_cn} by {ark.subject_cn}, {ark.subject_cn} by {ark.subject_cn}"
    if names != wanted or vek.issuer != ask.subject or ask.issuer != ark.subject or ark.issuer != ark.subject:
        return failed("hw.chain", names, wanted)
    for signed, signer in ((ark, ark), (ask, ark), (vek, ask)):
        if not signed_by(signed.tbs, signed.signature, signer.spki):
            return failed(
                "hw.chain", f"{signed.subject_cn}: signature does not verify", f"a signature by {signer.subject_cn}"
            )
    return passed("hw.chain", names, wanted)


def _intermediate_cn(ark_cn: str, signing_key: SigningKey) -> str:
    if ark_cn == MOCK_ARK_CN:
        return MOCK_ASK_CN
    line = ark_cn.removeprefix("ARK-")
    return f"SEV-{line}" if signing_key is SigningKey.VCEK else f"SEV-VLEK-{line}"


def _check_root(chain: Chain, signing_key: SigningKey, product: Product | None, mock: bool) -> Check:  # 9
    """ARK and ASK or ASVK are AMD's, by pins compiled in here."""
    found = f"{chain.ark.subject_cn} {chain.ark.sha256}"
    if mock:
        return skipped("hw.root", MOCK_REASON)
    if product is None:
        return failed("hw.root", found, "the AMD root of a known product")
    pin = product.ask if signing_key is SigningKey.VCEK else product.asvk
    reason = "this is a MOCK: no hardware vouches for it; --accept-mock accepts it, for trying things out"
    for certificate, expected in ((chain.ark, product.ark), (chain.intermediate, pin)):
        if (certificate.sha256, certificate.spki_sha256) != (expected.der_sha256, expected.spki_sha256):
            found = f"{certificate.subject_cn} {certificate.sha256}"
            is_mock = chain.ark.subject_cn == MOCK_ARK_CN
            wanted = f"AMD's {expected.common_name} {expected.der_sha256}"
            return failed("hw.root", found, wanted, reason if is_mock else "")
    return passed("hw.root", found, f"AMD's {product.ark.common_name} {product.ark.der_sha256}")


def _check_validity(chain: Chain, now: datetime) -> Check:  # 10
    """At verification time, never at report time: KDS issues a VCEK anew on every request."""
    start = max(c.not_before for c in (chain.vek, chain.intermediate, chain.ark))
    end = min(c.not_after for c in (chain.vek, chain.intermediate, chain.ark))
    wanted = f"between {iso_seconds(start)} and {iso_seconds(end)}"
    return judged("hw.validity", start <= now <= end, iso_seconds(now), wanted)


def _check_revocation(crl_raw: bytes | None, chain: Chain, now: datetime) -> Check:  # 11
    """The serial that can be revoked is the intermediate's: every VEK has serial 0."""
    if crl_raw is None:
        return skipped("hw.revocation", "no revocation list was given")
    try:
        crl = parse_crl(crl_raw)
    except Malformed as error:
        return failed("hw.revocation", f"{error.field}: {error.found}", error.wanted)
    serial = chain.intermediate.serial
    wanted = f"a list signed by {chain.ark.subject_cn}, fresh, without serial 0x{serial:x}"
    if problem := _revocation_problem(crl, chain, now):
        return failed("hw.revocation", problem, wanted)
    return passed(
        "hw.revocation", f"list of {iso_seconds(crl.this_update)}, next {iso_seconds(crl.next_update)}", wanted
    )


def _revocation_problem(crl: RevocationList, chain: Chain, now: datetime) -> str | None:
    if crl.issuer != chain.ark.subject or not signed_by(crl.tbs, crl.signature, chain.ark.spki):
        return f"a list that {chain.ark.subject_cn} did not sign"
    if not crl.this_update <= now < crl.next_update:
        return f"a list for {iso_seconds(crl.this_update)} to {iso_seconds(crl.next_update)}, at {iso_seconds(now)}"
    for certificate in (chain.intermediate, chain.ark):
        if certificate.serial in crl.revoked:
            return f"{certificate.subject_cn} serial 0x{certificate.serial:x} revoked"
    return None


def _check_signature(raw: bytes, report: AttestationReport, vek: Certificate) -> Check:  # 12
    wanted = f"ECDSA P-384 by {vek.subject_cn} over bytes 0x000 to 0x29f"
    signature = report.signature_r.to_bytes(48) + report.signature_s.to_bytes(48)
    held = verify_p384(raw[:SIGNED_SIZE], signature, vek.spki)
    found = "a signature that verifies" if held else "a signature that does not verify"
    return judged("hw.signature", held, found, wanted)


def _check_tcb(report: AttestationReport, extensions: VekExtensions, product: Product | None) -> Check:  # 13
    if product is None:
        return skipped("hw.tcb-certificate", "the product is unknown")
    try:
        reported = parse_tcb(report.reported_tcb, product, "REPORTED_TCB")
    except Malformed as error:
        return failed("hw.tcb-certificate", f"{error.field}: {error.found}", error.wanted)
    certified = {name: extensions.spls.get(name, -1) for name in reported}
    held = reported == certified and len(extensions.spls) == len(reported)
    return judged(
        "hw.tcb-certificate", held, f"certificate for {tcb_text(certified)}", f"REPORTED_TCB {tcb_text(reported)}"
    )


def _check_chip_id(report: AttestationReport, extensions: VekExtensions, product: Product | None) -> Check:  # 14
    """A key taken from chip A must not speak for chip B; a VLEK names no chip."""
    if product is None:
        return skipped("hw.chip-id", "the product is unknown")
    if extensions.hwid is None:
        held = not any(report.chip_id)
        return judged("hw.chip-id", held, "zero" if held else report.chip_id.hex(), "zero: a VLEK names no chip")
    wanted = extensions.hwid + bytes(64 - len(extensions.hwid))
    held = report.chip_id == wanted and any(wanted) and len(extensions.hwid) == product.hwid_size
    return judged("hw.chip-id", held, report.chip_id.hex(), f"{wanted.hex()}, the certificate's hwID")


def iso_seconds(moment: datetime) -> str:
    """A time as verdicts print it, UTC, for example `2026-05-01T00:00:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
