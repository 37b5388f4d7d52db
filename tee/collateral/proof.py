"""Whether a chain, a VCEK or a revocation list is what was asked for: nothing else is kept or used (SPEC §3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tee.errors import Malformed
from tee.snp import der
from tee.snp.certs import (
    Certificate,
    RevocationList,
    decode_pem_or_der,
    parse_certificate,
    parse_crl,
    parse_vek_extensions,
    require_p384_spki,
    signed_by,
)
from tee.snp.product import Product, encode_tcb, parse_tcb, product_of_cpuid, product_of_name, tcb_text
from tee.snp.report import AttestationReport, SigningKey

# Whose pins count, by name. AMD's are `PRODUCTS`; tests bring others, and no configuration can.
Products = dict[str, Product]


@dataclass(frozen=True, slots=True)
class VcekId:
    """What determines a VCEK's key: the chip and its REPORTED_TCB."""

    product: Product
    hwid: bytes  # 64, Turin 8
    tcb: bytes  # 8, as reported


@dataclass(frozen=True, slots=True)
class Authorities:
    """ASK or ASVK, and ARK, both pinned."""

    intermediate: Certificate
    ark: Certificate


@dataclass(frozen=True, slots=True)
class SignedList:
    """A revocation list with its DER."""

    raw: bytes
    parsed: RevocationList


def vcek_id_of_report(report: AttestationReport, product: Product) -> VcekId:
    """The VCEK that signed `report`, if it is of that product. Raises Malformed."""
    parse_tcb(report.reported_tcb, product, "REPORTED_TCB")
    hwid, rest = report.chip_id[: product.hwid_size], report.chip_id[product.hwid_size :]
    if not any(hwid):
        raise Malformed("CHIP_ID", "zero", "the chip's id: the host masks it, so its VCEK comes from the host alone")
    if any(rest):
        raise Malformed("CHIP_ID", report.chip_id.hex(), f"{product.hwid_size} bytes and zeros, as {product.name} has")
    return VcekId(product, hwid, report.reported_tcb)


def vcek_id_of_certificate(certificate: Certificate, products: Products) -> VcekId:
    """The chip and TCB that a VCEK names. Raises Malformed."""
    extensions = parse_vek_extensions(certificate)
    product = products.get(extensions.product_name.split("-")[0])
    if extensions.hwid is None:
        raise Malformed("VEK", certificate.subject_cn, "a VCEK: a VLEK comes from the host with each report")
    if product is None:
        raise Malformed("VEK.productName", extensions.product_name, f"one of {', '.join(products)}")
    return VcekId(product, extensions.hwid, encode_tcb(extensions.spls, product))


def candidate_products(report: AttestationReport, vek: bytes | None, products: Products) -> list[Product]:
    """The products that `report` may be of: one by its CPUID, else Milan and Genoa, first what its certificate says."""
    if report.cpuid is not None:
        named = product_of_cpuid(report.cpuid[0], report.cpuid[1])
        return [products[named.name]] if named is not None and named.name in products else []
    # Version 2 carries no CPUID, and Turin never emits it.
    certified = None if vek is None else _product_of_vek(vek)
    names = ["Genoa", "Milan"] if certified is not None and certified.name == "Genoa" else ["Milan", "Genoa"]
    return [products[name] for name in names if name in products]


def read_chain(raw: bytes, product: Product, kind: SigningKey, now: datetime | None) -> Authorities:
    """Intermediate and ARK, in either order, PEM or DER, and nothing else. Raises Malformed."""
    return match_authorities(
        [parse_certificate(blob, "chain") for blob in split_blobs(raw, "chain")], product, kind, now
    )


def match_authorities(
    certificates: list[Certificate], product: Product, kind: SigningKey, now: datetime | None
) -> Authorities:
    """The two certificates that the pins of `product` name. Raises Malformed."""
    pins = (product.ask if kind is SigningKey.VCEK else product.asvk, product.ark)
    by_digest = {certificate.sha256: certificate for certificate in certificates}
    if by_digest.keys() != {pin.der_sha256 for pin in pins}:
        found = " and ".join(f"{certificate.subject_cn} {certificate.sha256}" for certificate in certificates)
        wanted = " and ".join(f"{pin.common_name} {pin.der_sha256}" for pin in pins)
        raise Malformed("chain", found or "nothing", f"AMD's {wanted}")
    for pin in pins:
        _require_valid(by_digest[pin.der_sha256], pin.common_name, now)
    return Authorities(by_digest[pins[0].der_sha256], by_digest[pins[1].der_sha256])


def read_vcek(raw: bytes, wanted: VcekId, ask: Certificate, now: datetime | None) -> Certificate:
    """The VCEK of this chip and TCB, signed by its ASK. Raises Malformed."""
    blobs = split_blobs(raw, "VCEK")
    if len(blobs) != 1:
        raise Malformed("VCEK", f"{len(blobs)} certificates", "one")
    certificate = parse_certificate(blobs[0], "VCEK")
    require_p384_spki(certificate.spki, "VCEK.spki")
    extensions = parse_vek_extensions(certificate)
    if certificate.subject_cn != "SEV-VCEK" or extensions.hwid is None:
        raise Malformed("VCEK", certificate.subject_cn, "SEV-VCEK with hwID")
    if extensions.product_name.split("-")[0] != wanted.product.name:
        raise Malformed("VCEK.productName", extensions.product_name, wanted.product.name)
    if certificate.issuer != ask.subject or not signed_by(certificate.tbs, certificate.signature, ask.spki):
        raise Malformed("VCEK.signature", f"one by {certificate.issuer_cn} that does not verify", f"{ask.subject_cn}'s")
    if extensions.hwid != wanted.hwid:
        raise Malformed("VCEK.hwID", extensions.hwid.hex(), wanted.hwid.hex())
    spls = parse_tcb(wanted.tcb, wanted.product, "TCB")
    if extensions.spls != spls:
        raise Malformed("VCEK.SPLs", tcb_text(extensions.spls), tcb_text(spls))
    _require_valid(certificate, "VCEK", now)
    return certificate


def read_crl(raw: bytes, ark: Certificate, now: datetime | None) -> SignedList:
    """A revocation list that the ARK signed and that has not expired. Raises Malformed."""
    blobs = split_blobs(raw, "CRL")
    if len(blobs) != 1:
        raise Malformed("CRL", f"{len(blobs)} lists", "one")
    crl = parse_crl(blobs[0])
    if crl.issuer != ark.subject or not signed_by(crl.tbs, crl.signature, ark.spki):
        raise Malformed("CRL", f"a list that {ark.subject_cn} did not sign", "a list that it signed")
    if now is not None and not crl.this_update <= now < crl.next_update:
        raise Malformed("CRL", f"a list for {iso(crl.this_update)} to {iso(crl.next_update)}", "one in force")
    return SignedList(blobs[0], crl)


def require_same_key(old: Certificate, new: Certificate) -> None:
    """AMD signs a VCEK anew for each request, over the same key. Raises Malformed."""
    if old.spki != new.spki:
        raise Malformed(
            "VCEK.spki",
            new.spki_sha256,
            f"{old.spki_sha256}, the key that is kept for this chip and TCB and that cannot change. Find out which "
            "of the two signs this machine's reports before you delete the file that keeps it",
        )


def require_no_older(old: SignedList, new: SignedList) -> None:
    """A list is never replaced by an older one, which may lack what has been revoked since. Raises Malformed."""
    if new.parsed.this_update < old.parsed.this_update:
        raise Malformed("CRL.thisUpdate", iso(new.parsed.this_update), f"{iso(old.parsed.this_update)} or later")


def is_crl(blob: bytes, field: str) -> bool:
    """Whether DER is a revocation list: a certificate opens with [0], a list with an integer. Raises Malformed."""
    outer = der.read_only(blob, der.SEQUENCE, field)
    tbs, _ = der.read_element(outer.content, field)
    first, _ = der.read_element(tbs.content, field)
    return first.tag == der.INTEGER


def split_blobs(raw: bytes, field: str) -> list[bytes]:
    """The DER blobs of a PEM file, or of DER ones one after the other. Raises Malformed."""
    if raw[:1] != bytes((der.SEQUENCE,)):
        return decode_pem_or_der(raw, field)
    return [element.raw for element in der.read_all(raw, field)]


def iso(moment: datetime) -> str:
    """`2026-11-21T12:00:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _product_of_vek(vek: bytes) -> Product | None:
    try:
        return product_of_name(parse_vek_extensions(parse_certificate(vek, "VEK")).product_name)
    except Malformed:
        return None  # whoever judges this certificate will say so


def _require_valid(certificate: Certificate, field: str, now: datetime | None) -> None:
    if now is not None and not certificate.not_before <= now <= certificate.not_after:
        held = f"valid from {iso(certificate.not_before)} to {iso(certificate.not_after)}"
        raise Malformed(field, held, "one in force")
