"""Endpoints of routing policies."""

from __future__ import annotations

from typing import Any

from gateway.http.openapi.pieces import (
    ADMIN,
    BOOLEAN,
    DIGEST,
    INTEGER,
    MANAGED,
    STRING,
    USD,
    Paths,
    Schema,
    answer,
    body,
    constant,
    in_path,
    listing,
    maybe,
    one_of,
    operation,
    record,
    ref,
    rows,
)

_NAMED = in_path("policy", STRING, "Its id.", "default")
_POLICY = {200: answer("The policy.", ref("Policy"))}
_WRITTEN: dict[str, Any] = {"id": "default", "display_name": "Whatever is configured", "leak_scan": "redact"}

PATHS: Paths = {
    "/v1/policies": {
        "get": operation(
            "listPolicies",
            "The routing policies",
            {200: answer("All of them.", ref("PolicyList"))},
            *(401, 403, 503),
            tag="policies",
        )
    },
    "/v1/policies/{policy}": {
        "get": operation("getPolicy", "One policy", _POLICY, *(401, 403, 404, 503), tag="policies", parameters=[_NAMED])
    },
    "/v1/policies/{policy}/explain": {
        "post": operation(
            "explainPolicy",
            "Why a call would be routed, or would not",
            {200: answer("Each candidate, and the single changes that would turn its outcome.", ref("Explanation"))},
            *(*MANAGED, 404),
            tag="policies",
            parameters=[_NAMED],
            takes=body(ref("Explained"), plain={"model": "mock-1"}),
        )
    },
    "/admin/policies/{policy}": {
        "get": operation(
            "showPolicy",
            "One policy, to the operator",
            _POLICY,
            *(401, 404),
            tag="operator",
            security=ADMIN,
            parameters=[_NAMED],
        ),
        "put": operation(
            "putPolicy",
            "Put a policy in force, in its next version",
            _POLICY,
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
            parameters=[_NAMED],
            takes=body(ref("PolicySettings"), usual=_WRITTEN),
        ),
    },
}

_NAMES = rows(STRING, maxItems=64)
_DEMANDS: dict[str, Schema] = {
    "id": STRING,
    "version": {"type": "integer", "minimum": 1},
    "display_name": {"type": "string", "maxLength": 128},
    "require_tier": {"enum": ["quarantine", "hardened", "sealed", None]},
    "witness_scopes": _NAMES,
    "allowed_origins": _NAMES,
    "require_drift_clean": BOOLEAN,
    "max_latency_ms": maybe(INTEGER),
    "max_cost_per_request_usd": USD,
    "preferred_providers": _NAMES,
    "models": {"type": ["array", "null"], "items": STRING},
    "leak_scan": one_of("redact", "refuse", "off"),
}
_CHOSEN = record({"model": STRING, "provider": STRING, "tier": STRING})

SCHEMAS: dict[str, Schema] = {
    "Policy": record({"object": constant("policy"), "digest": DIGEST, **_DEMANDS}),
    "PolicyList": listing(ref("Policy"), pages=True),
    "PolicySettings": record(_DEMANDS, list(_DEMANDS)),
    "Explained": record({"model": STRING, "provider": maybe(STRING)}, ["provider"]),
    "Explanation": record(
        {
            "policy": record({"id": STRING, "version": INTEGER, "digest": DIGEST}),
            "routed": BOOLEAN,
            "chosen": maybe(_CHOSEN),
            "candidates": rows(
                record(
                    {
                        "model": STRING,
                        "provider": STRING,
                        "tier": STRING,
                        "qualifies": BOOLEAN,
                        "reasons": rows(STRING),
                        "would_change": rows(record({"change": STRING, "to": {}})),
                    }
                )
            ),
        }
    ),
}
