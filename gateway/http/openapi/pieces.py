"""Pieces of which the OpenAPI document is made: JSON Schema 2020-12, operations, answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]
Operation = dict[str, Any]
Paths = dict[str, dict[str, Operation]]

JSON, TEXT, BYTES, EVENTS = "application/json", "text/plain", "application/octet-stream", "text/event-stream"
BOOLEAN: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
STRING: Schema = {"type": "string"}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
TIME: Schema = {"type": "integer", "description": "Seconds since 1970."}
USD: Schema = {"type": ["number", "null"], "description": "US dollars, at most six decimal places; null: unknown."}
BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
HEX: Schema = {"type": "string", "pattern": "^[0-9a-f]*$"}
DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}

PUBLIC: list[dict[str, list[str]]] = []
ANY_KEY: list[dict[str, list[str]]] = [{name: []} for name in ("bearer", "routerKey", "xApiKey", "apiKey")]
ADMIN: list[dict[str, list[str]]] = [{"adminToken": []}]
MANAGED = (400, 401, 403, 408, 413, 503)  # how a management call may be refused
_ERRORS = {
    400: "Malformed", 401: "Unauthenticated", 402: "InsufficientCredits", 403: "Forbidden", 404: "NotFound",
    405: "MethodNotAllowed", 408: "BodyStalled", 409: "Conflict", 410: "Pruned", 413: "BodyTooLarge",
    422: "CredentialInPrompt", 429: "RateLimited", 500: "Failed", 502: "UpstreamFailed", 503: "Unavailable",
}  # fmt: skip


def ref(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def words(schema: Schema, description: str) -> Schema:
    """The schema, and what it is."""
    return {**schema, "description": description}


def maybe(schema: Schema) -> Schema:
    """Or null."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def constant(value: Any) -> Schema:
    """This and nothing else."""
    return {"const": value}


def one_of(*values: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(values)}


def rows(item: Schema, **more: Any) -> Schema:
    """An array."""
    return {"type": "array", "items": item, **more}


def record(members: dict[str, Schema], optional: Sequence[str] = (), **more: Any) -> Schema:
    """An object that has all these members, but for the optional ones."""
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": members, **({"required": required} if required else {}), **more}


def listing(item: Schema, *, pages: bool = False, **more: Schema) -> Schema:
    """A list, as every list here is."""
    paged = {"has_more": BOOLEAN} if pages else {}
    return record({"object": constant("list"), "data": rows(item), **paged, **more})


def answer(description: str, schema: Schema, kind: str = JSON, headers: Sequence[str] = ()) -> Schema:
    """One answer, in one media type."""
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return {"description": description, "content": {kind: {"schema": schema}}, **({"headers": named} if named else {})}


def _parameter(where: str, name: str, schema: Schema, description: str, required: bool, example: Any) -> Schema:
    shown = {} if example is None else {"example": example}
    needed = {"required": True} if required else {}
    return {"name": name, "in": where, "description": description, "schema": schema, **needed, **shown}


def query(name: str, schema: Schema, description: str, *, required: bool = False, example: Any = None) -> Schema:
    """A parameter of the query."""
    return _parameter("query", name, schema, description, required, example)


def header(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    """A header that may be sent."""
    return _parameter("header", name, schema, description, False, example)


def in_path(name: str, schema: Schema, description: str, example: Any = None) -> Schema:
    """A part of the path."""
    return _parameter("path", name, schema, description, True, example)


PAGE = [
    _parameter("query", "limit", {"type": "string", "pattern": "^[1-9][0-9]?$|^100$"}, "1 to 100.", False, "20"),
    _parameter("query", "after", STRING, "The `last_id` of the page before.", False, None),
]


def body(schema: Schema, *, required: bool = True, **examples: Any) -> Schema:
    """A request's body in JSON, with examples by name."""
    shown = {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}
    return {"required": required, "content": {JSON: {"schema": schema, **shown}}}


def operation(
    name: str,
    summary: str,
    answers: dict[int, Schema],
    *errors: int,
    tag: str,
    security: list[dict[str, list[str]]] | None = None,
    parameters: Sequence[Schema] = (),
    takes: Schema | None = None,
    error: str = "",
    about: str = "",
) -> Operation:
    """What one method of a path does. `name` is its operationId, `errors` the statuses of its refusals, in the shape of
    `error`: `Anthropic`, `Either`, or OpenAI's.
    """
    refusals = {str(code): {"$ref": f"#/components/responses/{error}{_ERRORS[code]}"} for code in sorted(errors)}
    made = {
        "operationId": name,
        "summary": summary,
        "description": about,
        "tags": [tag],
        "security": ANY_KEY if security is None else security,
        "parameters": list(parameters),
        "requestBody": takes,
        "responses": {**{str(code): each for code, each in answers.items()}, **refusals},
    }
    return {member: value for member, value in made.items() if value or member == "security"}


def error_answers() -> dict[str, Schema]:
    """The refusals of all, in both shapes."""
    return {
        f"{shape}{name}": {
            "description": f"{code}: {_MEANINGS[code]}",
            "content": {JSON: {"schema": ref(f"{shape}Error")}},
            **({"headers": _headers(code)} if code in (429, 503) else {}),
        }
        for shape in ("", "Anthropic", "Either")
        for code, name in _ERRORS.items()
    }


_MEANINGS = {
    400: "the request breaks the format; `param` names the member at fault.",
    401: "no key, or one that is not known.",
    402: "the balance of the key or the cap of the tenant is used up; sending it again cannot help.",
    403: "the key is known and may not do this.",
    404: "no such path, model or document.",
    405: "the path exists and does not take this method.",
    408: "nothing more of the body came.",
    409: "it is there already, or has changed meanwhile.",
    410: "it was here, and retention has removed it.",
    413: "the body is longer than the gateway reads.",
    422: "the prompt holds something like a credential, which the policy forbids to send on.",
    429: "a rate is used up, of the key, of its tenant or of the attestation device.",
    500: "the gateway failed.",
    502: "the provider answered wrongly, or not to the end.",
    503: "no provider can answer now, or the gateway cannot.",
}


def _headers(code: int) -> Schema:
    names = ["Retry-After", *(RATE_HEADERS if code == 429 else ())]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


RATE_HEADERS = tuple(
    f"x-ratelimit-{what}-{kind}" for kind in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)
