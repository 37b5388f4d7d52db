"""A client's body on its way through a host: parsed, sent to a pool, and rendered in the client's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.engine.core.engine import UniGatewayEngine
from gateway.engine.core.errors import PoolNotFound
from gateway.engine.core.pool import ExecutionTarget, ProviderPool
from gateway.engine.core.requests import chat_inference, embeddings_inference, responses_inference
from gateway.engine.core.session import (
    ChatResponse,
    ChatResponseChunk,
    Completed,
    ProxySession,
    ResponsesEvent,
    ResponsesResponse,
)
from gateway.engine.host.contract import HostContext, LookupState
from gateway.engine.protocol.http_response import ProtocolHttpResponse
from gateway.engine.protocol.payloads import (
    Payload,
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
from gateway.errors import GatewayError
from gateway.inference import InferenceRequest


async def dispatch_request(
    context: HostContext,
    target: str | ProviderPool,
    protocol: HostProtocol,
    payload: Payload,
    *,
    hint: str | None = None,
    default_model: str = "",
    metadata: Mapping[str, str] | None = None,
) -> ProtocolHttpResponse:
    """Answer a body that came in the language of `protocol`. Every GatewayError is an answer too.

    `target`: the id of a service, which the host knows the pool of, or a pool that is already in the engine.
    """
    try:
        pool_id = await _pool_id(context, target)
        where = ExecutionTarget.pool(pool_id, hint)
        return await _answer(context.engine, where, protocol, payload, default_model, metadata or {})
    except GatewayError as error:
        return render_error(protocol, error)


async def _pool_id(context: HostContext, target: str | ProviderPool) -> str:
    if isinstance(target, ProviderPool):
        return target.pool_id
    found = await context.pool_for_service(target)
    if found.state is not LookupState.FOUND or found.pool is None:
        raise PoolNotFound(f"service: found no pool for `{target[:128]}`, wanted one that this host knows")
    return found.pool.pool_id


async def _answer(
    engine: UniGatewayEngine,
    where: ExecutionTarget,
    protocol: HostProtocol,
    payload: Payload,
    default_model: str,
    metadata: Mapping[str, str],
) -> ProtocolHttpResponse:
    if protocol is HostProtocol.OPENAI_EMBEDDINGS:
        texts = replace(openai_payload_to_embed_request(payload, default_model), metadata=metadata)
        return render_embeddings(embeddings_inference(texts), await engine.proxy_embeddings(texts, where))
    if protocol is HostProtocol.OPENAI_RESPONSES:
        turn = replace(openai_payload_to_responses_request(payload, default_model), metadata=metadata)
        return _render(protocol, responses_inference(turn), await engine.proxy_responses(turn, where))
    anthropic = protocol is HostProtocol.ANTHROPIC_MESSAGES
    convert = anthropic_payload_to_chat_request if anthropic else openai_payload_to_chat_request
    chat = replace(convert(payload, default_model), metadata=metadata)
    return _render(protocol, chat_inference(chat), await engine.proxy_chat(chat, where))


def _render(
    protocol: HostProtocol,
    asked: InferenceRequest,
    session: ProxySession[ChatResponse, ChatResponseChunk] | ProxySession[ResponsesResponse, ResponsesEvent],
) -> ProtocolHttpResponse:
    if isinstance(session, Completed):
        return render_completed(protocol, asked, session)
    return render_streaming(protocol, asked, session)
