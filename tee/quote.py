"""The quote document `saferouter/quote/v1`, read strictly (SPEC §4.5)."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from tee.canonical import kind_of, parse_json, shown
from tee.errors import Malformed
from tee.evidence import Endorsements, Evidence
from tee.keys.identity import (
    Workload,
    WorkloadKeyset,
    hex_bytes,
    parse_keyset,
    parse_workload,
    platform_kinds,
    require_members,
    text,
)
from tee.log.merkle import HASH_SIZE, MAX_PROOF_HASHES, MAX_TREE_SIZE

FORMAT = "saferouter/quote/v1"
BUNDLE_FORMAT = "saferouter/evidence/v1"
MAX_QUOTE_SIZE = 1 << 20  # ours is about 20 kB
MAX_BUNDLE_SIZE = 4 * MAX_QUOTE_SIZE  # two quotes; in base64 a receipt, its proof and a head
_TIME = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_MEMBERS = {
    "format",
    "tee_type",
    "report_b64",
    "endorsements",
    "statement",
    "keyset",
    "workload",
    "identity_signature",
    "platform_evidence",
    "log",
}


@dataclass(frozen=True, slots=True)
class Stale:
    """The server's own word that no device can renew this evidence: nobody signed it. `since` is a UTC time."""

    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoggedStart:
    """The `startup` leaf of a quote's keyset, the hashes from it to a root, and the note that has that root."""

    checkpoint: bytes
    index: int
    leaf: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A parsed quote: everything in it is a claim until verify_quote has judged it."""

    evidence: Evidence
    statement: str
    keyset: WorkloadKeyset
    workload: Workload
    identity_signature: bytes
    platform_evidence: dict[str, bytes]  # by kind: the document, as received
    log: LoggedStart | None
    stale: Stale | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A stored quote with the origin it was fetched from, and perhaps the evidence of an answer, undecoded."""

    origin: str
    document: dict[str, Any]
    answer: Any = None


def parse_quote(raw: bytes) -> Quote:
    """Parse a quote from its JSON bytes. Raises Malformed."""
    if len(raw) > MAX_QUOTE_SIZE:
        raise Malformed("quote", f"{len(raw)} bytes", f"at most {MAX_QUOTE_SIZE}")
    return decode_quote(parse_json(raw, "quote"))


def decode_quote(document: Any) -> Quote:
    """A quote from its parsed document. Raises Malformed."""
    require_members(document, _MEMBERS, "quote")
    if document["format"] != FORMAT:
        raise Malformed("quote.format", shown(document["format"]), FORMAT)
    endorsements = document["endorsements"]
    require_members(endorsements, {"vek_b64", "ask_b64", "ark_b64", "crl_b64"}, "quote.endorsements")
    crl = endorsements["crl_b64"]
    return Quote(
        evidence=Evidence(
            report=decode_base64(document["report_b64"], "quote.report_b64"),
            endorsements=Endorsements(
                vek=decode_base64(endorsements["vek_b64"], "quote.endorsements.vek_b64"),
                intermediate=decode_base64(endorsements["ask_b64"], "quote.endorsements.ask_b64"),
                ark=decode_base64(endorsements["ark_b64"], "quote.endorsements.ark_b64"),
                crl=None if crl is None else decode_base64(crl, "quote.endorsements.crl_b64"),
            ),
        ),
        statement=text(document["statement"], "quote.statement", 1024),
        keyset=parse_keyset(document["keyset"]),
        workload=parse_workload(document["workload"]),
        identity_signature=hex_bytes(document["identity_signature"], 64, "quote.identity_signature"),
        platform_evidence=_platform_evidence(document["platform_evidence"]),
        log=None if document["log"] is None else _parse_log(document["log"]),
        stale=_parse_stale(document["stale"]) if "stale" in document else None,
    )


def _platform_evidence(rows: Any) -> dict[str, bytes]:
    path = "quote.platform_evidence"
    if not isinstance(rows, list):
        raise Malformed(path, kind_of(rows), "a list")
    for row in rows:
        require_members(row, {"kind", "document_b64"}, path, exact=True)
    kinds = platform_kinds([row["kind"] for row in rows], f"{path}.kind")
    documents = [decode_base64(row["document_b64"], f"{path}.document_b64") for row in rows]
    return dict(zip(kinds, documents, strict=True))


def _parse_log(value: Any) -> LoggedStart:
    path = "quote.log"
    require_members(value, {"checkpoint", "startup"}, path, exact=True)
    note, startup = encode_text(value["checkpoint"], f"{path}.checkpoint"), value["startup"]
    path += ".startup"
    require_members(startup, {"index", "leaf_b64", "proof"}, path, exact=True)
    index, hashes = startup["index"], startup["proof"]
    if type(index) is not int or not 0 <= index < MAX_TREE_SIZE:
        raise Malformed(f"{path}.index", shown(index), "an integer of at least 0")
    leaf = decode_base64(startup["leaf_b64"], f"{path}.leaf_b64")
    if not isinstance(hashes, list) or len(hashes) > MAX_PROOF_HASHES:
        raise Malformed(f"{path}.proof", kind_of(hashes), f"a list of at most {MAX_PROOF_HASHES} hashes")
    proof = tuple(decode_base64(each, f"{path}.proof") for each in hashes)
    if any(len(each) != HASH_SIZE for each in proof):
        raise Malformed(f"{path}.proof", "a hash of another size", f"{HASH_SIZE} bytes")
    return LoggedStart(note, index, leaf, proof)


def _parse_stale(value: Any) -> Stale:
    path = "quote.stale"
    require_members(value, {"since", "reason"}, path, exact=True)
    since = value["since"]
    refusal = Malformed(f"{path}.since", shown(since), "a UTC time such as 2026-01-31T12:00:00Z")
    if not isinstance(since, str) or not _TIME.fullmatch(since):
        raise refusal
    try:
        dt.datetime.fromisoformat(since)
    except ValueError:
        raise refusal from None
    return Stale(since, text(value["reason"], f"{path}.reason"))


def parse_bundle(raw: bytes) -> Bundle:
    """A saved bundle, or a bare quote, from a file (then `origin` is empty). Raises Malformed."""
    if len(raw) > MAX_BUNDLE_SIZE:
        raise Malformed("bundle", f"{len(raw)} bytes", f"at most {MAX_BUNDLE_SIZE}")
    document = parse_json(raw, "bundle")
    if not isinstance(document, dict):
        raise Malformed("bundle", kind_of(document), "an object")
    if document.get("format") == FORMAT:
        return Bundle("", document)
    require_members(document, {"format", "origin", "quote"}, "bundle")
    if document["format"] != BUNDLE_FORMAT:
        raise Malformed("bundle.format", shown(document["format"]), f"{BUNDLE_FORMAT} or {FORMAT}")
    if not isinstance(document["origin"], str) or not isinstance(document["quote"], dict):
        raise Malformed("bundle", "another shape", "an origin and a quote")
    return Bundle(document["origin"], document["quote"], document.get("answer"))


def encode_text(value: Any, path: str) -> bytes:
    """The UTF-8 of a text of several lines. Raises Malformed."""
    if not isinstance(value, str):
        raise Malformed(path, kind_of(value), "text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Malformed(path, "a lone surrogate", "text that UTF-8 can carry") from None


def encode_base64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(value: Any, path: str) -> bytes:
    """Standard base64 with padding, in its one spelling. Raises Malformed."""
    if not isinstance(value, str):
        raise Malformed(path, kind_of(value), "standard base64")
    refusal = Malformed(path, "another spelling", "standard base64, canonical, with padding")
    try:
        raw = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise refusal from None
    if encode_base64(raw) != value:
        raise refusal
    return raw
