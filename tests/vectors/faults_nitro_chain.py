"""Faults of the certificates beneath a NitroTPM document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors import der, nitro
from tests.vectors.certificates import DAY, NOW, extension, name_of
from tests.vectors.faults_nitro import (
    BOUND,
    GENUINE,
    MINUTE,
    NONCE_BYTES,
    NOT_GENUINE,
    UNREADABLE,
    base,
    nitro_vector,
    report_of,
    stated,
)
from tests.vectors.nitro import HOUR, PKI, Pki, members, payload, sign1
from tests.vectors.signing import ec_key, ec_spki, ecdsa, ecdsa_numbers
from tests.vectors.world import (
    Vector,
    rejected,
)


def chains() -> Iterator[Vector]:
    """Chains that parse, and do not hold."""
    root_cn, regional = nitro.ROOT_CN, PKI.regional
    stranger = nitro.certificate(
        root_cn, root_cn, "nitro-other", "nitro-other", nitro.constraints(), nitro.KEY_ID, nitro.CA_USE
    )
    amazon = "aws.nitro-enclaves"
    forged = nitro.certificate(amazon, amazon, "nitro-root", "nitro-root", nitro.constraints(), nitro.CA_USE)
    under_forged = replace(PKI, root=forged, regional=replace(regional, issuer=forged.subject))
    for slug, about, pki in (
        ("other-root", "A root of the same name with another key.", replace(PKI, root=stranger)),
        ("root-not-self-signed", "A root that another key signed.", _signed(PKI, "root", "nitro-other")),
        ("named-aws", "A root that calls itself AWS's: the pin decides, not the name.", under_forged),
        (
            "regional-by-stranger",
            "A regional authority that the root did not sign.",
            _signed(PKI, "regional", "nitro-x"),
        ),
        ("leaf-by-stranger", "A signer that the instance did not sign.", _signed(PKI, "leaf", "nitro-x")),
        ("leaf-key-other", "A signer's certificate for another key.", _part(PKI, "leaf", spki=_spki("nitro-x"))),
        (
            "issuer-other",
            "A zonal authority that names another issuer.",
            _part(PKI, "zonal", issuer=nitro.name("other")),
        ),
        ("leaf-issuer-root", "A signer that names the root.", _part(PKI, "leaf", issuer=PKI.root.subject)),
        ("issuer-reordered", "An issuer's attributes in another order.", _part(PKI, "leaf", issuer=_turned())),
        ("regional-expired", "An expired authority.", _part(PKI, "regional", not_after=der.utc_time(NOW - DAY))),
        ("zonal-not-yet", "An authority of tomorrow.", _part(PKI, "zonal", not_before=der.utc_time(NOW + DAY))),
    ):
        yield nitro_vector(f"chain-{slug}", about, stated(pki), NOT_GENUINE)
    about = "Three hours and a minute later the signer's certificate has expired."
    yield nitro_vector("expired", about, stated(), NOT_GENUINE, now=NOW + 3 * HOUR + MINUTE, nonce=None)
    about = "Six minutes before the signer's certificate begins, and the document was made later."
    both = rejected(GENUINE, BOUND)
    yield nitro_vector("not-yet", about, stated(), both, now=NOW - 6 * MINUTE)


def _part(pki: Pki, role: str, **changes: Any) -> Pki:
    return replace(pki, **{role: replace(getattr(pki, role), **changes)})


def _signed(pki: Pki, role: str, label: str) -> Pki:
    return _part(pki, role, signer=nitro.signer(label))


def _spki(label: str) -> bytes:
    return ec_spki(ec_key(label))


def _turned() -> bytes:
    rows = [("2.5.4.3", nitro.INSTANCE_CN), ("2.5.4.11", "AWS"), ("2.5.4.10", "Amazon"), ("2.5.4.6", "US")]
    return name_of(rows)


def certificates() -> Iterator[Vector]:
    """Certificates that are refused for what they are."""
    use, ca = nitro.CA_USE, nitro.constraints(1)
    false_ca = extension("2.5.29.19", der.sequence(b"\x01\x01\x00"), critical=True)
    unknown = extension("2.5.29.30", der.sequence(), critical=True)
    zonal: dict[str, tuple[str, tuple[bytes, ...]]] = {
        "not-a-ca": ("An authority that is none.", (nitro.NO_CA, use)),
        "ca-false": ("CA FALSE, spelt out.", (false_ca, use)),
        "no-constraints": ("An authority without constraints.", (use,)),
        "path-length": ("Path length 0, with an authority below.", (nitro.constraints(0), use)),
        "no-sign": ("An authority that may not sign certificates.", (ca, nitro.usage(0x80, 7))),
        "no-usage": ("An authority without a key usage.", (ca,)),
        "usage-empty": ("A key usage without bits.", (ca, extension("2.5.29.15", b"\x03\x01\x00", critical=True))),
        "usage-octets": ("A key usage of another type.", (ca, extension("2.5.29.15", b"\x04\x01\x86", critical=True))),
        "critical": ("An unknown critical extension.", (ca, use, unknown)),
        "twice": ("An extension twice.", (ca, use, use)),
        "constraints-extra": ("A third part in the constraints.", (_constraints_of(b"\x02\x01\x01", b"\x05\x00"), use)),
        "constraints-trailing": ("A byte after the constraints.", (_trailing_constraints(), use)),
    }
    for slug, (about, extensions) in zonal.items():
        yield nitro_vector(f"zonal-{slug}", about, stated(_part(PKI, "zonal", extensions=extensions)), UNREADABLE)
    leaf: dict[str, tuple[str, dict[str, Any]]] = {
        "is-ca": ("A signer that is an authority.", {"extensions": (nitro.constraints(), nitro.usage(0x84, 2))}),
        "cannot-sign": ("A signer that may only sign certificates.", {"extensions": (nitro.usage(0x04, 2),)}),
        "no-usage": ("A signer without a key usage.", {"extensions": (nitro.NO_CA,)}),
        "no-extensions": ("A signer without extensions.", {"extensions": ()}),
        "p256": ("A signer's key on P-256.", {"spki": ec_spki(ec_key("nitro-p256", ec.SECP256R1()))}),
        "compressed": ("A compressed point.", {"spki": _compressed_spki("nitro-leaf")}),
        "no-cn": ("A signer without a name.", {"subject": name_of([("2.5.4.10", "Amazon")])}),
        "two-cn": ("Two names.", {"subject": name_of([("2.5.4.3", "a"), ("2.5.4.3", "b")])}),
        "version-1": ("X.509 version 2.", {"version": der.explicit(0, der.integer(1))}),
        "three-times": ("A third time.", {"third_time": der.utc_time(NOW)}),
        "broken-time": ("A time that does not exist.", {"not_after": der.tlv(0x17, b"261332000000Z")}),
        "fourth-part": ("A fourth part.", {"fourth_part": der.null()}),
        "unused-bits": ("A signature with unused bits.", {"unused_bits": 1}),
        "outer-algorithm": ("Two algorithms.", {"outer_algorithm": _algorithm("1.2.840.10045.4.3.2")}),
        "sha256": ("ECDSA with SHA-256.", {"algorithm": _algorithm("1.2.840.10045.4.3.2"), "signer": _sha256_signer}),
        "null-parameters": ("Parameters where none belong.", {"algorithm": _null_algorithm()}),
        "raw-signature": ("A signature that is not DER.", {"signer": _raw_signer}),
        "padded-signature": ("r with a needless zero.", {"signer": _padded_signer}),
        "wide-signature": ("r of 49 bytes.", {"signer": _wide_signer}),
        "lone-number": ("A signature of one number.", {"signer": _lone_signer}),
    }
    for slug, (about, changes) in leaf.items():
        yield nitro_vector(f"leaf-{slug}", about, stated(_part(PKI, "leaf", **changes)), UNREADABLE)
    trailing = nitro.octets(PKI.leaf.der() + b"\0")
    yield nitro_vector("leaf-trailing", "A byte after the certificate.", stated(certificate=trailing), UNREADABLE)
    rows = list(map(nitro.octets, PKI.bundle()))
    for slug, about, bundle in (
        ("reversed", "The root last: the instance's authority would sign the root.", rows[::-1]),
        ("root-twice", "The root twice: one authority too many below the regional one.", [*rows, rows[0]]),
    ):
        yield nitro_vector(f"bundle-{slug}", about, stated(cabundle=nitro.array(*bundle)), UNREADABLE)
    about = "Without its regional authority the chain has a gap."
    yield nitro_vector("bundle-gap", about, stated(cabundle=nitro.array(rows[0], *rows[2:])), NOT_GENUINE)
    about = "A document signed by the root's own certificate alone: an authority signs no documents."
    alone = sign1(
        payload(members(report_of(base()), NONCE_BYTES) | {"cabundle": nitro.array(rows[0]), "certificate": rows[0]}),
        label="nitro-root",
    )
    yield nitro_vector("bundle-root-signs", about, alone, UNREADABLE)


def _constraints_of(*more: bytes) -> bytes:
    return extension("2.5.29.19", der.sequence(b"\x01\x01\xff", *more), critical=True)


def _trailing_constraints() -> bytes:
    return extension("2.5.29.19", der.sequence(b"\x01\x01\xff") + b"\0", critical=True)


def _algorithm(dotted: str) -> bytes:
    return der.sequence(der.oid(dotted))


def _null_algorithm() -> bytes:
    return der.sequence(der.oid("1.2.840.10045.4.3.3"), der.null())


def _compressed_spki(label: str) -> bytes:
    numbers = ec_key(label).public_key().public_numbers()
    point = bytes((2 + numbers.y % 2,)) + numbers.x.to_bytes(48)
    algorithm = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.3.132.0.34"))
    return der.sequence(algorithm, der.bits(point))


def _numbers(message: bytes) -> tuple[int, int]:
    return ecdsa_numbers(ec_key("nitro-instance"), message)


def _sha256_signer(message: bytes) -> bytes:
    return ecdsa(ec_key("nitro-instance"), message, hashes.SHA256())


def _raw_signer(message: bytes) -> bytes:
    return nitro.raw_signature(message, "nitro-instance")


def _padded_signer(message: bytes) -> bytes:
    r, s = _numbers(message)
    return der.sequence(der.tlv(2, bytes(2) + r.to_bytes(48)), der.integer(s))


def _wide_signer(message: bytes) -> bytes:
    r, s = _numbers(message)
    return der.sequence(der.integer(r + (1 << 384)), der.integer(s))


def _lone_signer(message: bytes) -> bytes:
    return der.sequence(der.integer(_numbers(message)[0]))
