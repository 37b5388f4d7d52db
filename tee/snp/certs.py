"""AMD's certificates and revocation lists, parsed strictly (SPEC §3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tee.errors import Malformed
from tee.snp import der
from tee.snp.der import Element

MAX_CERTIFICATE_SIZE = 8192  # AMD's largest is 1.7 kB
MAX_CRL_SIZE = 65536
OID_AMD = "1.3.6.1.4.1.3704.1."
OID_HWID = OID_AMD + "4"

# AlgorithmIdentifier of RSASSA-PSS with SHA-384, MGF1-SHA-384, salt 48. AMD writes it with and without
# the default trailerField; no third spelling is accepted.
_PSS_HEAD = "06092a864886f70d01010a30{}a00f300d06096086480165030402020500a11c301a06092a864886f70d010108"
_PSS_TAIL = "300d06096086480165030402020500a203020130"
_PSS_ALGORITHMS = (
    bytes.fromhex("3041" + _PSS_HEAD.format("34") + _PSS_TAIL),
    bytes.fromhex("3046" + _PSS_HEAD.format("39") + _PSS_TAIL + "a303020101"),
)
_NAME_ATTRIBUTES = {"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU"}
_AMD_NAME = {"OU": "Engineering", "C": "US", "L": "Santa Clara", "ST": "CA", "O": "Advanced Micro Devices"}
_SPLS = {
    "bootloader": "3.1",
    "tee": "3.2",
    "snp": "3.3",
    "spl4": "3.4",
    "spl5": "3.5",
    "spl6": "3.6",
    "spl7": "3.7",
    "microcode": "3.8",
    "fmc": "3.9",
}
# SubjectPublicKeyInfo of an RSA key of 4096 bits and exponent 65537, but for its modulus.
_RSA4096_SPKI_HEAD = bytes.fromhex("30820222300d06092a864886f70d01010105000382020f003082020a0282020100")
_RSA4096_SPKI_TAIL = bytes.fromhex("0203010001")
P384_POINT_SIZE = 97  # uncompressed
_P384_SPKI_HEAD = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate, as far as the SNP chain needs it."""

    raw: bytes
    tbs: bytes
    serial: int
    issuer: bytes  # DER name
    subject: bytes  # DER name
    subject_cn: str
    issuer_cn: str
    not_before: datetime
    not_after: datetime
    spki: bytes  # DER SubjectPublicKeyInfo
    extensions: dict[str, bytes]
    signature: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def spki_sha256(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, hex."""
        return hashlib.sha256(self.spki).hexdigest()


@dataclass(frozen=True, slots=True)
class VekExtensions:
    """AMD's extensions of a VCEK or VLEK. Exactly one of `hwid` and `csp_id` is set."""

    product_name: str
    spls: dict[str, int]
    hwid: bytes | None
    csp_id: str | None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A CRL: who signed it, how long it holds, which serials it revokes."""

    tbs: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime
    revoked: frozenset[int]
    signature: bytes


def decode_pem_or_der(raw: bytes, field: str) -> list[bytes]:
    """The DER blobs of a file: one if it is DER, each block if it is PEM. Raises Malformed."""
    if raw[:1] == b"\x30":
        return [raw]
    blobs = []
    for block in raw.split(b"-----BEGIN ")[1:]:
        head, _, rest = block.partition(b"-----")
        body, end, _ = rest.partition(b"-----END " + head + b"-----")
        if not end:
            raise Malformed(field, "a PEM block without its end", "PEM or DER")
        try:
            blobs.append(base64.b64decode(b"".join(body.split()), validate=True))
        except binascii.Error:
            raise Malformed(field, "broken base64 in PEM", "PEM or DER") from None
    if not blobs:
        raise Malformed(field, f"{len(raw)} bytes that are neither", "PEM or DER")
    return blobs


def parse_certificate(raw: bytes, field: str) -> Certificate:
    """Parse one DER certificate of AMD's shape; nothing may follow it. Raises Malformed."""
    if len(raw) > MAX_CERTIFICATE_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_CERTIFICATE_SIZE}")
    tbs, algorithm, signature = parse_signed(raw, field)
    fields = der.read_all(tbs.content, field)
    if len(fields) != 8:
        raise Malformed(field, f"{len(fields)} fields", "8 fields: an X.509 version 3 certificate")
    if fields[0].raw != b"\xa0\x03\x02\x01\x02":
        raise Malformed(f"{field}.version", fields[0].raw.hex(), "version 3")
    _require_pss(fields[2], algorithm, f"{field}.signature")
    validity = der.read_all(der.require_tag(fields[4], der.SEQUENCE, f"{field}.validity").content, f"{field}.validity")
    if len(validity) != 2:
        raise Malformed(f"{field}.validity", f"{len(validity)} times", "two times")
    return Certificate(
        raw=raw,
        tbs=tbs.raw,
        serial=der.parse_integer(fields[1], f"{field}.serial"),
        issuer=fields[3].raw,
        subject=fields[5].raw,
        issuer_cn=_parse_name(fields[3], f"{field}.issuer")["CN"],
        subject_cn=_parse_name(fields[5], f"{field}.subject")["CN"],
        not_before=der.parse_time(validity[0], f"{field}.notBefore"),
        not_after=der.parse_time(validity[1], f"{field}.notAfter"),
        spki=der.require_tag(fields[6], der.SEQUENCE, f"{field}.spki").raw,
        extensions=parse_extensions(fields[7], f"{field}.extensions"),
        signature=signature,
    )


def parse_vek_extensions(certificate: Certificate) -> VekExtensions:
    """AMD's extensions of a leaf, each exactly once and in its exact encoding (SPEC §3.3). Raises Malformed."""
    extensions = certificate.extensions
    if any(not oid.startswith(OID_AMD) for oid in extensions):
        raise Malformed("VEK.extensions", "an extension outside AMD's arc", "AMD's extensions only")
    product_name = der.parse_text(
        der.read_only(_require(extensions, "2"), der.IA5_STRING, "VEK.productName"), "VEK.productName"
    )
    turin = product_name.startswith("Turin")
    version = _small_integer(extensions, "1")
    if version != int(turin):
        raise Malformed("VEK.structVersion", version, int(turin))
    absent = "spl4" if turin else "fmc"
    spls = {name: _small_integer(extensions, arc) for name, arc in _SPLS.items() if name != absent}
    if any(spls.pop(name, 0) for name in ("spl4", "spl5", "spl6", "spl7")):
        raise Malformed("VEK.spl4 to spl7", "a value other than 0", "0")
    hwid = _parse_hwid(extensions[OID_HWID], 8 if turin else 64) if OID_HWID in extensions else None
    csp_id = None
    if OID_AMD + "5" in extensions:
        csp_id = der.parse_text(der.read_only(extensions[OID_AMD + "5"], der.IA5_STRING, "VEK.cspID"), "VEK.cspID")
    if (hwid is None) == (csp_id is None):
        found = "both hwID and cspID" if hwid else "neither hwID nor cspID"
        raise Malformed("VEK.extensions", found, "exactly one of them")
    expected = len(_SPLS) - 1 + 3  # the SPLs of this product, structVersion, productName, hwID or cspID
    if len(extensions) != expected:
        raise Malformed("VEK.extensions", f"{len(extensions)} extensions", f"{expected}")
    return VekExtensions(product_name, spls, hwid, csp_id)


def require_p384_spki(spki: bytes, field: str) -> None:
    """The SPKI is an uncompressed P-384 point. Raises Malformed."""
    if len(spki) != len(_P384_SPKI_HEAD) + P384_POINT_SIZE or not spki.startswith(_P384_SPKI_HEAD + b"\x04"):
        raise Malformed(field, "another key", "an uncompressed P-384 key")


def parse_crl(raw: bytes) -> RevocationList:
    """Parse one DER CRL of AMD's shape (RFC 5280 §5). Raises Malformed."""
    if len(raw) > MAX_CRL_SIZE:
        raise Malformed("CRL", f"{len(raw)} bytes", f"at most {MAX_CRL_SIZE}")
    tbs, algorithm, signature = parse_signed(raw, "CRL")
    fields = der.read_all(tbs.content, "CRL")
    if len(fields) not in (6, 7) or der.parse_integer(fields[0], "CRL.version") != 1:
        raise Malformed("CRL", f"{len(fields)} fields", "a version 2 list with nextUpdate and extensions")
    _require_pss(fields[1], algorithm, "CRL.signature")
    _parse_name(fields[2], "CRL.issuer")
    revoked: frozenset[int] = frozenset()
    if len(fields) == 7:
        entries = der.read_all(der.require_tag(fields[5], der.SEQUENCE, "CRL.revoked").content, "CRL.revoked")
        revoked = frozenset(_parse_revoked(entry) for entry in entries)
    parse_extensions(fields[-1], "CRL.extensions", der.CONTEXT_0)
    return RevocationList(
        tbs=tbs.raw,
        issuer=fields[2].raw,
        this_update=der.parse_time(fields[3], "CRL.thisUpdate"),
        next_update=der.parse_time(fields[4], "CRL.nextUpdate"),
        revoked=revoked,
        signature=signature,
    )


def signed_by(tbs: bytes, signature: bytes, spki: bytes) -> bool:
    """Whether the RSA key `spki` signed `tbs` with RSASSA-PSS, SHA-384, salt 48 (SPEC §3.2)."""
    modulus = spki[len(_RSA4096_SPKI_HEAD) : -len(_RSA4096_SPKI_TAIL)]
    if len(modulus) != 512 or spki != _RSA4096_SPKI_HEAD + modulus + _RSA4096_SPKI_TAIL:
        return False
    try:
        key = rsa.RSAPublicNumbers(65537, int.from_bytes(modulus)).public_key()
        key.verify(signature, tbs, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_p384(message: bytes, signature: bytes, spki: bytes) -> bool:
    """Whether the P-384 key `spki` signed `message` with SHA-384; `signature` is r, then s, 48 bytes each."""
    numbers = encode_dss_signature(int.from_bytes(signature[:48]), int.from_bytes(signature[48:]))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), spki[-P384_POINT_SIZE:])
        key.verify(numbers, message, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):  # ValueError: the point is not on the curve
        return False
    return True


def parse_signed(raw: bytes, field: str) -> tuple[Element, Element, bytes]:
    """Split SIGNED{tbs, algorithm, signature}. Raises Malformed."""
    parts = der.read_all(der.read_only(raw, der.SEQUENCE, field).content, field)
    if len(parts) != 3:
        raise Malformed(field, f"{len(parts)} parts", "three: content, algorithm, signature")
    tbs, algorithm, signature = parts
    return der.require_tag(tbs, der.SEQUENCE, field), algorithm, der.parse_bits(signature, f"{field}.signatureValue")


def _require_pss(inner: Element, outer: Element, field: str) -> None:
    """Both AlgorithmIdentifiers are the one we accept, in one spelling (RFC 5280 §4.1.1.2)."""
    if inner.raw not in _PSS_ALGORITHMS or outer.raw != inner.raw:
        raise Malformed(field, "another algorithm", "RSASSA-PSS, SHA-384, MGF1-SHA-384, salt 48, named twice alike")


def _parse_name(element: Element, field: str) -> dict[str, str]:
    """A name of exactly AMD's six attributes; the values but CN are fixed (check 7)."""
    name: dict[str, str] = {}
    for rdn in der.read_all(der.require_tag(element, der.SEQUENCE, field).content, field):
        attribute = der.read_only(der.require_tag(rdn, der.SET, field).content, der.SEQUENCE, field)
        parts = der.read_all(attribute.content, field)
        if len(parts) != 2:
            raise Malformed(field, f"{len(parts)} parts", "an attribute and its value")
        key = _NAME_ATTRIBUTES.get(der.parse_oid(parts[0], field))
        if key is None or key in name:
            raise Malformed(field, "an unknown or repeated attribute", "CN, C, L, ST, O and OU once each")
        name[key] = der.parse_text(parts[1], field)
    if "CN" not in name or {key: value for key, value in name.items() if key != "CN"} != _AMD_NAME:
        raise Malformed(field, "another organisation", "O=Advanced Micro Devices, OU=Engineering, Santa Clara, CA, US")
    return name


def parse_extensions(element: Element, field: str, tag: int = der.CONTEXT_3) -> dict[str, bytes]:
    """Extensions by object identifier, each once, none critical that is unknown here. Raises Malformed."""
    listing = der.read_only(der.require_tag(element, tag, field).content, der.SEQUENCE, field)
    return _read_extensions(listing, field)


def _read_extensions(listing: Element, field: str) -> dict[str, bytes]:
    extensions: dict[str, bytes] = {}
    for entry in der.read_all(der.require_tag(listing, der.SEQUENCE, field).content, field):
        parts = der.read_all(der.require_tag(entry, der.SEQUENCE, field).content, field)
        critical = len(parts) == 3 and parts[1].raw == b"\x01\x01\xff"
        if not (len(parts) == 2 or critical):
            raise Malformed(field, "a broken extension", "identifier, optional critical TRUE, value")
        oid = der.parse_oid(parts[0], field)
        # Key usage and basic constraints are the only critical ones AMD uses; an unknown one must refuse.
        if critical and oid not in ("2.5.29.15", "2.5.29.19"):
            raise Malformed(field, f"unknown critical extension {oid}", "extensions that are known here")
        if oid in extensions:
            raise Malformed(field, f"extension {oid} twice", "each extension once")
        extensions[oid] = der.require_tag(parts[-1], der.OCTET_STRING, field).content
    return extensions


def _parse_revoked(entry: Element) -> int:
    parts = der.read_all(der.require_tag(entry, der.SEQUENCE, "CRL.revoked").content, "CRL.revoked")
    if len(parts) not in (2, 3):
        raise Malformed("CRL.revoked", f"{len(parts)} parts", "a serial and a date")
    der.parse_time(parts[1], "CRL.revoked.date")
    if len(parts) == 3:  # a critical one could say that another authority's certificate is meant
        _read_extensions(parts[2], "CRL.revoked.extensions")
    return der.parse_integer(parts[0], "CRL.revoked.serial")


def _require(extensions: dict[str, bytes], arc: str) -> bytes:
    if OID_AMD + arc not in extensions:
        raise Malformed("VEK.extensions", f"no extension {OID_AMD}{arc}", "it exactly once")
    return extensions[OID_AMD + arc]


def _small_integer(extensions: dict[str, bytes], arc: str) -> int:
    field = f"VEK extension {OID_AMD}{arc}"
    value = der.parse_integer(der.read_only(_require(extensions, arc), der.INTEGER, field), field)
    if value > 255:
        raise Malformed(field, value, "0 to 255")
    return value


def _parse_hwid(value: bytes, size: int) -> bytes:
    """The chip's id: raw bytes (most issues), or wrapped in an OCTET STRING (some issues)."""
    if len(value) == size + 2 and value[:2] == bytes((der.OCTET_STRING, size)):
        value = value[2:]
    if len(value) != size:
        raise Malformed("VEK.hwID", f"{len(value)} bytes", f"{size} bytes")
    return value
