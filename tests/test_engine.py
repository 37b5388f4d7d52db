"""The engine over real sockets: chats, streams, responses, embeddings, reports and hooks."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from gateway.engine import (
    Completed,
    Endpoint,
    ExecutionTarget,
    GatewayError,
    InferenceRequest,
    InMemoryDriverRegistry,
    InvalidRequest,
    Limits,
    Message,
    MessageRole,
    NoRoute,
    Outcome,
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    ProxyResponsesRequest,
    RequestKind,
    StreamAborted,
    StreamEvent,
    Streaming,
    TextDelta,
    UniGatewayEngine,
    UpstreamFailed,
    UpstreamRefused,
    Usage,
)
from tests.worlds.pools import (
    ASKED,
    KEY,
    NO_PAUSE,
    TARGET,
    Echo,
    Memory,
    Upstreams,
    ask,
    endpoint,
    new_engine,
    pool,
    refused,
    run,
    said,
    sent,
    slow_engine,
    started,
    streamed,
)
from tests.worlds.upstream import Recording


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


def test_time_passes_while_nobody_reads(two: Upstreams) -> None:
    """R109: a stream that its reader leaves lying is over in time, too."""

    class Endless(Echo):
        driver_id = "endless"

        async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
            while True:
                yield TextDelta("more")

    registry = InMemoryDriverRegistry()
    registry.register(Endless())

    async def work() -> None:
        builder = UniGatewayEngine.builder().with_driver_registry(registry)
        engine = builder.with_limits(Limits(total_seconds=1)).build()
        await engine.upsert_pool(pool(endpoint(two[0], driver_id="endless")))
        session = await started(engine)
        await anext(session.stream)  # what had come before is there
        await anext(session.stream)
        await asyncio.sleep(1.1)
        with pytest.raises(StreamAborted) as caught:
            await session.into_completion()
        assert caught.value.code == "upstream_timeout"

    run(work())


def test_a_reader_that_is_cancelled_is_not_told_of_a_timeout(two: Upstreams) -> None:
    """R96, R109"""

    async def work() -> None:
        engine = slow_engine(TextDelta("so far"))
        await engine.upsert_pool(pool(endpoint(two[0], driver_id="slow")))
        session = await started(engine)
        reader = asyncio.create_task(session.into_completion())
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert (await session.completion).outcome is Outcome.ABORTED

    run(work())


def test_nothing_is_left_behind(two: Upstreams) -> None:
    """R96: after answers, refusals, cuts and streams that nobody reads no task is left, and every attempt has ended."""
    plays = [said("x"), streamed("a"), refused(500), streamed("cut", end=False), refused(400), Recording(b"{")]
    memory = Memory()

    async def one(engine: UniGatewayEngine, number: int) -> None:
        two[0].recording = plays[number % len(plays)]
        with suppress(GatewayError):
            if number % 4 == 0:
                await ask(engine)
                return
            session = await started(engine)
            if number % 4 == 1:
                await session.into_completion()
            elif number % 4 == 2:
                await session.aclose()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            for number in range(120):
                await one(engine, number)
            while len(memory.reports) < 120:
                await asyncio.sleep(0.01)
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.01)

    run(work())
    assert len(memory.started) == len(memory.finished) >= 120
    assert len({report.request_id for report in memory.reports}) == len(memory.reports) == 120
    assert {report.outcome for report in memory.reports} == {Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABORTED}
