"""NitroTPM documents: good ones, what demands them, what they are about, and which image they name."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.vectors import der, nitro
from tests.vectors.certificates import NOW, Certificate, vek, vlek_values
from tests.vectors.documents import NONCE, OTHER_NONCE, Document, quote, workload
from tests.vectors.faults_quote import quote_vector
from tests.vectors.nitro import IMAGE, PCRS, PKI, Pki, members, payload, sign1
from tests.vectors.reports import MEASUREMENT, VLEK, report
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
    about = "A bare EC2 report by plain measurement: the verdict says that it covers firmware only."
    yield report_vector("ec2-measurement", about, report(VLEK), VERIFIED, chain=chain)


def amazon() -> Iterator[Vector]:
    """The certificate says that it is EC2: then no word of the policy makes the measurement cover an image."""
    chain = replace(GENOA, vek=blob("vlek-genoa-ec2", _amazon_vlek()))
    about = "A quote of EC2 by plain measurement, and nothing says which image was booted."
    bare_quote = quote(fields=VLEK, chain=chain)
    yield quote_vector("ec2-plain", about, bare_quote, rejected(missing=[GENUINE, BOUND, IMAGED]), chain=chain)
    named = quote(workload_document=NAMED, fields=VLEK, chain=chain)
    document = carrying(sign1(payload(members(report_of(named), NONCE_BYTES))), named)
    about = "With a NitroTPM document, but a policy that accepts no image."
    yield quote_vector("ec2-no-image", about, document, rejected(missing=[IMAGED]), chain=chain)
    about = "EC2 as it should be: firmware by AMD's word, the image by AWS's."
    yield quote_vector("ec2-image", about, document, VERIFIED, chain=chain, policy=FIRMWARE)


def _amazon_vlek() -> Certificate:
    return vek(vlek_values() | {"5": der.ia5("CN=cc-test-1.amazonaws.com")}, "SEV-VLEK")
