"""Faults of one certificate: AMD's extensions and the DER around them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace

from tests.vectors import der
from tests.vectors.certificates import (
    AMD_ARC,
    ARCS,
    ARK,
    ASK,
    CHIP_ID,
    ORIGIN,
    Certificate,
    extension,
    vek,
    vek_values,
    vlek_values,
)
from tests.vectors.reports import TURIN, VLEK, report
from tests.vectors.world import CERTIFICATE_BROKEN, GENOA, VERIFIED, Expect, Vector, blob, report_vector
from tests.vectors.world import TURIN as TURIN_CHAIN

LEAF = vek()
Content = Certificate | bytes
PEM = b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n"


def _leaf(slug: str, about: str, content: Content, expect: Expect = CERTIFICATE_BROKEN) -> Vector:
    return report_vector(slug, about, report(), expect, chain=replace(GENOA, vek=blob(slug, content)))


def _extended(slug: str, about: str, values: dict[str, bytes], expect: Expect = CERTIFICATE_BROKEN) -> Vector:
    return _leaf(slug, about, vek(values), expect)


def extensions() -> Iterator[Vector]:
    good = vek_values()
    for arc in ("1", "2", *(f"3.{number}" for number in range(1, 9))):
        without = {key: value for key, value in good.items() if key != arc}
        yield _extended(f"no-extension-{arc.replace('.', '-')}", f"The VCEK lacks AMD's extension .{arc}.", without)
    twice = replace(LEAF, extensions=(*LEAF.extensions, LEAF.extensions[2]))
    yield _leaf("extension-twice", "An extension twice, with equal values.", twice)
    integers = {
        "spl-non-minimal": ("An SPL in two octets where one suffices.", b"\x02\x02\x00\x1e"),
        "spl-256": ("An SPL of 256.", der.integer(256)),
        "spl-286": ("An SPL of 286, which is 30 in its last byte.", der.integer(286)),
        "spl-negative": ("An SPL of -226, which ends in the byte of 30.", b"\x02\x02\xff\x1e"),
        "spl-minus-128": ("An SPL of -128.", b"\x02\x01\x80"),
        "spl-empty": ("An SPL without content.", b"\x02\x00"),
        "spl-octet-string": ("An SPL as an OCTET STRING.", der.octets(b"\x1e")),
        "spl-trailing": ("A byte after an SPL.", der.integer(30) + b"\x00"),
        "spl-long-length": ("An SPL with a length in long form.", b"\x02\x81\x01\x1e"),
    }
    for slug, (about, value) in integers.items():
        yield _extended(slug, about, good | {ARCS["snp"]: value})
    for number in range(4, 8):
        yield _extended(f"spl{number}-set", f"spl{number} is not zero.", good | {f"3.{number}": der.integer(1)})
    yield _extended("struct-version-1", "A Genoa with structVersion 1.", good | {"1": der.integer(1)})
    yield _extended("product-name-utf8", "productName as a UTF8String.", good | {"2": der.utf8("Genoa")})
    yield _extended("product-name-control", "productName with a control character.", good | {"2": der.ia5("Genoa\n")})
    yield _extended("extension-unknown", "One more extension in AMD's arc.", good | {"6": der.integer(0)})
    yield _extended("extension-fmc", "A Genoa with Turin's fmc.", good | {"3.9": der.integer(0)})
    outside = replace(LEAF, extensions=(*LEAF.extensions, extension("2.5.29.14", der.octets(b"id"))))
    yield _leaf("extension-outside", "An extension outside AMD's arc.", outside)
    critical = replace(LEAF, extensions=(*LEAF.extensions, extension("1.2.3.4", b"", critical=True)))
    yield _leaf("extension-critical", "An unknown critical extension.", critical)
    first = der.sequence(der.oid(AMD_ARC + "1"), b"\x01\x01\x00", der.octets(good["1"]))
    false = replace(LEAF, extensions=(first, *LEAF.extensions[1:]))
    yield _leaf("extension-critical-false", "critical FALSE spelled out, where DER leaves a default out.", false)


def authority_extensions() -> Iterator[Vector]:
    """An authority may carry extensions that are not known here, but not broken ones."""
    value, true, number = der.octets(b"x"), b"\x01\x01\xff", der.oid("1.2.3.4")
    for slug, about, added, expect in (
        ("unknown", "not known here", der.sequence(number, value), VERIFIED),
        ("oid-empty", "without an identifier", der.sequence(b"\x06\x00", value), CERTIFICATE_BROKEN),
        (
            "oid-cut",
            "whose identifier ends inside a number",
            der.sequence(b"\x06\x02\x2a\x81", value),
            CERTIFICATE_BROKEN,
        ),
        ("oid-padded", "whose identifier is padded", der.sequence(b"\x06\x03\x2a\x80\x01", value), CERTIFICATE_BROKEN),
        ("oid-64", "with an identifier of 64 bytes", der.sequence(b"\x06\x40" + b"\x2a" * 64, value), VERIFIED),
        (
            "oid-65",
            "with an identifier of 65 bytes",
            der.sequence(b"\x06\x41" + b"\x2a" * 65, value),
            CERTIFICATE_BROKEN,
        ),
        ("tag-long", "with a tag of two bytes", der.sequence(number, b"\x1f\x04\x01x"), CERTIFICATE_BROKEN),
        (
            "critical-false",
            "with critical FALSE spelled out",
            der.sequence(number, b"\x01\x01\x00", value),
            CERTIFICATE_BROKEN,
        ),
        (
            "known-critical-false",
            "known here with critical FALSE",
            der.sequence(der.oid("2.5.29.15"), b"\x01\x01\x00", value),
            CERTIFICATE_BROKEN,
        ),
        ("critical-one", "with 01 for TRUE", der.sequence(number, b"\x01\x01\x01", value), CERTIFICATE_BROKEN),
        ("critical", "that is critical", der.sequence(number, true, value), CERTIFICATE_BROKEN),
        (
            "four-parts",
            "of four parts",
            der.sequence(der.oid("2.5.29.14"), true, der.null(), value),
            CERTIFICATE_BROKEN,
        ),
        ("no-value", "without a value", der.sequence(number), CERTIFICATE_BROKEN),
        ("value-text", "whose value is text", der.sequence(number, der.utf8("x")), CERTIFICATE_BROKEN),
    ):
        ask = replace(ASK, extensions=(ASK.extensions[1], added))
        chain = replace(GENOA, intermediate=blob(f"ask-extension-{slug}", ask))
        yield report_vector(
            f"ask-extension-{slug}", f"The ASK has an extension {about}.", report(), expect, chain=chain
        )


def chip_extensions() -> Iterator[Vector]:
    good = vek_values()
    yield _extended(
        "hwid-octet-string", "hwID wrapped in an OCTET STRING.", good | {"4": der.octets(CHIP_ID)}, VERIFIED
    )
    hwids = {
        "hwid-short": ("hwID of 63 bytes.", CHIP_ID[:63]),
        "hwid-long": ("hwID of 65 bytes.", CHIP_ID + b"\x00"),
        "hwid-empty": ("hwID of no bytes.", b""),
        "hwid-turin-size": ("hwID of 8 bytes on a Genoa.", CHIP_ID[:8]),
        "hwid-wrong-length": ("hwID whose OCTET STRING names 63 bytes.", b"\x04\x3f" + CHIP_ID),
        "hwid-wrong-tag": ("hwID in a BIT STRING.", b"\x03\x40" + CHIP_ID),
    }
    for slug, (about, value) in hwids.items():
        yield _extended(slug, about, good | {"4": value})
    both = good | {"5": vlek_values()["5"]}
    neither = {key: value for key, value in good.items() if key != "4"}
    yield _extended("hwid-and-csp-id", "Both hwID and cspID.", both)
    yield _extended("no-hwid-no-csp-id", "Neither hwID nor cspID.", neither)
    turin = vek_values("Turin")
    cases = {
        "turin-no-fmc": ("A Turin without fmc.", {key: value for key, value in turin.items() if key != "3.9"}),
        "turin-spl4": ("A Turin with spl4.", turin | {"3.4": der.integer(0)}),
        "turin-struct-version-0": ("A Turin with structVersion 0.", turin | {"1": der.integer(0)}),
        "turin-hwid-64": ("A Turin with an hwID of 64 bytes.", turin | {"4": CHIP_ID}),
    }
    for slug, (about, values) in cases.items():
        chain = replace(TURIN_CHAIN, vek=blob(slug, vek(values)))
        yield report_vector(slug, about, report(TURIN), CERTIFICATE_BROKEN, chain=chain)
    chain = replace(GENOA, vek=blob("vlek-csp-id-utf8", vek(vlek_values() | {"5": der.utf8("CN=x")}, "SEV-VLEK")))
    about = "cspID as a UTF8String."
    yield report_vector("vlek-csp-id-utf8", about, report(VLEK), CERTIFICATE_BROKEN, chain=chain)
    chain = replace(TURIN_CHAIN, vek=blob("turin-hwid-wrapped", vek(turin | {"4": der.octets(CHIP_ID[:8])})))
    yield report_vector(
        "turin-hwid-octet-string", "A Turin's hwID wrapped in an OCTET STRING.", report(TURIN), chain=chain
    )


def _without_count(raw: bytes) -> bytes:
    """A certificate of an empty signature, whose BIT STRING then loses its one octet."""
    return der.sequence(raw[4:-3] + b"\x03\x00")


def encodings() -> Iterator[Vector]:
    raw = LEAF.der()
    yield _leaf("vek-trailing-byte", "A byte after the VEK.", raw + b"\x00")
    yield _leaf("vek-truncated", "The VEK's last byte is missing.", raw[:-1])
    yield _leaf("vek-empty", "No bytes for a VEK.", b"")
    yield _leaf("vek-long-length", "The VEK's outer length has a leading zero octet.", b"\x30\x83\x00" + raw[2:])
    yield _leaf("vek-indefinite-length", "The VEK's outer length is indefinite.", b"\x30\x80" + raw[4:] + b"\x00\x00")
    yield _leaf("vek-pem", "The VEK is PEM where DER is wanted.", PEM % base64.encodebytes(raw))
    for slug, role in (("ask-trailing-byte", "intermediate"), ("ark-trailing-byte", "ark")):
        content = (ASK if role == "intermediate" else ARK).der() + b"\x00"
        chain = replace(GENOA, **{role: blob(slug, content)})
        yield report_vector(slug, "A byte after this authority.", report(), CERTIFICATE_BROKEN, chain=chain)
    yield _leaf(
        "version-2-certificate",
        "An X.509 version 2 certificate.",
        replace(LEAF, version=der.explicit(0, der.integer(1))),
    )
    yield _leaf("serial-negative", "A negative serial number.", replace(LEAF, serial=der.integer(-1)))
    yield _leaf("serial-non-minimal", "A serial number with a leading zero.", replace(LEAF, serial=b"\x02\x02\x00\x01"))
    yield _leaf(
        "serial-one", "A serial other than AMD's 0 is no fault.", replace(LEAF, serial=der.integer(1)), VERIFIED
    )
    yield _leaf("signature-unused-bits", "The signature claims an unused bit.", replace(LEAF, unused_bits=1))
    bare = replace(LEAF, signer=lambda tbs: b"").der()
    yield _leaf("signature-no-octet", "A signature without even its count of unused bits.", _without_count(bare))
    yield _leaf("no-extensions", "A certificate without extensions.", replace(LEAF, extensions=()))
    times = {
        "time-no-seconds": ("notBefore without seconds.", der.tlv(0x17, b"2601010000Z")),
        "time-offset": ("notBefore with an offset instead of Z.", der.tlv(0x17, b"260101000000+0000")),
        "time-february-30": ("notBefore is 30 February.", der.tlv(0x17, b"260230000000Z")),
        "time-fraction": ("notBefore with a fraction.", der.tlv(0x18, b"20260101000000.5Z")),
        "time-digits": ("notBefore with a digit for its Z.", der.tlv(0x17, b"2601010000001")),
        "time-letter": ("notBefore with a letter.", der.tlv(0x17, b"26010100000aZ")),
        "time-sign": ("notBefore with a sign.", der.tlv(0x17, b"26010100+000Z")),
        "time-hour-24": ("notBefore at 24 o'clock.", der.tlv(0x17, b"260101240000Z")),
    }
    for slug, (about, value) in times.items():
        yield _leaf(slug, about, replace(LEAF, not_before=value))
    third = der.utc_time(ORIGIN)
    yield _leaf("time-three", "Three times of validity.", replace(LEAF, third_time=third))
    yield _leaf("vek-fourth-part", "A part after the signature.", replace(LEAF, fourth_part=der.null()))
    generalized = der.tlv(0x18, b"20600101000000Z")
    yield _leaf("time-2060", "notAfter in 2060 is a GeneralizedTime.", replace(LEAF, not_after=generalized), VERIFIED)
    nineties = der.tlv(0x17, b"500101000000Z")
    about = "notBefore in UTCTime year 50 is 1950."
    yield _leaf("time-1950", about, replace(LEAF, not_before=nineties), VERIFIED)
