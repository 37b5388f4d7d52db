"""`/v1/responses`, `/v1/completions` and `/v1/embeddings` of a live gateway: bytes, receipts, official clients."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tee.canonical import digest_bytes
from tests.conftest import find_vectors
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream

RESPONSES, COMPLETIONS, EMBEDDINGS = "/v1/responses", "/v1/completions", "/v1/embeddings"
OURS = re.compile(rb',"_sf_attestation":\{[^}]*\},"attestation":\{[^}]*\}')
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "name": "weather", "description": "d", "parameters": PARAMETERS, "strict": False}
CHAT_STREAM = b"".join(
    b"data: " + row + b"\n\n"
    for row in (
        b'{"id":"c-1","created":7,"model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
        b'{"id":"c-1","choices":[{"index":0,"delta":{"content":"a"}}]}',
        b'{"id":"c-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function",'
        b'"function":{"name":"weather","arguments":"{\\"a\\":1}"}}]}}]}',
        b'{"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}',
        b'{"id":"c-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}',
        b"[DONE]",
    )
)
TEXT_STREAM = (
    b'data: {"id":"cmpl-9","object":"text_completion","created":7,"model":"m","choices":[{"text":"a","index":0,'
    b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    b'data: {"id":"cmpl-9","object":"text_completion","created":7,"model":"m","choices":[{"text":"","index":0,'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n'
    b'data: {"id":"cmpl-9","object":"text_completion","created":7,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)


def recorded(folder: str, pattern: str) -> list[Path]:
    return sorted((find_vectors() / "dialects" / folder).glob(pattern))


def asked(said: Any = "hi", model: str = "gpt-1", **fields: Any) -> bytes:
    return json.dumps({"model": model, "input": said, **fields}).encode()


@pytest.fixture(scope="module")
def gpt(live_gateway: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live_gateway.url}/v1", api_key=live_gateway.api_key, max_retries=0) as client:
        yield client


def sent_on(gateway: RunningGateway, upstream: ScriptedUpstream, answered: Answered, *, complete: bool = True) -> Any:
    """The body that the provider got, once the receipt vouches for it and for the answer."""
    receipt = gateway.verified(answered, complete=complete)
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(upstream.got.body)
    assert receipt.events["response.returned"]["body_hash"] == digest_bytes(answered.raw)
    assert upstream.got.credential == f"Bearer {UPSTREAM_CREDENTIAL}"
    return json.loads(upstream.got.body)


def block_of(carrier: Any, gateway: RunningGateway) -> Any:
    """The attestation that an SDK shows, once its receipt was found."""
    extra = carrier.model_extra
    assert extra and extra["attestation"] == extra["_sf_attestation"]
    assert gateway.fetch_receipt(extra["attestation"]["receipt_id"])
    return extra["attestation"]


def test_recorded_responses_pass_byte_for_byte(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    paths = recorded("openai-responses", "*.response.sse")
    assert len(paths) >= 9
    for path in paths:
        stream = path.read_bytes()
        upstream.play(Recording(stream, piece=977))
        answered = live_gateway.post(asked(stream=True), RESPONSES)
        (ours,) = OURS.findall(answered.raw)
        assert OURS.sub(b"", answered.raw) == stream, path.name
        assert json.loads(b"{" + ours[1:] + b"}")["attestation"]["receipt_id"] == answered.receipt_id
        sent = sent_on(live_gateway, upstream, answered)
        assert (sent["model"], sent["store"]) == ("gpt-5-nano", False)
        assert upstream.got.path == "/v1/responses"
    off = live_gateway.post(asked(stream=True), RESPONSES, x_sf_attestation="off")
    assert off.raw == stream


def test_recorded_buffered_responses_pass_byte_for_byte(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for path in recorded("openai-responses", "*.response.json"):
        answer = path.read_bytes()
        if b'"output"' not in answer:
            continue
        upstream.play(Recording(answer, "application/json"))
        answered = live_gateway.post(asked(), RESPONSES)
        assert OURS.sub(b"", answered.raw) == answer, path.name
        assert answered.json["attestation"]["receipt_id"] == answered.receipt_id
        sent_on(live_gateway, upstream, answered)


def test_openais_client_reads_what_providers_of_responses_stream(gpt: OpenAI, upstream: ScriptedUpstream) -> None:
    for path in (
        *recorded("openai-responses", "*.response.sse"),
        *recorded("deepseek", "test-deepseek-responses*.response.sse"),
    ):
        upstream.play(Recording(path.read_bytes(), piece=800))
        with gpt.responses.create(model="gpt-1", input="hi", stream=True) as stream:
            last: Any = list(stream)[-1]
        assert last.type == "response.completed", path.name
        assert last.response.model_extra["attestation"]["provider_id"] == "gpt", path.name


@pytest.mark.parametrize("model", ["wire-1", "claude-1"])
def test_openais_client_is_answered_by_every_language(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream, model: str
) -> None:
    stream = CHAT_STREAM
    if model == "claude-1":
        stream = recorded("anthropic", "test-anthropic-model-thinking-part-stream-0.response.sse")[0].read_bytes()
    upstream.play(Recording(stream, piece=40))
    with gpt.responses.stream(
        model=model, instructions="be brief", input="hi", tools=[TOOL], reasoning={"effort": "low"}
    ) as events:
        seen = list(events)
        final = events.get_final_response()
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert block_of(final, live_gateway)["provider_id"] == model.removesuffix("-1")
    wanted = ["reasoning", "message"] if model == "claude-1" else ["reasoning", "message", "function_call"]
    assert [item.type for item in final.output] == wanted
    assert final.output_text and final.usage and final.usage.total_tokens and final.status == "completed"
    sent = json.loads(upstream.got.body)
    assert [row["role"] for row in sent["messages"]][-1] == "user"
    assert "store" not in sent and "be brief" in json.dumps(sent)
    history: Any = [{"role": "user", "content": "hi"}, *(item.to_dict() for item in final.output)]
    calls = [item for item in final.output if item.type == "function_call"]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    upstream.play(Recording(stream))
    with gpt.responses.create(model=model, input=history, stream=True) as again:
        assert list(again)[-1].type == "response.completed"
    turns = json.loads(upstream.got.body)["messages"]
    if model == "claude-1":
        thinking = turns[1]["content"][0]
        assert thinking["type"] == "thinking" and thinking["signature"].encode() in stream
    else:
        assert [turn["role"] for turn in turns] == ["user", "assistant", "tool"]


def test_chat_clients_are_answered_by_a_provider_of_responses(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for path in recorded("openai-responses", "*.response.sse"):
        upstream.play(Recording(path.read_bytes(), piece=500))
        with gpt.chat.completions.stream(
            model="pro-1", messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
        ) as stream:
            chunks = [event.chunk for event in stream if event.type == "chunk"]
            final = stream.get_final_completion()
        assert final.choices[0].message.content or final.choices[0].message.tool_calls, path.name
        blocks = [chunk.model_extra for chunk in chunks if chunk.model_extra and "attestation" in chunk.model_extra]
        assert len(blocks) == 1, path.name
        sent = json.loads(upstream.got.body)
        assert (upstream.got.path, sent["instructions"], sent["store"]) == ("/v1/responses", "s", False)
    upstream.play(Recording(b'{"error":{"message":"too fast","type":"t","code":"rate_limit_exceeded"}}',
                            "application/json", 429))  # fmt: skip
    with pytest.raises(openai.RateLimitError, match="too fast"):
        gpt.chat.completions.create(model="pro-1", messages=[{"role": "user", "content": "hi"}])
    upstream.play(Recording(recorded("openai-responses", "test-prompted-output-1.response.json")[0].read_bytes(),
                            "application/json"))  # fmt: skip
    answered = live_gateway.post(chat_body("hi", "pro-1"))
    assert answered.json["choices"][0]["message"]["content"]
    sent_on(live_gateway, upstream, answered)


def test_anthropics_client_is_answered_by_a_provider_of_responses(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for path in recorded("openai-responses", "*.response.sse"):
        upstream.play(Recording(path.read_bytes(), piece=500))
        with (
            Anthropic(base_url=live_gateway.url, api_key=live_gateway.api_key, max_retries=0) as client,
            client.messages.stream(
                model="pro-1",
                max_tokens=99,
                system="s",
                thinking={"type": "adaptive"},
                messages=[{"role": "user", "content": "hi"}],
            ) as stream,
        ):
            final = stream.get_final_message()
        assert final.stop_reason in ("end_turn", "tool_use") and final.usage.input_tokens, path.name
        assert {block.type for block in final.content} <= {"text", "thinking", "tool_use"}, path.name
        sent = json.loads(upstream.got.body)
        assert (sent["instructions"], sent["max_output_tokens"], sent["reasoning"]) == ("s", 99, {"effort": "high"})
        assert sent["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("model", ["gpt-1", "wire-1"])
def test_a_stream_that_breaks_off_raises_and_says_so_in_its_receipt(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream, model: str
) -> None:
    whole = recorded("openai-responses", "test-openai-responses-stream-0.response.sse")[0].read_bytes()
    recording = Recording(whole[:-2000] if model == "gpt-1" else CHAT_STREAM[:200], ending="cut")
    upstream.play(recording)
    answered = live_gateway.post(asked(model=model, stream=True), RESPONSES)
    failed, error = (json.loads(row) for row in re.findall(rb"data: (.*)\n\n", answered.raw)[-2:])
    assert (failed["type"], failed["response"]["status"], error["type"]) == ("response.failed", "failed", "error")
    assert failed["response"]["attestation"]["receipt_id"] == answered.receipt_id
    assert b"response.completed" not in answered.raw
    sent_on(live_gateway, upstream, answered, complete=False)
    upstream.play(recording)
    with pytest.raises(openai.APIError), gpt.responses.create(model=model, input="hi", stream=True) as stream:
        list(stream)


def test_responses_of_the_mock(gpt: OpenAI, live_gateway: RunningGateway) -> None:
    raw = gpt.responses.with_raw_response.create(model="mock-reasoner", input="hello there", instructions="be kind")
    answer = raw.parse()
    assert answer.output_text == "This is a mock answer. You said: hello there"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert block_of(answer, live_gateway)["receipt_id"] == raw.headers["x-receipt-id"]
    with gpt.responses.stream(model="mock-1", input="the weather?", tools=[TOOL]) as stream:
        seen = list(stream)
        final = stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call" and json.loads(call.arguments) == {"city": "mock"}
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert answer.usage and answer.usage.input_tokens == 4
    short = gpt.responses.create(model="mock-1", input="hello", max_output_tokens=2)
    assert short.incomplete_details and short.incomplete_details.reason == "max_output_tokens"
    shaped = gpt.responses.create(
        model="mock-1",
        input=[{"role": "user", "content": "x"}],
        text={"format": {"type": "json_schema", "name": "n", "schema": PARAMETERS}},
    )
    assert json.loads(shaped.output_text) == {"city": "mock"}


def test_nothing_is_stored(gpt: OpenAI) -> None:
    refused: list[Any] = [{"store": True}, {"previous_response_id": "resp_1"}, {"background": True}]
    for fields in refused:
        with pytest.raises(openai.BadRequestError, match="stored here") as caught:
            gpt.responses.create(model="mock-1", input="hi", **fields)
        assert caught.value.param == next(iter(fields))
        assert caught.value.response.headers["x-receipt-id"]


def test_codex_is_answered_by_a_chat_provider(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """What Codex sends, recorded: developer messages, a namespace of tools, a search of OpenAI's own."""
    upstream.play(Recording(CHAT_STREAM.replace(b"weather", b"mcp__sky__weather")))
    inner = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
    answered = live_gateway.post(
        asked(
            [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            ],
            "wire-1",
            instructions="You are Codex.",
            tools=[TOOL, {"type": "namespace", "name": "mcp__sky", "tools": [inner]}, {"type": "web_search"}],
            tool_choice="auto",
            parallel_tool_calls=True,
            reasoning={"effort": "medium", "summary": "auto"},
            store=False,
            stream=True,
            include=["reasoning.encrypted_content"],
            prompt_cache_key="k",
            client_metadata={"x": "y"},
        ),
        RESPONSES,
        originator="codex_cli_rs",
        session_id="s",
    )
    sent = sent_on(live_gateway, upstream, answered)
    assert [row["role"] for row in sent["messages"]] == ["system", "system", "user"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather", "mcp__sky__weather"]
    assert not sent.keys() & {"store", "include", "client_metadata", "prompt_cache_key"}
    last = json.loads(answered.raw.split(b"data: ")[-1])
    (call,) = [item for item in last["response"]["output"] if item["type"] == "function_call"]
    assert (call["namespace"], call["name"], call["arguments"]) == ("mcp__sky", "weather", '{"a":1}')


def test_text_completions_of_every_provider(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    plain = gpt.completions.create(model="mock-1", prompt="hello there")
    assert plain.choices[0].text == "This is a mock answer. You said: hello there"
    assert plain.usage and plain.usage.prompt_tokens == 2
    block_of(plain, live_gateway)
    with gpt.completions.create(model="mock-1", prompt="a", stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "This is a mock answer. You said: a"
    (carrier,) = [chunk for chunk in chunks if chunk.model_extra and "attestation" in chunk.model_extra]
    block_of(carrier, live_gateway)
    upstream.play(Recording(CHAT_STREAM.replace(b'tool_calls"}]', b'length"}]'), piece=33))
    with gpt.completions.create(
        model="gpt-1", prompt=["once"], stream=True, max_tokens=9, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-2:] == ["length", None]
    assert chunks[-1].usage and chunks[-1].usage.total_tokens == 5
    assert json.loads(upstream.got.body)["messages"] == [{"role": "user", "content": "once"}]
    upstream.play(Recording(b'{"id":"c","choices":[{"index":0,"message":{"content":"b"},"finish_reason":"stop"}]}',
                            "application/json"))  # fmt: skip
    answered = live_gateway.post(json.dumps({"model": "gpt-1", "prompt": "x"}).encode(), COMPLETIONS)
    assert (answered.json["object"], answered.json["choices"][0]["text"]) == ("text_completion", "b")
    sent_on(live_gateway, upstream, answered)
    unsayable: list[tuple[str, Any]] = [
        ("prompt", {"prompt": [1, 2]}),
        ("n", {"prompt": "x", "n": 2}),
        ("prompt", {"prompt": ["x", "y"]}),
        ("echo", {"prompt": "x", "echo": True}),
    ]
    for param, fields in unsayable:
        with pytest.raises(openai.BadRequestError, match="answers chats only") as caught:
            gpt.completions.create(model="gpt-1", **fields)
        assert caught.value.param == param
    prompts: list[Any] = [None, [], {}, [3, "x"], [{}]]
    for prompt in prompts:
        answered = live_gateway.post(json.dumps({"model": "gpt-1", "prompt": prompt}).encode(), COMPLETIONS)
        assert (answered.status, answered.json["error"]["param"]) == (400, "prompt")


@pytest.mark.parametrize("ending", ["end", "cut"])
def test_text_completions_pass_byte_for_byte_to_who_speaks_them(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, ending: str
) -> None:
    stream = TEXT_STREAM if ending == "end" else TEXT_STREAM[:200]
    upstream.play(Recording(stream, piece=17, ending=ending))
    body = json.dumps({"model": "wire-1", "prompt": [1, 2], "n": 1, "echo": True, "stream": True,
                       "stream_options": {"include_usage": True}}).encode()  # fmt: skip
    answered = live_gateway.post(body, COMPLETIONS)
    frames = answered.raw.split(b"event: sf_attestation\n")
    assert len(frames) == 2
    ours = json.loads(frames[1].split(b"\n")[0].removeprefix(b"data: "))
    assert (ours["object"], ours["choices"][0]["text"]) == ("text_completion", "")
    assert ours["attestation"]["receipt_id"] == answered.receipt_id
    if ending == "end":
        assert frames[0] + frames[1].split(b"\n\n", 1)[1] == stream
    else:
        assert b'"error"' in frames[1] and b"[DONE]" not in answered.raw
    assert sent_on(live_gateway, upstream, answered, complete=ending == "end")["prompt"] == [1, 2]
    assert upstream.got.path == "/v1/completions"


def test_embeddings_of_the_mock_are_the_same_in_both_forms(gpt: OpenAI, live_gateway: RunningGateway) -> None:
    floats = gpt.embeddings.create(model="mock-1", input=["a b", "c"], encoding_format="float", dimensions=4)
    usual = gpt.embeddings.create(model="mock-1", input=["a b", "c"], dimensions=4)  # the SDK asks for base64
    assert [row.index for row in usual.data] == [0, 1]
    for one, other in zip(floats.data, usual.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
        assert sum(number * number for number in one.embedding) == pytest.approx(1.0)
    assert floats.data[0].embedding != floats.data[1].embedding
    assert usual.usage.prompt_tokens == 3
    block_of(usual, live_gateway)
    answered = live_gateway.post(asked("x", "mock-1", encoding_format="base64"), EMBEDDINGS)
    raw = base64.b64decode(answered.json["data"][0]["embedding"])
    assert len(struct.unpack(f"<{len(raw) // 4}f", raw)) == 8
    live_gateway.verified(answered)


def test_recorded_embeddings_pass_byte_for_byte(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    paths = recorded("openai-embeddings", "*.response.json")
    assert len(paths) >= 3
    for path in paths:
        upstream.play(Recording(path.read_bytes(), "application/json"))
        answered = live_gateway.post(asked([[1, 2], [3]], "wire/renamed", dimensions=2), EMBEDDINGS)
        assert OURS.sub(b"", answered.raw) == path.read_bytes()
        sent = sent_on(live_gateway, upstream, answered)
        assert (sent["model"], sent["input"], upstream.got.path) == (
            "vendor/their name",
            [[1, 2], [3]],
            "/v1/embeddings",
        )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x", {}]}, "input[1]"),
        ({"input": ["x"] * 2049}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_a_bad_request_for_embeddings_names_the_member(
    live_gateway: RunningGateway, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": "mock-1", "input": "x", **fields}).encode()
    answered = live_gateway.post(body, EMBEDDINGS)
    assert (answered.status, answered.json["error"]["param"]) == (400, param)


def test_providers_without_embeddings_say_so(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        gpt.embeddings.create(model="claude-1", input="x")
    assert (caught.value.status_code, caught.value.code) == (503, "not_offered")
    no_answers = {"upstream_failed": Recording(b"[]", "application/json"), "upstream_cut": Recording(b"data: {}\n\n")}
    for code, recording in no_answers.items():
        upstream.play(recording)
        answered = live_gateway.post(asked("x", "wire-1"), EMBEDDINGS)
        assert (answered.status, answered.json["error"]["code"]) == (502, code)
