"""Faults of quotes: shape, spelling, and what binds report, statement, keyset and workload to one another."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.documents import (
    KEY_ID,
    NONCE,
    ORIGIN_URL,
    OTHER_NONCE,
    Document,
    digest_of,
    fill,
    identity_signature,
    jcs,
    keyset,
    quote,
    report_data,
    seconds,
    statement,
    workload,
)
from tests.vectors.reports import VLEK
from tests.vectors.signing import ed25519_public, second_spelling
from tests.vectors.world import (
    APPRAISED,
    GENOA,
    HW,
    POLICY,
    QUOTE_BROKEN,
    VERIFIED,
    Chain,
    Expect,
    Json,
    Vector,
    blob,
    iso,
    policy,
    rejected,
)
from tests.vectors.world import VLEK as VLEK_CHAIN

DATA_BROKEN = rejected("bind.report-data")
SECOND = dt.timedelta(seconds=1)
LOG: Json = {"origin": "log.example.com", "vkey": "log.example.com+00000000+AAAA"}


def quote_vector(
    slug: str,
    about: str,
    document: Document | str,
    expect: Expect | str = VERIFIED,
    *,
    chain: Chain = GENOA,
    policy: dict[str, Json] | None = POLICY,
    now: dt.datetime = NOW,
    accept_mock: bool = True,
    nonce: str | None = NONCE,
    audience: str | None = ORIGIN_URL,
) -> Vector:
    """A quote as text, with `${name}` for collateral; `expect` is a verdict, or the field of a text that is no JSON."""
    text = document if isinstance(document, str) else json.dumps(document)
    body = {
        "about": about,
        "stage": "quote",
        "now": iso(now),
        "document": text,
        "accept_mock": accept_mock,
        "policy": policy,
        "nonce": nonce,
        "audience": audience,
        "expect": {"malformed": expect} if isinstance(expect, str) else expect.to_json(),
    }
    return Vector("quote", slug, body, tuple(part for part in chain.blobs() if "${" + part.name + "}" in text))


def without(document: Document, *path: str) -> Document:
    """`document` without the member at that path."""
    head, *rest = path
    if rest:
        return document | {head: without(document[head], *rest)}
    return {name: value for name, value in document.items() if name != head}


def changed(document: Document, value: Any, *path: str) -> Document:
    """`document` with `value` at that path."""
    head, *rest = path
    return document | {head: changed(document[head], value, *rest) if rest else value}


def good() -> Iterator[Vector]:
    yield quote_vector("good", "A fresh quote for my nonce, from the address that I used.", quote())
    about = "Stored evidence: no nonce of mine is in it, and none is asked for."
    yield quote_vector("stored", about, quote(nonce=None), nonce=None)
    yield quote_vector("stored-other-nonce", "Stored evidence that answered somebody's nonce.", quote(), nonce=None)
    yield quote_vector("origin-unknown", "The origin is unknown: the audience is not judged.", quote(), audience=None)
    yield quote_vector("vlek", "A quote signed with a VLEK.", quote(fields=VLEK, chain=VLEK_CHAIN), chain=VLEK_CHAIN)
    about = "Unknown members of a keyset are hashed with it and do no harm."
    keys = keyset() | {"extra": {"deep": [1, None, True]}}
    yield quote_vector("keyset-unknown-member", about, quote(keyset_document=keys))
    about = "Unknown members of the quote itself are not committed to, and not read."
    yield quote_vector("quote-unknown-member", about, quote(extra=1.5))
    about = "A document indented and in another order is the same document."
    backwards = dict(reversed(quote().items()))
    yield quote_vector("indented", about, json.dumps(backwards, indent=1))
    about = "Sixteen receipt keys are the most."
    row = keyset()["receipt_signing_keys"][0]
    keys = keyset(receipt_signing_keys=[row | {"key_id": f"receipt-{number}"} for number in range(16)])
    yield quote_vector("receipt-keys-16", about, quote(keyset_document=keys))
    longest = ORIGIN_URL + "/" + "x" * (511 - len(ORIGIN_URL))
    document = quote(workload_document=workload(audience=longest))
    yield quote_vector("audience-512", "An audience of 512 characters.", document, audience=longest)
    about = "Integers up to 2^53 - 1 are exact in every language."
    work = changed(workload(), 2**53 - 1, "build", "repo_commit")
    yield quote_vector("largest-integer", about, quote(workload_document=work))


def members() -> Iterator[Vector]:
    whole = quote()
    for name in whole:
        yield quote_vector(f"no-{_kebab(name)}", f"The quote has no {name}.", without(whole, name), QUOTE_BROKEN)
    for name in ("vek_b64", "ask_b64", "ark_b64", "crl_b64"):
        document = without(whole, "endorsements", name)
        yield quote_vector(f"no-{_kebab(name)}", f"The endorsements have no {name}.", document, QUOTE_BROKEN)
    for name in keyset():
        keys = without(keyset(), name)
        document = quote(keyset_document=keys)
        yield quote_vector(f"no-keyset-{_kebab(name)}", f"The keyset has no {name}.", document, QUOTE_BROKEN)
    paths: list[tuple[str, ...]] = [(name,) for name in workload()]
    paths += [(table, name) for table in ("build", "configuration") for name in workload()[table]]
    for path in paths:
        document = quote(workload_document=without(workload(), *path))
        words = ".".join(path)
        yield quote_vector(f"no-workload-{_kebab(words)}", f"The workload has no {words}.", document, QUOTE_BROKEN)
    for name in ("keyset", "workload", "endorsements"):
        yield quote_vector(f"{name}-list", f"{name} is a list.", whole | {name: []}, QUOTE_BROKEN)
    yield quote_vector("list", "The document is a list.", "[]", QUOTE_BROKEN)


def _kebab(name: str) -> str:
    return name.replace("_", "-").replace(".", "-")


def spellings() -> Iterator[Vector]:
    whole = quote()
    report = whole["report_b64"]
    assert report.endswith("=")
    last = report[-2]
    other = chr(ord(last) + 1)
    faults: list[tuple[str, str, Json, tuple[str, ...]]] = [
        ("format-other", "Another format.", "saferouter/quote/v2", ("format",)),
        ("format-number", "The format is a number.", 1, ("format",)),
        ("base64-second-spelling", "Base64 whose unused bits are set.", report[:-2] + other + "=", ("report_b64",)),
        ("base64-no-padding", "Base64 without its padding.", report[:-1], ("report_b64",)),
        ("base64-newline", "Base64 with a line break.", report[:76] + "\n" + report[76:], ("report_b64",)),
        ("base64-url", "Base64 of the URL alphabet.", "_-" + report[2:], ("report_b64",)),
        ("base64-other-script", "Base64 with a full-width letter.", "\uff21" + report[1:], ("report_b64",)),
        ("report-null", "The report is null.", None, ("report_b64",)),
        ("vek-null", "The VEK is null.", None, ("endorsements", "vek_b64")),
        ("statement-number", "The statement is a number.", 7, ("statement",)),
        ("statement-empty", "The statement is empty.", "", ("statement",)),
        ("statement-long", "The statement has 1025 characters.", "x" * 1025, ("statement",)),
        ("statement-not-ascii", "The statement has a character outside ASCII.", "nonc\u00e9", ("statement",)),
        ("identity-signature-short", "The identity signature has 63 bytes.", "00" * 63, ("identity_signature",)),
        ("identity-signature-upper", "The identity signature in upper case.", "AB" * 64, ("identity_signature",)),
        ("identity-signature-null", "The identity signature is null.", None, ("identity_signature",)),
    ]
    for slug, about, value, path in faults:
        yield quote_vector(slug, about, changed(whole, value, *path), QUOTE_BROKEN)
    text = json.dumps(whole)
    about = "A member twice: which one counts differs between parsers."
    yield quote_vector("member-twice", about, text[:-1] + ', "log": null}', "quote")
    twice = text.replace('"version": 1,', '"version": 1, "version": 1,')
    yield quote_vector("deep-member-twice", "A member of the workload twice.", twice, "quote")
    escaped = text[:-1] + ', "l\\u006fg": null}'
    yield quote_vector("member-twice-escaped", "A member twice, once with an escape in its name.", escaped, "quote")
    yield quote_vector("trailing-text", "Text after the document.", text + "{}", "quote")
    yield quote_vector("not-json", "No JSON.", "quote", "quote")


def statements() -> Iterator[Vector]:
    whole = quote()
    said = whole["statement"]
    nonce_broken = rejected("bind.report-data", "bind.nonce")
    spaced = said.replace(",", ", ")
    for slug, about, text in (
        ("statement-spaced", "The statement has spaces, and the report commits to those.", spaced),
        ("statement-purpose", "Another purpose, and the report commits to it.", said.replace(".v1", ".v2")),
        ("statement-member", "One more member, and the report commits to it.", said[:-1] + ',"x":1}'),
        ("statement-reordered", "Another order, and the report commits to it.", _reordered(said)),
    ):
        document = quote(fields={"report_data": report_data(text)}, statement=text)
        yield quote_vector(slug, about, document, DATA_BROKEN)
    unread = rejected("bind.report-data", missing=["bind.nonce"])
    for slug, about, text in (
        ("statement-not-json", "A statement that is no JSON.", "nonce"),
        ("statement-list", "A statement that is a list.", "[]"),
        ("statement-no-nonce", "A statement without a nonce.", said.replace(f'"nonce":"{NONCE}",', "")),
        ("statement-nonce-upper", "The nonce in upper case.", said.replace(NONCE, NONCE.upper())),
        ("statement-nonce-number", "The nonce is a number.", said.replace(f'"{NONCE}"', "7")),
        ("statement-nonce-short", "A nonce of 31 bytes.", said.replace(NONCE, NONCE[:-2])),
        ("statement-nonce-twice", "Two nonces.", said.replace('"nonce"', f'"nonce":"{OTHER_NONCE}","nonce"')),
    ):
        document = quote(fields={"report_data": report_data(text)}, statement=text)
        yield quote_vector(slug, about, document, unread)
    yield quote_vector("nonce-other", "The answer to somebody else's nonce.", quote(nonce=OTHER_NONCE), nonce_broken)
    yield quote_vector("nonce-null", "No nonce where one was sent.", quote(nonce=None), nonce_broken)
    digest = digest_of(jcs(whole["keyset"]))
    about = "A statement with my nonce over a report that answered another."
    replayed = quote(nonce=OTHER_NONCE, statement=statement(digest, NONCE))
    yield quote_vector("nonce-replayed", about, replayed, DATA_BROKEN)
    about = "A report that answered my nonce under a statement with another."
    yield quote_vector("nonce-swapped", about, quote(statement=statement(digest, OTHER_NONCE)), nonce_broken)
    about = "A statement over another keyset's digest."
    yield quote_vector("statement-other-keyset", about, quote(statement=statement(fill("other"), NONCE)), DATA_BROKEN)
    committed = report_data(said)
    for slug, about, raw in (
        ("report-data-tail", "REPORT_DATA goes on after the digest.", committed[:-1] + b"\x01"),
        (
            "report-data-last-byte",
            "The digest's last byte differs.",
            committed[:31] + bytes((committed[31] ^ 1,)) + bytes(32),
        ),
        ("report-data-zero", "REPORT_DATA is zero.", bytes(64)),
    ):
        yield quote_vector(slug, about, quote(fields={"report_data": raw}), DATA_BROKEN)


def _reordered(text: str) -> str:
    return json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":"))


def keysets() -> Iterator[Vector]:
    later = keyset(not_after=seconds(NOW + 6 * 24 * 3600 * SECOND))
    about = "The keyset was exchanged; statement, report and identity signature are those of the old one."
    yield quote_vector(
        "keyset-changed", about, quote() | {"keyset": later}, rejected("bind.report-data", "bind.identity")
    )
    about = "Keyset, statement and identity signature were exchanged; the report is that of the old ones."
    document = quote(keyset_document=later) | {"report_b64": quote()["report_b64"]}
    yield quote_vector("keyset-other-report", about, document, DATA_BROKEN)
    expired = rejected("bind.keyset-expiry")
    week = 7 * 24 * 3600 * SECOND
    for slug, about, moment, expect in (
        ("keyset-expired", "The keyset expired a second ago.", NOW - SECOND, expired),
        ("keyset-expires-now", "The keyset expires this second.", NOW, expired),
        ("keyset-one-second-left", "The keyset expires in a second.", NOW + SECOND, VERIFIED),
        ("keyset-seven-days", "The keyset holds for exactly seven days.", NOW + week, VERIFIED),
        ("keyset-seven-days-and-one-second", "One second more than seven days.", NOW + week + SECOND, expired),
        ("keyset-eight-days", "The keyset holds for eight days.", NOW + week * 8 / 7, expired),
    ):
        yield quote_vector(slug, about, quote(keyset_document=keyset(not_after=seconds(moment))), expect)


def keyset_members() -> Iterator[Vector]:
    key = keyset()["receipt_signing_keys"][0]
    many = [key | {"key_id": f"receipt-{number}"} for number in range(17)]
    faults: list[tuple[str, str, str, Json]] = [
        ("not-after-zero", "not_after is 0.", "not_after", 0),
        ("not-after-negative", "not_after is negative.", "not_after", -1),
        ("not-after-float", "not_after has a fraction.", "not_after", float(seconds(NOW) + 60)),
        ("not-after-true", "not_after is true.", "not_after", True),
        ("not-after-text", "not_after is text.", "not_after", "2026-06-20T12:00:00Z"),
        ("not-after-year-10000", "not_after lies after the year 9999.", "not_after", 253402300800),
        ("receipt-keys-17", "Seventeen receipt keys.", "receipt_signing_keys", many),
        ("receipt-key-twice", "A key id twice.", "receipt_signing_keys", [key, key | {"public_key": "33" * 32}]),
        (
            "receipt-key-algorithm",
            "A receipt key of another algorithm.",
            "receipt_signing_keys",
            [key | {"algo": "ed448"}],
        ),
        ("receipt-key-short", "A receipt key of 31 bytes.", "receipt_signing_keys", [key | {"public_key": "33" * 31}]),
        (
            "receipt-key-upper",
            "A receipt key in upper case.",
            "receipt_signing_keys",
            [key | {"public_key": "AB" * 32}],
        ),
        ("receipt-key-no-id", "A receipt key without an id.", "receipt_signing_keys", [without(key, "key_id")]),
        ("receipt-key-empty-id", "A receipt key with an empty id.", "receipt_signing_keys", [key | {"key_id": ""}]),
        ("receipt-key-text", "A receipt key that is text.", "receipt_signing_keys", [KEY_ID]),
        ("receipt-keys-object", "The receipt keys are an object.", "receipt_signing_keys", {}),
        ("e2ee-text", "An encryption key that is text.", "e2ee_public_keys", ["seal-1"]),
        ("e2ee-no-id", "An encryption key without an id.", "e2ee_public_keys", [{"algo": "x25519"}]),
        ("tls-no-digest", "A TLS key without its digest.", "tls_public_keys", [{}]),
        ("tls-short-digest", "A TLS key digest of 31 bytes.", "tls_public_keys", [{"spki_sha256": "22" * 31}]),
        ("subject-empty", "An empty subject.", "subject", ""),
        ("subject-line-break", "A subject with a line break.", "subject", keyset()["subject"] + "\n"),
        ("keyset-float", "A fraction in a member that is not known here.", "extra", 0.5),
        ("keyset-integral-float", "1.0, which other encoders write as 1.", "extra", [1.0]),
        ("keyset-big-integer", "2^53, which JavaScript rounds.", "extra", 2**53),
        ("keyset-name-not-ascii", "A member name outside ASCII sorts differently in UTF-8 and UTF-16.", "é", 1),
        ("keyset-lone-surrogate", "Half a surrogate pair has no UTF-8.", "extra", "\ud800"),
    ]
    for slug, about, name, value in faults:
        yield quote_vector(slug, about, quote(keyset_document=keyset(**{name: value})), QUOTE_BROKEN)


def workloads() -> Iterator[Vector]:
    wrong = rejected("bind.workload")
    other = keyset(workload(audience="https://other.example.com"))
    yield quote_vector("subject-other", "The subject names another workload.", quote(keyset_document=other), wrong)
    bare = keyset(subject=digest_of(jcs(workload())))
    yield quote_vector("subject-no-prefix", "The subject lacks its prefix.", quote(keyset_document=bare), wrong)
    upper = keyset(subject=keyset()["subject"].upper())
    yield quote_vector("subject-upper", "The subject in upper case.", quote(keyset_document=upper), wrong)
    disagreeing = {
        "platform-evidence": rejected("bind.workload", "bind.platform-evidence"),
        "log": rejected("bind.workload", "log.inclusion", missing=["log.startup"]),
    }
    exchanged: list[tuple[str, Json, tuple[str, ...]]] = [
        ("build-version", "0.1.1", ("build", "version")),
        ("source-digest", fill("other"), ("build", "source_digest")),
        ("settings", fill("other"), ("configuration", "settings")),
        ("log", LOG, ("log",)),
        ("platform-evidence", ["nitrotpm"], ("platform_evidence",)),
    ]
    for slug, value, path in exchanged:
        about = f"{'.'.join(path)} was changed after the keyset was made."
        document = changed(quote(), value, "workload", *path)
        expect = disagreeing.get(slug, wrong)
        yield quote_vector(f"workload-changed-{slug}", about, document, expect)
    faults: list[tuple[str, str, Json, tuple[str, ...]]] = [
        ("member-added", "One more member, committed to.", 1, ("extra",)),
        ("build-member-added", "One more member of build, committed to.", 1, ("build", "extra")),
        ("configuration-member-added", "One more digest, committed to.", fill("x"), ("configuration", "extra")),
        ("version-2", "Version 2.", 2, ("version",)),
        ("version-float", "Version 1.0.", 1.0, ("version",)),
        ("version-true", "Version true.", True, ("version",)),
        ("version-text", "Version as text.", "1", ("version",)),
        ("float", "A fraction.", {"size": 1.5}, ("build", "repo_commit")),
        ("exponent", "An integral number that JSON spells with a fraction.", {"size": 1e3}, ("build", "repo_commit")),
        ("big-integer", "An integer beyond 2^53 - 1.", {"size": 2**53}, ("build", "repo_commit")),
        ("build-null", "build is null.", None, ("build",)),
        ("digest-upper", "A digest in upper case.", "sha256:" + "AB" * 32, ("configuration", "models")),
        ("digest-sha384", "A digest of another function.", "sha384:" + "ab" * 48, ("configuration", "models")),
        ("source-digest-null", "The source digest is null.", None, ("build", "source_digest")),
        ("seed-measurement-null", "The seed measurement is null.", None, ("seed_measurement",)),
        ("identity-key-short", "An identity key of 31 bytes.", "44" * 31, ("identity_key",)),
        ("stream-key-text", "A stream key that is no hex.", "none", ("stream_key",)),
        ("audience-null", "The audience is null.", None, ("audience",)),
        ("audience-empty", "The audience is empty.", "", ("audience",)),
        ("audience-not-ascii", "An audience outside ASCII.", "https://gw.ex\u00e4mple.com", ("audience",)),
        ("audience-control", "An audience with a tab.", "https://gw.example.com\t", ("audience",)),
        ("audience-long", "An audience of 513 characters.", "x" * 513, ("audience",)),
    ]
    for slug, about, value, path in faults:
        document = quote(workload_document=changed(workload(), value, *path))
        yield quote_vector(f"workload-{slug}", about, document, QUOTE_BROKEN)


def identities() -> Iterator[Vector]:
    wrong = rejected("bind.identity")
    digest = digest_of(jcs(keyset()))
    signature = identity_signature(digest)
    for slug, about, other in (
        ("identity-other-key", "Signed by another key than the workload names.", identity_signature(digest, "receipt")),
        ("identity-no-context", "Signed without the context line.", identity_signature(digest, context="")),
        (
            "identity-other-context",
            "Signed under another version's context.",
            identity_signature(digest, context="saferouter/keyset/v2\n"),
        ),
        ("identity-other-keyset", "Signed over another keyset.", identity_signature(fill("other"))),
        ("identity-zero", "A signature of zeros.", "00" * 64),
        ("identity-malleable", "The same signature with L added to S.", second_spelling(signature)),
    ):
        yield quote_vector(slug, about, quote(identity_signature=other), wrong)
    about = "The workload's identity key is not a point of the curve."
    work = workload(identity_key="02" + "00" * 31)
    yield quote_vector("identity-key-no-point", about, quote(workload_document=work), wrong)
    about = "The identity is another one, consistently: continuity is for the reader to judge."
    work = workload(identity_key=ed25519_public("other"))
    keys = keyset(work)
    document = quote(workload_document=work, identity_signature=identity_signature(digest_of(jcs(keys)), "other"))
    yield quote_vector("identity-new", about, document)


def circumstances() -> Iterator[Vector]:
    audience = rejected("bind.audience")
    for slug, origin in (
        ("other", "https://other.example.com"),
        ("slash", ORIGIN_URL + "/"),
        ("http", ORIGIN_URL.replace("https", "http")),
        ("port", ORIGIN_URL + ":443"),
        ("upper", ORIGIN_URL.upper()),
        ("empty", ""),
    ):
        about = f"I used {origin or 'an empty origin'}, the workload serves {ORIGIN_URL}."
        yield quote_vector(f"audience-{slug}", about, quote(), audience, audience=origin)
    unread = quote(fields={"version": 6})
    expect = rejected("hw.report", missing=[*HW[1:], *APPRAISED, "bind.report-data"])
    yield quote_vector("report-version-6", "A quote around a report that cannot be read.", unread, expect)
    root = rejected("hw.root")
    yield quote_vector("mock-not-accepted", "A mock where mocks are not accepted.", quote(), root, accept_mock=False)
    about = "The labels say hardware: nothing inside a document makes a mock real."
    labelled = changed(quote(tee_type="sev_snp"), "vcek", "endorsements", "kind")
    yield quote_vector("mock-labelled-hardware", about, labelled, root, accept_mock=False)
    about = "Without a policy nothing is expected, so no measurement is accepted."
    expect = rejected("code.measurement", missing=APPRAISED[:-1])
    yield quote_vector("no-policy", about, quote(), expect, policy=None)
    about = "A measurement that the policy does not name."
    yield quote_vector(
        "measurement-other", about, quote(fields={"measurement": bytes(48)}), rejected("code.measurement")
    )
    bare = replace(GENOA, crl=None)
    about = "No revocation list, and the policy requires one."
    expect = rejected(missing=["hw.revocation"])
    yield quote_vector("no-crl", about, quote(chain=bare), expect, chain=bare)
    about = "No revocation list, and the policy waives it."
    waived = policy(revocation="when-given")
    yield quote_vector("no-crl-waived", about, quote(chain=bare), chain=bare, policy=waived)
    garbage = replace(GENOA, vek=blob("vek-garbage", b"no certificate"))
    about = "A quote around bytes that are no certificate."
    expect = rejected("hw.certificate", missing=[*HW[2:], *APPRAISED])
    yield quote_vector("vek-garbage", about, quote(chain=garbage), expect, chain=garbage)
    about = "The report's VMPL is not the policy's."
    yield quote_vector("vmpl-1", about, quote(fields={"vmpl": 1}), rejected("guest.vmpl"))


def stale() -> Iterator[Vector]:
    mark = {"since": "2026-01-31T12:00:00Z", "reason": "the device is dead"}
    about = "Evidence that its server marks stale is what it is; the mark is listed as not proven."
    yield quote_vector("stale", about, quote(nonce=None, stale=mark), nonce=None)
    for slug, value in (
        ("null", None),
        ("text", "2026-01-31T12:00:00Z"),
        ("empty", {}),
        ("no-since", {"reason": "x"}),
        ("no-reason", {"since": mark["since"]}),
        ("third-member", mark | {"until": mark["since"]}),
        ("since-number", mark | {"since": 1769860800}),
        ("since-offset", mark | {"since": "2026-01-31T12:00:00+00:00"}),
        ("since-fraction", mark | {"since": "2026-01-31T12:00:00.0Z"}),
        ("since-newline", mark | {"since": "2026-01-31T12:00:00Z\n"}),
        ("since-other-digits", mark | {"since": "202\u0666-01-31T12:00:00Z"}),
        ("since-30-february", mark | {"since": "2026-02-30T12:00:00Z"}),
        ("since-24-hours", mark | {"since": "2026-01-31T24:00:00Z"}),
        ("since-second-60", mark | {"since": "2026-01-31T12:00:60Z"}),
        ("since-year-0", mark | {"since": "0000-01-31T12:00:00Z"}),
        ("reason-null", mark | {"reason": None}),
        ("reason-empty", mark | {"reason": ""}),
        ("reason-513", mark | {"reason": "x" * 513}),
        ("reason-line", mark | {"reason": "dead\nVerified."}),
        ("reason-umlaut", mark | {"reason": "Ger\u00e4t"}),
    ):
        about = f"The mark of stale evidence: {slug.replace('-', ' ')}."
        yield quote_vector(f"stale-{slug}", about, quote(nonce=None, stale=value), QUOTE_BROKEN, nonce=None)
