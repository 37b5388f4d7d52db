"""Endpoints that manage tenants and their keys."""

from __future__ import annotations

from gateway.http.openapi.pieces import (
    ADMIN,
    BOOLEAN,
    COUNT,
    MANAGED,
    PAGE,
    STRING,
    TIME,
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
    words,
)

_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}
_NAME: Schema = {"type": "string", "maxLength": 128}
_BOUND: Schema = {"type": ["integer", "null"], "minimum": 1, "maximum": 10**9, "description": "Null: no bound."}
_TENANT = in_path("tenant_id", STRING, "Of the tenant.", "acme")
_KEY = in_path("key_id", STRING, "Of the key, not its secret.", "key-00000000")


def _keys(prefix: str, suffix: str, tag: str, *parents: Schema) -> Paths:
    """The keys below one prefix."""
    security = ADMIN if parents else None
    errors = (*MANAGED, 404, 409) if parents else (*MANAGED, 409)

    def act(name: str, summary: str, shown: dict[int, Schema], *more: Schema, takes: Schema | None = None) -> Schema:
        missing = errors if 404 in errors or _KEY not in more else (*errors, 404)
        every = [*parents, *more]
        return operation(
            name + suffix, summary, shown, *missing, tag=tag, security=security, parameters=every, takes=takes
        )

    one = answer("The key.", ref("ApiKey"))
    settings = ref("ApiKeySettings")
    return {
        prefix: {
            "get": act("listKeys", "Keys, the newest first", {200: answer("A page.", ref("ApiKeyList"))}, *PAGE),
            "post": act(
                "createKey",
                "A new key",
                {201: answer("Its secret, `key`, is shown this once.", ref("ApiKeySecret"))},
                takes=body(settings, plain={"name": "ci"}, limited={"name": "batch", "requests_per_minute": 600}),
            ),
        },
        f"{prefix}/{{key_id}}/rotate": {
            "post": act(
                "rotateKey",
                "A new secret, while the old one goes on for a time",
                {200: answer("The new secret, `key`, is shown this once.", ref("ApiKeySecret"))},
                _KEY,
                takes=body(ref("Rotation"), required=False, overlapping={"overlap_seconds": 60}),
            )
        },
        f"{prefix}/{{key_id}}": {
            "get": act("getKey", "One key", {200: one}, _KEY),
            "patch": act(
                "changeKey", "Other settings", {200: one}, _KEY, takes=body(settings, renamed={"name": "nightly"})
            ),
            "delete": act("revokeKey", "The end of a key, within a second everywhere", {200: one}, _KEY),
        },
    }


PATHS: Paths = {
    **_keys("/v1/keys", "", "keys"),
    "/admin/tenants": {
        "get": operation(
            "listTenants",
            "Tenants, by their ids",
            {200: answer("A page.", ref("TenantList"))},
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
            parameters=PAGE,
        ),
        "post": operation(
            "createTenant",
            "A new tenant",
            {201: answer("Its first key, `api_key`, is shown this once.", ref("NewTenant"))},
            *(*MANAGED, 404, 409),
            tag="operator",
            security=ADMIN,
            takes=body(ref("TenantCreation"), capped={"id": "acme", "display_name": "Acme", "usd_cap": 50.0}),
        ),
    },
    "/admin/tenants/{tenant_id}": {
        "get": operation(
            "getTenant",
            "One tenant",
            {200: answer("The tenant.", ref("Tenant"))},
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
            parameters=[_TENANT],
        ),
        "patch": operation(
            "changeTenant",
            "Other bounds, or another name",
            {200: answer("The tenant.", ref("Tenant"))},
            *(*MANAGED, 404),
            tag="operator",
            security=ADMIN,
            parameters=[_TENANT],
            takes=body(ref("TenantSettings"), bounded={"requests_per_minute": 6000, "tokens_per_minute": 1000000}),
        ),
    },
    **_keys("/admin/tenants/{tenant_id}/keys", "OfTenant", "operator", _TENANT),
}

_RATES = {"requests_per_minute": _BOUND, "tokens_per_minute": _BOUND}
_SCOPES = rows(one_of("inference", "read", "keys", "billing"))
_KEY_SETTINGS = {
    "name": _NAME,
    "scopes": {**_SCOPES, "minItems": 1},
    "policy": maybe(_ID),
    **_RATES,
    "expires_at": maybe(TIME),
    "cut_streams": words(BOOLEAN, "Whether a revocation ends its open streams too."),
}
_TENANT_SETTINGS = {
    "display_name": _NAME,
    "usd_cap": {"type": ["number", "null"], "minimum": 0, "maximum": 10**9, "description": "US dollars, six decimals."},
    **_RATES,
    "allowed_policies": rows(_ID, minItems=1, maxItems=32),
    "cut_streams": BOOLEAN,
}
_SHOWN_KEY = {
    "object": constant("api_key"),
    "id": STRING,
    "name": STRING,
    "prefix": words(STRING, "The first characters of its secret."),
    "tenant": STRING,
    "scopes": _SCOPES,
    "policy": maybe(STRING),
    **_RATES,
    "cut_streams": BOOLEAN,
    "created_at": TIME,
    "expires_at": maybe(TIME),
    "revoked_at": maybe(TIME),
    "last_used_at": maybe(TIME),
    "usage": record({"calls": COUNT, "usd": USD}),
}
_SHOWN_TENANT = {
    "object": constant("tenant"),
    "id": STRING,
    "display_name": STRING,
    "usd_spent": USD,
    "usd_cap": USD,
    "allowed_policies": rows(STRING),
    **_RATES,
    "cut_streams": BOOLEAN,
    "created_at": TIME,
}
_LAST = {"last_id": maybe(STRING)}

SCHEMAS: dict[str, Schema] = {
    "ApiKey": record(_SHOWN_KEY),
    "ApiKeySecret": record({**_SHOWN_KEY, "key": words(STRING, "The secret: kept nowhere, so shown this once.")}),
    "ApiKeyList": listing(ref("ApiKey"), pages=True, **_LAST),
    "ApiKeySettings": record(_KEY_SETTINGS, list(_KEY_SETTINGS), additionalProperties=False),
    "Rotation": record(
        {"overlap_seconds": {"type": "integer", "minimum": 0, "maximum": 30 * 24 * 3600}},
        ["overlap_seconds"],
        additionalProperties=False,
    ),
    "Tenant": record(_SHOWN_TENANT),
    "NewTenant": record({**_SHOWN_TENANT, "api_key": STRING}),
    "TenantList": listing(ref("Tenant"), pages=True, **_LAST),
    "TenantSettings": record(_TENANT_SETTINGS, list(_TENANT_SETTINGS), additionalProperties=False),
    "TenantCreation": record({"id": _ID, **_TENANT_SETTINGS}, list(_TENANT_SETTINGS), additionalProperties=False),
}
