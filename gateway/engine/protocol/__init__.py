"""HTTP bodies to requests, and sessions to HTTP answers, for any web framework. Imports `core`, never `host`."""

from gateway.engine.protocol.http_response import Json, ProtocolHttpResponse, ProtocolResponseBody, ServerSentEvents
from gateway.engine.protocol.payloads import (
    anthropic_payload_to_chat_request,
    openai_payload_to_chat_request,
    openai_payload_to_embed_request,
    openai_payload_to_responses_request,
)
from gateway.engine.protocol.rendering import (
    HostProtocol,
    render_completed,
    render_embeddings,
    render_error,
    render_streaming,
)

__all__ = [
    "HostProtocol",
    "Json",
    "ProtocolHttpResponse",
    "ProtocolResponseBody",
    "ServerSentEvents",
    "anthropic_payload_to_chat_request",
    "openai_payload_to_chat_request",
    "openai_payload_to_embed_request",
    "openai_payload_to_responses_request",
    "render_completed",
    "render_embeddings",
    "render_error",
    "render_streaming",
]
