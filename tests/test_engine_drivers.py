"""The engine's drivers: the built-in ones, others, and the transport below them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import openai_embeddings_provider
from gateway.engine import (
    AwsCredentials,
    Completed,
    DriverNotFound,
    Endpoint,
    EngineBuildError,
    HttpTransport,
    InferenceRequest,
    InMemoryDriverRegistry,
    NoRoute,
    Outcome,
    ProviderKind,
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    ProxyResponsesRequest,
    SecretString,
    StreamEvent,
    TextDelta,
    UniGatewayEngine,
    UpstreamFailed,
    UpstreamRefused,
    builtin_drivers,
)
from gateway.inference import Embedding
from tests.conftest import find_vectors
from tests.worlds.pools import (
    ASKED,
    KEY,
    STREAMED,
    TARGET,
    Echo,
    Memory,
    Upstreams,
    ask,
    endpoint,
    new_engine,
    pool,
    run,
    said,
    sent,
    started,
)
from tests.worlds.provider import PROVIDER_KEY, running_provider
from tests.worlds.upstream import Recording, scripted_upstream


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_version_may_stand_in_the_base_url_or_not(two: Upstreams, tail: str) -> None:
    """R104"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], base_url=two[0].base_url.removesuffix("/v1") + tail)))
            await ask(engine)

    run(work())
    assert two[0].got.path == "/v1/chat/completions"


@pytest.mark.parametrize("kind", list(ProviderKind))
def test_every_language_has_a_driver(kind: ProviderKind) -> None:
    """R94: `openai-compatible` and `anthropic` among them; more languages are more rows."""
    ids = [driver.driver_id for driver in builtin_drivers(HttpTransport())]
    assert kind.value in ids and {"openai-compatible", "anthropic"} < set(ids)


def test_an_anthropic_endpoint_is_asked_in_its_own_language(two: Upstreams) -> None:
    """R94, R104"""
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5",
        "content": [{"type": "text", "text": "Bonjour"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }  # fmt: skip
    two[0].play(Recording(json.dumps(answer).encode(), "application/json"))

    async def work() -> str:
        async with new_engine() as engine:
            claude = endpoint(two[0], driver_id="anthropic", provider_family="anthropic", base_url=two[0].base_url)
            await engine.upsert_pool(pool(claude))
            return await ask(engine, replace(ASKED, model="claude-opus-5"))

    assert run(work()) == "Bonjour"
    assert two[0].got.path == "/v1/messages" and two[0].got.header("x-api-key") == KEY
    assert two[0].got.header("anthropic-version") == "2023-06-01" and sent(two[0])["max_tokens"] > 0


def test_drivers_of_ones_own(two: Upstreams) -> None:
    """R95, R128: a registry takes custom drivers beside the built-in ones; later ones come too late."""
    registry, transport = InMemoryDriverRegistry(), HttpTransport()
    for driver in builtin_drivers(transport):
        registry.register(driver)
    registry.register(Echo())

    async def work() -> None:
        async with UniGatewayEngine.builder().with_driver_registry(registry).build() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], driver_id="echo")))
            assert await ask(engine) == "ep-openai-1 gpt-4o-mini"
            session = await started(engine)
            assert [chunk.delta async for chunk in session.stream] == ["ep-openai-1 gpt-4o-mini", None]
            done = await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", ["a", "b"]), TARGET)
            assert done.response.embeddings == [[1.0], [1.0]]
            await engine.upsert_pool(pool(endpoint(two[0])))
            assert await ask(engine) == "from 0"

            class Late(Echo):
                driver_id = "late"

            registry.register(Late())
            with pytest.raises(DriverNotFound, match=r"late.*before the engine is built"):
                await engine.upsert_pool(pool(endpoint(two[0], driver_id="late")))
        await transport.close()  # whoever made it

    run(work())


def test_an_engine_of_nothing_is_not_built() -> None:
    """R123: `build` may fail."""
    with pytest.raises(EngineBuildError, match="drivers"):
        UniGatewayEngine.builder().build()
    with pytest.raises(EngineBuildError):
        UniGatewayEngine.builder().with_driver_registry(InMemoryDriverRegistry()).build()


def test_the_transport_can_be_replaced() -> None:
    """R95: by any transport of httpx2; signing and headers stay the drivers' own."""
    requests = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=said("by hand").body)

    registry = InMemoryDriverRegistry()
    for driver in builtin_drivers(HttpTransport(httpx2.MockTransport(answer))):
        registry.register(driver)

    async def work() -> str:
        async with UniGatewayEngine.builder().with_driver_registry(registry).build() as engine:
            with scripted_upstream() as nobody:
                await engine.upsert_pool(pool(endpoint(nobody, base_url="https://llm.example/v1")))
            return await ask(engine)

    assert run(work()) == "by hand"
    assert str(requests[0].url) == "https://llm.example/v1/chat/completions"
    assert requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_driver_that_breaks_is_reported_and_its_error_is_the_callers(two: Upstreams) -> None:
    """R96"""

    class Broken(Echo):
        driver_id = "broken"

        async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
            yield TextDelta("so far")
            raise RuntimeError("a bug that quotes the prompt")

    registry, memory = InMemoryDriverRegistry(), Memory()
    registry.register(Broken())

    async def work() -> None:
        engine = UniGatewayEngine.builder().with_driver_registry(registry).with_hooks(memory).build()
        await engine.upsert_pool(pool(endpoint(two[0], driver_id="broken")))
        with pytest.raises(RuntimeError):
            await ask(engine)
        session = await started(engine)
        with pytest.raises(RuntimeError):
            await session.into_completion()
        assert session.completion.done()

    run(work())
    assert [report.outcome for report in memory.reports] == [Outcome.FAILED] * 2
    assert "quotes the prompt" not in repr(memory)


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"])
def test_a_key_that_no_header_carries_is_never_sent(two: Upstreams, key: str) -> None:
    """R104"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], api_key=SecretString(key))))
            with pytest.raises(NoRoute) as caught:
                await ask(engine)
            assert not key or key not in str(caught.value)

    run(work())
    assert not two[0].received


def test_a_live_provider() -> None:
    """R93, R109, R111, R112: the engine and the gateway's own mock provider, each in a process of its own."""
    with running_provider() as base_url:

        async def work() -> None:
            async with new_engine() as engine:
                one = Endpoint(
                    endpoint_id="mock",
                    provider_family="mock",
                    provider_kind=ProviderKind.OPENAI_COMPATIBLE,
                    driver_id="openai-compatible",
                    base_url=base_url,
                    api_key=SecretString(PROVIDER_KEY),
                )
                await engine.upsert_pool(pool(one))
                whole = await ask(engine, replace(ASKED, model="mock-1"))
                assert whole
                session = await started(engine, replace(STREAMED, model="mock-1"))
                assert "".join([chunk.delta or "" async for chunk in session.stream]) == whole
                usage = (await session.completion).usage
                assert usage is not None and usage.completion_tokens > 0
                turn = await engine.proxy_responses(ProxyResponsesRequest("mock-1", "Hello"), TARGET)
                assert isinstance(turn, Completed) and turn.response.raw["status"] == "completed"
                done = await engine.proxy_embeddings(ProxyEmbeddingsRequest("mock-1", ["one", "two"]), TARGET)
                assert len(done.response.embeddings) == 2 and done.response.embeddings[0] != done.response.embeddings[1]
                with pytest.raises(UpstreamRefused) as caught:
                    await ask(engine, replace(ASKED, model="nothing-like-it"))
                assert caught.value.status == 404

        run(work())


LANGUAGES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # driver -> base URL, answer, URL that is asked, header of the credential
    "openai-compatible": (
        "https://h.example", {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
        "https://h.example/v1/chat/completions", "authorization",
    ),
    "openai-responses": (
        "https://h.example",
        {"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]},
        "https://h.example/v1/responses", "authorization",
    ),
    "anthropic": (
        "https://h.example/v1", {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"},
        "https://h.example/v1/messages", "x-api-key",
    ),
    "gemini": (
        "https://h.example", {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
        "https://h.example/v1beta/models/m:generateContent", "x-goog-api-key",
    ),
    "bedrock": (
        "https://bedrock-runtime.eu-central-1.amazonaws.com",
        {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn"},
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse", "authorization",
    ),
    "ollama": (
        "http://h.example", {"message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"},
        "http://h.example/api/chat", "authorization",
    ),
}  # fmt: skip


def answered_by_hand(
    answer: dict[str, Any], one: Endpoint, request: ProxyChatRequest = ASKED
) -> tuple[str, httpx2.Request]:
    """The text of a chat over a transport that answers so, and what was sent through it."""
    requests = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=answer)

    registry = InMemoryDriverRegistry()
    for driver in builtin_drivers(HttpTransport(httpx2.MockTransport(reply))):
        registry.register(driver)

    async def work() -> str:
        engine = UniGatewayEngine.builder().with_driver_registry(registry).build()
        await engine.upsert_pool(pool(one))
        return await ask(engine, request)

    return run(work()), requests[0]


@pytest.mark.parametrize("driver_id", sorted(LANGUAGES))
def test_each_driver_asks_in_its_language(two: Upstreams, driver_id: str) -> None:
    """R94, R104: its path, its credential's header, its answer."""
    base_url, answer, url, header = LANGUAGES[driver_id]
    one = endpoint(two[0], driver_id=driver_id, base_url=base_url, provider_family=None)
    text, request = answered_by_hand(answer, one, replace(ASKED, model="m"))
    assert text == "hi" and str(request.url) == url
    assert request.headers[header].removeprefix("Bearer ") == KEY


def test_bedrock_is_asked_with_amazons_signature(two: Upstreams) -> None:
    """R94: for the region in the endpoint's host."""
    base_url, answer, _, _ = LANGUAGES["bedrock"]
    keys = AwsCredentials("AKIDEXAMPLE", "a-secret", "a-token")
    one = endpoint(two[0], driver_id="bedrock", base_url=base_url, api_key=keys, provider_family="bedrock")
    text, request = answered_by_hand(answer, one)
    signature = request.headers["authorization"]
    assert text == "hi" and "AKIDEXAMPLE/" in signature and "/eu-central-1/bedrock/aws4_request" in signature
    assert "a-secret" not in repr(one) + signature


def test_a_vendors_peculiarities_come_with_its_family(two: Upstreams) -> None:
    """R106: a family is also a row of the catalog; one that speaks another language is only a hint."""
    answer = LANGUAGES["openai-compatible"][1]
    limited = replace(ASKED, max_tokens=7)
    for family, member in (
        ("OpenAI", "max_completion_tokens"),
        ("deepseek", "max_tokens"),
        ("anthropic", "max_tokens"),
    ):
        one = endpoint(two[0], provider_family=family, base_url="https://h.example")
        _, request = answered_by_hand(answer, one, limited)
        assert json.loads(request.content)[member] == 7


@pytest.mark.parametrize(
    ("driver_id", "family", "base_url", "answer", "url"),
    [
        ("gemini", None, "https://h.example", {"embeddings": [{"values": [1, 2]}]},
         "https://h.example/v1beta/models/e:batchEmbedContents"),
        ("ollama", None, "http://h.example", {"embeddings": [[1, 2]]}, "http://h.example/api/embed"),
        ("openai-compatible", "azure", "https://r.openai.azure.com", {"data": [{"embedding": [1, 2]}]},
         "https://r.openai.azure.com/openai/deployments/e/embeddings?api-version=2024-08-01-preview"),
    ],
)  # fmt: skip
def test_embeddings_of_other_languages(
    two: Upstreams, driver_id: str, family: str | None, base_url: str, answer: dict[str, Any], url: str
) -> None:
    """R111: by the dialects that have them."""
    asked = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, json=answer)

    registry = InMemoryDriverRegistry()
    for driver in builtin_drivers(HttpTransport(httpx2.MockTransport(reply))):
        registry.register(driver)

    async def work() -> list[list[float]]:
        engine = UniGatewayEngine.builder().with_driver_registry(registry).build()
        await engine.upsert_pool(pool(endpoint(two[0], driver_id=driver_id, provider_family=family, base_url=base_url)))
        return (await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", ["one"]), TARGET)).response.embeddings

    assert run(work()) == [[1.0, 2.0]]
    assert asked == [url]


def test_versions_and_headers_of_an_account(two: Upstreams) -> None:
    """R103: an endpoint's own stand in for those of its family; Azure's paths go by the version."""
    base_url, answer, _, _ = LANGUAGES["anthropic"]
    one = endpoint(two[0], driver_id="anthropic", provider_family="anthropic", base_url=base_url,
                   api_version="2026-10-21", auth_header="authorization")  # fmt: skip
    _, request = answered_by_hand(answer, one)
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert request.headers["authorization"] == f"Bearer {KEY}" and "x-api-key" not in request.headers
    azure = endpoint(two[0], provider_family="azure", base_url="https://r.openai.azure.com", api_version="v1")
    _, request = answered_by_hand(LANGUAGES["openai-compatible"][1], azure)
    assert str(request.url) == "https://r.openai.azure.com/openai/v1/chat/completions"
    assert request.headers["api-key"] == KEY
    with pytest.raises(NoRoute, match="api_version"):
        answered_by_hand({}, replace(azure, api_version="yesterday"))
    with pytest.raises(NoRoute, match="region"):
        answered_by_hand({}, endpoint(two[0], driver_id="bedrock", provider_family=None,
                                      base_url="https://proxy/", api_key=AwsCredentials("a", "b")))  # fmt: skip


def test_recorded_vectors_are_read_in_both_forms() -> None:
    """R111: those that OpenAI sent, and the same in base64."""
    recordings = sorted((find_vectors() / "dialects" / "openai-embeddings").glob("*.response.json"))
    assert recordings
    for path in recordings:
        answer = json.loads(path.read_text())
        plain = openai_embeddings_provider.decode_answer(json.dumps(answer).encode())
        vectors = [event.vector for event in plain if isinstance(event, Embedding)]
        assert len(vectors) == len(answer["data"]) and all(len(vector) > 1 for vector in vectors)
        for row, vector in zip(answer["data"], vectors, strict=True):
            row["embedding"] = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        coded = openai_embeddings_provider.decode_answer(json.dumps(answer).encode())
        again = [event.vector for event in coded if isinstance(event, Embedding)]
        assert [len(vector) for vector in again] == [len(vector) for vector in vectors]
        assert all(
            abs(a - b) < 1e-6 for one, two in zip(vectors, again, strict=True) for a, b in zip(one, two, strict=True)
        )


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["AACAPw==", "AADAfw==", "?", ""]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "embedding", "index", "usage", "error", "model"]), inner)
        ),
        max_leaves=9,
    )
)
def test_no_embeddings_raise_anything_but_a_failure(answer: Any) -> None:
    with suppress(UpstreamFailed):
        openai_embeddings_provider.decode_answer(json.dumps(answer).encode())
