"""What a lying operator may change in a quote, and the checks that must name it."""

from __future__ import annotations

import base64
import json
from typing import Any

from tee.canonical import digest, encode_canonical
from tee.keys.binding import encode_statement
from tests.worlds.lying_proxy import Lie
from tests.worlds.small_log import SmallLog

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


def relog(**changes: Any) -> Lie:
    """Show the start in a log of the operator's own; `changes` replaces members of what the leaf says."""

    def lie(quote: Document) -> Document:
        entry = json.loads(base64.b64decode(quote["log"]["startup"]["leaf_b64"])) | {"index": 0}
        leaf = encode_canonical(entry | {"body": entry["body"] | changes})
        log = SmallLog(quote["workload"]["log"]["origin"], leaves=[leaf])
        start = {"index": 0, "leaf_b64": base64.b64encode(leaf).decode(), "proof": []}
        return quote | {"log": {"checkpoint": log.checkpoint().encode().decode(), "startup": start}}

    return lie


def rename_statement(quote: Document) -> Document:
    """Answer the right nonce on paper, with a report over another."""
    nonce = bytes.fromhex(json.loads(quote["statement"])["nonce"])
    stale = encode_statement(digest(quote["keyset"]), bytes(32))
    assert quote["statement"] == encode_statement(digest(quote["keyset"]), nonce).decode()
    return quote | {"statement": stale.decode()}


LIES: dict[str, tuple[Lie, list[str]]] = {
    "another measurement in the report": (flip_report(0x90), ["hw.signature", "code.measurement", "log.startup"]),
    "other report data": (flip_report(0x50), ["hw.signature", "bind.report-data"]),
    "another signature": (flip_report(0x2A0), ["hw.signature"]),
    "keys that live longer": (
        put("keyset", "not_after", value=lambda old: old + 1),
        ["bind.report-data", "bind.identity", "log.startup"],
    ),
    "another receipt key": (
        put("keyset", "receipt_signing_keys", 0, "public_key", value=flip_hex),
        ["bind.report-data", "bind.identity", "log.startup"],
    ),
    "another version of the build": (
        put("workload", "build", "version", value="9.9.9"),
        ["bind.workload", "log.startup"],
    ),
    "another audience": (
        put("workload", "audience", value="https://a.example"),
        ["bind.workload", "bind.audience", "log.startup"],
    ),
    "an unknown member of the workload": (put("workload", "approved_by", value="everyone"), ["bind.quote"]),
    "no log": (put("log", value=None), ["log.inclusion"]),
    "another log": (relog(), ["log.inclusion"]),
    "another log with another build": (relog(build={}), ["log.inclusion", "log.startup"]),
    "no log, and a workload without one": (
        lambda quote: put("workload", "log", value=None)(put("log", value=None)(quote)),
        ["bind.workload"],
    ),
    "a statement with another nonce": (rename_statement, ["bind.report-data", "bind.nonce"]),
    "another identity's signature": (put("identity_signature", value=flip_hex), ["bind.identity"]),
    "no revocation list": (drop_crl, []),
    "endorsements in the wrong places": (swap("ask_b64", "ark_b64"), ["hw.chain", "hw.root", "hw.revocation"]),
    "a certificate authority as the chip's key": (swap("vek_b64", "ask_b64"), ["hw.certificate"]),
}
