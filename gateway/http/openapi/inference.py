"""Endpoints by which models are asked: three vendors' surfaces, and the models that they may name."""

from __future__ import annotations

from typing import Any

from gateway.http.openapi.pieces import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    EVENTS,
    NUMBER,
    RATE_HEADERS,
    STRING,
    USD,
    Paths,
    Schema,
    answer,
    body,
    constant,
    header,
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

_TAG = "inference"
_REFUSALS = (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503)
_HEADERS = ("X-Receipt-Id", "x-request-id", *RATE_HEADERS)
_ANTHROPIC = header("anthropic-version", STRING, "With it the answer has Anthropic's shape.", "2023-06-01")
_DEMANDS = [
    header("X-SF-Policy", STRING, "By which routing policy; the key's own if absent.", "default"),
    header("X-SF-Provider", STRING, "The only provider that may be asked."),
    header("X-SF-Attestation", one_of("on", "off", "checkpoints"), "`off` leaves the attestation block out.", "on"),
]
_MODEL = words(STRING, "The id or an alias of a model of `GET /v1/models`.")
_SAID = [{"role": "user", "content": "Say hello."}]
_TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
_VENDOR: dict[str, Any] = {"additionalProperties": True}  # what a provider says besides passes through


def _call(name: str, summary: str, request: str, answered: str, error: str = "", **examples: Any) -> Schema:
    whole = answer("The answer.", ref(answered), headers=_HEADERS)
    whole["content"][EVENTS] = {}
    return {
        "post": operation(
            name,
            summary,
            {200: whole},
            *_REFUSALS,
            tag=_TAG,
            parameters=_DEMANDS,
            takes=body(ref(request), **examples),
            error=error,
            about="With `stream: true` the answer is events of the vendor's own form. Unknown members are passed on to "
            "a provider of the same language. Every answer, also a refusal by a provider, has a signed receipt under "
            "`X-Receipt-Id`; a 401 and a 429 of the gateway's own have none. Credentials in a prompt are redacted "
            "before a provider is asked, and `X-SF-Redactions` says how many; a policy may refuse them instead (422).",
        )
    }


def _buffered(call: Schema) -> Schema:
    del call["post"]["responses"]["200"]["content"][EVENTS]
    return call


PATHS: Paths = {
    "/v1/chat/completions": _call(
        "createChatCompletion",
        "Ask a model, in OpenAI's chat language",
        "ChatRequest",
        "ChatCompletion",
        plain={"model": "mock-1", "messages": _SAID},
        streamed={"model": "mock-1", "messages": _SAID, "stream": True, "stream_options": {"include_usage": True}},
        tool={"model": "mock-1", "messages": _SAID, "tools": [_TOOL], "max_tokens": 64},
    ),
    "/v1/completions": _call(
        "createCompletion",
        "Ask a model, in OpenAI's older language",
        "CompletionRequest",
        "Completion",
        plain={"model": "mock-1", "prompt": "Say hello."},
    ),
    "/v1/responses": _call(
        "createResponse",
        "Ask a model, in the language of OpenAI's Responses",
        "ResponsesRequest",
        "Response",
        plain={"model": "mock-1", "input": "Say hello."},
        turns={"model": "mock-1", "input": _SAID, "instructions": "Be brief."},
    ),
    "/v1/embeddings": _buffered(
        _call(
            "createEmbeddings",
            "Vectors of texts",
            "EmbeddingsRequest",
            "Embeddings",
            plain={"model": "mock-1", "input": ["Say hello."]},
        )
    ),
    "/v1/messages": _call(
        "createMessage",
        "Ask a model, in Anthropic's language",
        "MessagesRequest",
        "Message",
        "Anthropic",
        plain={"model": "mock-1", "max_tokens": 64, "messages": _SAID},
    ),
    "/v1/messages/count_tokens": _buffered(
        _call(
            "countTokens",
            "How many tokens a prompt has",
            "CountRequest",
            "TokenCount",
            "Anthropic",
            plain={"model": "mock-1", "messages": _SAID},
        )
    ),
    "/v1/models": {
        "get": operation(
            "listModels",
            "The models that calls may name",
            {200: answer("All of them.", {"anyOf": [ref("ModelList"), ref("AnthropicModelList")]})},
            *(401, 403, 503),
            tag=_TAG,
            parameters=[_ANTHROPIC],
            error="Either",
        )
    },
    "/v1/models/{model}": {
        "get": operation(
            "getModel",
            "One model",
            {200: answer("The model.", {"anyOf": [ref("Model"), ref("AnthropicModel")]})},
            *(401, 403, 404, 503),
            tag=_TAG,
            parameters=[in_path("model", STRING, "Its id, which may hold slashes.", "mock-1"), _ANTHROPIC],
            error="Either",
        )
    },
}

_BLOCK = record(
    {
        "model_content_hash": maybe(STRING),
        "provider_id": STRING,
        "policy_id": STRING,
        "route_decision_id": STRING,
        "rekor_index": maybe(COUNT),
        "mirror_id": maybe(STRING),
        "tier_observed": one_of("sealed", "hardened", "quarantine", "interdicted"),
        "receipt_id": STRING,
    },
    description="What is known of how this answer came about; `rekor_index` is the call's leaf in the gateway's log.",
)
_ATTESTED = {"attestation": ref("Attestation"), "_sf_attestation": ref("Attestation")}
_MESSAGE = record({"role": STRING, "content": {}}, ["content"], **_VENDOR)
_LENGTH: Schema = {"type": ["integer", "null"], "minimum": 1}
_SETTINGS = {
    "temperature": {"type": ["number", "null"]},
    "top_p": {"type": ["number", "null"]},
    "stream": {"type": ["boolean", "null"]},
}


def _answered(members: dict[str, Schema]) -> Schema:
    return record(members | _ATTESTED, list(_ATTESTED), **_VENDOR)


def _asks(members: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": members, "required": list(required), **_VENDOR}


SCHEMAS: dict[str, Schema] = {
    "Attestation": _BLOCK,
    "ChatRequest": _asks(
        {
            "model": _MODEL,
            "messages": rows(_MESSAGE, minItems=1),
            "max_tokens": _LENGTH,
            "max_completion_tokens": _LENGTH,
            "tools": rows(ANYTHING),
            **_SETTINGS,
        },
        *("model", "messages"),
    ),
    "CompletionRequest": _asks(
        {"model": _MODEL, "prompt": {"anyOf": [STRING, rows(STRING)]}, "max_tokens": _LENGTH, **_SETTINGS},
        *("model", "prompt"),
    ),
    "ResponsesRequest": _asks(
        {
            "model": _MODEL,
            "input": {"anyOf": [STRING, rows(ANYTHING)]},
            "instructions": maybe(STRING),
            "max_output_tokens": _LENGTH,
            "tools": rows(ANYTHING),
            **_SETTINGS,
        },
        *("model", "input"),
    ),
    "EmbeddingsRequest": _asks(
        {
            "model": _MODEL,
            "input": {"anyOf": [STRING, rows(STRING, minItems=1, maxItems=2048)]},
            "encoding_format": one_of("float", "base64"),
            "dimensions": _LENGTH,
        },
        *("model", "input"),
    ),
    "MessagesRequest": _asks(
        {
            "model": _MODEL,
            "max_tokens": {"type": "integer", "minimum": 1},
            "messages": rows(_MESSAGE, minItems=1),
            "system": {"anyOf": [STRING, rows(ANYTHING)]},
            "tools": rows(ANYTHING),
            **_SETTINGS,
        },
        *("model", "max_tokens", "messages"),
    ),
    "CountRequest": _asks(
        {"model": _MODEL, "messages": rows(_MESSAGE, minItems=1), "system": {"anyOf": [STRING, rows(ANYTHING)]}},
        *("model", "messages"),
    ),
    "ChatCompletion": _answered(
        {
            "id": STRING,
            "object": constant("chat.completion"),
            "created": COUNT,
            "model": STRING,
            "choices": rows(record({"index": COUNT, "message": ANYTHING, "finish_reason": maybe(STRING)}, **_VENDOR)),
        }
    ),
    "Completion": _answered(
        {
            "id": STRING,
            "object": constant("text_completion"),
            "created": COUNT,
            "model": STRING,
            "choices": rows(record({"index": COUNT, "text": STRING, "finish_reason": maybe(STRING)}, **_VENDOR)),
        }
    ),
    "Response": _answered(
        {"id": STRING, "object": constant("response"), "status": STRING, "model": STRING, "output": rows(ANYTHING)}
    ),
    "Embeddings": _answered(
        {
            "object": constant("list"),
            "model": STRING,
            "data": rows(
                record(
                    {
                        "object": constant("embedding"),
                        "index": COUNT,
                        "embedding": {"anyOf": [rows(NUMBER), STRING]},
                    },
                    **_VENDOR,
                )
            ),
        }
    ),
    "Message": _answered(
        {
            "id": STRING,
            "type": constant("message"),
            "role": constant("assistant"),
            "model": STRING,
            "content": rows(ANYTHING),
            "stop_reason": maybe(STRING),
            "usage": ANYTHING,
        }
    ),
    "TokenCount": record({"input_tokens": COUNT, "estimated": BOOLEAN}, ["estimated"], **_VENDOR),
    "Model": record(
        {
            "id": STRING,
            "object": constant("model"),
            "created": COUNT,
            "owned_by": STRING,
            "x_saferouter": ref("ModelFacts"),
        }
    ),
    "ModelFacts": record(
        {
            "provider": STRING,
            "family": STRING,
            "context_window": maybe(COUNT),
            "max_output_tokens": maybe(COUNT),
            "input_usd_per_million": USD,
            "output_usd_per_million": USD,
            "modalities": {"type": ["array", "null"], "items": STRING},
            "capabilities": rows(STRING),
            "tier": STRING,
        },
        description="What is known of it here; null: nothing is.",
    ),
    "ModelList": listing(ref("Model")),
    "AnthropicModel": record({"type": constant("model"), "id": STRING, "display_name": STRING, "created_at": STRING}),
    "AnthropicModelList": record(
        {"data": rows(ref("AnthropicModel")), "has_more": BOOLEAN, "first_id": STRING, "last_id": STRING}
    ),
}
