"""The unmodified OpenAI SDK against a live gateway: only base_url and api_key are ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.worlds.gateway import RunningGateway
from tests.worlds.upstream import Recording, ScriptedUpstream

TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}  # fmt: skip
BLOCK = {
    "model_content_hash",
    "provider_id",
    "policy_id",
    "route_decision_id",
    "rekor_index",
    "mirror_id",
    "tier_observed",
    "receipt_id",
}


@pytest.fixture(scope="module")
def client(live_gateway: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live_gateway.url}/v1", api_key=live_gateway.api_key, max_retries=0) as client:
        yield client


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def stream(client: OpenAI, text: str, **fields: Any) -> list[ChatCompletionChunk]:
    with client.chat.completions.create(model="mock-1", messages=said(text), stream=True, **fields) as chunks:
        return list(chunks)


def attestations(chunks: list[ChatCompletionChunk]) -> list[dict[str, Any]]:
    return [
        chunk.model_extra["attestation"] for chunk in chunks if chunk.model_extra and "attestation" in chunk.model_extra
    ]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_a_chat_is_answered_and_carries_its_attestation(client: OpenAI, live_gateway: RunningGateway) -> None:
    raw = client.chat.completions.with_raw_response.create(model="mock-1", messages=said("hello there"))
    answer = raw.parse()
    assert answer.choices[0].message.content == "This is a mock answer. You said: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens > answer.usage.prompt_tokens == 2
    assert answer.model_extra
    block = answer.model_extra["attestation"]
    assert block == answer.model_extra["_sf_attestation"]
    assert set(block) == BLOCK
    assert (block["provider_id"], block["tier_observed"]) == ("mock", "quarantine")
    assert block["receipt_id"] == raw.headers["x-receipt-id"]
    assert raw.headers["x-request-id"] == raw.headers["request-id"]
    assert live_gateway.fetch_receipt(block["receipt_id"])


def test_a_stream_gives_the_same_text_and_one_attestation(client: OpenAI, live_gateway: RunningGateway) -> None:
    chunks = stream(client, "hello there")
    assert text_of(chunks) == "This is a mock answer. You said: hello there"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    (block,) = attestations(chunks)
    assert set(block) == BLOCK
    assert live_gateway.fetch_receipt(block["receipt_id"])


def test_usage_comes_last_and_only_when_asked_for(client: OpenAI) -> None:
    chunks = stream(client, "one two three", stream_options={"include_usage": True})
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage and chunks[-1].usage.prompt_tokens == 3
    assert len(attestations(chunks)) == 1


def test_a_tool_is_called(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="mock-1", messages=said("the weather?"), tools=[TOOL])
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "mock", "days": 1}
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_streamed_tool_call_joins_to_the_same(client: OpenAI) -> None:
    chunks = stream(client, "the weather?", tools=[TOOL])
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    functions = [call.function for call in calls if call.function]
    assert len(functions) > 2
    assert [function.name for function in functions if function.name] == ["weather"]
    arguments = "".join(function.arguments or "" for function in functions)
    assert json.loads(arguments) == {"city": "mock", "days": 1}


def test_the_streaming_helper_of_the_sdk_accumulates_our_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(model="mock-1", messages=said("hi"), tools=[TOOL]) as events:
        answer = events.get_final_completion()
    (call,) = answer.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "mock", "days": 1}


def test_reasoning_stays_apart_from_the_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="mock-reasoner", messages=said("think"))
    extra = answer.choices[0].message.model_extra
    assert extra and extra["reasoning_content"].startswith("This is a mock: it does not think")
    assert answer.choices[0].message.content == "This is a mock answer. You said: think"
    chunks = stream(client, "think", reasoning_effort="high")
    deltas = [choice.delta.model_extra or {} for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == extra["reasoning_content"]


def test_models_are_listed_and_found_by_id(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"mock-1", "mock-reasoner", "wire-1", "wire/renamed"} <= listed.keys()
    assert client.models.retrieve("mock-1") == listed["mock-1"]
    assert client.models.retrieve("wire/renamed").owned_by == "wire"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("key", ["sk-router-wrong", "sk-sr-" + "A" * 43])
def test_a_bad_key_is_an_authentication_error(live_gateway: RunningGateway, key: str) -> None:
    with OpenAI(base_url=f"{live_gateway.url}/v1", api_key=key, max_retries=0) as client:
        for call in (lambda: stream(client, "hi"), client.models.list):
            with pytest.raises(openai.AuthenticationError) as caught:
                call()
            assert caught.value.code == "invalid_api_key"
            assert "x-receipt-id" not in caught.value.response.headers


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=said("hi"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.response.headers["x-receipt-id"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"messages": []}, "messages"), ({"temperature": 9}, "temperature"), ({"stop": {"a": 1}}, "stop")],
)
def test_a_bad_body_is_a_bad_request_that_names_the_field(client: OpenAI, fields: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "mock-1", "messages": said("hi"), **fields})
    assert caught.value.param == param
    assert "wanted" in caught.value.message


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("order", "kind"),
    [("400", openai.BadRequestError), ("429", openai.RateLimitError), ("500", openai.InternalServerError)],
)
def test_the_providers_own_errors_keep_their_class(
    client: OpenAI, order: str, kind: type[openai.APIStatusError], streaming: bool
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="mock-1", messages=said(f"mock:error={order}"), stream=streaming)
    assert caught.value.status_code == int(order)
    assert caught.value.response.headers.get("retry-after") == ("2" if order == "429" else None)
    assert caught.value.response.headers["x-receipt-id"]


def test_an_error_in_the_middle_of_a_stream_is_raised_after_the_text_before_it(client: OpenAI) -> None:
    seen: list[ChatCompletionChunk] = []
    chunks = client.chat.completions.create(model="mock-1", messages=said("mock:midstream-error"), stream=True)
    with chunks, pytest.raises(openai.APIError, match="The server had an error") as caught:
        seen.extend(chunks)
    assert text_of(seen) == "This is"
    assert not isinstance(caught.value, openai.APIStatusError)


def test_a_stream_that_the_provider_cuts_is_an_error_not_a_short_answer(client: OpenAI) -> None:
    chunks = client.chat.completions.create(model="mock-1", messages=said("mock:cut and more words"), stream=True)
    with chunks, pytest.raises(openai.APIError, match="provider"):
        list(chunks)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_provider_that_refuses_our_key_is_never_the_clients_fault(
    client: OpenAI, upstream: ScriptedUpstream, status: int
) -> None:
    refusal = b'{"error":{"message":"Incorrect API key provided: sk-up*","type":"t","code":"invalid_api_key"}}'
    upstream.play(Recording(refusal, "application/json", status))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="wire-1", messages=said("hi"))
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_refused_key")
    assert "sk-up" not in str(caught.value.body)


@pytest.mark.parametrize(
    ("model", "status", "code"), [("absent-1", 502, "upstream_failed"), ("keyless-1", 503, "no_credential")]
)
def test_a_provider_that_cannot_answer_is_a_server_error(client: OpenAI, model: str, status: int, code: str) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=said("hi"))
    assert (caught.value.status_code, caught.value.code) == (status, code)
