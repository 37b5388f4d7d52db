"""Workload, keyset, statement, quote and receipt as JSON documents, with their digests and signatures."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

from tests.vectors.certificates import NOW
from tests.vectors.reports import Value, report
from tests.vectors.signing import ed25519_public, ed25519_sign
from tests.vectors.world import GENOA, Chain, b64

Document = dict[str, Any]

NONCE = bytes(range(32)).hex()
OTHER_NONCE = bytes(range(1, 33)).hex()
ORIGIN_URL = "https://gw.example.com"
KEY_ID = "receipt-1"
REQUEST = b'{"model":"demo-model","messages":[{"role":"user","content":"hi"}]}'
RESPONSE = b'{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"hello"}}]}'
LIFETIME = dt.timedelta(days=5)


def jcs(value: Any) -> bytes:
    """RFC 8785 for documents of ASCII text and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def digest_of(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def fill(label: str) -> str:
    """A digest that stands for something."""
    return digest_of(label.encode())


def seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def workload(**changes: Any) -> Document:
    document = {
        "version": 1,
        "audience": ORIGIN_URL,
        "build": {
            "version": "0.1.0",
            "repo_url": "https://git.example.com/saferouter",
            "repo_commit": "0" * 40,
            "image_digest": None,
            "source_digest": fill("source"),
        },
        "configuration": {name: fill(name) for name in ("providers", "models", "policies", "prices", "settings")},
        "seed_measurement": fill("seed"),
        "identity_key": ed25519_public("identity"),
        "http_signature_key": ed25519_public("http"),
        "stream_key": None,
        "log": None,
        "platform_evidence": [],
    }
    return document | changes


def keyset(of: Document | None = None, **changes: Any) -> Document:
    """The keyset whose subject commits to that workload."""
    document: Document = {
        "subject": "urn:saferouter:workload:" + digest_of(jcs(of or workload())),
        "not_after": seconds(NOW + LIFETIME),
        "receipt_signing_keys": [{"key_id": KEY_ID, "algo": "ed25519", "public_key": ed25519_public("receipt")}],
        "e2ee_public_keys": [{"key_id": "seal-1", "algo": "x25519", "public_key": "11" * 32}],
        "tls_public_keys": [{"spki_sha256": "22" * 32}],
    }
    return document | changes


def statement(keyset_digest: str, nonce: str | None) -> str:
    document = {"keyset_digest": keyset_digest, "nonce": nonce, "purpose": "aci.report_data.v1"}
    return jcs(document).decode()


def report_data(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest() + bytes(32)


def identity_signature(keyset_digest: str, label: str = "identity", context: str = "saferouter/keyset/v1\n") -> str:
    return ed25519_sign(label, context.encode() + keyset_digest.encode())


def named(blob_name: str) -> str:
    """How a document spells the base64 of a piece of collateral."""
    return "${" + blob_name + "}"


def quote(
    *,
    workload_document: Document | None = None,
    keyset_document: Document | None = None,
    nonce: str | None = NONCE,
    fields: dict[str, Value] | None = None,
    chain: Chain = GENOA,
    **changes: Any,
) -> Document:
    """A quote that is consistent in itself, whatever its parts; then `changes` replaces members."""
    work = workload_document or workload()
    keys = keyset_document or keyset(work)
    digest = digest_of(jcs(keys))
    said = statement(digest, nonce)
    document: Document = {
        "format": "saferouter/quote/v1",
        "tee_type": "mock",
        "report_b64": b64(report({"report_data": report_data(said)} | (fields or {}))),
        "endorsements": {
            "kind": "mock",
            "vek_b64": named(chain.vek.name),
            "ask_b64": named(chain.intermediate.name),
            "ark_b64": named(chain.ark.name),
            "crl_b64": named(chain.crl.name) if chain.crl else None,
        },
        "statement": said,
        "keyset": keys,
        "workload": work,
        "identity_signature": identity_signature(digest),
        "platform_evidence": [],
        "log": None,
    }
    return document | changes


def events(request: bytes = REQUEST, response: bytes = RESPONSE) -> list[Document]:
    return [
        {"type": "request.received", "body_hash": digest_of(request)},
        {"type": "route", "decision_id": "decision-1", "provider_id": "mock", "tier_observed": "quarantine"},
        {"type": "request.forwarded", "body_hash": digest_of(request)},
        {"type": "upstream.verified", "required": False, "result": "not_attested", "model_id": "demo-model"},
        {"type": "response.returned", "body_hash": digest_of(response), "status": 200},
        {"type": "stream", "bytes": len(response), "complete": True},
    ]


def unsigned_receipt(**changes: Any) -> Document:
    document = {
        "api_version": "aci/1",
        "receipt_id": "rcpt-1",
        "chat_id": "chatcmpl-1",
        "model": "demo-model",
        "endpoint": "/v1/chat/completions",
        "method": "POST",
        "served_at": seconds(NOW),
        "event_log": events(),
        "key_id": KEY_ID,
        "workload_keyset_digest": digest_of(jcs(keyset())),
    }
    return document | changes


def receipt(label: str = "receipt", **changes: Any) -> Document:
    """A receipt signed by the key of that label."""
    document = unsigned_receipt(**changes)
    return document | {"signature": ed25519_sign(label, jcs(document))}
