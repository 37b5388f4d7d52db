"""Raw JSON bodies as typed requests, leniently: the dialects read them, after what clients misspell is put right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.dialects import openai_chat, openai_embeddings, openai_responses
from gateway.dialects.anthropic_messages_request import decode_count
from gateway.engine.core.requests import (
    NEUTRAL,
    Message,
    MessageRole,
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    ProxyResponsesRequest,
    encode_plain,
)
from gateway.errors import InvalidRequest
from gateway.inference import Block, InferenceRequest, Text
from gateway.jsonbody import read_json_object

Payload = Mapping[str, Any] | str | bytes
"""A body, parsed or as it came."""

_ROLES = {"human": "user", "ai": "assistant", "bot": "assistant", "model": "assistant"}
_ANTHROPIC_ROLES = ("system", "user", "assistant")
_RESPONSES_ROLES = (*_ANTHROPIC_ROLES, "developer")
_CHAT_ROLES = (*_RESPONSES_ROLES, "tool", "function")
# Wishes that the dialects check, and that a request does without: one that makes no sense is as one unsaid.
_WISHES = frozenset(
    {"temperature", "top_p", "top_k", "top_logprobs", "max_tokens", "max_completion_tokens", "max_output_tokens",
     "presence_penalty", "frequency_penalty", "seed", "n", "stop", "stop_sequences", "user", "parallel_tool_calls",
     "stream_options", "reasoning_effort", "encoding_format", "dimensions", "metadata"}
)  # fmt: skip


def openai_payload_to_chat_request(payload: Payload, default_model: str) -> ProxyChatRequest:
    """A body of chat completions. Raises: InvalidRequest for what cannot be understood."""
    body = _read(payload, default_model)
    body["messages"] = _turns(body.get("messages"), _CHAT_ROLES)
    return _chat(_decode(openai_chat.SURFACE.decode_request, body))


def anthropic_payload_to_chat_request(payload: Payload, default_model: str) -> ProxyChatRequest:
    """A body of Anthropic's messages; `max_tokens` may be missing. Raises: InvalidRequest."""
    body = _read(payload, default_model)
    body["messages"] = _turns(body.get("messages"), _ANTHROPIC_ROLES)
    if "system" in body:
        body["system"] = _content(body["system"])
    return _chat(_decode(decode_count, body))


def openai_payload_to_responses_request(payload: Payload, default_model: str) -> ProxyResponsesRequest:
    """A body of Responses. Raises: InvalidRequest."""
    body = _read(payload, default_model)
    if isinstance(body.get("input"), list | Mapping):
        body["input"] = _turns(body["input"], _RESPONSES_ROLES)
    _decode(openai_responses.SURFACE.decode_request, body)
    names = ("model", "input", "instructions", "temperature", "top_p", "max_output_tokens", "tools", "tool_choice")
    return ProxyResponsesRequest(
        **{name: body.pop(name, None) for name in names}, stream=bool(body.pop("stream", False)), extra=body
    )


def openai_payload_to_embed_request(payload: Payload, default_model: str) -> ProxyEmbeddingsRequest:
    """A body of embeddings: of texts, since tokens are one model's own. Raises: InvalidRequest."""
    body = _read(payload, default_model)
    asked = _decode(openai_embeddings.decode_request, body)
    texts = [block.text for message in asked.messages for block in message.content if isinstance(block, Text)]
    if len(texts) != len(asked.messages):
        raise InvalidRequest.at("input", "tokens", "a string or a list of strings")
    form = body.pop("encoding_format", None)
    extra = {name: value for name, value in body.items() if name not in ("model", "input")}
    return ProxyEmbeddingsRequest(asked.model, texts, form, extra=extra)


def _read(payload: Payload, default_model: str) -> dict[str, Any]:
    body = read_json_object(payload) if isinstance(payload, str | bytes) else payload
    if not isinstance(body, Mapping):
        raise InvalidRequest.at("body", "no JSON object", "a JSON object")
    named = body.get("model")
    return {**body, "model": named if isinstance(named, str) and named.strip() else default_model}


def _decode(decode: Callable[[bytes], InferenceRequest], body: dict[str, Any]) -> InferenceRequest:
    """Decode; a wish that the dialect does not understand goes out of `body`, at most all of them."""
    while True:
        try:
            # A model may be left to the endpoint's policy, which no dialect knows of.
            return replace(decode(encode_plain({**body, "model": body["model"] or NEUTRAL})), model=body["model"])
        except InvalidRequest as error:
            name = (error.param or "").split(".")[0]
            if name not in _WISHES or name not in body:
                raise
            del body[name]


def _chat(asked: InferenceRequest) -> ProxyChatRequest:
    """Plain words stand as words, so that a host can read and change them."""
    messages = [Message(MessageRole(each.role), _words(each.content), each.name, each.extra) for each in asked.messages]
    return ProxyChatRequest(
        model=asked.model,
        messages=messages,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_tokens=asked.max_tokens,
        stream=asked.stream,
        rest=replace(asked, messages=()),
    )


def _words(content: tuple[Block, ...]) -> str | tuple[Block, ...]:
    only = content[0] if len(content) == 1 else None
    return only.text if isinstance(only, Text) and only.signature is None else content


def _turns(said: Any, roles: tuple[str, ...]) -> Any:
    """All turns; whatever is none is left to the dialect to judge."""
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    items = [said] if isinstance(said, Mapping) else said
    if not isinstance(items, list):
        return items
    return [_turn(item, roles) if _is_turn(item) else item for item in items]


def _is_turn(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type", "message") == "message"


def _turn(turn: Mapping[str, Any], roles: tuple[str, ...]) -> dict[str, Any]:
    """One message, its role spelled as its vendor does. Whoever is unknown speaks as the user, who may say least."""
    role = turn.get("role")
    spelled = role.strip().lower() if isinstance(role, str) else "user"
    spelled = _ROLES.get(spelled, spelled)
    known = spelled if spelled in roles else "system" if spelled == "developer" else "user"
    content = _content(turn.get("content"))
    if content is None and known in ("system", "developer", "user"):
        content = ""
    return {**turn, "role": known, **({} if content is None and "content" not in turn else {"content": content})}


def _content(said: Any) -> Any:
    """Words as they are, and blocks in a list."""
    parts = [said] if isinstance(said, Mapping) else said
    return [_part(part) for part in parts if part is not None] if isinstance(parts, list) else parts


def _part(part: Any) -> Any:
    """A content block; bare words are one, and so are words without a type."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, Mapping) and "type" not in part and isinstance(part.get("text"), str):
        return {**part, "type": "text"}
    return part
