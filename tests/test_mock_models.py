"""The models of the demo, from every surface, by the official clients: text, tools, structured answers, faults."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from pydantic import BaseModel, Field

from gateway.http.mock_script import MODELS
from tests.worlds.gateway import RunningGateway


class Season(BaseModel):
    """Without bounds: Anthropic's client sends those as words of the description."""

    season: Literal["summer", "winter"]


class Trip(BaseModel):
    city: str
    zip_code: str = Field(pattern=r"^\d{5}$")
    days: int = Field(ge=2, le=30)
    season: Literal["summer", "winter"]


SCHEMA: Any = {**Trip.model_json_schema(), "additionalProperties": False}
TOOL: Any = {"type": "function", "function": {"name": "book", "parameters": SCHEMA}}
FLAT: Any = {"type": "function", "name": "book", "parameters": SCHEMA, "strict": True}
CLAUDES: Any = {"name": "book", "input_schema": SCHEMA}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    """A gateway without a configuration file, as `make run` starts it."""
    with RunningGateway(tmp_path_factory.mktemp("demo", numbered=False) / "state", chip=chip_file) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gpt(demo: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key=demo.api_key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(demo: RunningGateway) -> Iterator[Anthropic]:
    with Anthropic(base_url=demo.url, api_key=demo.api_key, max_retries=0) as client:
        yield client


def said(text: str = "hi") -> Any:
    return [{"role": "user", "content": text}]


def trip(text: str) -> Trip:
    return Trip.model_validate_json(text)


def test_the_demo_offers_every_model_of_the_mock(gpt: OpenAI) -> None:
    assert [model.id for model in gpt.models.list()] == list(MODELS)


def test_chat(gpt: OpenAI) -> None:
    answer = gpt.chat.completions.create(model="mock-1", messages=said(), tools=[TOOL]).choices[0]
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.message.tool_calls or []
    assert call.type == "function"
    trip(call.function.arguments)
    told = [*said(), answer.message, {"role": "tool", "tool_call_id": call.id, "content": "booked"}]
    after = gpt.chat.completions.create(model="mock-1", messages=told, tools=[TOOL]).choices[0]
    assert "booked" in (after.message.content or "")
    plain = gpt.chat.completions.create(model="mock-text", messages=said(), tools=[TOOL]).choices[0]
    assert plain.message.content == "This is a mock answer. You said: hi"
    parsed = gpt.chat.completions.parse(model="mock-1", messages=said(), response_format=Trip).choices[0].message.parsed
    assert parsed and parsed.days == 2


def test_responses(gpt: OpenAI) -> None:
    answer = gpt.responses.create(model="mock-1", input="hi", tools=[FLAT])
    (call,) = answer.output
    assert call.type == "function_call"
    trip(call.arguments)
    told: Any = [*said(), call, {"type": "function_call_output", "call_id": call.call_id, "output": "booked"}]
    assert "booked" in gpt.responses.create(model="mock-1", input=told, tools=[FLAT]).output_text
    assert gpt.responses.create(model="mock-text", input="hi", tools=[FLAT]).output_text.endswith("hi")
    with gpt.responses.stream(model="mock-1", input="hi", text_format=Trip) as events:
        parsed = events.get_final_response().output_parsed
    assert parsed and parsed.season == "summer"


def test_messages(claude: Anthropic) -> None:
    fields: Any = {"max_tokens": 500, "tools": [CLAUDES]}
    answer = claude.messages.create(model="mock-1", messages=said(), **fields)
    assert answer.stop_reason == "tool_use"
    (call,) = answer.content
    assert call.type == "tool_use"
    Trip.model_validate(call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "booked"}
    told: Any = [*said(), {"role": "assistant", "content": answer.content},
                 {"role": "user", "content": [result, {"type": "text", "text": "a reminder"}]}]  # fmt: skip
    after = claude.messages.create(model="mock-1", messages=told, **fields)
    assert after.stop_reason == "end_turn"
    assert "booked" in str(after.content)
    choices: list[Any] = [{"type": "any"}, {"type": "tool", "name": "book"}]
    for choice in choices:
        forced = claude.messages.create(model="mock-text", messages=said(), tool_choice=choice, **fields)
        assert forced.content[0].type == "tool_use"
    with claude.messages.stream(model="mock-text", messages=said(), **fields) as events:
        assert events.get_final_text() == "This is a mock answer. You said: hi"
    shaped = claude.messages.parse(model="mock-1", max_tokens=500, messages=said(), output_format=Season)
    assert shaped.parsed_output == Season(season="summer")


def test_echo_keeps_its_text_in_every_language(gpt: OpenAI, claude: Anthropic) -> None:
    schema: Any = {"type": "object", "properties": {"text": {"type": "string"}}}
    tool = {"name": "echo", "parameters": schema}
    chat = gpt.chat.completions.create(model="mock-1", messages=said(), tools=[{"type": "function", "function": tool}])  # type: ignore[typeddict-item]
    assert chat.choices[0].message.content == "Hello world"
    response = gpt.responses.create(model="mock-1", input="hi", tools=[{"type": "function", "strict": False, **tool}])  # type: ignore[list-item]
    assert [item.type for item in response.output] == ["message", "function_call"]
    assert response.output_text == "Hello world"
    with claude.messages.stream(
        model="mock-1", max_tokens=99, messages=said(), tools=[{"name": "echo", "input_schema": schema}]
    ) as events:
        text, call = events.get_final_message().content
    assert (text.type, call.type) == ("text", "tool_use")
    assert call.type == "tool_use" and call.input == {"text": "hi"}


def test_embeddings_are_the_same_as_floats_and_as_base64(gpt: OpenAI) -> None:
    floats = gpt.embeddings.create(model="mock-text", input=["a", "b"], dimensions=16, encoding_format="float")
    coded = gpt.embeddings.create(model="mock-text", input=["a", "b"], dimensions=16, encoding_format="base64")
    for one, other in zip(floats.data, coded.data, strict=True):
        assert len(one.embedding) == 16
        raw: Any = other.embedding
        unpacked = struct.unpack("<16f", base64.b64decode(raw)) if isinstance(raw, str) else raw
        assert unpacked == pytest.approx(one.embedding, abs=1e-6)


@pytest.mark.parametrize("streaming", [False, True])
def test_models_that_misbehave_do_so_on_every_surface(gpt: OpenAI, claude: Anthropic, streaming: bool) -> None:
    def chat(model: str) -> Any:
        return list(gpt.chat.completions.create(model=model, messages=said(), stream=streaming))

    def respond(model: str) -> Any:
        return list(gpt.responses.create(model=model, input="hi", stream=streaming))

    for ask in (chat, respond):
        with pytest.raises(openai.RateLimitError) as limited:
            ask("mock-429")
        assert limited.value.response.headers["retry-after"]
        with pytest.raises(openai.InternalServerError):
            ask("mock-503")
        with pytest.raises(openai.APIError):
            ask("mock-cut")
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model="mock-429", max_tokens=9, messages=said(), stream=streaming)
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.create(model="mock-503", max_tokens=9, messages=said(), stream=streaming)
    with pytest.raises(anthropic.APIError):
        list(claude.messages.create(model="mock-cut", max_tokens=9, messages=said(), stream=streaming))


def test_json_without_a_schema(gpt: OpenAI) -> None:
    answer = gpt.chat.completions.create(
        model="mock-1", messages=said("in JSON"), response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "") == {"mock": True, "echo": "in JSON"}
