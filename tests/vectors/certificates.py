"""Certificates and revocation lists of AMD's shape under the mock root, field by field."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tests.vectors import der
from tests.vectors.signing import RSA, Signer, ec_key, ec_spki

ARK_CN, ASK_CN = "SAFEROUTER-MOCK-ARK", "SAFEROUTER-MOCK-ASK"
AMD_ARC = "1.3.6.1.4.1.3704.1."
ORIGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 6, 15, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
ATTRIBUTES = {"OU": "2.5.4.11", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "O": "2.5.4.10", "CN": "2.5.4.3"}
AMD = {"OU": "Engineering", "C": "US", "L": "Santa Clara", "ST": "CA", "O": "Advanced Micro Devices"}
CHIP_ID = bytes(range(0x40, 0x80))
CSP_ID = "CN=cc-test-1.example.com"
# Every component differs from every other, so that a swap shows; all lie at or above the floors of their product.
SPLS = {"bootloader": 12, "tee": 3, "snp": 30, "microcode": 90}
TURIN_SPLS = {"fmc": 2, "bootloader": 3, "tee": 5, "snp": 7, "microcode": 96}
ARCS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}


def pss(hash_oid: str = "2.16.840.1.101.3.4.2.2", salt_size: int = 48, *, trailer: bool = False) -> bytes:
    """The AlgorithmIdentifier of RSASSA-PSS; by default the one that AMD writes (SHA-384, salt 48)."""
    digest = der.sequence(der.oid(hash_oid), der.null())
    parts = [
        der.explicit(0, digest),
        der.explicit(1, der.sequence(der.oid("1.2.840.113549.1.1.8"), digest)),
        der.explicit(2, der.integer(salt_size)),
    ]
    if trailer:
        parts.append(der.explicit(3, der.integer(1)))
    return der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence(*parts))


PSS_SHA384 = pss()


def name(common_name: str, **changes: str) -> bytes:
    """AMD's six attributes in AMD's order; `changes` replaces values, an empty one removes its attribute."""
    values = AMD | {"CN": common_name} | changes
    rows = [(ATTRIBUTES[key], text) for key, text in values.items() if text]
    return name_of(rows)


def name_of(rows: list[tuple[str, str]]) -> bytes:
    return der.sequence(*(der.set_of(der.sequence(der.oid(oid), der.utf8(text))) for oid, text in rows))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return der.sequence(der.oid(oid), *([b"\x01\x01\xff"] if critical else []), der.octets(value))


CA_EXTENSIONS = (
    extension("2.5.29.15", der.bits(b"\x02", 1), critical=True),
    extension("2.5.29.19", der.sequence(b"\x01\x01\xff"), critical=True),
)


@dataclass(frozen=True)
class Certificate:
    """The parts of a certificate; change one with dataclasses.replace, then ask for der()."""

    subject: bytes
    issuer: bytes
    serial: bytes
    spki: bytes
    extensions: tuple[bytes, ...]
    signer: Signer
    not_before: bytes = der.utc_time(ORIGIN)
    not_after: bytes = der.utc_time(ORIGIN + 2555 * DAY)
    version: bytes = der.explicit(0, der.integer(2))
    algorithm: bytes = PSS_SHA384
    outer_algorithm: bytes | None = None
    unused_bits: int = 0
    third_time: bytes = b""
    fourth_part: bytes = b""

    def tbs(self) -> bytes:
        return der.sequence(
            self.version,
            self.serial,
            self.algorithm,
            self.issuer,
            der.sequence(self.not_before, self.not_after, self.third_time),
            self.subject,
            self.spki,
            *([der.explicit(3, der.sequence(*self.extensions))] if self.extensions else []),
        )

    def der(self) -> bytes:
        tbs = self.tbs()
        outer = self.outer_algorithm or self.algorithm
        return der.sequence(tbs, outer, der.bits(self.signer(tbs), self.unused_bits), self.fourth_part)


@dataclass(frozen=True)
class RevocationList:
    """The parts of a revocation list."""

    issuer: bytes = name(ARK_CN)
    revoked: tuple[int, ...] = ()
    this_update: dt.datetime = NOW - DAY
    next_update: dt.datetime = NOW + 30 * DAY
    signer: Signer = RSA["ark"].sign
    version: bytes = der.integer(1)
    algorithm: bytes = PSS_SHA384
    extensions: tuple[bytes, ...] = (extension("2.5.29.20", der.integer(7)),)
    with_next_update: bool = True
    entries: tuple[bytes, ...] = ()
    extra: bytes = b""

    def der(self) -> bytes:
        date = der.utc_time(ORIGIN)
        entries = [*self.entries, *(der.sequence(der.integer(serial), date) for serial in self.revoked)]
        tbs = der.sequence(
            self.version,
            self.algorithm,
            self.issuer,
            der.utc_time(self.this_update),
            *([der.utc_time(self.next_update)] if self.with_next_update else []),
            *([der.sequence(*entries)] if entries else []),
            self.extra,
            *([der.explicit(0, der.sequence(*self.extensions))] if self.extensions else []),
        )
        return der.sequence(tbs, self.algorithm, der.bits(self.signer(tbs)))


def vek_values(product_name: str = "Genoa", **spls: int) -> dict[str, bytes]:
    """AMD's extensions of a VCEK by arc below 1.3.6.1.4.1.3704.1, in AMD's encoding."""
    turin = product_name.startswith("Turin")
    versions = (TURIN_SPLS if turin else SPLS) | spls
    values = {"1": der.integer(int(turin)), "2": der.ia5(product_name)}
    values |= {f"3.{arc}": der.integer(0) for arc in range(5 if turin else 4, 8)}
    values |= {ARCS[component]: der.integer(value) for component, value in versions.items()}
    return values | {"4": CHIP_ID[:8] if turin else CHIP_ID}


def vlek_values(product_name: str = "Genoa") -> dict[str, bytes]:
    values = vek_values(product_name)
    del values["4"]
    return values | {"5": der.ia5(CSP_ID)}


def vek(values: dict[str, bytes] | None = None, common_name: str = "SEV-VCEK") -> Certificate:
    """A leaf with these extensions, signed by the mock ASK. Its serial is 0, like every one of AMD's."""
    extensions = vek_values() if values is None else values
    return Certificate(
        subject=name(common_name),
        issuer=name(ASK_CN),
        serial=der.integer(0),
        spki=ec_spki(ec_key("vek")),
        extensions=tuple(extension(AMD_ARC + arc, value) for arc, value in extensions.items()),
        signer=RSA["ask"].sign,
    )


ASK = Certificate(name(ASK_CN), name(ARK_CN), der.integer(2), RSA["ask"].spki(), CA_EXTENSIONS, RSA["ark"].sign)
ARK = Certificate(name(ARK_CN), name(ARK_CN), der.integer(1), RSA["ark"].spki(), CA_EXTENSIONS, RSA["ark"].sign)
CRL = RevocationList()
