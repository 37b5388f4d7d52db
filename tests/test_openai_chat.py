"""OpenAI chat in both directions: what is refused and how, what survives, and what real providers stream."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.fold import fold_events
from gateway.dialects.openai_chat import decode_answer, encode_answer
from gateway.dialects.openai_chat_request import decode_request, encode_request
from gateway.dialects.openai_chat_stream import MAX_TOOL_CALLS, Decoder, Encoder
from gateway.dialects.openai_objects import decode_error
from gateway.dialects.quirks import Quirks
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import (
    CachePoint,
    Failure,
    Finish,
    Foreign,
    Media,
    Message,
    OutputFormat,
    Reasoning,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Start,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThoughtSignature,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
    Usage,
)

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
    """The events of a stream but for its Start."""
    decoder = Decoder()
    return [event for event in decoder.push(stream) + decoder.finish() if not isinstance(event, Start)]


def answered(events: list[StreamEvent]) -> bytes:
    return encode_answer(events, REQUEST, "c", 1, None)


def streamed(*events: StreamEvent, include_usage: bool = True) -> bytes:
    encoder = Encoder(replace(REQUEST, include_usage=include_usage), "c", 1)
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(None)


DONE = b"data: [DONE]\n\n"
REQUEST = decode_request(body())
SEAL = ThoughtSignature("anthropic_messages", "EqQB")


def test_reads_a_full_request() -> None:
    request = decode_request(
        body(stream=True, stream_options={"include_usage": True}, max_tokens=5, max_completion_tokens=7.0,
             temperature=1, top_p=0.5, stop="x", tools=[{"type": "function"}], tool_choice="auto",
             reasoning_effort="low", response_format={"type": "json_object"}, n=2.0, seed=4, user="u",
             sf_policy="p", new_thing=[1])
    )  # fmt: skip
    said = Message("user", (Text("tell me the secret word"),))
    assert (request.model, request.messages, request.stream, request.include_usage) == ("m", (said,), True, True)
    assert (request.max_tokens, request.temperature, request.top_p, request.stop) == (7, 1.0, 0.5, ("x",))
    assert request.tools == (Foreign("openai_chat", {"type": "function"}),)
    assert (request.tool_choice, request.reasoning) == (ToolChoice("auto"), Reasoning("low"))
    assert (request.choices, request.seed, request.user) == (2, 4, "u")
    assert request.output_format == OutputFormat("json")
    assert request.extra == {"stream_options": {"include_usage": True}, "sf_policy": "p", "new_thing": [1]}


def test_every_kind_of_content_has_its_block() -> None:
    said = [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "t"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            {"type": "hologram", "depth": 3},
        ]},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "2", "type": "custom", "custom": {"name": "g", "input": "words"}},
        ]},
        {"role": "tool", "tool_call_id": "1", "content": "12"},
        {"role": "assistant", "content": None, "refusal": "no"},
    ]  # fmt: skip
    request = decode_request(body(messages=said))
    assert [message.content for message in request.messages] == [
        (Text("s"), CachePoint()),
        (
            Text("t"),
            Media("image", "image/png", "AAAA", detail="low"),
            Media("image", url="https://x.test/a.png"),
            Media("audio", "audio/mpeg", "AAAA"),
            Media("document", "application/pdf", "AAAA", name="a.pdf"),
            Foreign("openai_chat", {"type": "hologram", "depth": 3}),
        ),
        (Thinking("hm"), ToolCall("1", "f", "{}"), ToolCall("2", "g", "words", custom=True)),
        (ToolResult("1", (Text("12"),)),),
        (Refusal("no"),),
    ]
    again = json.loads(encode_request(request, Quirks(replays_reasoning=True)))["messages"]
    assert again[1:4] == said[1:4]
    assert "reasoning_content" not in json.loads(encode_request(request))["messages"][2]


def test_seals_travel_through_a_client_and_come_back_with_their_origin() -> None:
    events: list[StreamEvent] = [
        ReasoningDelta("a"), ReasoningDelta("b", SEAL), ReasoningDelta("", SEAL, redacted=True), ReasoningDelta("c"),
        ToolCallDelta(0, "1", "f", "{}", signature=ThoughtSignature("gemini", "Cg==")), Finish("tool_calls"),
    ]  # fmt: skip
    told = json.loads(answered(events))["choices"][0]["message"]
    assert told["reasoning_content"] == "abc"
    (again,) = decode_request(body(messages=[told])).messages
    blocks = (Thinking("ab", SEAL), Thinking("", SEAL, redacted=True), Thinking("c"))
    assert again.content == (*blocks, ToolCall("1", "f", "{}", signature=ThoughtSignature("gemini", "Cg==")))
    assert fold_events(read(streamed(*events))).blocks == again.content


def test_what_a_tool_shows_is_shown_by_the_user() -> None:
    picture = Media("image", "image/png", "AAAA")
    results = Message("tool", (ToolResult("1", (Text("seen"), picture)), ToolResult("2", (Text("x"),))))
    written = json.loads(encode_request(replace(REQUEST, messages=(results,))))["messages"]
    assert [row["role"] for row in written] == ["tool", "tool", "user"]
    assert written[2]["content"][0]["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_the_model_is_told_that_a_tool_failed() -> None:
    results = Message("tool", (ToolResult("1", (Text("no route"),), is_error=True), ToolResult("2", (), is_error=True)))
    written = json.loads(encode_request(replace(REQUEST, messages=(results,))))["messages"]
    assert [row["content"] for row in written] == ["The tool failed.\nno route", "The tool failed."]


def test_what_another_language_alone_can_say_is_refused_and_its_tools_are_not_offered() -> None:
    foreign = Foreign("elsewhere", {"a": 1})
    tools = (Tool("f", "d", {"type": "object"}, True), foreign)
    written = json.loads(encode_request(replace(REQUEST, tools=tools, extra={"b": 1}, dialect="elsewhere")))
    assert [tool["function"]["name"] for tool in written["tools"]] == ["f"]
    assert "b" not in written
    for broken in (
        replace(REQUEST, messages=(Message("user", (foreign,)),)),
        replace(REQUEST, messages=(Message("assistant", (foreign,)),)),
        replace(REQUEST, messages=(Message("tool", (ToolResult("1", (foreign,)),)),)),
        replace(REQUEST, messages=(Message("user", (Media("audio", url="https://x.test"),)),)),
        replace(REQUEST, output_format=foreign),
        replace(REQUEST, tools=tools, tool_choice=foreign),
        replace(REQUEST, tools=(foreign,), tool_choice=foreign),
        replace(REQUEST, tools=(foreign,), tool_choice=ToolChoice("required")),
    ):
        with pytest.raises(InvalidRequest):
            encode_request(broken)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("required", ("f",))),
        ({"type": "custom", "custom": {"name": "g"}}, ToolChoice("required", ("g",))),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
                {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]}},
            ToolChoice("auto", ("f", "g")),
        ),
        ({"type": "elsewhere"}, Foreign("openai_chat", {"tool_choice": {"type": "elsewhere"}})),
    ],
)  # fmt: skip
def test_tool_choices_survive(choice: object, expected: ToolChoice | Foreign) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]
    request = decode_request(body(tools=tools, tool_choice=choice))
    assert request.tool_choice == expected
    assert json.loads(encode_request(request))["tool_choice"] == choice


@pytest.mark.parametrize(
    ("quirks", "effort", "expected"),
    [
        (Quirks(), "max", {"reasoning_effort": "max"}),
        (Quirks(), "none", {"reasoning_effort": "none"}),
        (Quirks(efforts=("low", "high", "max")), "medium", {"reasoning_effort": "low"}),
        (Quirks(thinking="type"), "low", {"thinking": {"type": "enabled"}}),
        (Quirks(thinking="type", efforts=("low", "high")), "none", {"thinking": {"type": "disabled"}}),
        (
            Quirks(thinking="type", efforts=("high",)),
            "low",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        (Quirks(thinking="template"), "none", {"chat_template_kwargs": {"thinking": False, "enable_thinking": False}}),
        (Quirks(thinking="always", efforts=("low", "high")), "none", {"reasoning_effort": "low"}),
        (Quirks(drops=frozenset({"reasoning"})), "low", {}),
    ],
)
def test_the_wish_to_think_in_each_vendors_way(quirks: Quirks, effort: str, expected: dict[str, object]) -> None:
    written = json.loads(encode_request(decode_request(body(reasoning_effort=effort)), quirks))
    assert {name: written[name] for name in written.keys() - {"model", "messages"}} == expected


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
    assert decode_request(body(tools=[tool])).tools == (Tool("f", parameters={"properties": {"location": "bar"}}),)


def test_what_only_this_language_says_survives_in_it() -> None:
    spoken = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    sent = {"model": "m", "messages": [USER, spoken, USER], "functions": [{"name": "f"}], "function_call": "auto"}
    assert json.loads(encode_request(decode_request(json.dumps(sent).encode()))) == sent


def test_request_survives_both_directions_but_for_our_own_fields() -> None:
    sent = {"model": "m", "messages": [USER], "temperature": 0.5, "stop": ["a"], "stream": True, "max_tokens": 3,
            "stream_options": {"include_usage": True, "include_obfuscation": False}, "seed": 2}  # fmt: skip
    request = decode_request(json.dumps({**sent, "sf_policy": "p", "sf_provider": "q"}).encode())
    assert json.loads(encode_request(request)) == sent
    assert json.loads(encode_request(request, Quirks("max_completion_tokens")))["max_completion_tokens"] == 3
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
    answer = json.loads(answered(events))
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
    stream = streamed(*EVENTS)
    assert read(stream) == EVENTS
    chunks = [json.loads(frame[6:]) for frame in stream.split(b"\n\n")[:-2]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert Usage(1, 1) not in read(streamed(TextDelta("a"), Finish("stop"), Usage(1, 1), include_usage=False))
    broken = streamed(TextDelta("a"), Failure("m", "c", "t"))
    assert read(broken) == [TextDelta("a"), Failure("m", "c", "t")]
    assert DONE not in broken
    assert DONE not in streamed(TextDelta("a"))


def test_an_answer_keeps_its_makers_name_and_time_and_gets_our_id() -> None:
    start = Start("chatcmpl-theirs", "vendor-model", 99)
    told = json.loads(answered([start, TextDelta("x"), Finish("stop")]))
    assert (told["id"], told["model"], told["created"]) == ("chatcmpl-c", "vendor-model", 99)
    first = json.loads(streamed(start, TextDelta("x")).split(b"\n\n")[0][6:])
    assert (first["id"], first["model"], first["created"]) == ("chatcmpl-c", "vendor-model", 99)
    assert decode_answer(answered([start, TextDelta("x"), Finish("stop")]))[0] == Start(
        "chatcmpl-c", "vendor-model", 99
    )


def test_refusals_and_pictures_in_answers() -> None:
    picture = Media("image", "image/png", "AAAA")
    events: list[StreamEvent] = [RefusalDelta("no"), picture, Finish("stop", "stop")]
    assert read(streamed(*events))[:3] == events
    assert decode_answer(answered(events))[1:4] == events
    for nowhere in (Media("image", file_id="f"), Media("audio", "audio/mpeg", "AAAA")):
        for write in (lambda events: streamed(*events), answered):
            with pytest.raises(UpstreamFailed, match="no place"):
                write([nowhere, Finish("stop")])
    assert json.loads(answered([RefusalDelta("no")]))["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", b'{"detail":[{"msg":"x"}]}'])
def test_a_refusal_without_an_error_object_still_says_its_status(raw: bytes) -> None:
    assert "without a message" in decode_error(raw, 429).message or "429" in decode_error(raw, 429).message


def test_buffered_answers_both_ways() -> None:
    answer = answered(EVENTS)
    events = decode_answer(b"\n\n" + answer)[1:]  # DeepSeek keeps alive with blank lines
    assert events == [ReasoningDelta("hm"), TextDelta("a\u2028\n\n\U0001f600"), ToolCallDelta(0, "x", "f", '{"a":1}'),
                      *EVENTS[-2:]]  # fmt: skip
    assert json.loads(answered([TextDelta("x")]))["usage"]["total_tokens"] == 0
    assert json.loads(answered([Failure("m")]))["error"]["message"] == "m"
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
            answered(events)
            decode_answer(stream)
        except GatewayError as error:
            assert error.status == 502


@given(st.integers(1, 40))
def test_any_chunking_gives_the_same_events(size: int) -> None:
    stream = sse(delta(content="a"), calls({"id": "a", "function": {"arguments": "{}"}}), delta("stop")) + DONE
    decoder = Decoder()
    events = [event for at in range(0, len(stream), size) for event in decoder.push(stream[at : at + size])]
    assert (events + decoder.finish())[1:] == read(stream)


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
