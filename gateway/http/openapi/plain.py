"""Endpoints for whoever runs the gateway, or builds on it."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ANYTHING,
    PUBLIC,
    STRING,
    TEXT,
    Paths,
    Schema,
    answer,
    constant,
    one_of,
    operation,
    record,
    ref,
    words,
)

_TAG = "operation"

PATHS: Paths = {
    "/healthz": {
        "get": operation(
            "getHealth",
            "Whether the gateway is alive",
            {200: answer("It is.", ref("Health"))},
            tag=_TAG,
            security=PUBLIC,
        )
    },
    "/readyz": {
        "get": operation(
            "getReadiness",
            "Whether it can answer with evidence",
            {
                200: answer("It can; perhaps with a warning.", ref("Readiness")),
                503: answer("It cannot.", ref("Readiness")),
            },
            tag=_TAG,
            security=PUBLIC,
        )
    },
    "/metrics": {
        "get": operation(
            "getMetrics",
            "Counts, for Prometheus",
            {200: answer("All families.", STRING, TEXT)},
            *(403,),
            tag=_TAG,
            security=[{}, {"metricsToken": []}],
            about="For this machine, or for the token of `metrics_token_file`.",
        )
    },
    "/openapi.json": {
        "get": operation(
            "getOpenApi", "This document", {200: answer("OpenAPI 3.1.", ANYTHING)}, tag=_TAG, security=PUBLIC
        )
    },
}

SCHEMAS: dict[str, Schema] = {
    "Health": record({"status": constant("ok")}),
    "Readiness": record(
        {
            "status": STRING,
            "tee_type": words(one_of("sev_snp", "mock"), "A label, not a proof."),
            "warning": STRING,
            "reason": STRING,
        },
        ["warning", "reason"],
    ),
}
