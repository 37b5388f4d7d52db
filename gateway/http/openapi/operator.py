"""Endpoints of the operator about who is asked: providers that are registered at run time, and routes."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ADMIN,
    BOOLEAN,
    MANAGED,
    STRING,
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
    words,
)

_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}
_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
_AMOUNT: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 10**9}
_KIND = one_of("openai-compatible", "vllm", "openai", "openai-responses", "anthropic", "gemini", "ollama")
_EXAMPLE = {
    "id": "site-b",
    "kind": "openai-compatible",
    "display_name": "Site B",
    "endpoint": "https://llm.site-b.example/v1",
    "serves_models": ["qwen/qwen3-235b"],
    "api_key_id": "site-b.key",
}

PATHS: Paths = {
    "/admin/providers": {
        "get": operation(
            "listAdminProviders",
            "Every provider, configured or registered",
            {200: answer("All of them.", ref("AdminProviderList"))},
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
        ),
        "post": operation(
            "registerProvider",
            "A new provider with its models",
            {
                201: answer(
                    "It is attested and logged; every process routes by it within a second.", ref("AdminProvider")
                )
            },
            *(*MANAGED, 404, 409),
            tag="operator",
            security=ADMIN,
            takes=body(ref("ProviderRegistration"), compatible=_EXAMPLE),
            about="Its key lies in the state folder, `provider-keys/` and then `api_key_id`: no other is sent to it.",
        ),
    },
    "/admin/providers/{provider_id}": {
        "delete": operation(
            "removeProvider",
            "The end of a registered provider and of its models",
            {200: answer("It is gone.", ref("ProviderDeleted"))},
            *(*MANAGED, 404, 409),
            tag="operator",
            security=ADMIN,
            parameters=[in_path("provider_id", STRING, "Of the provider.", "site-b")],
        )
    },
    "/admin/routes": {
        "get": operation(
            "listRoutes",
            "Which model is asked of whom",
            {200: answer("All of them.", ref("RouteList"))},
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
        )
    },
}

_PROVIDER = {
    "id": STRING,
    "kind": STRING,
    "display_name": STRING,
    "endpoint": STRING,
    "serves_models": rows(STRING),
    "region": maybe(STRING),
    "cost_per_million_tokens_usd": _AMOUNT,
    "typical_latency_ms": _AMOUNT,
    "api_key_id": words(maybe(STRING), "Where its key lies, never the key."),
}
_REGISTRATION = {
    **_PROVIDER,
    "id": _ID,
    "kind": _KIND,
    "display_name": maybe(_TEXT),
    "endpoint": words({"type": "string", "maxLength": 2048}, "https://HOST[:PORT][/PATH]"),
    "serves_models": rows(_TEXT, minItems=1, maxItems=256),
    "region": maybe(_TEXT),
    "api_key_id": maybe(_ID),
}
_OPTIONAL = ("display_name", "region", "cost_per_million_tokens_usd", "typical_latency_ms", "api_key_id")

SCHEMAS: dict[str, Schema] = {
    "AdminProvider": record({"object": constant("provider"), **_PROVIDER, "registered": BOOLEAN}),
    "AdminProviderList": listing(ref("AdminProvider"), pages=True),
    "ProviderRegistration": record(_REGISTRATION, _OPTIONAL, additionalProperties=False),
    "ProviderDeleted": record({"object": constant("provider"), "id": STRING, "deleted": constant(True)}),
    "Route": record(
        {
            "object": constant("route"),
            "id": STRING,
            "aliases": rows(STRING),
            "provider": STRING,
            "upstream_model": STRING,
            "fallback": rows(STRING),
            "capabilities": rows(STRING),
        }
    ),
    "RouteList": listing(ref("Route"), pages=True),
}
