"""Sessions as HTTP answers in a client's language, written by the surfaces of the dialects."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from enum import StrEnum
from typing import Any

from gateway.dialects.dialect import Surface
from gateway.engine.core.drivers import EmbeddingsResponse
from gateway.engine.core.session import ChatResponse, Completed, ResponsesResponse, Streaming
from gateway.engine.protocol.http_response import Json, ProtocolHttpResponse, ServerSentEvents
from gateway.errors import GatewayError, failure_of
from gateway.inference import Embedding, Failure, InferenceRequest, Start, StreamEvent
from gateway.languages import SERVICES


class HostProtocol(StrEnum):
    """The languages of clients, by the paths at which they are served."""

    OPENAI_CHAT = "/v1/chat/completions"
    OPENAI_RESPONSES = "/v1/responses"
    OPENAI_EMBEDDINGS = "/v1/embeddings"
    ANTHROPIC_MESSAGES = "/v1/messages"

    @property
    def surface(self) -> Surface:
        """The side of the dialect that clients see."""
        return SERVICES[self.value].surface


def render_completed(
    protocol: HostProtocol, asked: InferenceRequest, session: Completed[ChatResponse] | Completed[ResponsesResponse]
) -> ProtocolHttpResponse:
    """A whole answer. Raises: UpstreamFailed for what this language has no place for."""
    token = session.report.request_id
    raw = protocol.surface.encode_answer(list(session.response.events), asked, token, int(time.time()), None)
    return ProtocolHttpResponse(200, Json(raw))


def render_streaming(protocol: HostProtocol, asked: InferenceRequest, session: Streaming[Any]) -> ProtocolHttpResponse:
    """A streamed answer; what breaks it off is said in it, and then it does not end as a whole one would."""
    return ProtocolHttpResponse(200, ServerSentEvents(_frames(protocol.surface, asked, session)))


def render_embeddings(asked: InferenceRequest, session: Completed[EmbeddingsResponse]) -> ProtocolHttpResponse:
    """Embeddings in the form that was asked for. Raises: UpstreamFailed unless there is one for each input."""
    response, usage = session.response, session.response.usage
    events: list[StreamEvent] = [Start("", response.model), *(Embedding(tuple(one)) for one in response.embeddings)]
    events += [] if usage is None else [usage]
    raw = HostProtocol.OPENAI_EMBEDDINGS.surface.encode_answer(events, asked, "", 0, None)
    return ProtocolHttpResponse(200, Json(raw))


def render_error(protocol: HostProtocol, error: GatewayError) -> ProtocolHttpResponse:
    """An error in the client's language."""
    raw = protocol.surface.encode_error(_failure(error), error.status)
    return ProtocolHttpResponse(error.status, Json(raw), error.retry_after)


def _failure(error: GatewayError) -> Failure:
    """The error without its word for the kind of error, which each language has its own for."""
    return replace(failure_of(error), error_type=None)


async def _frames(surface: Surface, asked: InferenceRequest, session: Streaming[Any]) -> AsyncGenerator[bytes, None]:
    encoder = surface.encoder(asked, session.request_id, int(time.time()))
    async with aclosing(session.events) as events:
        try:
            async for event in events:
                if written := encoder.encode(event):
                    yield written
        except GatewayError as error:
            yield encoder.encode(_failure(error)) + encoder.finish(None)
            return
    yield encoder.finish(None)
