"""Official clients of a small application that embeds the engine: they notice no difference."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.engine import (
    Endpoint,
    HostProtocol,
    Json,
    ProviderKind,
    SecretString,
    UniGatewayEngine,
    dispatch_request,
)
from gateway.engine.testing import MockHost, build_context
from tests.worlds.pools import new_engine, pool
from tests.worlds.provider import PROVIDER_KEY, running_provider

ORIGIN = "http://app.example"
TALK = "Say something nice"


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running_provider() as url:
        yield url


async def application(engine: UniGatewayEngine, provider_url: str) -> httpx2.AsyncClient:
    """Clients' way to an application, all of which is this function."""
    one = Endpoint(
        endpoint_id="mock",
        provider_family="mock",
        provider_kind=ProviderKind.OPENAI_COMPATIBLE,
        driver_id="openai-compatible",
        base_url=provider_url,
        api_key=SecretString(PROVIDER_KEY),
    )
    await engine.upsert_pool(pool(one))
    found = await engine.get_pool("my-service")
    assert found is not None
    context = build_context(engine, MockHost().with_service_pool("my-service", found))

    async def serve(request: Request) -> Response:
        answer = await dispatch_request(
            context, "my-service", HostProtocol(request.url.path), await request.body(), default_model="mock-1"
        )
        status, body = answer.into_parts()
        if isinstance(body, Json):
            return Response(body.raw, status, media_type=body.content_type)
        return StreamingResponse(body.stream, status, media_type=body.content_type)

    app = Starlette(routes=[Route(protocol.value, serve, methods=["POST"]) for protocol in HostProtocol])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app))


def test_openais_client(provider_url: str) -> None:
    """R113, R121, R122: chats, streams, responses, embeddings and errors."""

    async def work() -> None:
        async with new_engine() as engine, await application(engine, provider_url) as http:
            client = AsyncOpenAI(base_url=f"{ORIGIN}/v1", api_key="app-key", http_client=http, max_retries=0)
            whole = await client.chat.completions.create(model="mock-1", messages=[{"role": "user", "content": TALK}])
            text = whole.choices[0].message.content
            assert text and whole.usage is not None and whole.usage.total_tokens > 0
            stream = await client.chat.completions.create(
                model="mock-1", messages=[{"role": "user", "content": TALK}], stream=True
            )
            words = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert "".join(words) == text
            turn = await client.responses.create(model="mock-1", input=TALK)
            assert turn.status == "completed" and turn.output_text
            async with client.responses.stream(model="mock-1", input=TALK) as events:
                assert (await events.get_final_response()).output_text == turn.output_text
            vectors = await client.embeddings.create(model="mock-1", input=["one", "two"])
            assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 1
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": TALK}])

    asyncio.run(work())


def test_anthropics_client(provider_url: str) -> None:
    """R113, R121, R122: of a provider that speaks OpenAI's language."""

    async def work() -> None:
        async with new_engine() as engine, await application(engine, provider_url) as http:
            client = AsyncAnthropic(base_url=ORIGIN, api_key="app-key", http_client=http, max_retries=0)
            whole = await client.messages.create(
                model="mock-1", max_tokens=500, messages=[{"role": "user", "content": TALK}]
            )
            assert whole.content[0].type == "text" and whole.stop_reason == "end_turn"
            async with client.messages.stream(
                model="mock-1", max_tokens=500, messages=[{"role": "user", "content": TALK}]
            ) as stream:
                final = await stream.get_final_message()
            assert final.content[0].type == "text" and final.content[0].text == whole.content[0].text
            assert final.usage.output_tokens > 0

    asyncio.run(work())
