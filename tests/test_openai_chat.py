"""OpenAI chat in both directions: what is refused and how, what survives, and what real providers stream."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.openai_chat import decode_answer, decode_request, encode_answer, encode_request
from gateway.dialects.openai_chat_stream import MAX_TOOL_CALLS, Decoder, Encoder
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import Failure, Finish, ReasoningDelta, StreamEvent, TextDelta, ToolCallDelta, Usage

VECTORS = Path(os.environ.get("SAFEROUTER_VECTORS") or Path(__file__).resolve().parents[2] / "shared" / "vectors")
PROVIDERS = ("openai-chat", "azure", "bedrock-openai", "deepseek", "kimi", "nvidia", "ollama", "vllm", "zai")
USER = {"role": "user", "content": "tell me the secret word"}


def recordings(pattern: str) -> list[Path]:
    folder = VECTORS / "dialects"
    if not folder.is_dir():
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(f"recorded vectors are required, and {folder} is absent")
        pytest.skip(f"recorded vectors: {folder} is absent")
    return sorted(path for provider in PROVIDERS for path in (folder / provider).glob(pattern))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [USER], **fields}).encode()


def sse(*chunks: object) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def delta(finish_reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def entry(arguments: object, index: int | None, call_id: str = "", name: str = "") -> dict[str, object]:
    """One `tool_calls` entry; what is empty is left out."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    head = ({} if index is None else {"index": index}) | ({"id": call_id} if call_id else {})
    return {**head, "function": function}


def calls(*entries: dict[str, object]) -> dict[str, object]:
    return delta(tool_calls=list(entries))


def read(stream: bytes) -> list[StreamEvent]:
    decoder = Decoder()
    return decoder.push(stream) + decoder.finish()


DONE = b"data: [DONE]\n\n"


def test_reads_a_full_request() -> None:
    request = decode_request(
        body(stream=True, stream_options={"include_usage": True}, max_tokens=5, max_completion_tokens=7.0,
             temperature=1, top_p=0.5, stop="x", tools=[{"type": "function"}], tool_choice="auto",
             reasoning_effort="low", response_format={"type": "json_object"}, n=1.0, seed=4,
             sf_policy="p", new_thing=[1])
    )  # fmt: skip
    assert (request.model, request.messages, request.stream, request.include_usage) == ("m", (USER,), True, True)
    assert (request.max_tokens, request.temperature, request.top_p, request.stop) == (7, 1.0, 0.5, ("x",))
    assert (request.tools, request.tool_choice, request.reasoning_effort) == (({"type": "function"},), "auto", "low")
    assert request.extra == {
        "stream_options": {"include_usage": True}, "n": 1.0, "seed": 4, "sf_policy": "p", "new_thing": [1]
    }  # fmt: skip


def test_null_is_absent() -> None:
    fields = ("tools", "tool_choice", "max_tokens", "temperature", "top_p", "stop", "stream", "response_format")
    request = decode_request(body(**dict.fromkeys(fields)))
    assert replace(request, extra={}) == decode_request(body())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [USER, "hi"]}, "messages[1]"),
        ({"messages": [{"role": "the secret word", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["the secret word"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**400}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", 1]}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}, 3]}, "tools[1]"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
        ({"reasoning_effort": {"effort": "low"}}, "reasoning_effort"),
        ({"sf_policy": 1}, "sf_policy"),
    ],
)
def test_names_the_member_at_fault_and_never_repeats_it(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body(**fields))
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: found ")
    assert "secret" not in caught.value.message


def test_garbage_in_tool_schemas_passes() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"location": "bar"}}}}
    assert decode_request(body(tools=[tool])).tools == (tool,)


def test_request_survives_both_directions_but_for_our_own_fields() -> None:
    sent = {"model": "m", "messages": [USER], "temperature": 0.5, "stop": ["a"], "stream": True, "max_tokens": 3,
            "stream_options": {"include_usage": True, "include_obfuscation": False}, "seed": 2}  # fmt: skip
    request = decode_request(json.dumps({**sent, "sf_policy": "p", "sf_provider": "q"}).encode())
    assert json.loads(encode_request(request)) == sent
    assert json.loads(encode_request(request, max_tokens_field="max_completion_tokens"))["max_completion_tokens"] == 3
    quiet = json.loads(encode_request(replace(request, include_usage=False)))
    assert quiet["stream_options"] == {"include_obfuscation": False}
    assert "stream_options" not in json.loads(encode_request(replace(request, stream=False)))


@given(st.binary(max_size=120), st.integers(0, 200), st.integers(0, 255))
def test_arbitrary_and_mutated_requests_raise_only_gateway_errors(noise: bytes, place: int, byte: int) -> None:
    good = bytearray(body(stream=True, tools=[{"a": 1}], stop=["x"], n=1, stream_options={"include_usage": True}))
    good[place % len(good)] = byte
    for candidate in (noise, bytes(good)):
        try:
            encode_request(decode_request(candidate))
        except GatewayError as error:
            assert error.status == 400


def test_stream_becomes_events_in_order() -> None:
    stream = sse(
        delta(role="assistant", content=""),
        delta(reasoning_content="hm"),
        delta(content="a"),
        delta("stop"),
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2,
         "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 1}}},
    )  # fmt: skip
    expected = [ReasoningDelta("hm"), TextDelta("a"), Finish("stop", "stop"), Usage(3, 2, 1, 0, 1)]
    assert read(b": hi\n\n" + stream + DONE + b"data: ignored\n\n") == expected


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "reasoning_text"])
def test_reasoning_under_any_name_counts_once(name: str) -> None:
    both = {"reasoning_content": "x", "reasoning": "x", name: "x"}
    assert read(sse(delta(**both), delta("stop")) + DONE)[0:2] == [ReasoningDelta("x"), Finish("stop", "stop")]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1},
        {"prompt_tokens": 3.0, "completion_tokens": 2, "prompt_cache_hit_tokens": 1},
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
    ],
)
def test_usage_in_every_place_and_spelling(usage: dict[str, object]) -> None:
    in_choice = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}]}
    on_finish = {**delta("stop"), "usage": usage}
    for chunk in (in_choice, on_finish):
        assert read(sse(chunk) + DONE) == [Finish("stop", "stop"), Usage(3, 2, 1)]


def test_lying_usage_is_not_counted() -> None:
    for count in (-1, 10**30, True, "7"):
        assert read(sse({**delta("stop"), "usage": {"prompt_tokens": count}}) + DONE) == [Finish("stop", "stop")]


@pytest.mark.parametrize(
    "entries",
    [
        [entry("", 0, "a", "f"), entry("{}", 0), entry("{", 1, "b", "g"), entry("}", 1)],
        [entry("{}", None, "a", "f"), entry("{", None, "b", "g"), entry("}", None)],
        [entry("{", None, "a", "f"), entry("}", None, "a", "f"), entry("{}", None, "b", "g")],
        [entry("{}", 0, "a", "f"), entry("{}", 0, "b", "g")],
        [{"index": 0, "id": "a"}, entry({}, 0, "", "f"), entry({}, 1, "b", "g")],
    ],
    ids=["as OpenAI", "no index", "repeated id", "always 0", "objects, name after id"],
)
def test_tool_calls_of_careless_servers(entries: list[dict[str, object]]) -> None:
    events = read(sse(*[calls(entry) for entry in entries], delta("tool_calls")) + DONE)
    answer = json.loads(encode_answer(events, chat_id="c", created=1, model="m"))
    assert answer["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert answer["choices"][0]["message"]["content"] is None
    starts = [event for event in events if isinstance(event, ToolCallDelta) and event.id]
    assert [start.index for start in starts] == [0, 1]


def test_tool_calls_without_ids_get_some_and_are_bounded() -> None:
    assert read(sse(calls({"function": {"name": "f"}})) + DONE) == [
        ToolCallDelta(0, "call_0", "f", ""),
        Finish("tool_calls"),
    ]
    decoder = Decoder()
    with pytest.raises(UpstreamFailed):
        decoder.push(sse(*[calls({"id": f"c{number}"}) for number in range(MAX_TOOL_CALLS + 1)]))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"error": {"message": "m", "type": "t", "code": 503}}, Failure("m", "503", "t")),
        ({"error": "overloaded"}, Failure("overloaded")),
        ({"object": "error", "message": "m", "type": "t", "code": 400}, Failure("m", "400", "t")),
    ],
)
def test_midstream_error_is_the_last_event(sent: dict[str, object], expected: Failure) -> None:
    assert read(sse(delta(content="a"), sent, delta(content="b")) + DONE) == [TextDelta("a"), expected]
    assert decode_answer(json.dumps(sent).encode()) == [expected]


def test_error_event_and_garbage_frame_and_cut_are_failures() -> None:
    assert read(b'event: error\ndata: {"message":"m"}\n\n') == [Failure("m")]
    for stream in (
        b"data: <html>\n\n",
        b"data: [1]\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        sse(delta(content="")),
        b"",
    ):
        assert isinstance(read(stream)[-1], Failure)


def test_how_streams_may_end() -> None:
    assert read(sse(delta(content="a")) + DONE) == [TextDelta("a"), Finish("stop")]
    assert read(sse(delta("length")))[-1] == Finish("length", "length")
    assert read(sse(delta("end")) + b"data: [DONE]") == [Finish("stop", "end")]
    assert isinstance(read(sse(delta("network_error")) + DONE)[-1], Failure)
    only_first = {"choices": [{"index": 1, "delta": {"content": "other"}}, {"delta": {"content": "mine"}}]}
    assert read(sse(only_first) + DONE)[0] == TextDelta("mine")


@pytest.mark.parametrize("chunk", [{}, {"choices": None}, {"choices": [None, 3]}, {"choices": [{"delta": []}]},
                                   delta(content=5), delta(tool_calls=[{"function": []}, 2])])  # fmt: skip
def test_odd_chunks_are_passed_over(chunk: dict[str, object]) -> None:
    assert read(sse(chunk, delta("stop")) + DONE) == [Finish("stop", "stop")]


EVENTS: list[StreamEvent] = [ReasoningDelta("hm"), TextDelta("a\u2028\n\n"), TextDelta("\U0001f600"),
          ToolCallDelta(0, "x", "f", ""), ToolCallDelta(0, None, None, '{"a":1}'), Finish("tool_calls", "tool_calls"),
          Usage(4, 3, 2, 1, 1)]  # fmt: skip


def test_encoder_and_decoder_are_inverse() -> None:
    encoder = Encoder("c", 1, "m", include_usage=True)
    stream = b"".join(encoder.encode(event) for event in EVENTS) + encoder.finish()
    assert read(stream) == EVENTS
    chunks = [json.loads(frame[6:]) for frame in stream.split(b"\n\n")[:-2]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert Encoder("c", 1, "m").encode(Usage(1, 1)) == b""
    assert read(Encoder("c", 1, "m").encode(Failure("m", "c", "t"))) == [Failure("m", "c", "t")]


def test_buffered_answers_both_ways() -> None:
    answer = encode_answer(EVENTS, chat_id="c", created=1, model="m")
    events = decode_answer(b"\n\n" + answer)  # DeepSeek keeps alive with blank lines
    assert events == [ReasoningDelta("hm"), TextDelta("a\u2028\n\n\U0001f600"), ToolCallDelta(0, "x", "f", '{"a":1}'),
                      *EVENTS[-2:]]  # fmt: skip
    assert json.loads(encode_answer([TextDelta("x")], chat_id="c", created=1, model="m"))["usage"]["total_tokens"] == 0
    assert json.loads(encode_answer([Failure("m")], chat_id="c", created=1, model="m"))["error"]["message"] == "m"
    for bad in (b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"message":1}]}'):
        with pytest.raises(UpstreamFailed):
            decode_answer(bad)


@given(st.binary(max_size=100), st.integers(0, 500), st.integers(0, 255))
def test_arbitrary_and_mutated_streams_raise_only_gateway_errors(noise: bytes, place: int, byte: int) -> None:
    entry = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
    good = bytearray(sse(delta(content="a"), calls(entry), {**delta("stop"), "usage": {"prompt_tokens": 1}}) + DONE)
    good[place % len(good)] = byte
    for stream in (noise, bytes(good)):
        try:
            events = read(stream)
            encode_answer(events, chat_id="c", created=1, model="m")
            decode_answer(stream)
        except GatewayError as error:
            assert error.status == 502


@given(st.integers(1, 40))
def test_any_chunking_gives_the_same_events(size: int) -> None:
    stream = sse(delta(content="a"), calls({"id": "a", "function": {"arguments": "{}"}}), delta("stop")) + DONE
    decoder = Decoder()
    events = [event for at in range(0, len(stream), size) for event in decoder.push(stream[at : at + size])]
    assert events + decoder.finish() == read(stream)


def test_recorded_streams_decode_to_the_end() -> None:
    seen = 0
    for path in recordings("*.response.sse"):
        stream = path.read_bytes()
        if b'"choices"' not in stream:
            continue  # other dialects of the same provider
        events = read(stream)
        assert any(isinstance(event, Finish) for event in events), path.name
        assert any(isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta) for event in events), path.name
        assert not any(isinstance(event, Failure) for event in events), path.name
        assert any(isinstance(event, Usage) for event in events) == (b'"prompt_tokens"' in stream), path.name
        seen += 1
    assert seen >= 30


def test_recorded_answers_and_requests_decode() -> None:
    seen = 0
    for path in recordings("*.response.json"):
        raw = path.read_bytes()
        answer = json.loads(raw)
        if isinstance(answer, dict) and answer.get("choices") and "message" in answer["choices"][0]:
            assert any(isinstance(event, Finish) for event in decode_answer(raw)), path.name
            seen += 1
    for path in recordings("*.request.json"):
        sent = json.loads(path.read_bytes())
        if isinstance(sent, dict) and "messages" in sent and "model" in sent:
            assert decode_request(path.read_bytes()).model == sent["model"], path.name
            seen += 1
    assert seen >= 30
