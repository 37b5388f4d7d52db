"""Faults of the chain: names, algorithms, keys, who signed whom, validity, the root and the revocation list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors import der
from tests.vectors.certificates import (
    AMD,
    ARK,
    ARK_CN,
    ASK,
    ASK_CN,
    ATTRIBUTES,
    CRL,
    DAY,
    NOW,
    ORIGIN,
    Certificate,
    RevocationList,
    extension,
    name,
    name_of,
    pss,
    vek,
    vek_values,
    vlek_values,
)
from tests.vectors.reports import VLEK, report
from tests.vectors.signing import RSA, ec_key, ec_spki, ecdsa
from tests.vectors.world import (
    AUTHENTIC,
    CERTIFICATE_BROKEN,
    GENOA,
    VERIFIED,
    Chain,
    Expect,
    Vector,
    blob,
    policy,
    rejected,
    report_vector,
)

SHA256 = "2.16.840.1.101.3.4.2.1"
LEAF = vek()
CHAIN_BROKEN = rejected("hw.chain")
EXPIRED = rejected("hw.validity")
REVOKED = rejected("hw.revocation")


def _chain(
    slug: str,
    about: str,
    expect: Expect,
    *,
    leaf: Certificate | None = None,
    ask: Certificate | None = None,
    ark: Certificate | None = None,
    crl: RevocationList | None = None,
    now: dt.datetime = NOW,
) -> Vector:
    """The good report under the good chain, but for what is given."""
    chain = GENOA
    for role, part in (("vek", leaf), ("intermediate", ask), ("ark", ark), ("crl", crl)):
        if part is not None:
            short = {"intermediate": "ask"}.get(role, role)
            chain = replace(chain, **{role: blob(slug if slug.startswith(short) else f"{slug}-{short}", part)})
    return report_vector(slug, about, report(), expect, chain=chain, now=now)


def names() -> Iterator[Vector]:
    for slug, about, subject in (
        ("vek-organisation", "The VEK's organisation is not AMD.", name("SEV-VCEK", O="Advanced Micro Device")),
        ("vek-organisational-unit", "The VEK's unit is not Engineering.", name("SEV-VCEK", OU="Marketing")),
        ("vek-no-country", "The VEK's name has no country.", name("SEV-VCEK", C="")),
        ("vek-no-common-name", "The VEK's name has no common name.", name("")),
        ("vek-country-twice", "A country twice.", name_of([*_rows("SEV-VCEK"), (ATTRIBUTES["C"], "US")])),
        ("vek-serial-number", "An attribute that AMD does not use.", name_of([*_rows("SEV-VCEK"), ("2.5.4.5", "1")])),
        ("vek-name-delete", "A common name with a delete character.", name("SEV-VCEK\x7f")),
        ("vek-name-control", "A common name with a zero byte.", name("SEV-VCEK\0")),
    ):
        yield _chain(slug, about, CERTIFICATE_BROKEN, leaf=replace(LEAF, subject=subject))
    two = der.set_of(*(der.sequence(der.oid(ATTRIBUTES[key]), der.utf8(AMD[key])) for key in ("OU", "C")))
    joined = der.sequence(two, name_of(_rows("SEV-VCEK")[2:])[2:])
    about = "Two attributes in one relative name."
    yield _chain("vek-joined-attributes", about, CERTIFICATE_BROKEN, leaf=replace(LEAF, subject=joined))


def issuers() -> Iterator[Vector]:
    """Names that do not link one certificate to the next, byte for byte."""
    about = "The VEK's issuer has the same attributes as the ASK's subject in another order."
    reordered = name_of(_rows(ASK_CN)[1:] + _rows(ASK_CN)[:1])
    yield _chain("vek-issuer-reordered", about, CHAIN_BROKEN, leaf=replace(LEAF, issuer=reordered))
    about = "The VEK's issuer is another common name."
    yield _chain("vek-issuer-other", about, CHAIN_BROKEN, leaf=replace(LEAF, issuer=name("SAFEROUTER-MOCK-ASX")))
    about = "The ASK's subject is another common name than the VEK's issuer."
    yield _chain("ask-subject-other", about, CHAIN_BROKEN, ask=replace(ASK, subject=name("SAFEROUTER-MOCK-ASX")))
    about = "VEK and ASK agree on a common name that is not this root's intermediate."
    other = name("SEV-Genoa")
    yield _chain(
        "ask-named-sev-genoa", about, CHAIN_BROKEN, leaf=replace(LEAF, issuer=other), ask=replace(ASK, subject=other)
    )
    about = "The ASK's issuer is not the ARK's subject."
    yield _chain("ask-issuer-other", about, CHAIN_BROKEN, ask=replace(ASK, issuer=name("SAFEROUTER-MOCK-ARX")))
    for role, part, common_name in (("ask", ASK, ARK_CN), ("ark", ARK, ARK_CN)):
        about = f"The {role.upper()}'s issuer has the ARK's attributes in another order."
        mixed = name_of(_rows(common_name)[1:] + _rows(common_name)[:1])
        parts: dict[str, Any] = {role: replace(part, issuer=mixed)}
        yield _chain(f"{role}-issuer-reordered", about, CHAIN_BROKEN, **parts)
    for tag, slug, expect in (
        (0x13, "printable", VERIFIED),
        (0x16, "ia5", VERIFIED),
        (0x1E, "bmp", CERTIFICATE_BROKEN),
    ):
        about = f"The VEK's unit is a string of tag 0x{tag:02x}."
        first = der.set_of(der.sequence(der.oid(ATTRIBUTES["OU"]), der.tlv(tag, AMD["OU"].encode())))
        subject = der.sequence(first, name_of(_rows("SEV-VCEK")[1:])[2:])
        yield _chain(f"vek-unit-{slug}", about, expect, leaf=replace(LEAF, subject=subject))
    about = "An attribute of three parts."
    three = der.set_of(der.sequence(der.oid(ATTRIBUTES["OU"]), der.utf8(AMD["OU"]), der.null()))
    tripled = der.sequence(three, name_of(_rows("SEV-VCEK")[1:])[2:])
    yield _chain("vek-attribute-of-three", about, CERTIFICATE_BROKEN, leaf=replace(LEAF, subject=tripled))
    about = "The ARK's issuer is not itself."
    yield _chain("ark-issuer-other", about, CHAIN_BROKEN, ark=replace(ARK, issuer=name("SAFEROUTER-MOCK-ARX")))


def _rows(common_name: str) -> list[tuple[str, str]]:
    return [(ATTRIBUTES[key], text) for key, text in (AMD | {"CN": common_name}).items()]


def algorithms() -> Iterator[Vector]:
    trailer = replace(LEAF, algorithm=pss(trailer=True))
    yield _chain("vek-trailer-field", "The second spelling of AMD's PSS parameters.", VERIFIED, leaf=trailer)
    null = der.sequence(der.oid("1.2.840.113549.1.1.12"), der.null())
    defaults = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence())
    ecdsa_sha384 = der.sequence(der.oid("1.2.840.10045.4.3.3"))
    key = ec_key("authority")
    for slug, about, algorithm, signer in (
        ("vek-pss-sha-256", "PSS with SHA-256.", pss(SHA256, 32), RSA["ask"].signer("sha256", 32)),
        ("vek-pss-salt-32", "PSS with a salt of 32.", pss(salt_size=32), RSA["ask"].signer(salt_size=32)),
        (
            "vek-pss-defaults",
            "PSS with default parameters, which are SHA-1's.",
            defaults,
            RSA["ask"].signer("sha1", 20),
        ),
        ("vek-pkcs1-name", "PKCS #1 v1.5 by name, a PSS signature by content.", null, RSA["ask"].sign),
        ("vek-ecdsa", "A leaf signed with ECDSA.", ecdsa_sha384, lambda tbs: ecdsa(key, tbs)),
    ):
        yield _chain(slug, about, CERTIFICATE_BROKEN, leaf=replace(LEAF, algorithm=algorithm, signer=signer))
    about = "Both spellings of AMD's PSS parameters in one certificate."
    yield _chain("vek-two-spellings", about, CERTIFICATE_BROKEN, leaf=replace(LEAF, outer_algorithm=pss(trailer=True)))
    about = "The intermediate is signed with ECDSA."
    part = replace(ASK, algorithm=ecdsa_sha384, signer=lambda tbs: ecdsa(key, tbs))
    yield _chain("ask-ecdsa", about, CERTIFICATE_BROKEN, ask=part)
    for slug, about, signer in (
        ("vek-signature-salt-32", "The parameters say salt 48, the signature has 32.", RSA["ask"].signer(salt_size=32)),
        (
            "vek-signature-sha-256",
            "The parameters say SHA-384, the signature is over SHA-256.",
            RSA["ask"].signer("sha256"),
        ),
        ("vek-signature-empty", "The signature has no bytes.", lambda tbs: b""),
        ("vek-signature-zero", "The signature is all zeros.", lambda tbs: bytes(512)),
        ("vek-signature-short", "The signature's last byte is missing.", lambda tbs: RSA["ask"].sign(tbs)[:-1]),
        ("vek-signature-padded", "The signature has a leading zero byte.", lambda tbs: b"\0" + RSA["ask"].sign(tbs)),
    ):
        yield _chain(slug, about, CHAIN_BROKEN, leaf=replace(LEAF, signer=signer))


def keys() -> Iterator[Vector]:
    broken = CERTIFICATE_BROKEN
    p256 = ec_spki(ec_key("leaf", ec.SECP256R1()))
    yield _chain("vek-p-256", "A P-256 leaf.", broken, leaf=replace(LEAF, spki=p256))
    yield _chain("vek-rsa", "An RSA leaf.", broken, leaf=replace(LEAF, spki=RSA["small"].spki()))
    point = ec_spki(ec_key("vek"))[-96:]
    head = ec_spki(ec_key("vek"))[:-97]
    compressed = der.sequence(
        der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.3.132.0.34")),
        der.bits(bytes((2 + (point[-1] & 1),)) + point[:48]),
    )
    yield _chain("vek-compressed", "A compressed point.", broken, leaf=replace(LEAF, spki=compressed))
    hybrid = head + bytes((6 + (point[-1] & 1),)) + point
    yield _chain("vek-hybrid", "A point in hybrid form.", broken, leaf=replace(LEAF, spki=hybrid))
    wrong = rejected("hw.signature")
    off = head + b"\x04" + point[:-1] + bytes((point[-1] ^ 1,))
    yield _chain("vek-off-curve", "The leaf's key is not a point of the curve.", wrong, leaf=replace(LEAF, spki=off))
    zero = head + b"\x04" + bytes(96)
    yield _chain("vek-zero-point", "The leaf's key is (0, 0).", wrong, leaf=replace(LEAF, spki=zero))
    yield _chain(
        "vek-other-key", "The leaf is for another key.", wrong, leaf=replace(LEAF, spki=ec_spki(ec_key("other")))
    )
    about = "An intermediate with a P-384 key cannot have signed the leaf."
    yield _chain("ask-p-384", about, CHAIN_BROKEN, ask=replace(ASK, spki=ec_spki(ec_key("authority"))))
    for slug, about, key, algorithm in (
        ("rsa-2048", "A root of 2048 bits signs itself, the intermediate and the list.", "small", None),
        ("rsa-exponent-3", "A root with the exponent 3, which none of AMD's has.", "cubed", None),
        ("rsa-pss-key", "A root whose key is of type RSASSA-PSS; AMD's are rsaEncryption.", "ark", pss()),
    ):
        signer = RSA[key].sign
        yield _chain(
            slug,
            about,
            rejected("hw.chain", "hw.revocation"),
            ask=replace(ASK, signer=signer),
            ark=replace(ARK, spki=RSA[key].spki(algorithm), signer=signer),
            crl=replace(CRL, signer=signer),
        )


def links() -> Iterator[Vector]:
    other = RSA["other"].sign
    about = "The leaf is signed by another key than the intermediate's."
    yield _chain("vek-by-other-key", about, CHAIN_BROKEN, leaf=replace(LEAF, signer=other))
    about = "The leaf is signed by the root, past the intermediate."
    yield _chain("vek-by-ark", about, CHAIN_BROKEN, leaf=replace(LEAF, signer=RSA["ark"].sign))
    about = "The intermediate is signed by another key than the root's."
    yield _chain("ask-by-other-key", about, CHAIN_BROKEN, ask=replace(ASK, signer=other))
    about = "The intermediate is signed by itself."
    yield _chain("ask-by-itself", about, CHAIN_BROKEN, ask=replace(ASK, signer=RSA["ask"].sign))
    about = "The root is not signed by itself."
    yield _chain("ark-by-other-key", about, CHAIN_BROKEN, ark=replace(ARK, signer=other))
    about = "The leaf's signed bytes were changed afterwards: another version of microcode, which the report has too."
    changed = LEAF.der().replace(b"\x02\x01\x5a", b"\x02\x01\x5b")
    chain = replace(GENOA, vek=blob("vek-tampered", changed))
    raw = report(
        {f"{word}_tcb": bytes((12, 3, 0, 0, 0, 0, 30, 91)) for word in ("current", "reported", "committed", "launch")}
    )
    yield report_vector("vek-tampered", about, raw, CHAIN_BROKEN, chain=chain)


def validity() -> Iterator[Vector]:
    past, future = der.utc_time(NOW - DAY), der.utc_time(NOW + DAY)
    for role, part in (("leaf", LEAF), ("ask", ASK), ("ark", ARK)):
        slug = {"leaf": "vek"}.get(role, role)
        old: dict[str, Any] = {role: replace(part, not_after=past)}
        new: dict[str, Any] = {role: replace(part, not_before=future)}
        yield _chain(f"{slug}-expired", f"The {slug.upper()} has expired.", EXPIRED, **old)
        yield _chain(f"{slug}-not-yet", f"The {slug.upper()} is not yet valid.", EXPIRED, **new)
    at = der.utc_time(NOW)
    yield _chain("vek-last-second", "notAfter is this second.", VERIFIED, leaf=replace(LEAF, not_after=at))
    yield _chain("vek-first-second", "notBefore is this second.", VERIFIED, leaf=replace(LEAF, not_before=at))
    early = ORIGIN - DAY
    about = "The verifier's clock stands before all certificates and the list."
    yield _chain("clock-early", about, rejected("hw.validity", "hw.revocation"), now=early)


def revocation() -> Iterator[Vector]:
    number, second = extension("2.5.29.20", der.integer(7)), dt.timedelta(seconds=1)
    scope = extension("2.5.29.28", der.sequence(), critical=True)
    for slug, about, expect, crl in (
        ("crl-expired", "The list's nextUpdate has passed.", REVOKED, replace(CRL, next_update=NOW - second)),
        ("crl-next-update-now", "The list's nextUpdate is this second.", REVOKED, replace(CRL, next_update=NOW)),
        ("crl-not-yet", "The list's thisUpdate lies ahead.", REVOKED, replace(CRL, this_update=NOW + second)),
        ("crl-this-update-now", "The list's thisUpdate is this second.", VERIFIED, replace(CRL, this_update=NOW)),
        ("crl-other-key", "The list is signed by another key.", REVOKED, replace(CRL, signer=RSA["other"].sign)),
        ("crl-by-ask", "The list is signed by the intermediate.", REVOKED, replace(CRL, signer=RSA["ask"].sign)),
        ("crl-other-issuer", "The list names another issuer.", REVOKED, replace(CRL, issuer=name(ASK_CN))),
        ("crl-revokes-ask", "The list revokes the intermediate.", REVOKED, replace(CRL, revoked=(9, 2))),
        ("crl-revokes-ark", "The list revokes the root.", REVOKED, replace(CRL, revoked=(1, 9))),
        ("crl-revokes-another", "The list revokes another serial.", VERIFIED, replace(CRL, revoked=(9, 0x20001))),
        ("crl-revokes-zero", "The list revokes serial 0, which every leaf has.", VERIFIED, replace(CRL, revoked=(0,))),
        (
            "crl-sha-256",
            "PSS with SHA-256.",
            REVOKED,
            replace(CRL, algorithm=pss(SHA256), signer=RSA["ark"].signer("sha256")),
        ),
        ("crl-version-1", "A version 1 list.", REVOKED, replace(CRL, version=der.integer(0))),
        ("crl-no-next-update", "A list without nextUpdate never ends.", REVOKED, replace(CRL, with_next_update=False)),
        ("crl-no-extensions", "A list without extensions.", REVOKED, replace(CRL, extensions=())),
        (
            "crl-critical",
            "A critical extension narrows the list's scope.",
            REVOKED,
            replace(CRL, extensions=(number, scope)),
        ),
    ):
        yield _chain(slug, about, expect, crl=crl)


def _padding(part: Certificate | RevocationList, size: int) -> tuple[bytes, ...]:
    """The extensions of `part` and one more, so that it has that many bytes."""
    unsigned = replace(part, signer=lambda tbs: bytes(512))  # as long as a signature
    for length in range(size - len(part.der()) - 40, size):
        extensions = (*part.extensions, extension("1.2.3.4", bytes(length)))
        if len(replace(unsigned, extensions=extensions).der()) == size:
            return extensions
    raise ValueError(f"no padding makes {size} bytes")


def sizes() -> Iterator[Vector]:
    """The bounds on certificates and lists, met and passed by one byte."""
    for size, expect in ((8192, VERIFIED), (8193, CERTIFICATE_BROKEN)):
        ask = replace(ASK, extensions=_padding(ASK, size))
        yield _chain(f"ask-{size}-bytes", f"An intermediate of {size} bytes.", expect, ask=ask)
    for size, expect in ((65536, VERIFIED), (65537, REVOKED)):
        crl = replace(CRL, extensions=_padding(CRL, size))
        yield _chain(f"crl-{size}-bytes", f"A list of {size} bytes.", expect, crl=crl)


def entries() -> Iterator[Vector]:
    """Broken entries of a revocation list."""
    date = der.utc_time(ORIGIN)
    for slug, about, entry in (
        ("no-date", "An entry without a date.", der.sequence(der.integer(9))),
        ("four-parts", "An entry of four parts.", der.sequence(der.integer(9), date, der.sequence(), der.sequence())),
        ("no-sequence", "An entry that is a number.", der.integer(9)),
        ("negative", "A negative serial.", der.sequence(der.integer(-9), date)),
        ("bad-date", "An entry of 30 February.", der.sequence(der.integer(9), der.tlv(0x17, b"260230000000Z"))),
    ):
        yield _chain(f"crl-entry-{slug}", about, REVOKED, crl=replace(CRL, entries=(entry,)))
    about = "One field more than a list has, while the intermediate is revoked."
    yield _chain("crl-extra-field", about, REVOKED, crl=replace(CRL, revoked=(2,), extra=der.sequence()))
    about = "The entries' dates and extensions do no harm."
    reason = der.sequence(extension("2.5.29.21", der.tlv(0x0A, b"\x01")))
    entry = der.sequence(der.integer(9), date, reason)
    yield _chain("crl-entry-reason", about, VERIFIED, crl=replace(CRL, entries=(entry,)))
    about = "A critical extension says that another authority's certificate is meant."
    other = der.sequence(extension("2.5.29.29", der.sequence(), critical=True))
    entry = der.sequence(der.integer(9), date, other)
    yield _chain("crl-entry-critical", about, REVOKED, crl=replace(CRL, entries=(entry,)))


def lists() -> Iterator[Vector]:
    """Bytes that are no list, and no list at all."""
    raw = CRL.der()
    for slug, about, content in (
        ("crl-garbage", "Bytes that are no list.", b"not a list"),
        ("crl-empty", "No bytes where a list was promised.", b""),
        ("crl-trailing-byte", "A byte after the list.", raw + b"\0"),
        ("crl-certificate", "A certificate where the list should be.", ASK.der()),
    ):
        chain = replace(GENOA, crl=blob(slug, content))
        yield report_vector(slug, about, report(), REVOKED, chain=chain)
    without = replace(GENOA, crl=None)
    about = "No list, and the policy requires one."
    yield report_vector("no-crl", about, report(), rejected(missing=["hw.revocation"]), chain=without)
    about = "No list, and the policy waives it."
    yield report_vector("no-crl-waived", about, report(), chain=without, policy=policy(revocation="when-given"))
    about = "No list and no policy: authenticity does not ask for revocation."
    yield report_vector("no-crl-no-policy", about, report(), AUTHENTIC, chain=without, policy=None)
    for demands, slug in ((policy(revocation="when-given"), "waived"), (None, "no-policy")):
        chain = replace(GENOA, crl=blob("crl-revokes-ask", replace(CRL, revoked=(9, 2))))
        about = "A list that revokes the intermediate counts even where no list is required."
        yield report_vector(f"crl-revokes-ask-{slug}", about, report(), REVOKED, chain=chain, policy=demands)


def _fake(ark_cn: str, ask_cn: str, leaf: Certificate) -> Chain:
    """A chain of AMD's own names under keys that are not AMD's."""
    tag = f"fake-{ask_cn.lower()}"
    return Chain(
        blob(f"{tag}-leaf", replace(leaf, issuer=name(ask_cn))),
        blob(tag, replace(ASK, subject=name(ask_cn), issuer=name(ark_cn))),
        blob(f"fake-{ark_cn.lower()}", replace(ARK, subject=name(ark_cn), issuer=name(ark_cn))),
        blob(f"fake-{ark_cn.lower()}-crl", replace(CRL, issuer=name(ark_cn))),
    )


def roots() -> Iterator[Vector]:
    root, vlek = rejected("hw.root"), vek(vlek_values(), "SEV-VLEK")
    yield report_vector("mock-not-accepted", "A mock where mocks are not accepted.", report(), root, accept_mock=False)
    about = "A mock where mocks are not accepted, judged for authenticity only."
    yield report_vector("mock-not-accepted-no-policy", about, report(), root, accept_mock=False, policy=None)
    for accept in (False, True):
        tail = "-mock-accepted" if accept else ""
        about = "A root that calls itself ARK-Genoa and is not AMD's."
        yield report_vector(
            f"fake-ark-genoa{tail}",
            about,
            report(),
            root,
            chain=_fake("ARK-Genoa", "SEV-Genoa", LEAF),
            accept_mock=accept,
        )
    chain = _fake("ARK-Genoa", "SEV-VLEK-Genoa", vlek)
    yield report_vector("fake-ark-genoa-vlek", "The same for a VLEK.", report(VLEK), root, chain=chain)
    wrong = rejected("hw.chain", "hw.root")
    about = "A VCEK under the intermediate of VLEKs."
    chain = replace(
        _fake("ARK-Genoa", "SEV-VLEK-Genoa", LEAF),
        vek=blob("fake-crossed", replace(LEAF, issuer=name("SEV-VLEK-Genoa"))),
    )
    yield report_vector("fake-vcek-under-asvk", about, report(), wrong, chain=chain)
    about = "A root named like the mock's with a space after it is no mock."
    tagged = name(f"{ARK_CN} ")
    chain = Chain(
        GENOA.vek,
        blob("spaced-ask", replace(ASK, issuer=tagged)),
        blob("spaced-ark", replace(ARK, subject=tagged, issuer=tagged)),
        blob("spaced-crl", replace(CRL, issuer=tagged)),
    )
    yield report_vector("mock-name-with-space", about, report(), wrong, chain=chain)
    yield report_vector(
        "mock-milan-not-accepted",
        "A mock Milan where mocks are not accepted.",
        report({"cpuid": bytes((0x19, 1, 2))}),
        root,
        chain=replace(GENOA, vek=blob("vcek-milan", vek(vek_values("Milan-B0")))),
        accept_mock=False,
    )
