"""Faults of NitroTPM documents as bytes: COSE_Sign1, CBOR, members and signatures."""

from __future__ import annotations

from collections.abc import Iterator

from tests.vectors import der, nitro
from tests.vectors.faults_nitro import (
    GENUINE,
    IMAGED,
    MS,
    NONCE_BYTES,
    NOT_GENUINE,
    UNREADABLE,
    base,
    enveloped,
    flipped,
    nitro_vector,
    report_of,
    stated,
)
from tests.vectors.nitro import PCRS, PKI, members, payload, sign1
from tests.vectors.signing import ec_key, ecdsa_numbers
from tests.vectors.world import (
    Vector,
    rejected,
)


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
