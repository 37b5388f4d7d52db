"""Faults of NitroTPM documents: shape, signature, chain, what they are about, and which image they name."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors import der, nitro
from tests.vectors.certificates import DAY, NOW, Certificate, extension, name_of, vek, vlek_values
from tests.vectors.documents import NONCE, OTHER_NONCE, Document, quote, workload
from tests.vectors.faults_quote import quote_vector
from tests.vectors.nitro import HOUR, IMAGE, PCRS, PKI, Pki, members, payload, sign1
from tests.vectors.reports import MEASUREMENT, VLEK, report
from tests.vectors.signing import ec_key, ec_spki, ecdsa, ecdsa_numbers
from tests.vectors.world import (
    APPRAISED,
    GENOA,
    POLICY,
    QUOTE_BROKEN,
    VERIFIED,
    Expect,
    Json,
    Vector,
    b64,
    blob,
    rejected,
    report_vector,
)

GENUINE, BOUND, IMAGED = "code.platform-evidence", "bind.platform-evidence", "code.boot-image"
FIRMWARE: dict[str, Json] = {"firmware_measurements": [MEASUREMENT.hex()], "boot_images": [IMAGE]}
NONCE_BYTES = bytes.fromhex(NONCE)
NOT_GENUINE, NOT_BOUND, NOT_THE_IMAGE = rejected(GENUINE), rejected(BOUND), rejected(IMAGED)
UNREADABLE = rejected(GENUINE, missing=[BOUND, IMAGED])
MINUTE = dt.timedelta(minutes=1)
NAMED = workload(platform_evidence=["nitrotpm"])
MS = int(NOW.timestamp() * 1000)


def base(nonce: str | None = NONCE, **fields: Any) -> Document:
    """A quote whose workload names a document, still without it."""
    return quote(workload_document=NAMED, nonce=nonce, fields=fields)


def report_of(document: Document) -> bytes:
    return base64.b64decode(document["report_b64"])


def carrying(raw: bytes, document: Document | None = None) -> Document:
    rows = [{"kind": "nitrotpm", "document_b64": b64(raw)}]
    return (document or base()) | {"platform_evidence": rows}


def stated(pki: Pki = PKI, /, **changes: bytes) -> bytes:
    """A signed document about the base report, with these members exchanged."""
    return sign1(payload(members(report_of(base()), NONCE_BYTES, pki, **changes)))


def nitro_vector(slug: str, about: str, raw: bytes | Document, expect: Expect = VERIFIED, **settings: Any) -> Vector:
    document = carrying(raw) if isinstance(raw, bytes) else raw
    return quote_vector(f"nitro-{slug}", about, document, expect, **({"policy": FIRMWARE} | settings))


def good() -> Iterator[Vector]:
    yield nitro_vector("good", "Firmware by AMD's word, the image by AWS's.", stated())
    yield nitro_vector("tagged", "The tag 18 says COSE_Sign1; AWS leaves it out.", b"\xd2" + stated())
    values = members(report_of(base()), NONCE_BYTES)
    about = "A payload of definite length, as AWS wrote it in earlier years."
    yield nitro_vector("definite-payload", about, sign1(nitro.pairs(nitro.rows_of(values))))
    turned = dict(reversed(values.items()))
    yield nitro_vector("reordered", "The order of members says nothing.", sign1(payload(turned)))
    every = {index: nitro.pcr(f"other {index}") for index in range(24)} | PCRS
    about = "All 24 registers, and a public key."
    full = stated(nitrotpm_pcrs=nitro.registers(every), public_key=nitro.octets(b"\x30" * 294))
    yield nitro_vector("24-registers", about, full)
    yield nitro_vector("no-public-key", "An optional member left out, not null.", stated(public_key=b""))
    signature = nitro.raw_signature(nitro.to_sign(payload(values)))
    about = "n - s for s verifies as well: the hash of a document identifies nothing."
    yield nitro_vector("other-s", about, enveloped(payload(values), signature=nitro.other_spelling(signature)))
    yield nitro_vector("stored", "Stored evidence, judged at a time when it was valid.", stated(), nonce=None)
    bare = base(None)
    raw = sign1(payload(members(report_of(bare), None)))
    yield nitro_vector("stored-no-nonce", "Made without a nonce, judged as stored.", carrying(raw, bare), nonce=None)
    yield nitro_vector("clock-behind", "My clock is four minutes slow.", stated(), now=NOW - 4 * MINUTE)
    yield nitro_vector("clock-ahead", "My clock is four minutes fast.", stated(), now=NOW + 4 * MINUTE)
    other = {"pcr4": "11" * 48, "pcr7": "22" * 48, "pcr12": "33" * 48}
    images = FIRMWARE | {"boot_images": [other, IMAGE]}
    yield nitro_vector("second-image", "The second of two accepted images.", stated(), policy=images)
    plain = "A measurement of the whole workload asks for no document; one that is there is judged."
    yield nitro_vector("plain-measurement", plain, stated(), policy=POLICY)


def demands() -> Iterator[Vector]:
    every = [GENUINE, BOUND, IMAGED]
    about = "The measurement covers firmware only, and nothing says which image was booted."
    yield nitro_vector("none", about, quote(), rejected(missing=every))
    about = "An operator took the document away; the workload still names it."
    stripped = rejected(BOUND, missing=[GENUINE, IMAGED])
    yield nitro_vector("stripped", about, base(), stripped)
    yield nitro_vector("stripped-plain", about, base(), rejected(BOUND), policy=POLICY)
    about = "A document that the workload does not name."
    yield nitro_vector("added", about, carrying(stated(), quote()), stripped)
    about = "A mock where mocks are not accepted."
    yield nitro_vector("mock-refused", about, stated(), rejected("hw.root", GENUINE), accept_mock=False)
    about = "A document that nobody demands, and it is forged."
    yield nitro_vector("forged-undemanded", about, flipped(stated(), -1), NOT_GENUINE, policy=POLICY)
    about = "Without a policy no measurement and no image is accepted."
    expect = rejected("code.measurement", missing=APPRAISED[:-1])
    yield nitro_vector("no-policy", about, stated(), expect, policy=None)
    about = "A measurement that the policy names in neither list."
    document = base(measurement=bytes(48))
    raw = sign1(payload(members(report_of(document), NONCE_BYTES)))
    yield nitro_vector("measurement-other", about, carrying(raw, document), rejected("code.measurement"))


def shapes() -> Iterator[Vector]:
    row: Json = {"kind": "nitrotpm", "document_b64": b64(stated())}
    rows: list[tuple[str, str, Json]] = [
        ("object", "An object for the list.", {}),
        ("null", "null for the list.", None),
        ("text-row", "A text for a row.", ["nitrotpm"]),
        ("unknown-kind", "A kind that is not known here.", [row | {"kind": "tdx"}]),
        ("kind-number", "A number for the kind.", [row | {"kind": 1}]),
        ("second-unknown", "A kind that is not known here, after a known one.", [row, row | {"kind": "tdx"}]),
        ("twice", "Two documents: which one counts?", [row, row]),
        ("member-added", "One more member.", [row | {"pcrs": {}}]),
        ("no-kind", "No kind.", [{"document_b64": row["document_b64"]}]),
        ("no-document", "No document.", [{"kind": "nitrotpm"}]),
        ("document-null", "null for the document.", [row | {"document_b64": None}]),
        ("document-base64", "Base64 without its padding.", [row | {"document_b64": "AAA"}]),
    ]
    for slug, about, value in rows:
        document = base() | {"platform_evidence": value}
        yield nitro_vector(f"rows-{slug}", about, document, QUOTE_BROKEN)
    named: list[tuple[str, str, Json]] = [
        ("text", "A text for the workload's list.", "nitrotpm"),
        ("null", "null for the workload's list.", None),
        ("unknown", "The workload names a kind that is not known here.", ["tdx"]),
        ("twice", "The workload names a kind twice.", ["nitrotpm", "nitrotpm"]),
        ("number", "A number for a kind.", [1]),
        ("object", "An object for a kind.", [{}]),
    ]
    for slug, about, value in named:
        document = quote(workload_document=workload(platform_evidence=value))
        yield nitro_vector(f"workload-{slug}", about, document, QUOTE_BROKEN)


def flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def enveloped(
    body: bytes,
    *,
    protected: bytes = nitro.PROTECTED,
    unprotected: bytes = b"\xa0",
    signature: bytes | None = None,
) -> bytes:
    """COSE_Sign1 part by part, signed over its own header."""
    signed = signature if signature is not None else nitro.raw_signature(nitro.to_sign(body, protected))
    return nitro.array(nitro.octets(protected), unprotected, nitro.octets(body), nitro.octets(signed))


def envelopes() -> Iterator[Vector]:
    body = payload(members(report_of(base()), NONCE_BYTES))
    whole, signature = enveloped(body), nitro.raw_signature(nitro.to_sign(body))
    es256 = b"\xa1\x01\x26"
    alike = nitro.octets(nitro.PROTECTED), b"\xa0", nitro.octets(body), nitro.octets(signature)
    opened = b"\x5f" + nitro.octets(body) + b"\xff"
    numbers = ecdsa_numbers(ec_key("nitro-leaf"), nitro.to_sign(body))
    for slug, about, raw in (
        ("empty", "No bytes.", b""),
        ("tag-17", "Another tag: COSE_Mac0.", b"\xd1" + whole),
        ("tag-twice", "The tag twice.", b"\xd2\xd2" + whole),
        ("tag-long", "The tag in long form.", b"\xd8\x12" + whole),
        ("only-tag", "A tag and nothing in it.", b"\xd2"),
        ("map", "A map for the array.", nitro.pairs([(nitro.integer(1), whole)])),
        ("three", "Three parts.", nitro.array(*alike[:3])),
        ("five", "Five parts.", nitro.array(*alike, b"\xf6")),
        ("open-array", "An array of indefinite length.", b"\x9f" + b"".join(alike) + b"\xff"),
        ("es256", "ES256 in the header.", enveloped(body, protected=es256)),
        ("no-algorithm", "No algorithm.", enveloped(body, protected=b"")),
        ("empty-header", "An empty header.", enveloped(body, protected=b"\xa0")),
        ("header-member", "One more member in the header.", enveloped(body, protected=b"\xa2\x01\x38\x22\x04\x40")),
        ("header-long", "-35 in long form.", enveloped(body, protected=b"\xa1\x01\x39\x00\x22")),
        ("header-open", "A header of indefinite length.", enveloped(body, protected=b"\xbf\x01\x38\x22\xff")),
        ("unprotected", "An unprotected algorithm.", enveloped(body, unprotected=nitro.PROTECTED)),
        ("unprotected-null", "null for the unprotected header.", enveloped(body, unprotected=b"\xf6")),
        ("unprotected-list", "An array for the unprotected header.", enveloped(body, unprotected=b"\x80")),
        ("unprotected-open", "Its length indefinite.", enveloped(body, unprotected=b"\xbf\xff")),
        ("detached", "The payload is elsewhere.", nitro.array(alike[0], alike[1], b"\xf6", alike[3])),
        ("payload-text", "The payload as text.", nitro.array(alike[0], alike[1], b"\x60", alike[3])),
        ("payload-empty", "An empty payload.", enveloped(b"")),
        ("payload-open", "A payload of indefinite length.", nitro.array(alike[0], alike[1], opened, alike[3])),
        ("payload-list", "An array for the payload's map.", enveloped(nitro.array())),
        ("signature-95", "95 bytes of signature.", enveloped(body, signature=signature[1:])),
        ("signature-97", "97 bytes of signature.", enveloped(body, signature=b"\0" + signature)),
        ("signature-der", "A signature in DER.", enveloped(body, signature=_der_signature(numbers))),
        ("signature-null", "null for the signature.", nitro.array(*alike[:3], b"\xf6")),
        ("trailing", "A byte after the document.", whole + b"\0"),
        ("truncated", "The last byte is missing.", whole[:-1]),
        ("head-only", "Nothing but a head.", whole[:1]),
        ("oversized", "16,385 bytes.", whole + bytes(16385 - len(whole))),
    ):
        yield nitro_vector(f"envelope-{slug}", about, raw, UNREADABLE)


def _der_signature(numbers: tuple[int, int]) -> bytes:
    return der.sequence(*map(der.integer, numbers))


def spellings() -> Iterator[Vector]:
    values = members(report_of(base()), NONCE_BYTES)
    rows = nitro.rows_of(values)
    registers = [(nitro.integer(index), nitro.octets(value)) for index, value in PCRS.items()]
    deep = b"\x81" * 5 + b"\x80"
    opened = b"\x7f" + nitro.text(nitro.MODULE_ID) + b"\xff"
    moment = MS.to_bytes(8)
    for slug, about, body in (
        ("member-twice", "A member twice.", nitro.pairs([*rows, rows[0]])),
        ("member-twice-open", "A member twice, in a map of indefinite length.", nitro.open_pairs([*rows, rows[3]])),
        ("register-twice", "A register twice.", _with(values, nitrotpm_pcrs=nitro.pairs([*registers, registers[1]]))),
        ("registers-open", "Registers of indefinite length.", _with(values, nitrotpm_pcrs=nitro.open_pairs(registers))),
        ("text-open", "A text of indefinite length.", _with(values, module_id=opened)),
        ("text-not-utf-8", "A text that is no UTF-8.", _with(values, module_id=b"\x62\xc3\x28")),
        ("text-surrogate", "A text with half a surrogate pair.", _with(values, module_id=b"\x63\xed\xa0\x80")),
        ("length-long", "A length in long form.", _with(values, digest=b"\x78\x06SHA384")),
        ("count-long", "A count in long form.", b"\xb8\x09" + b"".join(map(b"".join, rows))),
        ("integer-long", "An integer in long form.", _with(values, timestamp=b"\x1b" + bytes(7) + b"\x01")),
        ("integer-2-53", "An integer of 2^53.", _with(values, timestamp=b"\x1b\x00\x20" + bytes(6))),
        ("float", "A time with a fraction.", _with(values, timestamp=b"\xfb" + bytes(8))),
        ("bignum", "A time under the tag of large integers.", _with(values, timestamp=b"\xc2\x48" + moment)),
        ("date", "A time under the tag of dates.", _with(values, timestamp=b"\xc1\x1a" + bytes((0x66, 0, 0, 0)))),
        ("true", "true for a nonce.", _with(values, nonce=b"\xf5")),
        ("undefined", "undefined for a nonce.", _with(values, nonce=b"\xf7")),
        ("simple", "A simple value for a nonce.", _with(values, nonce=b"\xf8\x20")),
        ("reserved", "A reserved head.", _with(values, nonce=b"\x1c")),
        ("deep", "An array six deep.", _with(values, cabundle=deep)),
        ("huge-count", "An array of 2^32 elements, none there.", _with(values, cabundle=b"\x9b\0\0\0\x01\0\0\0\0")),
        ("bytes-key", "A byte string for a name.", nitro.pairs([*rows, (nitro.octets(b"x"), b"\xf6")])),
        ("null-key", "null for a name.", nitro.pairs([*rows, (b"\xf6", b"\xf6")])),
        ("trailing", "A byte after the payload's map.", nitro.pairs(rows) + b"\0"),
        ("no-break", "A map that nothing ends.", nitro.open_pairs(rows)[:-1]),
        ("break", "An end where none is due.", nitro.pairs(rows)[:1] + b"\xff"),
        ("break-value", "An end for a value.", nitro.open_pairs(rows)[:-1] + nitro.text("x") + b"\xff\xff"),
        ("truncated", "The last byte of the payload is missing.", nitro.pairs(rows)[:-1]),
    ):
        yield nitro_vector(f"cbor-{slug}", about, sign1(body), UNREADABLE)


def _with(values: nitro.Members, **changes: bytes) -> bytes:
    return payload(values | changes)


def fields() -> Iterator[Vector]:
    for name in ("module_id", "digest", "timestamp", "nitrotpm_pcrs", "certificate", "cabundle"):
        slug = f"no-{name.replace('_', '-')}"
        yield nitro_vector(slug, f"The document has no {name}.", stated(**{name: b""}), UNREADABLE)
        slug = f"{name.replace('_', '-')}-null"
        yield nitro_vector(slug, f"{name} is null.", stated(**{name: b"\xf6"}), UNREADABLE)
    values = members(report_of(base()), NONCE_BYTES)
    enclave = {"pcrs" if name == "nitrotpm_pcrs" else name: value for name, value in values.items()}
    about = "A document of an enclave: its registers mean other things."
    yield nitro_vector("enclave", about, sign1(payload(enclave)), UNREADABLE)
    both = values | {"pcrs": nitro.registers(PCRS)}
    yield nitro_vector("unknown-member", "A member that is not known here.", sign1(payload(both)), UNREADABLE)
    small, text, number = nitro.octets(b"\0"), nitro.text("x"), nitro.integer(7)
    certificate = nitro.octets(PKI.leaf.der())
    registers: dict[str, bytes] = {
        "empty": nitro.registers({}),
        "list": nitro.array(),
        "32": nitro.registers(PCRS | {32: bytes(48)}),
        "negative": nitro.pairs([(nitro.integer(-1), nitro.octets(bytes(48)))]),
        "text-key": nitro.pairs([(nitro.text("4"), nitro.octets(bytes(48)))]),
        "sha256": nitro.registers({index: value[:32] for index, value in PCRS.items()}),
        "sha512": nitro.registers({index: value + bytes(16) for index, value in PCRS.items()}),
        "text": nitro.pairs([(nitro.integer(4), nitro.text("00" * 24))]),
    }
    for slug, value in registers.items():
        about = f"Registers with one fault: {slug}."
        yield nitro_vector(f"registers-{slug}", about, stated(nitrotpm_pcrs=value), UNREADABLE)
    faults: list[tuple[str, str, str, bytes]] = [
        ("digest-sha256", "Registers of SHA-256.", "digest", nitro.text("SHA256")),
        ("digest-lower", "The digest in lower case.", "digest", nitro.text("sha384")),
        ("digest-bytes", "The digest as bytes.", "digest", nitro.octets(b"SHA384")),
        ("timestamp-zero", "Time 0.", "timestamp", nitro.integer(0)),
        ("timestamp-negative", "A negative time.", "timestamp", nitro.integer(-1)),
        ("timestamp-text", "A time as text.", "timestamp", nitro.text("2026")),
        ("timestamp-year-10000", "A time after the year 9999.", "timestamp", nitro.integer(253402300800000)),
        ("module-id-empty", "An empty module id.", "module_id", nitro.text("")),
        ("module-id-long", "A module id of 129 characters.", "module_id", nitro.text("i" * 129)),
        ("module-id-control", "A module id with an escape.", "module_id", nitro.text("i-\x1b[2J")),
        ("module-id-bytes", "A module id as bytes.", "module_id", small),
        ("certificate-text", "A certificate as text.", "certificate", text),
        ("certificate-empty", "An empty certificate.", "certificate", nitro.octets(b"")),
        ("certificate-1025", "A certificate of 1,025 bytes.", "certificate", nitro.octets(bytes(1025))),
        ("bundle-empty", "No authorities.", "cabundle", nitro.array()),
        ("bundle-9", "Nine authorities.", "cabundle", nitro.array(*[certificate] * 9)),
        ("bundle-bytes", "The bundle as bytes.", "cabundle", small),
        ("bundle-text", "An authority as text.", "cabundle", nitro.array(text)),
        ("bundle-1025", "An authority of 1,025 bytes.", "cabundle", nitro.array(nitro.octets(bytes(1025)))),
        ("public-key-text", "A public key as text.", "public_key", text),
        ("public-key-1025", "A public key of 1,025 bytes.", "public_key", nitro.octets(bytes(1025))),
        ("user-data-text", "user_data as text.", "user_data", text),
        ("user-data-1025", "user_data of 1,025 bytes.", "user_data", nitro.octets(bytes(1025))),
        ("nonce-number", "A number for the nonce.", "nonce", number),
        ("nonce-list", "An array for the nonce.", "nonce", nitro.array()),
    ]
    for slug, about, name, value in faults:
        yield nitro_vector(slug, about, stated(**{name: value}), UNREADABLE)


def signatures() -> Iterator[Vector]:
    body = payload(members(report_of(base()), NONCE_BYTES))
    whole = enveloped(body)
    exchanged = whole.replace(nitro.pcr("pcr4"), bytes(48), 1)
    for slug, about, raw in (
        ("changed", "One bit of the signature.", flipped(whole, -1)),
        ("zero", "A signature of zeros.", enveloped(body, signature=bytes(96))),
        ("ones", "r and s beyond the order.", enveloped(body, signature=b"\xff" * 96)),
        ("payload-alone", "Signed over the payload alone.", enveloped(body, signature=nitro.raw_signature(body))),
        ("of-many", "The context of COSE_Sign.", _in_context(body, "Signature")),
        ("mac-context", "The context of COSE_Mac0.", _in_context(body, "MAC0")),
        ("other-key", "Signed by the instance's authority.", sign1(body, label="nitro-instance")),
        (
            "module-changed",
            "The module id changed after it was signed.",
            whole.replace(b"0123456789", b"1123456789", 1),
        ),
    ):
        yield nitro_vector(f"signature-{slug}", about, raw, NOT_GENUINE)
    about = "PCR 4 changed after it was signed: it is named twice, as forged and as another image."
    yield nitro_vector("signature-register-changed", about, exchanged, rejected(GENUINE, IMAGED))


def _in_context(body: bytes, context: str) -> bytes:
    return enveloped(body, signature=nitro.raw_signature(nitro.to_sign(body, context=context)))


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


def bindings() -> Iterator[Vector]:
    whole = report_of(base())
    elsewhere = report({"report_data": whole[0x50:0x90], "report_id": b"\x07" * 32})
    texts = {
        "other-machine": ("The report of another machine beside this document.", _digest(elsewhere)),
        "whole-report": ("The digest of all 1,184 bytes.", hashlib.sha256(whole).digest()),
        "report-data": ("REPORT_DATA itself: it does not name the report.", whole[0x50:0x70]),
        "longer": ("The digest and one byte more.", _digest(whole) + b"\0"),
        "hex": ("The digest in hex.", _digest(whole).hex().encode()),
        "empty": ("Empty user_data.", b""),
    }
    for slug, (about, value) in texts.items():
        yield nitro_vector(f"user-data-{slug}", about, stated(user_data=nitro.octets(value)), NOT_BOUND)
    yield nitro_vector("user-data-null", "No user_data.", stated(user_data=b"\xf6"), NOT_BOUND)
    yield nitro_vector("user-data-missing", "user_data left out.", stated(user_data=b""), NOT_BOUND)
    for slug, about, nonce in (
        ("other", "The answer to somebody else's nonce.", nitro.octets(bytes.fromhex(OTHER_NONCE))),
        ("null", "No nonce.", b"\xf6"),
        ("hex", "The nonce in hex.", nitro.octets(NONCE.encode())),
        ("short", "31 bytes of the nonce.", nitro.octets(NONCE_BYTES[1:])),
    ):
        yield nitro_vector(f"nonce-{slug}", about, stated(nonce=nonce), NOT_BOUND)
    about = "Stored evidence whose document answers another nonce than its statement."
    yield nitro_vector("nonce-stored-other", about, stated(nonce=nitro.octets(bytes(32))), NOT_BOUND, nonce=None)
    about = "Stored evidence without a nonce, whose document has one."
    bare = base(None)
    raw = sign1(payload(members(report_of(bare), NONCE_BYTES)))
    yield nitro_vector("nonce-stored-added", about, carrying(raw, bare), NOT_BOUND, nonce=None)
    for slug, about, minutes in (
        ("early", "Made six minutes before my nonce was sent.", -6),
        ("late", "Made six minutes from now.", 6),
    ):
        moment = nitro.integer(MS + minutes * 60_000)
        yield nitro_vector(f"made-{slug}", about, stated(timestamp=moment), NOT_BOUND)
    about = "Stored evidence made after the time at which it is judged."
    yield nitro_vector("made-late-stored", about, stated(timestamp=nitro.integer(MS + 360_000)), NOT_BOUND, nonce=None)


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw[: nitro.SIGNED_SIZE]).digest()


def images() -> Iterator[Vector]:
    for index in (4, 7, 12):
        other = nitro.registers(PCRS | {index: nitro.pcr("another")})
        yield nitro_vector(f"pcr{index}-other", f"Another PCR {index}.", stated(nitrotpm_pcrs=other), NOT_THE_IMAGE)
        fewer = nitro.registers({key: value for key, value in PCRS.items() if key != index})
        yield nitro_vector(f"pcr{index}-missing", f"No PCR {index}.", stated(nitrotpm_pcrs=fewer), NOT_THE_IMAGE)
    swapped = nitro.registers(PCRS | {4: PCRS[7], 7: PCRS[4]})
    yield nitro_vector(
        "pcrs-swapped", "The right values in each other's places.", stated(nitrotpm_pcrs=swapped), NOT_THE_IMAGE
    )
    two = [IMAGE | {"pcr4": "11" * 48}, IMAGE | {"pcr7": "22" * 48}]
    about = "PCR 4 of one accepted image and PCR 7 of another."
    yield nitro_vector("images-mixed", about, stated(), NOT_THE_IMAGE, policy=FIRMWARE | {"boot_images": two})


def bare() -> Iterator[Vector]:
    """Bare reports carry no platform evidence."""
    about = "A measurement of firmware, and nothing beside the report says which image was booted."
    expect = rejected(missing=[GENUINE, BOUND, IMAGED])
    yield report_vector("firmware-measurement", about, report(), expect, policy=FIRMWARE)
    amazon = _amazon_vlek()
    chain = replace(GENOA, vek=blob("vlek-genoa-ec2", amazon))
    about = "An EC2 report by plain measurement: verified, and the verdict says that it covers firmware only."
    yield report_vector("ec2-measurement", about, report(VLEK), VERIFIED, chain=chain)


def _amazon_vlek() -> Certificate:
    return vek(vlek_values() | {"5": der.ia5("CN=cc-test-1.amazonaws.com")}, "SEV-VLEK")
