"""Endpoints of credits."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ADMIN,
    ANY_KEY,
    COUNT,
    DIGEST,
    MANAGED,
    STRING,
    TIME,
    USD,
    Paths,
    Schema,
    answer,
    body,
    constant,
    header,
    maybe,
    one_of,
    operation,
    query,
    record,
    ref,
    rows,
    words,
)

PATHS: Paths = {
    "/v1/credits": {
        "get": operation(
            "getCredits",
            "What a key has, holds, spent and used",
            {200: answer("In US dollars.", ref("Credits"))},
            *(400, 401, 403, 503),
            tag="credits",
            parameters=[query("scope", one_of("key", "tenant"), "Whose usage is counted.", example="key")],
        )
    },
    "/v1/credits/topup": {
        "post": operation(
            "topUp",
            "Pay in for a key, which is prepaid from then on",
            {201: answer("It is paid in.", ref("TopUp"))},
            *(*MANAGED, 404, 409),
            tag="credits",
            security=[*ADMIN, *ANY_KEY],
            parameters=[header("Idempotency-Key", {"type": "string"}, "What was paid under it is not paid again.")],
            takes=body(ref("TopUpRequest"), five={"usd": 5.0, "key_id": "key-11111111", "note": "five dollars"}),
            about="For the operator, or for a key with the scope `billing`.",
        )
    },
}

_KNOWN = words({"type": "number"}, "US dollars, at most six decimal places.")

SCHEMAS: dict[str, Schema] = {
    "Credits": record(
        {
            "object": constant("credits"),
            "key_id": STRING,
            "balance_usd": words(USD, "Null: the key is not prepaid, so only its tenant's cap binds it."),
            "reserved_usd": _KNOWN,
            "spent_usd": _KNOWN,
            "tenant": record({"id": STRING, "usd_cap": USD, "usd_spent": _KNOWN}),
            "usage": rows(
                record(
                    {
                        "model": STRING,
                        "calls": COUNT,
                        "prompt_tokens": COUNT,
                        "completion_tokens": COUNT,
                        "usd": USD,
                        "unpriced_calls": COUNT,
                    }
                )
            ),
            "prices": record({"version": {}, "date": STRING, "digest": DIGEST}),
        }
    ),
    "TopUpRequest": record(
        {
            "usd": {"type": ["number", "string"]},
            "key_id": STRING,
            "note": {"type": ["string", "null"], "maxLength": 200},
        },
        ["key_id", "note"],
        additionalProperties=False,
    ),
    "TopUp": record(
        {
            "object": constant("credits.topup"),
            "key_id": STRING,
            "usd": _KNOWN,
            "note": maybe(STRING),
            "balance_usd": USD,
            "created_at": TIME,
        }
    ),
}
