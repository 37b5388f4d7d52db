"""What a lying operator may change in a quote, and the checks that must name it."""

from __future__ import annotations

import base64
import json
from typing import Any

from tee.canonical import digest
from tee.keys.binding import encode_statement
from tests.worlds.lying_proxy import Lie

Document = dict[str, Any]


def flip_hex(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def flip_report(offset: int) -> Lie:
    def lie(quote: Document) -> Document:
        report = bytearray(base64.b64decode(quote["report_b64"]))
        report[offset] ^= 1
        return quote | {"report_b64": base64.b64encode(report).decode()}

    return lie


def put(*path: str | int, value: Any) -> Lie:
    """Replace one member; `value` may be a function of the old one."""

    def lie(quote: Document) -> Document:
        inner: Any = quote
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value(inner.get(path[-1])) if callable(value) else value
        return quote

    return lie


def drop_crl(quote: Document) -> Document:
    return put("endorsements", "crl_b64", value=None)(quote)


def swap(first: str, second: str) -> Lie:
    def lie(quote: Document) -> Document:
        ends = quote["endorsements"]
        return quote | {"endorsements": ends | {first: ends[second], second: ends[first]}}

    return lie


def rename_statement(quote: Document) -> Document:
    """Answer the right nonce on paper, with a report over another."""
    nonce = bytes.fromhex(json.loads(quote["statement"])["nonce"])
    stale = encode_statement(digest(quote["keyset"]), bytes(32))
    assert quote["statement"] == encode_statement(digest(quote["keyset"]), nonce).decode()
    return quote | {"statement": stale.decode()}


LIES: dict[str, tuple[Lie, list[str]]] = {
    "another measurement in the report": (flip_report(0x90), ["hw.signature", "code.measurement"]),
    "other report data": (flip_report(0x50), ["hw.signature", "bind.report-data"]),
    "another signature": (flip_report(0x2A0), ["hw.signature"]),
    "keys that live longer": (
        put("keyset", "not_after", value=lambda old: old + 1),
        ["bind.report-data", "bind.identity"],
    ),
    "another receipt key": (
        put("keyset", "receipt_signing_keys", 0, "public_key", value=flip_hex),
        ["bind.report-data", "bind.identity"],
    ),
    "another version of the build": (put("workload", "build", "version", value="9.9.9"), ["bind.workload"]),
    "another audience": (put("workload", "audience", value="https://a.example"), ["bind.workload", "bind.audience"]),
    "an unknown member of the workload": (put("workload", "approved_by", value="everyone"), ["bind.quote"]),
    "a statement with another nonce": (rename_statement, ["bind.report-data", "bind.nonce"]),
    "another identity's signature": (put("identity_signature", value=flip_hex), ["bind.identity"]),
    "no revocation list": (drop_crl, []),
    "endorsements in the wrong places": (swap("ask_b64", "ark_b64"), ["hw.chain", "hw.root", "hw.revocation"]),
    "a certificate authority as the chip's key": (swap("vek_b64", "ask_b64"), ["hw.certificate"]),
}
