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

from gateway.dialects import openai_responses
from gateway.dialects.openai_chat import decode_answer
from gateway.dialects.openai_chat_stream import Decoder
from gateway.http.mock_provider import mock_provider_app
from gateway.http.mock_script import MODELS
from gateway.inference import Failure, Finish, ReasoningDelta, Start, StreamEvent, TextDelta, ToolCallDelta, Usage

HANG_UP = 0.2  # seconds
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}  # fmt: skip


def http() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=mock_provider_app("k"))
    return httpx2.AsyncClient(transport=transport, base_url="http://mock", headers={"authorization": "Bearer k"})


def ask(said: str = "hello there", path: str = "/v1/chat/completions", **fields: Any) -> httpx2.Response:
    return post({"model": "mock-1", "messages": [{"role": "user", "content": said}], **fields}, path)


def post(body: Any, path: str) -> httpx2.Response:
    async def send() -> httpx2.Response:
        async with http() as client:
            return await client.post(path, json=body)

    return asyncio.run(send())


def events(**fields: Any) -> list[StreamEvent]:
    decoder = Decoder()
    response = ask(stream=True, **fields)
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *rest = decoder.push(response.content) + decoder.finish()
    assert isinstance(first, Start)
    return rest


ECHO: Any = {"type": "function", "function": {"name": "echo", "parameters": {
    "type": "object", "properties": {"text": {"type": "string"}}}}}  # fmt: skip


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


def called(**fields: Any) -> str | None:
    """The tool that an answer calls."""
    calls = ask(**fields).json()["choices"][0]["message"].get("tool_calls")
    return str(calls[0]["function"]["name"]) if calls else None


def test_echo_follows_the_transcript() -> None:
    streamed = events(tools=[TOOL, ECHO])
    assert [event.text for event in streamed if isinstance(event, TextDelta)] == ["Hello", " world"]
    calls = [event for event in streamed if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "echo"
    assert json.loads("".join(call.arguments for call in calls)) == {"text": "hello there"}
    assert streamed[-1] == Finish("tool_calls", "tool_calls")
    message = ask(tools=[{"type": "function", "function": {"name": "echo"}}]).json()["choices"][0]["message"]
    assert message["content"] == "Hello world"
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"text": "hello there"}
    assert any(isinstance(event, ToolCallDelta) for event in respond("hi", tools=[{**ECHO, **ECHO["function"]}]))


def test_which_tool_is_called() -> None:
    tools = [TOOL, {"type": "function", "function": {"name": "final"}}, {"type": "custom", "custom": {"name": "c"}}]
    named = {"type": "function", "function": {"name": "final"}}
    call = {"role": "assistant", "tool_calls": [{"id": "t", "type": "function", "function": TOOL["function"]}]}
    loop = [{"role": "user", "content": "x"}, call, {"role": "tool", "tool_call_id": "t", "content": "sunny"}]
    assert called(tools=tools) == "weather"
    assert called(tools=tools, tool_choice=named) == called(tools=tools, said="mock:call=final") == "final"
    some = {**TOOL["function"], "parameters": {**TOOL["function"]["parameters"], "required": ["days"]}}
    told = ask(tools=[{"type": "function", "function": some}]).json()["choices"][0]["message"]
    assert json.loads(told["tool_calls"][0]["function"]["arguments"]) == {"days": 1}
    assert called(tools=tools, messages=loop) is None
    assert called(tools=tools, messages=loop, tool_choice="required") == "final"
    again = [{**call, "tool_calls": [{"function": {"name": "echo"}}]} if one is call else one for one in loop]
    assert called(tools=[ECHO, *tools], messages=again, tool_choice="required") == "weather"
    assert called(tools=tools[:1], messages=loop, tool_choice="required") == "weather"
    assert called(tools=tools, messages=[*loop, {"role": "user", "content": "and this"}]) is None
    told = [*loop, {"role": "assistant", "content": "done"}, {"role": "user", "content": "again"}]
    assert called(tools=tools, messages=told) == "weather"
    for mode, expected in (("auto", None), ("required", "final"), ({**named}, "final")):
        assert called(model="mock-text", tools=tools[1:], tool_choice=mode) == expected
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    assert called(model="mock-text", tools=tools, tool_choice=allowed) == "final"


def test_tools_are_called_at_once_on_request() -> None:
    streamed = events(tools=[TOOL, ECHO], said="mock:parallel")
    calls = [event for event in streamed if isinstance(event, ToolCallDelta)]
    for index, (name, arguments) in enumerate(
        (("weather", {"city": "mock", "days": 1}), ("echo", {"text": "mock:parallel"}))
    ):
        pieces = [call for call in calls if call.index == index]
        assert pieces[0].name == name
        assert json.loads("".join(call.arguments for call in pieces)) == arguments
    flat = [{"type": "function", **tool["function"]} for tool in (TOOL, ECHO)]
    items = [event for event in respond("mock:parallel", tools=flat) if isinstance(event, ToolCallDelta) and event.name]
    assert [event.name for event in items] == ["weather", "echo"]
    assert len({event.id for event in items}) == 2


@pytest.mark.parametrize(("model", "status"), [("mock-503", 503), ("mock-429", 429)])
def test_models_that_refuse(model: str, status: int) -> None:
    for path, fields in (("chat/completions", {}), ("responses", {"input": "x"}), ("completions", {"prompt": "x"}),
                         ("embeddings", {"input": "x"})):  # fmt: skip
        for stream in (False, True):
            response = ask(path=f"/v1/{path}", model=model, stream=stream, **fields)
            assert response.status_code == status
            assert ("retry-after" in response.headers) == (status == 429)


@pytest.mark.parametrize(("model", "stream"), [("mock-cut", True), ("mock-cut", False), ("mock-stall", True)])
def test_models_that_break_off(model: str, stream: bool) -> None:
    sent = raw({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream})
    assert sent[0]["status"] == 200
    assert sent[1]["body"]
    assert all(message.get("more_body") for message in sent[1:])
    assert b"[DONE]" not in b"".join(message["body"] for message in sent[1:])


def test_a_model_that_is_slow() -> None:
    started = time.perf_counter()
    assert events(model="mock-slow")[-1] == Finish("stop", "stop")
    assert time.perf_counter() - started >= 1.9


def test_json_of_the_shape_that_the_prompt_shows() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 4}}}
    told = [{"role": "system", "content": f"Answer by this schema: {json.dumps(schema)}"},
            {"role": "user", "content": "x"}]  # fmt: skip
    answer = ask(messages=told, response_format={"type": "json_object"}).json()["choices"][0]["message"]["content"]
    assert json.loads(answer) == {"n": 4}
    unasked = ask(messages=told).json()["choices"][0]["message"]["content"]
    assert json.loads(unasked) == {"n": 4}
    assert ask(messages=told[::-1][:1]).json()["choices"][0]["message"]["content"].endswith("You said: x")
    assert "x" in ask(messages=told, tools=[TOOL], tool_choice="none").json()["choices"][0]["message"]["content"]


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

    assert [row["id"] for row in asyncio.run(get("k")).json()["data"]] == list(MODELS)
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


def respond(said: Any, **fields: Any) -> list[StreamEvent]:
    decoder = openai_responses.PROVIDER.decoder(1 << 20)
    response = post({"model": "mock-1", "input": said, "stream": True, **fields}, "/v1/responses")
    return decoder.push(response.content) + decoder.finish()


def test_responses_say_what_chat_says() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = {"type": "function", **TOOL["function"]}
    shown = [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}, {"type": "function_call"},
             {"type": "function_call_output", "output": "sunny"}]  # fmt: skip
    asked: list[tuple[dict[str, Any], str]] = [
        ({}, "This is a mock answer. You said: hi"),
        ({"max_output_tokens": 2}, "This is"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}, '{"a": 1}'),
    ]
    for fields, said in asked:
        streamed = respond("hi", **fields)
        assert "".join(event.text for event in streamed if isinstance(event, TextDelta)) == said
        whole = post({"model": "mock-1", "input": "hi", **fields}, "/v1/responses")
        assert openai_responses.PROVIDER.decode_answer(whole.content)[-2:] == streamed[-2:]
    assert isinstance(respond("hi", reasoning={"effort": "low"})[1], ReasoningDelta)
    calls = [event for event in respond("hi", tools=[tool]) if isinstance(event, ToolCallDelta)]
    assert json.loads("".join(call.arguments for call in calls)) == {"city": "mock", "days": 1}
    assert any(isinstance(event, TextDelta) and "sunny" in event.text for event in respond(shown, tools=[tool]))
    assert isinstance(respond("mock:midstream-error")[-1], Failure)


@pytest.mark.parametrize("garbage", [None, 3, [], [3], {}, [{"role": 3}], [{"type": []}]])
def test_garbage_breaks_no_path(garbage: Any) -> None:
    for path, member in (("responses", "input"), ("completions", "prompt"), ("embeddings", "input")):
        for extra in ({}, {"tools": garbage, "text": garbage, "tool_choice": garbage, "dimensions": garbage}):
            answered = post({"model": "mock-1", member: garbage, **extra}, f"/v1/{path}")
            assert answered.status_code in (200, 400), path
        assert post(garbage, f"/v1/{path}").status_code in (400, 404)
