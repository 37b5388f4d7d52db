"""The OpenAPI document of every endpoint, put together from its groups."""

from __future__ import annotations

from typing import Any

from gateway.http.openapi import activity, evidence, inference, money, plain, policies, records, tenancy
from gateway.http.openapi.pieces import (
    COUNT,
    RATE_HEADERS,
    STRING,
    Schema,
    constant,
    error_answers,
    maybe,
    record,
    ref,
    words,
)

_GROUPS = (inference, activity, policies, records, tenancy, money, evidence, plain)
_ABOUT = """
An OpenAI-compatible gateway for large language models that runs inside an AMD SEV-SNP guest and proves, for every
answer, which measured build produced it. What its evidence proves, and what not, stands in README.md and SECURITY.md.

Errors have OpenAI's shape; below `/v1/messages`, and for callers that send `anthropic-version`, they have Anthropic's.
Messages name the member at fault, what was found and what is wanted; never what was said in a prompt.
"""
_ERROR = record(
    {"error": record({"message": STRING, "type": STRING, "param": maybe(STRING), "code": maybe(STRING)})},
    additionalProperties=True,
)
_ANTHROPIC_ERROR = record(
    {"type": constant("error"), "error": record({"type": STRING, "message": STRING}, additionalProperties=True)},
    additionalProperties=True,
)
_EITHER_ERROR: Schema = {"anyOf": [ref("Error"), ref("AnthropicError")]}
_HEADERS: dict[str, Schema] = {
    "Retry-After": words({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}, "Seconds to wait."),
    "X-Receipt-Id": words(STRING, "Under which `GET /v1/aci/receipts/{receipt_id}` has the receipt."),
    "x-request-id": words(STRING, "Of this exchange; also sent as `request-id`."),
    **{
        name: words(STRING if "reset" in name else COUNT, "Of the limit of which least is left, if there is one.")
        for name in RATE_HEADERS
    },
}
_SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `sk-router-…` or `sk-sr-…`."},
    "routerKey": {"type": "apiKey", "in": "header", "name": "X-Router-Key"},
    "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
    "adminToken": {"type": "http", "scheme": "bearer", "description": "The operator's token: never an API key."},
    "metricsToken": {"type": "http", "scheme": "bearer", "description": "The token of `metrics_token_file`."},
}


def openapi_document(origin: str, version: str) -> dict[str, Any]:
    """The document of a gateway at that origin."""
    schemas: dict[str, Schema] = {"Error": _ERROR, "AnthropicError": _ANTHROPIC_ERROR, "EitherError": _EITHER_ERROR}
    paths: dict[str, Any] = {}
    for group in _GROUPS:
        schemas |= group.SCHEMAS
        paths |= group.PATHS
    return {
        "openapi": "3.1.0",
        "info": {"title": "SafeRouter", "version": version, "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": origin}],
        "tags": [{"name": name} for name in _tags(paths)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": error_answers(),
            "headers": {name: {"schema": schema} for name, schema in _HEADERS.items()},
            "securitySchemes": _SECURITY,
        },
    }


def _tags(paths: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(tag for path in paths.values() for method in path.values() for tag in method["tags"]))
