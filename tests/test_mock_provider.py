"""The mock provider behaves as the OpenAI API does, and breaks as it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from gateway.dialects.openai_chat import decode_answer
from gateway.dialects.openai_chat_stream import Decoder
from gateway.http.mock_provider import mock_provider_app
from gateway.inference import Failure, Finish, ReasoningDelta, Start, StreamEvent, TextDelta, ToolCallDelta, Usage

HANG_UP = 0.2  # seconds
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}  # fmt: skip


def http() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=mock_provider_app("k"))
    return httpx2.AsyncClient(transport=transport, base_url="http://mock", headers={"authorization": "Bearer k"})


def ask(said: str = "hello there", path: str = "/v1/chat/completions", **fields: Any) -> httpx2.Response:
    body = {"model": "mock-1", "messages": [{"role": "user", "content": said}], **fields}

    async def post() -> httpx2.Response:
        async with http() as client:
            return await client.post(path, json=body)

    return asyncio.run(post())


def events(**fields: Any) -> list[StreamEvent]:
    decoder = Decoder()
    response = ask(stream=True, **fields)
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *rest = decoder.push(response.content) + decoder.finish()
    assert isinstance(first, Start)
    return rest


def raw(body: dict[str, Any], stop_after: int = 1000) -> list[dict[str, Any]]:
    """Drive the app by hand, as a server would, and hang up after so many messages or when it waits for ever."""
    sent: list[dict[str, Any]] = []
    inbox = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
             "headers": [(b"authorization", b"Bearer k")]}  # fmt: skip

    async def drive() -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if inbox:
                return inbox.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) >= stop_after:
                gone.set()

        async def hang_up() -> None:
            await asyncio.sleep(HANG_UP)
            gone.set()

        await asyncio.gather(asyncio.wait_for(mock_provider_app("k")(scope, receive, send), 5), hang_up())

    asyncio.run(drive())
    return sent


def test_buffered_answer_echoes_and_says_that_it_is_a_mock() -> None:
    response = ask()
    answer = response.json()
    assert "mock" in answer["choices"][0]["message"]["content"]
    assert "hello there" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert ask().content == response.content


def test_stream_says_the_same_and_gives_usage_only_if_asked() -> None:
    told = decode_answer(ask().content)
    streamed = events(stream_options={"include_usage": True})
    assert isinstance(told[1], TextDelta)
    assert "".join(event.text for event in streamed if isinstance(event, TextDelta)) == told[1].text
    assert streamed[-2:] == told[-2:]
    assert isinstance(streamed[-1], Usage)
    assert not any(isinstance(event, Usage) for event in events())


def test_tools_are_called_in_fragments_and_their_results_become_text() -> None:
    streamed = events(tools=[TOOL])
    calls = [event for event in streamed if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "weather"
    assert len(calls) > 2
    assert json.loads("".join(call.arguments for call in calls)) == {"city": "mock", "days": 1}
    assert streamed[-1] == Finish("tool_calls", "tool_calls")
    message = ask(tools=[TOOL]).json()["choices"][0]["message"]
    assert message["content"] is None
    after = [{"role": "user", "content": "x"}, message, {"role": "tool", "tool_call_id": "t", "content": "sunny"}]
    answer = ask(tools=[TOOL], messages=after).json()["choices"][0]
    assert "sunny" in answer["message"]["content"]
    assert answer["finish_reason"] == "stop"
    assert ask(tools=[TOOL], tool_choice="none").json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "garbage", [[3], [{}], [{"function": 1}], [{"function": {"name": "f", "parameters": {"properties": {"a": "b"}}}}]]
)
def test_garbage_tools_do_not_break_it(garbage: list[Any]) -> None:
    assert ask(tools=garbage).status_code == 200


def test_reasoning_length_and_json() -> None:
    assert isinstance(events(reasoning_effort="low")[0], ReasoningDelta)
    assert isinstance(events(model="mock-reasoner")[0], ReasoningDelta)
    assert not any(
        isinstance(event, ReasoningDelta) for event in events(model="mock-reasoner", reasoning_effort="none")
    )
    short = ask(max_tokens=2).json()
    assert (short["choices"][0]["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 2)
    assert json.loads(ask(response_format={"type": "json_object"}).json()["choices"][0]["message"]["content"])["mock"]
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "boolean"}}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    assert json.loads(ask(response_format=wanted).json()["choices"][0]["message"]["content"]) == {"a": [True]}


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limit_exceeded"), (500, None), (401, "invalid_api_key"), (400, None)]
)
def test_errors_on_request(status: int, code: str | None) -> None:
    for stream in (False, True):
        response = ask(f"please mock:error={status}", stream=stream)
        assert response.status_code == status
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
        assert response.json()["error"]["code"] == code
        assert ("retry-after" in response.headers) == (status == 429)


def test_refuses_what_openai_refuses() -> None:
    assert ask(model="gpt-x").json()["error"]["code"] == "model_not_found"
    assert ask(n=2).json()["error"]["param"] == "n"
    assert ask(n=1.0).status_code == 200
    assert ask(messages=[]).status_code == 400
    assert ask(stream_options={"include_usage": True}).status_code == 400


def test_demands_its_key_and_lists_models() -> None:
    async def get(key: str) -> httpx2.Response:
        async with http() as client:
            return await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})

    assert [row["id"] for row in asyncio.run(get("k")).json()["data"]] == ["mock-1", "mock-reasoner"]
    assert asyncio.run(get("wrong")).json()["error"]["code"] == "invalid_api_key"


def test_pace_and_length_on_request() -> None:
    texts = [event for event in events(said="mock:chunks=50") if isinstance(event, TextDelta)]
    assert len(texts) == 50
    started = time.perf_counter()
    events(said="mock:slow=0.3")
    assert 0.25 < time.perf_counter() - started < 3


def test_midstream_error() -> None:
    streamed = events(said="mock:midstream-error")
    assert isinstance(streamed[0], TextDelta)
    assert isinstance(streamed[-1], Failure)


@pytest.mark.parametrize(("fault", "stream"), [("cut", True), ("cut", False), ("stall", True)])
def test_connections_that_break_never_end_properly(fault: str, stream: bool) -> None:
    user = {"role": "user", "content": f"mock:{fault}"}
    sent = raw({"model": "mock-1", "messages": [user], "stream": stream})
    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:])
    assert b"[DONE]" not in b"".join(message["body"] for message in sent[1:])


def test_a_stalled_buffered_answer_waits_until_the_client_has_gone() -> None:
    started = time.perf_counter()
    raw({"model": "mock-1", "messages": [{"role": "user", "content": "mock:stall"}]})
    assert time.perf_counter() - started >= HANG_UP


def test_endless_line_has_no_line_end() -> None:
    user = {"role": "user", "content": "mock:endless-line"}
    sent = raw({"model": "mock-1", "messages": [user], "stream": True}, stop_after=20)
    tail = b"".join(message["body"] for message in sent[5:])
    assert len(tail) > 500_000
    assert b"\n" not in tail


def test_the_official_client_is_content() -> None:
    async def talk() -> None:
        async with (
            http() as transport,
            AsyncOpenAI(api_key="k", base_url="http://mock/v1", http_client=transport, max_retries=0) as client,
        ):
            messages: Any = [{"role": "user", "content": "hi"}]
            answer = await client.chat.completions.create(model="mock-1", messages=messages)
            assert "hi" in (answer.choices[0].message.content or "")
            stream = await client.chat.completions.create(model="mock-1", messages=messages, stream=True)
            assert [chunk.choices[0].finish_reason async for chunk in stream][-1] == "stop"
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="nope", messages=messages)

    asyncio.run(talk())
