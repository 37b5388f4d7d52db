"""Endpoints of money: what a key has and used, and paying in."""

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

_AMOUNT: Schema = {
    "type": ["number", "string"],
    "description": "US dollars: above 0, at most 1000000, at most six decimal places.",
}

PATHS: Paths = {
    "/v1/credits": {
        "get": operation(
            "getCredits",
            "Balance and usage of the key that asks",
            {200: answer("As the ledger says it now.", ref("Credits"))},
            *MANAGED,
            tag="credits",
            parameters=[query("scope", one_of("key", "tenant"), "Whose usage: the key's, or that of all keys.")],
        )
    },
    "/v1/credits/topup": {
        "post": operation(
            "topUp",
            "Pay in for a key, which is prepaid from then on",
            {201: answer("What was paid in; the same once more for a repetition.", ref("TopUp"))},
            *(*MANAGED, 404, 409),
            tag="credits",
            security=[*ANY_KEY, *ADMIN],
            parameters=[header("Idempotency-Key", STRING, "Names the payment: it is made once.", "order-7")],
            takes=body(ref("Payment"), five={"usd": 5.0, "note": "March"}, other={"usd": "0.25", "key_id": "key-0"}),
        )
    },
}
SCHEMAS: dict[str, Schema] = {
    "Credits": record(
        {
            "object": constant("credits"),
            "key_id": STRING,
            "balance_usd": words(USD, "What was paid in and is not spent, with what is held; null: not prepaid."),
            "reserved_usd": words(USD, "Held of it for calls that run."),
            "spent_usd": USD,
            "tenant": record({"id": STRING, "usd_cap": USD, "usd_spent": USD}),
            "usage": rows(ref("ModelUsage")),
            "prices": record({"version": STRING, "date": STRING, "digest": DIGEST}),
        }
    ),
    "ModelUsage": record(
        {
            "model": STRING,
            "calls": COUNT,
            "prompt_tokens": COUNT,
            "completion_tokens": COUNT,
            "usd": USD,
            "unpriced_calls": words(COUNT, "Of the calls, those whose price was not known."),
        }
    ),
    "Payment": record(
        {
            "usd": _AMOUNT,
            "key_id": words(STRING, "The key's id; the caller's own where it is left out."),
            "note": {"type": ["string", "null"], "maxLength": 200},
        },
        optional=("key_id", "note"),
        additionalProperties=False,
    ),
    "TopUp": record(
        {
            "object": constant("credits.topup"),
            "key_id": STRING,
            "usd": USD,
            "note": maybe(STRING),
            "balance_usd": USD,
            "created_at": TIME,
        }
    ),
}
