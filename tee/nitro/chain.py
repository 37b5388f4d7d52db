"""Authentic? Whether AWS's Nitro system signed this document (SPEC §11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tee.errors import Malformed
from tee.nitro.document import NitroDocument
from tee.snp import der
from tee.snp.certs import parse_extensions, parse_signed, require_p384_spki, verify_p384

MOCK_ROOT_CN = "SAFEROUTER-MOCK-NITRO"
AWS_ROOT_CN = "aws.nitro-enclaves"
# SHA-256 of the DER of AWS's root G1, which signs for enclaves and NitroTPM alike. Never read from evidence.
AWS_ROOT_SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
MAX_SKEW = timedelta(minutes=5)  # AWS issues the leaf seconds before it signs, so a clock behind AWS's must do
_ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")
_OID_CN = "2.5.4.3"
_OID_KEY_USAGE, _OID_BASIC_CONSTRAINTS = "2.5.29.15", "2.5.29.19"
_DIGITAL_SIGNATURE, _KEY_CERT_SIGN = 0x80, 0x04  # bits of keyUsage's first byte


@dataclass(frozen=True, slots=True)
class NitroCertificate:
    """An X.509 certificate of AWS's Nitro PKI, as far as the chain needs it."""

    raw: bytes
    tbs: bytes
    issuer: bytes  # DER name
    subject: bytes  # DER name
    subject_cn: str
    not_before: datetime
    not_after: datetime
    spki: bytes
    is_ca: bool
    path_length: int | None
    key_usage: int
    signature: bytes  # 96: r, then s


def parse_chain(document: NitroDocument) -> list[NitroCertificate]:
    """The certificates, root first and signer last, each of its role (RFC 5280 §6.1). Raises Malformed."""
    rows = [(f"cabundle[{at}]", raw) for at, raw in enumerate(document.cabundle)]
    rows.append(("certificate", document.certificate))
    chain = [_parse_certificate(raw, field) for field, raw in rows]
    for at, (certificate, (field, _)) in enumerate(zip(chain, rows, strict=True)):
        _require_role(certificate, len(chain) - at - 2, field)
    return chain


def chain_problem(document: NitroDocument, chain: list[NitroCertificate]) -> str | None:
    """What keeps the chain from carrying the document's signature, or None: names, signatures, the document."""
    for signer, signed in zip((chain[0], *chain), chain, strict=False):
        if signed.issuer != signer.subject:
            return f"{signed.subject_cn} names another issuer than {signer.subject_cn}"
        if not verify_p384(signed.tbs, signed.signature, signer.spki):
            return f"{signed.subject_cn}: signature does not verify by {signer.subject_cn}"
    if not verify_p384(document.signed, document.signature, chain[-1].spki):
        return f"document: signature does not verify by {chain[-1].subject_cn}"
    return None


def validity(chain: list[NitroCertificate]) -> tuple[datetime, datetime]:
    """From when and until when every certificate is valid. The signer's lives for hours only."""
    return max(c.not_before for c in chain), min(c.not_after for c in chain)


def _parse_certificate(raw: bytes, field: str) -> NitroCertificate:
    tbs, algorithm, signature = parse_signed(raw, field)
    fields = der.read_all(tbs.content, field)
    if len(fields) != 8 or fields[0].raw != b"\xa0\x03\x02\x01\x02":
        raise Malformed(field, "another certificate", "X.509 version 3, 8 fields")
    if fields[2].raw != _ECDSA_SHA384 or algorithm.raw != _ECDSA_SHA384:
        raise Malformed(f"{field}.signature", "another algorithm", "ECDSA with SHA-384, named twice alike")
    times = der.read_all(der.require_tag(fields[4], der.SEQUENCE, f"{field}.validity").content, f"{field}.validity")
    if len(times) != 2:
        raise Malformed(f"{field}.validity", f"{len(times)} times", "two times")
    der.parse_integer(fields[1], f"{field}.serial")
    require_p384_spki(fields[6].raw, f"{field}.spki")
    extensions = parse_extensions(fields[7], f"{field}.extensions")
    is_ca, path_length = _parse_constraints(extensions.get(_OID_BASIC_CONSTRAINTS), f"{field}.basicConstraints")
    _parse_common_name(fields[3], f"{field}.issuer")
    return NitroCertificate(
        raw=raw,
        tbs=tbs.raw,
        issuer=fields[3].raw,
        subject=fields[5].raw,
        subject_cn=_parse_common_name(fields[5], f"{field}.subject"),
        not_before=der.parse_time(times[0], f"{field}.notBefore"),
        not_after=der.parse_time(times[1], f"{field}.notAfter"),
        spki=fields[6].raw,
        is_ca=is_ca,
        path_length=path_length,
        key_usage=_parse_key_usage(extensions.get(_OID_KEY_USAGE), f"{field}.keyUsage"),
        signature=_parse_ecdsa(signature, f"{field}.signatureValue"),
    )


def _require_role(certificate: NitroCertificate, below: int, field: str) -> None:
    """An authority may sign certificates, with `below` authorities under it; the signer (-1) may not."""
    authority = below >= 0
    if certificate.is_ca is not authority:
        raise Malformed(f"{field}.basicConstraints", f"CA {certificate.is_ca}".upper(), f"CA {authority}".upper())
    if authority and certificate.path_length is not None and certificate.path_length < below:
        raise Malformed(f"{field}.pathLength", certificate.path_length, f"at least {below}")
    if not certificate.key_usage & (_KEY_CERT_SIGN if authority else _DIGITAL_SIGNATURE):
        raise Malformed(f"{field}.keyUsage", "another use", "keyCertSign" if authority else "digitalSignature")


def _parse_common_name(element: der.Element, field: str) -> str:
    """The one CN of a name; AWS orders its attributes in several ways, so issuers are compared as bytes."""
    names = []
    for rdn in der.read_all(der.require_tag(element, der.SEQUENCE, field).content, field):
        attribute = der.read_only(der.require_tag(rdn, der.SET, field).content, der.SEQUENCE, field)
        parts = der.read_all(attribute.content, field)
        if len(parts) != 2:
            raise Malformed(field, f"{len(parts)} parts", "an attribute and its value")
        text = der.parse_text(parts[1], field)
        if der.parse_oid(parts[0], field) == _OID_CN:
            names.append(text)
    if len(names) != 1:
        raise Malformed(field, f"{len(names)} common names", "one")
    return names[0]


def _parse_constraints(value: bytes | None, field: str) -> tuple[bool, int | None]:
    """BasicConstraints: whether it is an authority, and how many may follow it (RFC 5280 §4.2.1.9)."""
    if value is None:
        return False, None
    parts = der.read_all(der.read_only(value, der.SEQUENCE, field).content, field)
    if not parts:
        return False, None
    if parts[0].raw != b"\x01\x01\xff" or len(parts) > 2:
        raise Malformed(field, "broken constraints", "CA TRUE, and a path length or none")
    length = der.parse_integer(parts[1], field) if len(parts) == 2 else None
    return True, length


def _parse_key_usage(value: bytes | None, field: str) -> int:
    """The first eight bits of KeyUsage; 0 where it is missing (RFC 5280 §4.2.1.3)."""
    if value is None:
        return 0
    content = der.read_only(value, der.BIT_STRING, field).content
    if len(content) < 2 or content[0] > 7:
        raise Malformed(field, "broken bits", "a bit string with a use")
    return content[1]


def _parse_ecdsa(value: bytes, field: str) -> bytes:
    """A DER Ecdsa-Sig-Value as r, then s, 48 bytes each."""
    numbers = der.read_all(der.read_only(value, der.SEQUENCE, field).content, field)
    values = [der.parse_integer(number, field) for number in numbers]
    if len(values) != 2 or any(value.bit_length() > 384 for value in values):
        raise Malformed(field, "broken numbers", "r and s, 48 bytes each")
    return b"".join(value.to_bytes(48) for value in values)
