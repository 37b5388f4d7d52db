"""Faults of the report's own bytes: format, signature, and what ties it to its certificate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cryptography.hazmat.primitives import hashes

from tests.vectors.certificates import CHIP_ID, SPLS, TURIN_SPLS, vek, vek_values, vlek_values
from tests.vectors.reports import (
    FIELDS,
    KEY_INFO_VLEK,
    MILAN,
    NO_MITIGATIONS,
    POLICY_BASE,
    SIGNED,
    TAIL,
    TURIN,
    VERSIONS,
    VLEK,
    R,
    S,
    Value,
    all_tcbs,
    report,
    tcb,
    turin_tcb,
    unsigned,
    with_signature,
)
from tests.vectors.signing import P384_ORDER, ec_key, ecdsa_numbers
from tests.vectors.world import (
    AUTHENTIC,
    GENOA,
    PRODUCT_UNKNOWN,
    REPORT_BROKEN,
    Vector,
    blob,
    rejected,
    report_vector,
)
from tests.vectors.world import MILAN as MILAN_CHAIN
from tests.vectors.world import TURIN as TURIN_CHAIN
from tests.vectors.world import VLEK as VLEK_CHAIN

# Reserved ranges, first and last byte, by version (SPEC §2.3).
ALWAYS_ZERO = ((0x04C, 0x04F), (0x1EB, 0x1EB), (0x1EF, 0x1EF), (TAIL, 0x49F))
RESERVED = {
    2: (*ALWAYS_ZERO, (0x188, 0x19F), (0x1F8, 0x29F)),
    3: (*ALWAYS_ZERO, (0x18B, 0x19F), (0x1F8, 0x29F)),
    4: (*ALWAYS_ZERO, (0x18B, 0x19F), (0x1F8, 0x29F)),
    5: (*ALWAYS_ZERO, (0x18B, 0x19F), (0x208, 0x29F)),
}


def good() -> Iterator[Vector]:
    yield report_vector("good", "A version 5 Genoa report that satisfies a policy of one measurement.", report())
    yield report_vector(
        "authenticity", "Without a policy the best verdict is authentic.", report(), AUTHENTIC, policy=None
    )
    for version in (2, 3, 4):
        about = f"A version {version} report."
        yield report_vector(f"version-{version}", about, report(VERSIONS[version]))
    yield report_vector("milan", "A Milan, certified as Milan-B0.", report(MILAN), chain=MILAN_CHAIN)
    about = "A version 2 report has no CPUID: its certificate says Milan."
    yield report_vector("version-2-milan", about, report(VERSIONS[2]), chain=MILAN_CHAIN)
    yield report_vector("turin", "A Turin: another TCB layout, a chip id of 8 bytes.", report(TURIN), chain=TURIN_CHAIN)
    yield report_vector("vlek", "A VLEK names no chip.", report(VLEK), chain=VLEK_CHAIN)
    for slug, model in (("bergamo-siena", 0xA0), ("last-siena", 0xAF), ("first-genoa", 0x10), ("last-genoa", 0x1F)):
        raw = report({"cpuid": bytes((0x19, model, 2))})
        yield report_vector(slug, f"CPUID model {model:02x}h of family 19h is of the Genoa line.", raw)
    raw = report({"cpuid": bytes((0x19, 0x0F, 0))})
    yield report_vector("last-milan", "CPUID model 0fh of family 19h is a Milan.", raw, chain=MILAN_CHAIN)
    raw = report(TURIN | {"cpuid": bytes((0x1A, 0x11, 0))})
    yield report_vector("last-turin", "CPUID model 11h of family 1Ah is a Turin.", raw, chain=TURIN_CHAIN)
    raw = report({"key_info": 1})
    yield report_vector("author-key-enabled", "AUTHOR_KEY_EN is allowed.", raw)
    raw = report({"platform_info": 0x27 | 1 << 40})
    yield report_vector("unknown-platform-bit", "Platform bits above TIO are informational.", raw)
    raw = report()
    r, s = (int.from_bytes(raw[at : at + 72], "little") for at in (R, S))
    about = "ECDSA is malleable: n - S is a signature too, so a report's hash identifies nothing."
    yield report_vector("mirrored-signature", about, with_signature(raw, r, P384_ORDER - s))


def reserved() -> Iterator[Vector]:
    for version, ranges in RESERVED.items():
        for first, last in ranges:
            for at in sorted({first, last}):
                slug = f"version-{version}-reserved-{at:03x}"
                about = f"A version {version} report with byte 0x{at:03x} set, which is reserved."
                yield report_vector(slug, about, report(VERSIONS[version], {at: b"\x01"}), REPORT_BROKEN)


def words() -> Iterator[Vector]:
    faults: list[tuple[str, str, dict[str, Value]]] = [
        ("version-0", "VERSION 0.", {"version": 0}),
        ("version-1", "VERSION 1.", {"version": 1, **NO_MITIGATIONS}),
        ("version-6", "VERSION 6 exists, but its fields are not known here.", {"version": 6}),
        ("version-high-byte", "VERSION 5 with its highest byte set.", {"version": 5 | 1 << 24}),
        ("signature-algo-0", "SIGNATURE_ALGO 0.", {"signature_algo": 0}),
        ("signature-algo-2", "SIGNATURE_ALGO 2.", {"signature_algo": 2}),
        ("policy-bit-17-clear", "POLICY bit 17 must be one.", {"policy": POLICY_BASE & ~(1 << 17)}),
        ("policy-bit-26", "POLICY bit 26 is reserved.", {"policy": POLICY_BASE | 1 << 26}),
        ("policy-bit-63", "POLICY bit 63 is reserved.", {"policy": POLICY_BASE | 1 << 63}),
        ("key-info-masked", "MASK_CHIP_KEY: such a report is not signed.", {"key_info": 2}),
        ("key-info-none", "SIGNING_KEY 7: nobody signed.", {"key_info": 7 << 2}),
        ("key-info-reserved-signer", "SIGNING_KEY 2 is reserved.", {"key_info": 2 << 2}),
        ("key-info-bit-5", "KEY_INFO bit 5 is reserved.", {"key_info": 1 << 5}),
        ("key-info-bit-31", "KEY_INFO bit 31 is reserved.", {"key_info": 1 << 31}),
    ]
    for slug, about, fields in faults:
        yield report_vector(slug, about, report(fields), REPORT_BROKEN)
    raw = report()
    sizes = {"empty": b"", "signed-part-only": raw[:SIGNED], "one-byte-short": raw[:-1], "one-byte-long": raw + b"\0"}
    for slug, part in sizes.items():
        yield report_vector(slug, f"A report of {len(part)} bytes.", part, REPORT_BROKEN)


def signatures() -> Iterator[Vector]:
    raw = report()
    r, s = (int.from_bytes(raw[at : at + 72], "little") for at in (R, S))
    numbers = {
        "r-zero": ("R is 0.", 0, s),
        "s-zero": ("S is 0.", r, 0),
        "r-order": ("R is n.", P384_ORDER, s),
        "s-order": ("S is n.", r, P384_ORDER),
        "r-plus-order": (
            "R + n: a verifier that drops the 24 high bytes or reduces would accept it.",
            r + P384_ORDER,
            s,
        ),
        "s-plus-order": ("S + n, likewise.", r, s + P384_ORDER),
        "r-high-bytes": ("The highest byte of R's 72 is set.", r + (1 << 568), s),
        "s-high-bytes": ("The highest byte of S's 72 is set.", r, s + (1 << 568)),
    }
    for slug, (about, one, other) in numbers.items():
        yield report_vector(slug, about, with_signature(raw, one, other), REPORT_BROKEN)
    wrong = rejected("hw.signature")
    about = "R is 1: in the group, and no signature."
    yield report_vector("r-one", about, with_signature(raw, 1, s), wrong)
    yield report_vector("swapped-components", "S for R and R for S.", with_signature(raw, s, r), wrong)
    unmade = bytes(unsigned({}, {}))
    other_key = with_signature(raw, *ecdsa_numbers(ec_key("other"), unmade[:SIGNED]))
    yield report_vector("signed-by-another-key", "Signed by another P-384 key.", other_key, wrong)
    short = with_signature(raw, *ecdsa_numbers(ec_key("vek"), unmade[: SIGNED - 1]))
    yield report_vector("signature-one-byte-short", "The signature leaves out byte 0x29f.", short, wrong)
    weak = with_signature(raw, *ecdsa_numbers(ec_key("vek"), unmade[:SIGNED], hashes.SHA256()))
    yield report_vector("signature-over-sha-256", "A signature over SHA-256.", weak, wrong)
    for field in ("report_data", "family_id", "report_id", "guest_svn"):
        at = FIELDS[field][0]
        changed = raw[:at] + bytes((raw[at] ^ 0x10,)) + raw[at + 1 :]
        yield report_vector(
            f"changed-{field.replace('_', '-')}", f"One bit of {field.upper()} changed.", changed, wrong
        )


def products() -> Iterator[Vector]:
    for slug, family, model in (
        ("unknown-family", 0x17, 0x01),
        ("between-genoa-and-bergamo", 0x19, 0x20),
        ("after-siena", 0x19, 0xB0),
        ("after-turin", 0x1A, 0x12),
        ("venice", 0x1A, 0x50),
    ):
        about = f"CPUID family {family:02x}h model {model:02x}h is no product known here."
        yield report_vector(slug, about, report({"cpuid": bytes((family, model, 0))}), PRODUCT_UNKNOWN)
    about = "A Turin CPUID with a certificate for Genoa: the layout, the chip id and the name all differ."
    fails = ("hw.product", "hw.tcb-certificate", "hw.chip-id", "guest.tcb-lattice")
    raw = report({"cpuid": bytes((0x1A, 0x02, 1))})
    wrong = rejected(*fails, missing=["guest.tcb-floor", "guest.tcb-status"])
    yield report_vector("cpuid-turin-certificate-genoa", about, raw, wrong)
    about = "A Milan CPUID with a certificate for Genoa."
    yield report_vector("cpuid-milan-certificate-genoa", about, report(MILAN), rejected("hw.product"))
    for version in (3, 4):
        about = f"The same in a version {version} report."
        raw = report(MILAN | VERSIONS[version])
        yield report_vector(f"cpuid-milan-version-{version}", about, raw, rejected("hw.product"))
    about = "A Genoa CPUID with a certificate for Turin: every version that both have is equal, fmc is left over."
    raw = report(all_tcbs(tcb(bootloader=3, tee=5, microcode=96)) | {"chip_id": CHIP_ID[:8] + bytes(56)})
    chain = replace(GENOA, vek=blob("vcek-turin-like-genoa", vek(vek_values("Turin", snp=30))))
    wrong = rejected("hw.product", "hw.tcb-certificate", "hw.chip-id")
    yield report_vector("cpuid-genoa-certificate-turin", about, raw, wrong, chain=chain)
    about = "An unknown CPU where mocks are not accepted: no root is the right one."
    raw = report({"cpuid": bytes((0x1A, 0x50, 0))})
    wrong = replace(PRODUCT_UNKNOWN, fails=("hw.product", "hw.root"))
    yield report_vector("venice-mock-not-accepted", about, raw, wrong, accept_mock=False)
    about = "A Genoa CPUID with a certificate for Milan."
    yield report_vector("cpuid-genoa-certificate-milan", about, report(), rejected("hw.product"), chain=MILAN_CHAIN)
    about = "A version 2 report with a certificate for Turin, which never emits version 2."
    raw = report(TURIN | VERSIONS[2])
    yield report_vector("version-2-turin", about, raw, PRODUCT_UNKNOWN, chain=TURIN_CHAIN)
    chain = replace(GENOA, vek=blob("vcek-venice", vek(vek_values("Venice"))))
    about = "A certificate for a product that is not known here."
    yield report_vector("certificate-venice", about, report(), rejected("hw.product"), chain=chain)
    yield report_vector("certificate-venice-version-2", about, report(VERSIONS[2]), PRODUCT_UNKNOWN, chain=chain)


def kinds() -> Iterator[Vector]:
    wrong = rejected("hw.certificate")
    about = "The report names a VLEK, the certificate is a VCEK."
    yield report_vector("vlek-report-vcek", about, report({"key_info": KEY_INFO_VLEK}), rejected("hw.certificate"))
    about = "The report names a VCEK, the certificate is a VLEK."
    yield report_vector("vcek-report-vlek", about, report(VLEK | {"key_info": 0}), wrong, chain=VLEK_CHAIN)
    for slug, values, name, fields in (
        ("vcek-named-vlek", vek_values(), "SEV-VLEK", {}),
        ("vcek-named-otherwise", vek_values(), "SEV-VCEK2", {}),
        ("vcek-lower-case", vek_values(), "sev-vcek", {}),
        ("vlek-named-vcek", vlek_values(), "SEV-VCEK", VLEK),
    ):
        chain = replace(GENOA, vek=blob(slug, vek(values, name)))
        about = f"The leaf's common name is {name}, its extensions are of the other kind or the name is no leaf's."
        yield report_vector(slug, about, report(fields), wrong, chain=chain)


def certified_versions() -> Iterator[Vector]:
    """REPORTED_TCB one below the certificate's, one component at a time: a downgrade that the host may claim."""
    wrong = rejected("hw.tcb-certificate")
    for part, version in SPLS.items():
        raw = report({"reported_tcb": tcb(**{part: version - 1})})
        yield report_vector(
            f"certificate-above-{part}", f"REPORTED_TCB has {part} one below the certificate's.", raw, wrong
        )
    for part, version in TURIN_SPLS.items():
        raw = report(TURIN | {"reported_tcb": turin_tcb(**{part: version - 1})})
        about = f"Turin: REPORTED_TCB has {part} one below the certificate's."
        yield report_vector(f"turin-certificate-above-{part}", about, raw, wrong, chain=TURIN_CHAIN)
    raw = report(all_tcbs(tcb(microcode=128)))
    chain = replace(GENOA, vek=blob("vcek-spl-128", vek(vek_values(microcode=128))))
    yield report_vector("spl-128", "A version of 128 is encoded as 02 02 00 80.", raw, chain=chain)
    raw = report(all_tcbs(tcb(microcode=255)))
    chain = replace(GENOA, vek=blob("vcek-spl-255", vek(vek_values(microcode=255))))
    yield report_vector("spl-255", "255 is the highest version.", raw, chain=chain)


def chips() -> Iterator[Vector]:
    wrong = rejected("hw.chip-id")
    changed = CHIP_ID[:-1] + b"\0"
    yield report_vector(
        "chip-id-other", "CHIP_ID differs from hwID in its last byte.", report({"chip_id": changed}), wrong
    )
    about = "CHIP_ID is zero (MASK_CHIP_ID): the certificate's chip is not shown."
    yield report_vector("chip-id-zero", about, report({"chip_id": bytes(64)}), wrong)
    chain = replace(GENOA, vek=blob("vcek-chip-zero", vek(vek_values() | {"4": bytes(64)})))
    about = "CHIP_ID and hwID are both zero: they name no chip."
    yield report_vector("chip-id-and-hwid-zero", about, report({"chip_id": bytes(64)}), wrong, chain=chain)
    about = "A raw hwID that happens to start like an OCTET STRING of 64 bytes."
    tagged = b"\x04\x40" + CHIP_ID[2:]
    chain = replace(GENOA, vek=blob("vcek-hwid-like-octets", vek(vek_values() | {"4": tagged})))
    yield report_vector("hwid-like-octet-string", about, report({"chip_id": tagged}), chain=chain)
    about = "A VLEK's report with a chip id."
    yield report_vector("vlek-with-chip-id", about, report(VLEK | {"chip_id": CHIP_ID}), wrong, chain=VLEK_CHAIN)
    raw = report(TURIN | {"chip_id": CHIP_ID})
    yield report_vector(
        "turin-chip-id-tail", "Turin: CHIP_ID goes on after its 8 bytes.", raw, wrong, chain=TURIN_CHAIN
    )
