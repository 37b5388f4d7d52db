"""Endpoints that show what calls came to, and how providers stand."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    BOOLEAN,
    COUNT,
    NUMBER,
    STRING,
    TIME,
    USD,
    Paths,
    Schema,
    answer,
    constant,
    listing,
    maybe,
    one_of,
    operation,
    query,
    record,
    ref,
    rows,
    words,
)

_TAG = "activity"
_NUMBER: Schema = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,9})$"}
_LIMIT = query("limit", {"type": "string", "pattern": "^[1-9][0-9]?$|^100$"}, "At most so many.", example="20")
_FILTERS = [
    query("since", _NUMBER, "Seconds since 1970: not older."),
    query("until", _NUMBER, "Seconds since 1970: older."),
    *(query(name, {"type": "string", "maxLength": 256}, f"Only of this {name}.") for name in ("model", "provider")),
    query("policy", {"type": "string", "maxLength": 256}, "Only routed by this policy."),
    query("key_id", {"type": "string", "maxLength": 256}, "Only of this key."),
    query("key", one_of("self"), "Only of the key that asks."),
    query("status", {"type": "string", "pattern": "^[1-5]([0-9][0-9]|xx)$"}, "A status, or a class of them: 5xx."),
]
_LIST = answer("Newest first.", ref("ActivityList"))
_LIST["content"]["text/csv"] = {"schema": words(STRING, "With `format=csv`: all of them, for a spreadsheet.")}

PATHS: Paths = {
    "/v1/activity": {
        "get": operation(
            "listActivity",
            "Each attempt of your tenant's calls",
            {200: _LIST},
            *(400, 401, 403, 503),
            tag=_TAG,
            parameters=[
                *_FILTERS,
                query("format", one_of("json", "csv"), "The form of the answer.", example="json"),
                query("after", STRING, "The `last_id` of the page before."),
                _LIMIT,
            ],
        )
    },
    "/v1/activity/summary": {
        "get": operation(
            "summariseActivity",
            "What they come to",
            {200: answer("Of the last day, or of the time that is asked for.", ref("ActivitySummary"))},
            *(400, 401, 403, 503),
            tag=_TAG,
            parameters=_FILTERS,
        )
    },
    "/v1/calls": {
        "get": operation(
            "listCalls",
            "Your tenant's newest calls, each with its attestation block",
            {200: answer("Newest first.", ref("CallList"))},
            *(400, 401, 403, 503),
            tag=_TAG,
            parameters=[_LIMIT],
        )
    },
    "/v1/providers": {
        "get": operation(
            "listProviders",
            "Who may be asked",
            {200: answer("All of them.", ref("ProviderList"))},
            *(401, 403, 503),
            tag="providers",
        )
    },
    "/v1/providers/health": {
        "get": operation(
            "getProvidersHealth",
            "How they have answered lately",
            {200: answer("Each of them.", ref("ProvidersHealth"))},
            *(401, 403, 503),
            tag="providers",
        )
    },
}

_FIGURES = {
    "calls": COUNT,
    "success_rate": maybe(NUMBER),
    "p50_ms": maybe(COUNT),
    "p95_ms": maybe(COUNT),
    "usd": USD,
}
_TEXT = maybe(STRING)
_PROVIDER = {
    "object": constant("provider"),
    "id": STRING,
    "kind": STRING,
    "display_name": STRING,
    "endpoint": STRING,
    "serves_models": rows(STRING),
    "region": _TEXT,
    "cost_per_million_tokens_usd": USD,
    "typical_latency_ms": maybe(COUNT),
    "api_key_id": words(_TEXT, "The name of where its key lies; never the key."),
}

SCHEMAS: dict[str, Schema] = {
    "Attempt": record(
        {
            "object": constant("activity"),
            **dict.fromkeys(("id", "call_id", "receipt_id", "tenant", "key_id"), STRING),
            **dict.fromkeys(("key_prefix", "model", "original_model", "policy", "tier", "provider", "failure"), _TEXT),
            "attempt": COUNT,
            "shown": words(BOOLEAN, "Whether this attempt is what the caller was answered with."),
            "status": maybe(COUNT),
            "provider_status": maybe(COUNT),
            "started_at": TIME,
            **dict.fromkeys(("waited_ms", "milliseconds", "first_token_ms"), maybe(COUNT)),
            **dict.fromkeys(("prompt_tokens", "completion_tokens"), maybe(COUNT)),
            "cost_usd": USD,
            "partial": BOOLEAN,
            "findings": rows(record({"kind": STRING, "count": COUNT})),
        }
    ),
    "ActivityList": listing(ref("Attempt"), pages=True, last_id=_TEXT),
    "ActivitySummary": record(
        {
            "object": constant("activity.summary"),
            "since": maybe(TIME),
            "until": maybe(TIME),
            **_FIGURES,
            "by_model": rows(record({"name": _TEXT, **_FIGURES})),
            "by_provider": rows(record({"name": _TEXT, **_FIGURES})),
            "series_seconds": COUNT,
            "series": rows(record({"at": TIME, "calls": COUNT, "errors": COUNT, "p50_ms": maybe(COUNT)})),
        }
    ),
    "CallList": listing(
        record(
            {
                "id": STRING,
                "created": TIME,
                "tenant": STRING,
                "model": _TEXT,
                "policy": _TEXT,
                "status": maybe(COUNT),
                "attestation": ref("CallAttestation"),
            }
        )
    ),
    "CallAttestation": record(
        {
            **dict.fromkeys(
                ("model_content_hash", "provider_id", "policy_id", "route_decision_id", "mirror_id"), _TEXT
            ),
            "rekor_index": maybe(COUNT),
            "tier_observed": _TEXT,
            "receipt_id": STRING,
        },
        description="The block that its answer carried; null is what retention has removed, or never was.",
    ),
    "ProviderList": listing(record({**_PROVIDER, "tier": _TEXT})),
    "ProvidersHealth": record(
        {
            "window_seconds": COUNT,
            "providers": rows(
                record(
                    {
                        "provider_id": STRING,
                        "successes": COUNT,
                        "failures": COUNT,
                        "latency_p50_ms": maybe(COUNT),
                        "latency_p95_ms": maybe(COUNT),
                        "last_error": _TEXT,
                        "score": NUMBER,
                    }
                )
            ),
        }
    ),
}
