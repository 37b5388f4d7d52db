"""The engine over real sockets: pools, chats, streams, embeddings, reports and hooks."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any, TypeVar

import httpx2
import pytest

from gateway.engine import (
    Completed,
    DriverNotFound,
    EmbeddingsResponse,
    Endpoint,
    EngineBuildError,
    ExecutionTarget,
    Finish,
    GatewayError,
    HttpTransport,
    InferenceRequest,
    InMemoryDriverRegistry,
    InvalidRequest,
    Limits,
    LoadBalancingStrategy,
    Message,
    MessageRole,
    ModelPolicy,
    NoAvailableEndpoint,
    NoRoute,
    Outcome,
    PoolNotFound,
    ProviderKind,
    ProviderPool,
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    ProxyResponsesRequest,
    RequestKind,
    RetryPolicy,
    SecretString,
    StreamAborted,
    StreamEvent,
    Streaming,
    TextDelta,
    UniGatewayEngine,
    UpstreamFailed,
    UpstreamRefused,
    Usage,
    builtin_drivers,
)
from gateway.engine.core.attempts import MAX_ATTEMPTS
from tee.errors import Malformed
from tests.worlds.pools import (
    ASKED,
    KEY,
    NO_PAUSE,
    STREAMED,
    TARGET,
    Memory,
    ask,
    endpoint,
    new_engine,
    pool,
    refused,
    said,
    streamed,
)
from tests.worlds.provider import PROVIDER_KEY, running_provider
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

T = TypeVar("T")
Upstreams = tuple[ScriptedUpstream, ScriptedUpstream]


@pytest.fixture(scope="module")
def providers() -> Iterator[Upstreams]:
    with ExitStack() as stack:
        yield stack.enter_context(scripted_upstream()), stack.enter_context(scripted_upstream())


@pytest.fixture
def two(providers: Upstreams) -> Upstreams:
    for number, provider in enumerate(providers):
        provider.play(said(f"from {number}"))
    return providers


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def sent(upstream: ScriptedUpstream) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(upstream.got.body)
    return body


async def started(engine: UniGatewayEngine, request: ProxyChatRequest = STREAMED) -> Streaming[Any]:
    session = await engine.proxy_chat(request, TARGET)
    assert isinstance(session, Streaming)
    return session


def test_a_whole_chat_answer_and_its_report(two: Upstreams) -> None:
    """R93, R94, R97, R107, R108, R109: an engine of the built-in drivers answers a chat, and reports what it took."""
    two[0].play(said("Hello yourself"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            request = ProxyChatRequest(
                model="gpt-4o-mini",
                messages=[Message(MessageRole.SYSTEM, "Be kind"), Message(role=MessageRole.USER, content="Hello")],
                temperature=0.7,
                max_tokens=50,
            )
            session = await engine.proxy_chat(request, ExecutionTarget.pool("my-service"))
        assert isinstance(session, Completed)
        assert session.response.output_text == "Hello yourself"
        assert session.response.model == "gpt-4o-mini-2024"
        report = session.report
        assert report.request_id.startswith("req-") and report.kind is RequestKind.CHAT
        assert report.usage == Usage(9, 3) and report.usage.total_tokens == 12
        assert (report.pool_id, report.endpoint_id, report.outcome) == ("my-service", "ep-openai-1", Outcome.SUCCEEDED)
        assert [(each.endpoint_id, each.status) for each in report.attempts] == [("ep-openai-1", Outcome.SUCCEEDED)]
        assert report.latency_ms >= report.attempts[0].latency_ms >= 0

    run(work())
    assert two[0].got.path == "/v1/chat/completions"
    assert two[0].got.credential == f"Bearer {KEY}"
    messages = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hello"}]
    assert sent(two[0]) == {
        "model": "gpt-4o-mini", "messages": messages, "temperature": 0.7, "max_completion_tokens": 50,
    }  # fmt: skip


def test_a_streamed_chat_answer_and_its_completion(two: Upstreams) -> None:
    """R109, R97: the chunks come in order, and the completion gives the report."""
    two[0].play(replace(streamed("Hel", "lo"), piece=7))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            session = await started(engine)
            assert not session.completion.done()
            assert "".join([chunk.delta or "" async for chunk in session.stream]) == "Hello"
            report = await session.completion
        assert report.request_id == session.request_id
        assert report.usage == Usage(9, 2) and report.outcome is Outcome.SUCCEEDED
        assert report.first_event_ms is not None and report.first_event_ms <= report.latency_ms

    run(work())
    assert sent(two[0])["stream_options"] == {"include_usage": True}


def test_completion_without_reading(two: Upstreams) -> None:
    """R109: whoever wants the report only reads the rest by `into_completion`."""
    two[0].play(streamed("a", "b", "c"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            assert (await (await started(engine)).into_completion()).usage == Usage(9, 3)

    run(work())


def test_leaving_a_stream_tells_the_provider_to_stop(two: Upstreams) -> None:
    """R109: the connection is let go, and the report says `aborted`."""
    two[0].play(replace(streamed("endless"), ending="repeat"))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            async with await started(engine) as session:
                async for chunk in session.stream:
                    if chunk.delta:
                        break
            assert (await session.completion).outcome is Outcome.ABORTED
            async with await started(engine) as unread:
                pass
            assert (await unread.completion).attempts[0].status is Outcome.ABORTED

    run(work())
    assert two[0].abandoned.wait(20)
    assert [report.outcome for report in memory.reports] == [Outcome.ABORTED] * 2


def test_a_stream_that_nobody_holds_any_more_is_ended(two: Upstreams) -> None:
    two[0].play(replace(streamed("endless"), ending="repeat"))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            session = await started(engine)
            async for _ in session.stream:
                break
            del session
            while not memory.reports:
                await asyncio.sleep(0.01)

    run(work())
    assert memory.reports[0].outcome is Outcome.ABORTED


@pytest.mark.parametrize("end", ["cut", "frame"])
def test_a_stream_that_breaks_off_is_never_taken_over(two: Upstreams, end: str) -> None:
    """R97, R109: what was given out stays; the stream raises, the report names the error, nobody else is asked."""
    half = streamed("half", end=False)
    frame = b'data: {"error": {"message": "out of luck", "type": "server_error"}}\n\n'
    two[0].play(half if end == "cut" else replace(half, body=half.body + frame, ending="end"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            session = await started(engine)
            heard = []
            with pytest.raises(StreamAborted):
                async for chunk in session.stream:
                    heard.append(chunk.delta)
            report = await session.completion
        assert "half" in heard
        assert report.outcome is Outcome.FAILED and report.error
        assert [each.status for each in report.attempts] == [Outcome.FAILED]

    run(work())
    assert not two[1].received


def test_a_stream_that_fails_before_its_first_word_goes_elsewhere(two: Upstreams) -> None:
    two[0].play(Recording(b'data: {"error": {"message": "no", "type": "server_error"}}\n\n'))
    two[1].play(streamed("else", "where"))

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            session = await started(engine)
            text = "".join([chunk.delta or "" async for chunk in session.stream])
            assert (await session.completion).endpoint_id == "ep-2"
            return text

    assert run(work()) == "elsewhere"
    assert len(two[0].received) == NO_PAUSE.attempts


def test_metadata_is_merged_and_the_request_wins(two: Upstreams) -> None:
    """R110, R126, R97: tags of pool, endpoint and request in the report; what is set before the call counts."""
    memory = Memory()
    tags = {"who": "request", "trace_id": "t-abc"}

    async def work() -> None:
        async with new_engine(memory) as engine:
            one = endpoint(two[0], metadata={"who": "endpoint", "level": "endpoint", "zone": "b"})
            await engine.upsert_pool(pool(one, metadata={"who": "pool", "level": "pool", "team": "x"}))
            session = await engine.proxy_chat(replace(ASKED, metadata=tags), TARGET)
            tags["trace_id"] = "too late"
        assert isinstance(session, Completed)
        wanted = {"who": "request", "trace_id": "t-abc", "level": "endpoint", "zone": "b", "team": "x"}
        assert session.report.metadata == memory.started[0].metadata == wanted

    run(work())
    assert b"t-abc" not in two[0].got.body and "t-abc" not in two[0].got.head


def test_hooks_hear_of_every_attempt_and_of_the_end(two: Upstreams) -> None:
    """R96: started and finished for each attempt, and one report, in this order."""
    two[0].play(refused(503))
    memory, order = Memory(), []

    class Second(Memory):
        async def on_attempt_started(self, event: Any) -> None:
            order.append(f"start {event.endpoint_id}")

        async def on_attempt_finished(self, event: Any) -> None:
            order.append(f"{event.attempt.status} {event.attempt.status_code}")

        async def on_request_finished(self, report: Any) -> None:
            order.append(report.outcome)

    async def work() -> None:
        builder = UniGatewayEngine.builder().with_builtin_http_drivers()
        async with builder.with_hooks(memory).with_hooks(Second()).build() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            assert await ask(engine) == "from 1"

    run(work())
    assert order == [
        "start ep-openai-1", "retried 503", "start ep-openai-1", "retried 503", "start ep-2", "succeeded None",
        "succeeded",
    ]  # fmt: skip
    assert [event.attempt_index for event in memory.started] == [0, 1, 2]
    assert [event.attempt.error for event in memory.finished] == ["refused with 503", "refused with 503", None]
    assert len({event.request_id for event in memory.started} | {memory.reports[0].request_id}) == 1
    assert len(memory.reports[0].attempts) == 3


def test_hooks_hear_of_a_request_that_failed(two: Upstreams) -> None:
    """R96, R97: a refusal of the request itself is the caller's at once, and is reported too."""
    two[0].play(refused(400, "bad_thing"))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            with pytest.raises(UpstreamRefused, match="refused with 400") as caught:
                await ask(engine)
            assert (caught.value.status, caught.value.code) == (400, "bad_thing")

    run(work())
    report = memory.reports[0]
    assert (report.outcome, report.error, len(report.attempts)) == (Outcome.FAILED, "refused with 400", 1)
    assert not two[1].received


@pytest.mark.parametrize(
    ("first", "calls"),
    [(refused(401), 1), (refused(429, retry_after="30"), 1), (refused(529), 2), (said("", choices=[]), 2)],
)
def test_who_is_asked_next(two: Upstreams, first: Recording, calls: int) -> None:
    """R102: a key that is refused or spent is left at once, an endpoint that fails is tried again, then left."""
    two[0].play(first)

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            return await ask(engine)

    assert run(work()) == "from 1"
    assert len(two[0].received) == calls


def test_when_all_fail_the_last_word_is_raised_and_keys_stay_hidden(two: Upstreams) -> None:
    """R104: neither an error nor a report repeats a key, nor the provider's word on it as the client's 401."""
    two[0].play(refused(401))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            with pytest.raises(UpstreamFailed) as caught:
                await ask(engine)
            assert (caught.value.status, caught.value.code) == (502, "upstream_refused_key")

    run(work())
    assert KEY not in repr(memory)


def test_an_endpoint_that_keeps_failing_is_spared(two: Upstreams) -> None:
    """R102: its breaker opens, and the others are asked first, whatever the strategy says."""
    two[0].play(refused(500))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2"), retry_policy=RetryPolicy(1)))
            for _ in range(12):
                assert await ask(engine) == "from 1"

    run(work())
    assert 1 <= len(two[0].received) < 6


def test_round_robin_is_the_default(two: Upstreams) -> None:
    """R102: a pool that says nothing goes round; `RetryPolicy()` is the default policy."""
    bare = ProviderPool("my-service", [endpoint(two[0]), endpoint(two[1], "ep-2")])
    assert bare.load_balancing is LoadBalancingStrategy.ROUND_ROBIN and bare.retry_policy == RetryPolicy()

    async def work() -> list[str]:
        async with new_engine() as engine:
            await engine.upsert_pool(bare)
            return [await ask(engine) for _ in range(4)]

    assert run(work()) == ["from 0", "from 1", "from 0", "from 1"]


@pytest.mark.parametrize("strategy", [LoadBalancingStrategy.COST, LoadBalancingStrategy.WEIGHTED])
def test_other_strategies_choose_by_what_endpoints_say(two: Upstreams, strategy: LoadBalancingStrategy) -> None:
    """R102"""
    dear = endpoint(two[0], weight=0, micro_usd_per_million=9)
    cheap = endpoint(two[1], "ep-2", weight=5, micro_usd_per_million=1)

    async def work() -> list[str]:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(dear, cheap, load_balancing=strategy))
            return [await ask(engine) for _ in range(3)]

    assert run(work()) == ["from 1"] * 3


def test_the_least_busy_endpoint_is_asked(two: Upstreams) -> None:
    """R102: calls that are open count, and no longer once they have ended."""
    two[0].play(replace(streamed("open"), ending="hold"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(
                pool(endpoint(two[0]), endpoint(two[1], "ep-2"), load_balancing=LoadBalancingStrategy.LEAST_BUSY)
            )
            async with await started(engine) as held:
                assert [await ask(engine) for _ in range(3)] == ["from 1"] * 3
            assert (await held.completion).endpoint_id == "ep-openai-1"
            two[0].play(said("from 0"))
            assert "from 0" in [await ask(engine) for _ in range(2)]

    run(work())


def test_pools_must_be_there_first(two: Upstreams) -> None:
    """R98, R124: `upsert_pool` is the only way in; without it PoolNotFound, before anything else happens."""
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            with pytest.raises(PoolNotFound, match=r"my-service.*upsert_pool") as caught:
                await ask(engine)
            assert isinstance(caught.value, GatewayError)
            assert (caught.value.status, caught.value.code) == (404, "pool_not_found")
            assert await engine.get_pool("my-service") is None
            mine = pool(endpoint(two[0]))
            await engine.upsert_pool(mine)
            assert await engine.get_pool("my-service") is mine

    run(work())
    assert not memory.reports


def test_pools_come_at_the_start_and_change_at_run_time(two: Upstreams) -> None:
    """R99, R100: all are upserted once; an update counts from the next request on, and so does a removal."""

    async def work() -> None:
        async with new_engine() as engine:
            for name in ("a", "b"):
                await engine.upsert_pool(replace(pool(endpoint(two[0])), pool_id=name))
            assert [each.pool_id for each in await engine.list_pools()] == ["a", "b"]
            assert await ask(engine, target=ExecutionTarget.pool("a")) == "from 0"
            await engine.upsert_pool(replace(pool(endpoint(two[1])), pool_id="a"))
            assert await ask(engine, target=ExecutionTarget.pool("a")) == "from 1"
            assert await ask(engine, target=ExecutionTarget.pool("b")) == "from 0"
            assert await engine.remove_pool("a") is True
            assert await engine.remove_pool("a") is False
            with pytest.raises(PoolNotFound):
                await ask(engine, target=ExecutionTarget.pool("a"))

    run(work())


def test_a_stream_outlives_the_removal_of_its_pool(two: Upstreams) -> None:
    """R100"""
    two[0].play(streamed("still", "here"))

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            session = await started(engine)
            await engine.remove_pool("my-service")
            return "".join([chunk.delta or "" async for chunk in session.stream])

    assert run(work()) == "stillhere"


def test_a_pool_is_what_the_seed_says() -> None:
    """R101, R103, R104, R105: members and defaults; the key shows itself only to who asks for it by name."""
    key = SecretString("sk-very-secret")
    one = Endpoint(
        endpoint_id="ep-openai-1",
        provider_name="openai-main",
        source_endpoint_id="openai-main",
        provider_family="openai",
        provider_kind=ProviderKind.OPENAI_COMPATIBLE,
        driver_id="openai-compatible",
        base_url="https://api.openai.com",
        api_key=key,
    )
    whole = ProviderPool(
        pool_id="my-service",
        load_balancing=LoadBalancingStrategy.ROUND_ROBIN,
        retry_policy=RetryPolicy(),
        metadata={},
        endpoints=[one],
    )
    assert one.model_policy == ModelPolicy() and one.enabled and one.metadata == {}
    assert ModelPolicy().resolve("any") == "any"
    for shown in (repr(whole), str(key), f"{key}", repr(asdict(whole))):
        assert "very-secret" not in shown and "redacted" in shown
    assert key.expose_secret() == "sk-very-secret" and key == SecretString("sk-very-secret") != SecretString("other")
    with pytest.raises(TypeError):
        json.dumps({"key": key})


@pytest.mark.parametrize(
    "wrong", [{"base_url": "api.openai.com"}, {"base_url": "https://u:p@h"}, {"endpoint_id": ""}, {"weight": -1}]
)
def test_a_pool_that_could_only_fail_is_refused(two: Upstreams, wrong: dict[str, Any]) -> None:
    """R98"""

    async def work() -> None:
        async with new_engine() as engine:
            with pytest.raises(Malformed):
                await engine.upsert_pool(pool(endpoint(two[0], **wrong)))
            with pytest.raises(Malformed):
                await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1])))  # the same id twice
            assert await engine.list_pools() == []

    run(work())


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_version_may_stand_in_the_base_url_or_not(two: Upstreams, tail: str) -> None:
    """R104"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], base_url=two[0].base_url.removesuffix("/v1") + tail)))
            await ask(engine)

    run(work())
    assert two[0].got.path == "/v1/chat/completions"


@pytest.mark.parametrize("hint", ["EP-2", "ep-2-NAME", " ep-2-source ", "DeepSeek"])
def test_a_hint_means_an_endpoint_by_any_of_its_names(two: Upstreams, hint: str) -> None:
    """R106: id, name, source and family, in any case of letters."""

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2", provider_family="deepseek")))
            return await ask(engine, target=ExecutionTarget.pool("my-service", hint=hint))

    assert run(work()) == "from 1"


def test_a_hint_that_means_nobody_is_refused_and_not_passed_over(two: Upstreams) -> None:
    """R106"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            with pytest.raises(NoAvailableEndpoint, match="hint"):
                await ask(engine, target=ExecutionTarget.pool("my-service", hint="anthropic"))

    run(work())
    assert not two[0].received


def test_models_are_renamed_restricted_and_filled_in(two: Upstreams) -> None:
    """R105: aliases, an endpoint's own models, and the one for requests that name none."""
    large = ModelPolicy(model_mapping={"large": "vendor/large-v2"}, allowed_models=frozenset({"large"}))
    small = ModelPolicy(default_model="small", model_mapping={"small": "small-v1"})

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(
                pool(endpoint(two[0], model_policy=large), endpoint(two[1], "ep-2", model_policy=small))
            )
            assert await ask(engine, replace(ASKED, model="large")) == "from 0"
            assert await ask(engine, replace(ASKED, model="")) == "from 1"
            await engine.upsert_pool(pool(endpoint(two[0], model_policy=large)))
            with pytest.raises(NoAvailableEndpoint):
                await ask(engine, replace(ASKED, model="other"))

    run(work())
    assert sent(two[0])["model"] == "vendor/large-v2" and sent(two[1])["model"] == "small-v1"


def test_a_disabled_endpoint_is_not_asked(two: Upstreams) -> None:
    """R103"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], enabled=False), endpoint(two[1], "ep-2")))
            assert await ask(engine) == "from 1"
            await engine.upsert_pool(pool(endpoint(two[0], enabled=False)))
            with pytest.raises(NoAvailableEndpoint):
                await ask(engine)

    run(work())


@pytest.mark.parametrize("form", [None, "float", "base64"])
def test_embeddings_come_as_numbers(two: Upstreams, form: str | None) -> None:
    """R111: in the order of the inputs, whatever order and form the provider sends them in."""
    vectors = [[0.5, -1.0, 2.0], [0.0, 0.25, 4.0]]
    coded = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in vectors]
    rows = [
        {"object": "embedding", "index": index, "embedding": (coded if form == "base64" else vectors)[index]}
        for index in (1, 0)
    ]
    answer = {"object": "list", "data": rows, "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    two[0].play(Recording(json.dumps(answer).encode(), "application/json"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            request = ProxyEmbeddingsRequest("text-embedding-3-small", ["hello", "world"], form, {"user_id": "u-1"})
            done = await engine.proxy_embeddings(request, TARGET)
        assert done.response.embeddings == vectors
        assert (done.report.kind, done.report.usage) == (RequestKind.EMBEDDINGS, Usage(4, 0))
        assert done.report.metadata == {"user_id": "u-1"}

    run(work())
    assert two[0].got.path == "/v1/embeddings"
    wanted = {"model": "text-embedding-3-small", "input": ["hello", "world"]}
    assert sent(two[0]) == wanted | ({} if form is None else {"encoding_format": form})


@pytest.mark.parametrize(
    "data",
    [[], [{"embedding": [1]}, {"embedding": [1]}], [{"index": 5, "embedding": [1]}], [{"embedding": "?"}],
     [{"embedding": ["x"]}], [{"embedding": None}]],
)  # fmt: skip
def test_embeddings_that_are_none_are_an_error(two: Upstreams, data: list[Any]) -> None:
    """R111"""
    two[0].play(Recording(json.dumps({"data": data}).encode(), "application/json"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            with pytest.raises(UpstreamFailed):
                await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", ["one"]), TARGET)
            with pytest.raises(InvalidRequest):
                await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", []), TARGET)

    run(work())


def test_where_no_embeddings_are_another_endpoint_may_have_them(two: Upstreams) -> None:
    """R111: Anthropic offers none."""
    two[1].play(Recording(b'{"data": [{"index": 0, "embedding": [1]}]}', "application/json"))
    claude = endpoint(two[0], driver_id="anthropic", provider_family="anthropic")

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(claude, endpoint(two[1], "ep-2")))
            done = await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", ["one"]), TARGET)
            assert done.response.embeddings == [[1.0]] and done.report.endpoint_id == "ep-2"
            await engine.upsert_pool(pool(claude))
            with pytest.raises(NoRoute):
                await engine.proxy_embeddings(ProxyEmbeddingsRequest("e", ["one"]), TARGET)

    run(work())
    assert not two[0].received


def test_responses_of_a_provider_that_has_none(two: Upstreams) -> None:
    """R112: the answer has the shape of OpenAI's Responses, whatever the provider speaks."""
    two[0].play(said("Paris"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], provider_family="vllm")))
            request = ProxyResponsesRequest(model="gpt-4.1-mini", input="What is the capital of France?")
            session = await engine.proxy_responses(request, TARGET)
        assert isinstance(session, Completed)
        assert session.response.output_text == "Paris"
        assert session.response.raw["object"] == "response"
        assert session.response.raw["output"][0]["content"][0]["text"] == "Paris"
        assert session.report.kind is RequestKind.RESPONSES

    run(work())
    assert two[0].got.path == "/v1/chat/completions"


def test_responses_are_asked_as_such_where_the_provider_speaks_them(two: Upstreams) -> None:
    """R112: of OpenAI itself, members that only its language has included."""
    part = {"type": "output_text", "text": "Paris"}
    answer = {
        "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4.1-mini",
        "output": [{"type": "message", "role": "assistant", "content": [part]}],
    }  # fmt: skip
    two[0].play(Recording(json.dumps(answer).encode(), "application/json"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            request = ProxyResponsesRequest(
                "gpt-4.1-mini", [{"role": "user", "content": "?"}], extra={"truncation": "auto"}
            )
            session = await engine.proxy_responses(request, TARGET)
        assert isinstance(session, Completed) and session.response.output_text == "Paris"

    run(work())
    assert two[0].got.path == "/v1/responses"
    assert sent(two[0])["truncation"] == "auto" and sent(two[0])["store"] is False


def test_streamed_responses_are_typed_events(two: Upstreams) -> None:
    """R112"""
    two[0].play(streamed("Pa", "ris"))

    async def work() -> list[Any]:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], provider_family="vllm")))
            session = await engine.proxy_responses(ProxyResponsesRequest("m", "?", stream=True), TARGET)
            assert isinstance(session, Streaming)
            events = [event async for event in session.stream]
            assert (await session.completion).usage == Usage(9, 2)
            return events

    events = run(work())
    deltas = [event.data["delta"] for event in events if event.event_type == "response.output_text.delta"]
    assert "".join(deltas) == "Paris"
    assert events[0].event_type == "response.created" and events[-1].event_type == "response.completed"


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


class Echo:
    """A driver that asks nobody."""

    driver_id = "echo"

    async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        yield TextDelta(f"{endpoint.endpoint_id} {request.model}")
        yield Finish("stop")

    async def embed(self, endpoint: Endpoint, request: ProxyEmbeddingsRequest) -> EmbeddingsResponse:
        return EmbeddingsResponse([[1.0]] * len(request.input), request.model)


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


def test_a_caller_that_gives_up_is_reported(two: Upstreams) -> None:
    """R96"""
    two[0].play(replace(said("never whole"), ending="hold"))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            task = asyncio.create_task(ask(engine))
            while not two[0].received:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(work())
    assert two[0].abandoned.wait(20)
    assert memory.reports[0].outcome is Outcome.ABORTED
    assert memory.reports[0].attempts[0].status is Outcome.ABORTED


def test_turns_that_no_language_could_say_are_refused(two: Upstreams) -> None:
    """R107"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            for messages in ([], [Message("narrator", "Once")], [Message(MessageRole.TOOL, "words")]):
                with pytest.raises(InvalidRequest):
                    await ask(engine, replace(ASKED, messages=messages))
            with pytest.raises(InvalidRequest):
                await engine.proxy_responses(ProxyResponsesRequest("m", input=None), TARGET)
            with pytest.raises(InvalidRequest):
                await engine.proxy_responses(ProxyResponsesRequest("m", input=object()), TARGET)

    run(work())
    assert not two[0].received


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


class Slow(Echo):
    """Says its head, and then nothing for ever."""

    driver_id = "slow"

    def __init__(self, *head: StreamEvent) -> None:
        self.head = head

    async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        for event in self.head:
            yield event
        await asyncio.Event().wait()


def slow_engine(*head: StreamEvent, **limits: int) -> UniGatewayEngine:
    registry = InMemoryDriverRegistry()
    registry.register(Echo())
    registry.register(Slow(*head))
    return UniGatewayEngine.builder().with_driver_registry(registry).with_limits(Limits(**limits)).build()


def test_a_stream_that_does_not_begin_is_left_for_another(two: Upstreams) -> None:
    """R102: whoever is too slow to begin is not waited for; nothing had been given out."""
    slow, quick = endpoint(two[0], driver_id="slow"), endpoint(two[1], "ep-2", driver_id="echo")

    async def work() -> None:
        engine = slow_engine(Usage(1, 0), first_token_seconds=1)
        await engine.upsert_pool(pool(slow, quick))
        session = await started(engine)
        report = await session.into_completion()
        assert report.endpoint_id == "ep-2"
        assert [each.status for each in report.attempts] == [Outcome.RETRIED, Outcome.SUCCEEDED]
        assert report.attempts[0].error == "The provider did not answer in time."

    run(work())


def test_no_answer_takes_for_ever(two: Upstreams) -> None:
    """R97, R109: whole or streamed, an answer that does not end in time is an error."""

    async def work() -> None:
        engine = slow_engine(TextDelta("so far"), total_seconds=1)
        await engine.upsert_pool(pool(endpoint(two[0], driver_id="slow")))
        with pytest.raises(UpstreamFailed) as whole:
            await ask(engine)
        session = await started(engine)
        with pytest.raises(StreamAborted) as cut:
            await session.into_completion()
        assert whole.value.code == cut.value.code == "upstream_timeout"
        assert (await session.completion).outcome is Outcome.FAILED

    run(work())


def test_a_request_is_not_a_storm(two: Upstreams) -> None:
    """R102: however many endpoints fail, a request makes a bounded number of attempts."""
    two[0].play(refused(500))
    many = [endpoint(two[0], f"ep-{number}") for number in range(40)]

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(*many, retry_policy=RetryPolicy(1)))
            with pytest.raises(UpstreamRefused):
                await ask(engine)

    run(work())
    assert len(two[0].received) == MAX_ATTEMPTS


def test_the_error_of_the_first_choice_is_shown(two: Upstreams) -> None:
    """R102: what a second choice could not even be asked hides nothing."""
    two[0].play(refused(503))
    claude = endpoint(two[1], "ep-2", driver_id="anthropic", api_key=SecretString(""), provider_family="anthropic")

    async def work() -> None:
        async with new_engine() as engine:
            for order in ((endpoint(two[0]), claude), (claude, endpoint(two[0]))):
                await engine.upsert_pool(pool(*order))
                several = replace(ASKED, rest=InferenceRequest("engine", "", (), choices=2))
                with pytest.raises(UpstreamRefused, match="503"):
                    await ask(engine, several)

    run(work())


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
