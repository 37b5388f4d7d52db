"""NitroTPM documents under a mock root of AWS's shape: a CBOR writer, a chain of five, and COSE_Sign1 around both."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, replace

from tests.vectors import der
from tests.vectors.certificates import NOW, Certificate, extension, name_of
from tests.vectors.signing import P384_ORDER, Signer, ec_key, ec_spki, ecdsa, ecdsa_numbers

ROOT_CN = "SAFEROUTER-MOCK-NITRO"
ECDSA_SHA384 = der.sequence(der.oid("1.2.840.10045.4.3.3"))
PROTECTED = b"\xa1\x01\x38\x22"  # {1: -35}
SIGNED_SIZE = 0x2A0
SECOND, HOUR = dt.timedelta(seconds=1), dt.timedelta(hours=1)
MODULE_ID = "i-0123456789abcdef0-tpm0000000000000000"


def pcr(label: str) -> bytes:
    return hashlib.sha384(f"saferouter vectors {label}".encode()).digest()


PCRS = {0: pcr("pcr0"), 4: pcr("pcr4"), 7: pcr("pcr7"), 12: bytes(48)}
IMAGE = {"pcr4": PCRS[4].hex(), "pcr7": PCRS[7].hex(), "pcr12": PCRS[12].hex()}


def head(kind: int, value: int) -> bytes:
    """The head of an item in its shortest form."""
    if value < 24:
        return bytes((kind << 5 | value,))
    for short, size in ((24, 1), (25, 2), (26, 4)):
        if value < 1 << 8 * size:
            return bytes((kind << 5 | short,)) + value.to_bytes(size)
    return bytes((kind << 5 | 27,)) + value.to_bytes(8)


def integer(value: int) -> bytes:
    return head(0, value) if value >= 0 else head(1, -1 - value)


def octets(value: bytes) -> bytes:
    return head(2, len(value)) + value


def text(value: str) -> bytes:
    return head(3, len(value.encode())) + value.encode()


def array(*items: bytes) -> bytes:
    return head(4, len(items)) + b"".join(items)


def pairs(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A map of definite length, its rows as they come."""
    return head(5, len(rows)) + b"".join(key + value for key, value in rows)


def open_pairs(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A map of indefinite length, as AWS writes its payload."""
    return b"\xbf" + b"".join(key + value for key, value in rows) + b"\xff"


def signer(label: str) -> Signer:
    return lambda message: ecdsa(ec_key(label), message)


def usage(bits: int, unused: int, *, critical: bool = True) -> bytes:
    return extension("2.5.29.15", der.bits(bytes((bits,)), unused), critical=critical)


def constraints(length: int | None = None) -> bytes:
    """BasicConstraints of an authority."""
    parts = [b"\x01\x01\xff", *([] if length is None else [der.integer(length)])]
    return extension("2.5.29.19", der.sequence(*parts), critical=True)


NO_CA = extension("2.5.29.19", der.sequence(), critical=True)
KEY_ID = extension("2.5.29.14", der.octets(bytes(20)))


def name(common_name: str) -> bytes:
    rows = [("2.5.4.6", "US"), ("2.5.4.10", "Amazon"), ("2.5.4.11", "AWS"), ("2.5.4.3", common_name)]
    return name_of(rows)


def certificate(common_name: str, issuer: str, label: str, signed_by: str, *extensions: bytes) -> Certificate:
    return Certificate(
        subject=name(common_name),
        issuer=name(issuer),
        serial=der.integer(int.from_bytes(hashlib.sha256(common_name.encode()).digest()[:8])),
        spki=ec_spki(ec_key(label)),
        extensions=extensions,
        signer=signer(signed_by),
        algorithm=ECDSA_SHA384,
    )


@dataclass(frozen=True)
class Pki:
    """The certificates of one document, root first; change one with dataclasses.replace."""

    root: Certificate
    regional: Certificate
    zonal: Certificate
    instance: Certificate
    leaf: Certificate

    def bundle(self) -> list[bytes]:
        return [row.der() for row in (self.root, self.regional, self.zonal, self.instance)]


REGIONAL_CN, ZONAL_CN = "00aa.test-1.mock-nitro", "00bb.zonal.test-1.mock-nitro"
INSTANCE_CN, LEAF_CN = "i-0123456789abcdef0.test-1.mock-nitro", MODULE_ID + ".test-1.mock"
CA_USE = usage(0x86, 1)
PKI = Pki(
    certificate(ROOT_CN, ROOT_CN, "nitro-root", "nitro-root", constraints(), KEY_ID, CA_USE),
    certificate(REGIONAL_CN, ROOT_CN, "nitro-regional", "nitro-root", constraints(2), KEY_ID, CA_USE),
    certificate(ZONAL_CN, REGIONAL_CN, "nitro-zonal", "nitro-regional", constraints(1), CA_USE),
    certificate(INSTANCE_CN, ZONAL_CN, "nitro-instance", "nitro-zonal", constraints(0), usage(0x04, 2)),
    replace(
        certificate(LEAF_CN, INSTANCE_CN, "nitro-leaf", "nitro-instance", NO_CA, usage(0xC0, 6, critical=False)),
        not_before=der.utc_time(NOW - 3 * SECOND),
        not_after=der.utc_time(NOW + 3 * HOUR),
    ),
)


Members = dict[str, bytes]


def members(report: bytes, nonce: bytes | None, pki: Pki = PKI, /, **changes: bytes) -> Members:
    """The payload's members, encoded, in AWS's order; `changes` replaces one, empty bytes remove it."""
    values = {
        "module_id": text(MODULE_ID),
        "digest": text("SHA384"),
        "timestamp": integer(int(NOW.timestamp() * 1000) + 432),
        "nitrotpm_pcrs": registers(PCRS),
        "certificate": octets(pki.leaf.der()),
        "cabundle": array(*map(octets, pki.bundle())),
        "public_key": b"\xf6",
        "user_data": octets(hashlib.sha256(report[:SIGNED_SIZE]).digest()),
        "nonce": b"\xf6" if nonce is None else octets(nonce),
    }
    return {key: value for key, value in (values | changes).items() if value}


def registers(values: dict[int, bytes]) -> bytes:
    return pairs([(integer(index), octets(value)) for index, value in values.items()])


def rows_of(values: Members) -> list[tuple[bytes, bytes]]:
    return [(text(key), value) for key, value in values.items()]


def payload(values: Members) -> bytes:
    return open_pairs(rows_of(values))


def to_sign(body: bytes, protected: bytes = PROTECTED, context: str = "Signature1") -> bytes:
    """The Sig_structure (RFC 9052 §4.4)."""
    return array(text(context), octets(protected), octets(b""), octets(body))


def raw_signature(message: bytes, label: str = "nitro-leaf") -> bytes:
    r, s = ecdsa_numbers(ec_key(label), message)
    return r.to_bytes(48) + s.to_bytes(48)


def other_spelling(signature: bytes) -> bytes:
    """The same signature with n - s for s."""
    return signature[:48] + (P384_ORDER - int.from_bytes(signature[48:])).to_bytes(48)


def sign1(body: bytes, protected: bytes = PROTECTED, label: str = "nitro-leaf") -> bytes:
    signature = raw_signature(to_sign(body, protected), label)
    return array(octets(protected), pairs([]), octets(body), octets(signature))
