"""The head of an answer: whether the gateway signed the status and headers that the client got (SPEC §7.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tee.canonical import digest_bytes, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, passed, skipped
from tee.keys.httpsig import (
    CONTENT_DIGEST,
    SIGNATURE,
    SIGNATURE_INPUT,
    SignedAnswer,
    content_digest,
    parse_signature,
    verify_answer_signature,
)
from tee.keys.identity import Workload
from tee.log.receipt import Receipt, parse_receipt

CHECK = "receipt.http-signature"
MAX_HEAD_SIZE = 1 << 16  # what servers and clients allow for all headers of one message
STREAM_TYPE = "text/event-stream"
_STATUS_LINE = re.compile(r"HTTP/[0-9.]{1,3} ([0-9]{3})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?", re.ASCII)
_FIELD_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)", re.ASCII)
_COVERED = ("content-type", "x-receipt-id", CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE)


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """A status, and those fields that a signature is about, by lower-case name."""

    status: int
    fields: dict[str, str]


def parse_head(raw: bytes) -> AnswerHead:
    """Parse what `curl -D FILE` writes: heads one after another, of which the last counts. Raises Malformed."""
    if len(raw) > MAX_HEAD_SIZE:
        raise Malformed("headers", f"{len(raw)} bytes", f"at most {MAX_HEAD_SIZE}")
    if not raw.isascii():
        raise Malformed("headers", "a byte beyond ASCII", "ASCII")
    blocks = [block for block in re.split("\r?\n\r?\n", raw.decode("ascii")) if block]
    lines = re.split("\r?\n", blocks[-1]) if blocks else [""]
    status = _STATUS_LINE.fullmatch(lines[0])
    if status is None:
        raise Malformed("headers", shown(lines[0]), "a status line, as curl -D writes it")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            continue
        row = _FIELD_LINE.fullmatch(line)
        if row is None:
            raise Malformed("headers", shown(line), "a field and its value")
        name = row[1].lower()
        if name in fields and name in _COVERED:
            raise Malformed(f"headers.{name}", "the field twice", "once")
        fields[name] = row[2].strip(" \t")
    return AnswerHead(int(status[1]), {name: fields[name] for name in _COVERED if name in fields})


def judge_head(raw: bytes, workload: Workload, response: bytes | None, headers: bytes | None) -> Check:
    """`receipt.http-signature`: the gateway signed this head, over this body, for this request and receipt.

    `workload` is that of the quote which vouches for the receipt; `headers` None where none were given.
    """
    if headers is None:
        return skipped(CHECK, "the answer's headers were not given")
    try:
        receipt = parse_receipt(raw)
    except Malformed:
        return skipped(CHECK, "the receipt does not parse")
    if str(receipt.events.get("response.returned", {}).get("content_type")).startswith(STREAM_TYPE):
        return skipped(CHECK, "a stream's head is sent before its end is known, and is not signed")
    try:
        return _judge(receipt, workload, response, parse_head(headers))
    except Malformed as error:
        return failed(CHECK, f"{error.field}: {error.found}", error.wanted)


def _judge(receipt: Receipt, workload: Workload, response: bytes | None, head: AnswerHead) -> Check:
    for name in _COVERED:
        if name not in head.fields:
            raise Malformed(f"headers.{name}", "nothing", "a value: a buffered answer is signed")
    fields = parse_signature(head.fields[SIGNATURE_INPUT], head.fields[SIGNATURE], "headers")
    if fields.key != workload.http_signature_key:
        known = "none" if workload.http_signature_key is None else workload.http_signature_key.hex()
        return failed(CHECK, f"key {fields.key.hex()}", f"{known}, the workload's http_signature_key")
    for name, found, wanted, source in _compared(receipt, response, head):
        if type(found) is not type(wanted) or found != wanted:
            return failed(CHECK, f"{name} {shown(found)}", f"{shown(wanted)}, {source}")
    request, given = (receipt.method, receipt.endpoint), head.fields
    signed = given["content-type"], given[CONTENT_DIGEST], given["x-receipt-id"]
    answer = SignedAnswer(head.status, *signed, *request)
    wanted = f"Ed25519 by {fields.key.hex()} over this head, for {receipt.method} {receipt.endpoint}"
    if not verify_answer_signature(answer, fields):
        return failed(CHECK, "a signature that does not verify", wanted)
    return passed(CHECK, f"status {head.status}, {answer.content_digest}", wanted)


def _compared(receipt: Receipt, response: bytes | None, head: AnswerHead) -> list[tuple[str, Any, Any, str]]:
    """What the head says beside what receipt and response say: a name, the one, the other, and whose word that is."""
    said, returned = "as the receipt says", receipt.events.get("response.returned", {})
    rows: list[tuple[str, Any, Any, str]] = [
        ("x-receipt-id", head.fields["x-receipt-id"], receipt.receipt_id, said),
        ("status", head.status, returned.get("status"), said),
        ("content-type", head.fields["content-type"], returned.get("content_type"), said),
    ]
    hashes = [(returned.get("body_hash"), said)]
    if response is not None:
        hashes.append((digest_bytes(response), "of the response that was given"))
    for body_hash, source in hashes:
        wanted = body_hash and content_digest(bytes.fromhex(body_hash[7:]))
        rows.append((CONTENT_DIGEST, head.fields[CONTENT_DIGEST], wanted, source))
    return rows
