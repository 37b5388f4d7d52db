"""Endpoints that show callers what was recorded of their own calls: receipts, proofs, samples."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ANYTHING,
    BASE64,
    COUNT,
    DIGEST,
    STRING,
    Paths,
    Schema,
    answer,
    constant,
    in_path,
    listing,
    maybe,
    operation,
    query,
    record,
    ref,
)

_RECEIPT = in_path("receipt_id", STRING, "From `X-Receipt-Id`.", "rcpt-00000000000000000000000000000000")
_LIMIT: Schema = {"type": "string", "pattern": "^[1-9][0-9]?$|^100$"}

PATHS: Paths = {
    "/v1/aci/receipts/{receipt_id}": {
        "get": operation(
            "getReceipt",
            "The signed receipt of a call",
            {200: answer("ACI/1 §7. Only the key that made the call sees it.", ref("Receipt"))},
            *(401, 403, 404, 410, 503),
            tag="receipts",
            parameters=[_RECEIPT],
        )
    },
    "/v1/aci/receipts/{receipt_id}/proof": {
        "get": operation(
            "getReceiptProof",
            "Where the log has the call",
            {200: answer("Its leaves, what they commit to, and their proofs.", ref("ReceiptProof"))},
            *(401, 403, 404, 410, 503),
            tag="receipts",
            parameters=[_RECEIPT],
        )
    },
    "/v1/audit/samples": {
        "get": operation(
            "listAuditSamples",
            "Answers of yours that were sampled for audit",
            {200: answer("Newest first.", ref("AuditSamples"))},
            *(400, 401, 403, 503),
            tag="receipts",
            parameters=[
                query("limit", _LIMIT, "At most so many, 1 to 100.", example="20"),
                query("after", STRING, "The `last_id` of the page before."),
            ],
        )
    },
}

_PROVEN = record({"leaf_b64": BASE64, "proof": STRING})

SCHEMAS: dict[str, Schema] = {
    "Receipt": record({"api_version": constant("aci/1"), "receipt_id": STRING}, additionalProperties=True),
    "ReceiptProof": record(
        {
            "document": record({"receipt_id": STRING, "receipt_digest": DIGEST, "salt": STRING}),
            "receipt": _PROVEN,
            "route": maybe(_PROVEN),
        }
    ),
    "AuditSamples": listing(
        record(
            {
                "object": constant("audit.sample"),
                "receipt_id": STRING,
                "document": ANYTHING,
                "leaf": maybe(record({"epoch": COUNT, "index": COUNT, "leaf_b64": BASE64, "proof": STRING})),
            }
        ),
        pages=True,
        last_id=maybe(STRING),
    ),
}
