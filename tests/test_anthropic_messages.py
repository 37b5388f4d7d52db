"""Anthropic Messages in both directions: what is refused and how, what survives, and what real providers stream."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.quirks_table import quirks_of
from gateway.dialects import anthropic_messages
from gateway.dialects.anthropic_messages import decode_answer, decode_error, encode_answer, encode_error
from gateway.dialects.anthropic_messages_request import decode_request, encode_request
from gateway.dialects.anthropic_messages_stream import Decoder, Encoder
from gateway.dialects.anthropic_messages_verbatim import MessagesPassage
from gateway.dialects.dialect import CUT
from gateway.dialects.fold import fold_events
from gateway.dialects.quirks import Quirks
from gateway.dialects.splice import attach_to_frame
from gateway.dialects.sse import parse_frame
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import (
    Block,
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
NAME = "anthropic_messages"
USER = {"role": "user", "content": "tell me the secret word"}
SEAL = ThoughtSignature(NAME, "EqQB")
FOREIGN_SEAL = ThoughtSignature("gemini", "Cg==")
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def recordings(pattern: str) -> list[Path]:
    folder = VECTORS / "dialects"
    if not folder.is_dir():
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(f"recorded vectors are required, and {folder} is absent")
        pytest.skip(f"recorded vectors: {folder} is absent")
    return sorted(path for provider in ("anthropic", "minimax") for path in (folder / provider).glob(pattern))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [USER], **fields}).encode()


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def read(stream: bytes) -> list[StreamEvent]:
    decoder = Decoder()
    return decoder.push(stream) + decoder.finish()


def message_start(**usage: object) -> dict[str, object]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": usage}}


def opened(index: int, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **fields: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def closed(index: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, **usage: object) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


STOP: dict[str, object] = {"type": "message_stop"}
REQUEST = decode_request(body())


def written(*messages: Message, quirks: Quirks | None = None, **fields: object) -> dict[str, object]:
    asked = replace(REQUEST, dialect="elsewhere", **({"messages": messages} if messages else {}), **fields)  # type: ignore[arg-type]
    found = json.loads(encode_request(asked, quirks or Quirks()))
    assert isinstance(found, dict)
    return found


def test_reads_a_full_request() -> None:
    request = decode_request(
        body(system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
             stream=True, temperature=1, top_p=0.5, top_k=3, stop_sequences=["x"],
             tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
                    {"type": "web_search_20250305", "name": "web_search"}],
             tool_choice={"type": "any", "disable_parallel_tool_use": True},
             thinking={"type": "adaptive", "display": "omitted"},
             output_config={"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}}},
             metadata={"user_id": "u"}, service_tier="auto", sf_policy="p")
    )  # fmt: skip
    assert request.messages[0] == Message("system", (Text("s"), CachePoint("1h")))
    assert (request.max_tokens, request.temperature, request.top_p, request.top_k) == (9, 1.0, 0.5, 3)
    assert request.tools == (
        Tool("f", "d", {"type": "object"}, True),
        Foreign(NAME, {"type": "web_search_20250305", "name": "web_search"}),
    )
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice("required"), False)
    assert request.reasoning == Reasoning("xhigh", None, False)
    assert request.output_format == OutputFormat("json_schema", schema={"type": "object"}, strict=True)
    assert (request.stream, request.stop, request.user) == (True, ("x",), "u")
    assert request.extra == {"metadata": {"user_id": "u"}, "service_tier": "auto", "sf_policy": "p"}


def test_a_placeholder_is_no_tool() -> None:
    tool: dict[str, object] = {"name": "f", "input_schema": {"type": "object"}, "defer_loading": True}
    request = decode_request(body(tools=[{**tool, "name": "DeferredToolPlaceholder"}, tool]))
    assert [one.name for one in request.tools or () if isinstance(one, Tool)] == ["f"]


def test_the_form_of_the_answer_has_an_older_place() -> None:
    form: dict[str, object] = {"type": "json_schema", "schema": {"type": "object"}}
    request = decode_request(body(output_format=form))
    assert request.output_format == OutputFormat("json_schema", schema={"type": "object"}, strict=True)
    assert request.extra == {}
    newer = decode_request(body(output_format={"type": "x"}, output_config={"format": form}))
    assert newer.output_format == request.output_format


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(None, 2000)),
        ({"thinking": {"type": "adaptive"}}, Reasoning("high")),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, Reasoning("off")),
        ({"output_config": {"effort": "low"}}, Reasoning("low")),
        ({}, None),
    ],
)
def test_how_much_to_think(fields: dict[str, object], expected: Reasoning | None) -> None:
    assert decode_request(body(**fields)).reasoning == expected


def test_every_kind_of_content_has_its_block() -> None:
    turns = [
        {"role": "user", "content": [
            {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
            PICTURE,
            {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
            {"type": "document", "title": "a",
             "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
            {"type": "search_result", "title": "x"},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EqQB"},
            {"type": "text", "text": "so"},
            {"type": "thinking", "thinking": "", "signature": "gemini#Cg=="},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "12"}, PICTURE]},
            {"type": "tool_result", "tool_use_id": "2", "content": "no", "is_error": True},
            {"type": "text", "text": "and?"},
        ]},
        {"role": "system", "content": "be brief"},
    ]  # fmt: skip
    messages = decode_request(body(messages=turns)).messages
    picture = Media("image", "image/png", "AAAA")
    assert messages == (
        Message("user", (
            Text("t"), CachePoint(), picture, Media("image", url="https://x.test/a.png"),
            Media("document", "application/pdf", "AAAA", name="a"), Text("plain"),
            Foreign(NAME, {"type": "search_result", "title": "x"}),
        )),
        Message("assistant", (
            Thinking("hm", SEAL), Thinking("", SEAL, redacted=True), Text("so"),
            ToolCall("1", "f", '{"a":1}', signature=FOREIGN_SEAL),
        )),
        Message("tool", (ToolResult("1", (Text("12"), picture)), ToolResult("2", (Text("no"),), is_error=True))),
        Message("user", (Text("and?"),)),
        Message("system", (Text("be brief"),)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "the secret word", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["the secret word"]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}]},
            "messages[0].content[0].content",
        ),
        ({"system": 5}, "system"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_k": "3"}, "top_k"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"stream": 1}, "stream"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": "on"}, "thinking"),
        ({"metadata": []}, "metadata"),
        ({"sf_provider": 1}, "sf_provider"),
    ],
)
def test_names_the_member_at_fault_and_never_repeats_it(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body(**fields))
    assert caught.value.param == param
    assert "secret" not in caught.value.message


def test_garbage_in_tool_schemas_passes() -> None:
    tool = {"name": "f", "input_schema": {"properties": {"location": "bar"}}}
    assert decode_request(body(tools=[tool, {"name": 3}])).tools == (
        Tool("f", "", {"properties": {"location": "bar"}}),
        Foreign(NAME, {"name": 3}),
    )


def test_a_chat_of_another_language_becomes_turns() -> None:
    sent = written(
        Message("system", (Text("a"),)),
        Message("user", (Text("b"), CachePoint("1h"))),
        Message("assistant", (Thinking("unsealed"), Thinking("x", FOREIGN_SEAL), Thinking("y", SEAL),
                              ToolCall("get:0", "f", '{"a":1}'), ToolCall("2", "g", "broken{"))),
        Message("tool", (ToolResult("get:0", (Text("1"), Media("image", url="https://x.test"))),)),
        Message("tool", (ToolResult("2", (), is_error=True),)),
        Message("user", (Text(" "), Text("c"))),
        Message("developer", (Text("d"),)),
    )  # fmt: skip
    assert sent["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "d"}]
    assert sent["messages"] == [
        {"role": "user", "content": [
            {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "y", "signature": "EqQB"},
            {"type": "tool_use", "id": "get_0", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "2", "name": "g", "input": {"input": "broken{"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "get_0", "content": [
                {"type": "text", "text": "1"}, {"type": "image", "source": {"type": "url", "url": "https://x.test"}}]},
            {"type": "tool_result", "tool_use_id": "2", "is_error": True},
            {"type": "text", "text": "c"}]},
    ]  # fmt: skip
    assert sent["max_tokens"] == 9
    only_system = written(Message("system", (Text("a"),)), Message("system", (Text("b"),)))
    assert only_system["system"] == [{"type": "text", "text": "a"}]
    assert only_system["messages"] == [{"role": "user", "content": [{"type": "text", "text": "b"}]}]


def test_the_names_of_speakers_are_words() -> None:
    sent = written(
        Message("system", (Text("a"),), "rules"),
        Message("user", (Text("b"),), "Bob"), Message("user", (Text("c"),), "Eve"),
        Message("assistant", (Thinking("y", SEAL), ToolCall("1", "f", "{}")), "critic"),
        Message("user", (), "Bob"),
    )  # fmt: skip
    said = [[part.get("text", part["type"]) for part in turn["content"]] for turn in sent["messages"]]  # type: ignore[attr-defined]
    assert said == [["Bob:", "b", "Eve:", "c"], ["thinking", "critic:", "tool_use"]]
    assert sent["system"] == [{"type": "text", "text": "rules:"}, {"type": "text", "text": "a"}]


def test_what_is_said_of_a_document_stays_beside_it() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    words = {"type": "text", "media_type": "text/plain", "data": "DATA"}
    turn = {"role": "user", "content": [
        {"type": "document", "source": words}, {"type": "document", "source": words, "title": "T", "context": "C"},
        {"type": "document", "source": pdf, "title": "P", "context": "D"}, {**PICTURE, "context": "no document"},
    ]}  # fmt: skip
    assert decode_request(body(messages=[turn])).messages[0].content == (
        Text("DATA"), Text("Document title: T\nDocument context: C\n\nDATA"), Text("Document context: D"),
        Media("document", "application/pdf", "AAAA", name="P"), Media("image", "image/png", "AAAA"),
    )  # fmt: skip


def test_what_anthropic_does_not_know_is_left_out_or_refused() -> None:
    sent = written(seed=4, presence_penalty=1.0, stop=("\n", "x"), temperature=1.7, top_p=0.5, max_tokens=None,
                   extra={"logprobs": True}, output_format=OutputFormat("json"), user="u")  # fmt: skip
    assert sent.keys() == {"model", "max_tokens", "messages", "stop_sequences", "temperature", "metadata"}
    assert (sent["stop_sequences"], sent["temperature"], sent["max_tokens"]) == (["x"], 1.0, 4096)
    foreign = Foreign("elsewhere", {"a": 1})
    assert "tools" not in written(tools=(foreign,), tool_choice=ToolChoice("auto"))
    for blocks in ((foreign,), (Media("audio", "audio/mpeg", "AAAA"),), (Media("document", "text/plain", "?"),)):
        with pytest.raises(InvalidRequest):
            written(Message("user", blocks))
    for fields in (
        {"choices": 2},
        {"tools": (Tool("f"),), "tool_choice": foreign},
        {"tools": (foreign,), "tool_choice": foreign},
        {"tools": (foreign,), "tool_choice": ToolChoice("required")},
        {"output_format": foreign},
    ):
        with pytest.raises(InvalidRequest):
            written(**fields)


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required", ("f",)), None, {"type": "tool", "name": "f"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, None, None),
    ],
)
def test_tool_choices(choice: ToolChoice | None, parallel: bool | None, expected: object) -> None:
    sent = written(tools=(Tool("f"), Tool("g", custom=True)), tool_choice=choice, parallel_tool_calls=parallel)
    assert sent.get("tool_choice") == expected
    assert [tool["name"] for tool in sent["tools"]] == ["f", "g"]  # type: ignore[attr-defined]
    few = written(tools=(Tool("f"), Tool("g"), Tool("h")), tool_choice=ToolChoice("auto", ("f", "h")))
    assert [tool["name"] for tool in few["tools"]] == ["f", "h"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        ("claude-opus-4-8", Reasoning("max"),
         {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}}),
        ("claude-opus-5", Reasoning("minimal", None, False),
         {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}}),
        ("claude-opus-4-8", Reasoning("off"), {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-4-5-20250929", Reasoning("low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-opus-4-20250514", Reasoning(None, 90_000), {"thinking": {"type": "enabled", "budget_tokens": 16_000}}),
        ("claude-opus-4-1-20250805", Reasoning("off"), {"temperature": 0.5}),
        ("claude-sonnet-4-6", None, {"temperature": 0.5}),
        ("claude-opus-4-8", None, {}),
        ("claude-3-5-haiku-20241022", Reasoning("high"), {"temperature": 0.5}),
    ],
)  # fmt: skip
def test_the_wish_to_think_in_each_models_way(model: str, reasoning: Reasoning, expected: dict[str, object]) -> None:
    quirks = quirks_of("anthropic", model)
    sent = written(model=model, reasoning=reasoning, temperature=0.5, max_tokens=None, quirks=quirks)
    assert {name: sent[name] for name in sent.keys() - {"model", "messages", "max_tokens"}} == expected


def test_forced_tools_and_thinking_exclude_one_another() -> None:
    forced = ToolChoice("required")
    sent = written(tools=(Tool("f"),), tool_choice=forced, reasoning=Reasoning("high"), temperature=0.3)
    assert (sent["thinking"], sent["temperature"]) == ({"type": "disabled"}, 0.3)


def test_a_request_survives_both_directions_but_for_our_own_fields() -> None:
    sent = {"model": "m", "max_tokens": 3, "system": [{"type": "text", "text": "s"}], "stream": True,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "search_result"}]}],
            "tools": [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}],
            "tool_choice": {"type": "tool", "name": "f"}, "service_tier": "auto"}  # fmt: skip
    sent["tools"][0]["input_schema"] = {"type": "object"}  # type: ignore[index]
    request = decode_request(json.dumps({**sent, "sf_policy": "p"}).encode())
    assert json.loads(encode_request(request)) == sent


@given(st.binary(max_size=120), st.integers(0, 300), st.integers(0, 255))
def test_arbitrary_and_mutated_requests_raise_only_gateway_errors(noise: bytes, place: int, byte: int) -> None:
    content = [PICTURE, {"type": "tool_result", "tool_use_id": "a", "content": [PICTURE]}]
    good = bytearray(body(stream=True, tools=[{"name": "a", "input_schema": {}}], system=[{"type": "text"}],
                          thinking={"type": "enabled", "budget_tokens": 3}, tool_choice={"type": "auto"},
                          messages=[{"role": "user", "content": content}]))  # fmt: skip
    good[place % len(good)] = byte
    for candidate in (noise, bytes(good)):
        try:
            encode_request(decode_request(candidate))
        except GatewayError as error:
            assert error.status == 400


def test_stream_becomes_events_in_order() -> None:
    stream = sse(
        message_start(input_tokens=3, cache_read_input_tokens=4, cache_creation_input_tokens=5, output_tokens=1,
                      cache_creation={"ephemeral_1h_input_tokens": 2}),
        {"type": "ping"},
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="Eq"),
        delta(0, type="signature_delta", signature="QB"),
        closed(0),
        opened(1, type="redacted_thinking", data="EqQB"),
        closed(1),
        opened(2, type="text", text=""),
        delta(2, type="text_delta", text="a"),
        closed(2),
        opened(3, type="server_tool_use", id="s", name="web", input={}),
        delta(3, type="input_json_delta", partial_json="{}"),
        closed(3),
        opened(4, type="tool_use", id="t", name="f", input={}),
        delta(4, type="input_json_delta", partial_json=""),
        delta(4, type="input_json_delta", partial_json='{"a":'),
        delta(4, type="input_json_delta", partial_json="1}"),
        closed(4),
        opened(5, type="tool_use", id="u", name="g", input={}),
        closed(5),
        {"type": "something_new"},
        ended("tool_use", output_tokens=9, output_tokens_details={"thinking_tokens": 6}),
        STOP,
        {"type": "ping"},
    )  # fmt: skip
    assert read(stream) == [
        Start("msg_1", "claude"),
        Usage(12, 1, 4, 5, 0, 2),
        ReasoningDelta("hm"),
        ReasoningDelta("", SEAL),
        ReasoningDelta("", SEAL, redacted=True),
        TextDelta("a"),
        ToolCallDelta(0, "t", "f", ""),
        ToolCallDelta(0, None, None, '{"a":'),
        ToolCallDelta(0, None, None, "1}"),
        ToolCallDelta(1, "u", "g", ""),
        ToolCallDelta(1, None, None, "{}"),
        Finish("tool_calls", "tool_use"),
        Usage(12, 9, 4, 5, 6, 2),
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"), ("max_tokens", "length"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"),
        ("pause_turn", "stop"), ("refusal", "content_filter"), ("model_context_window_exceeded", "length"),
        ("a_new_word", "stop"),
    ],
)  # fmt: skip
def test_stop_reasons(reason: str, expected: str) -> None:
    assert read(sse(ended(reason), STOP)) == [Finish(expected, reason)]


def test_how_streams_may_end() -> None:
    assert read(sse(ended("end_turn")))[-1] == Finish("stop", "end_turn")
    assert read(sse(message_start(), STOP)) == [Start("msg_1", "claude"), Finish("stop")]
    overloaded: dict[str, object] = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    failure = Failure("Overloaded", "overloaded_error", "overloaded_error", status=529)
    assert read(sse(message_start(), overloaded, STOP)) == [Start("msg_1", "claude"), failure]
    for stream in (b"data: <html>\n\n", sse(message_start(), opened(0, type="text", text="a")), b""):
        assert isinstance(read(stream)[-1], Failure)


EVENTS: list[StreamEvent] = [
    Start("msg_1", "claude"), ReasoningDelta("h"), ReasoningDelta("m", SEAL), ReasoningDelta("", SEAL, redacted=True),
    TextDelta("a\u2028\n\n"), TextDelta("\U0001f600"), ToolCallDelta(0, "x", "f", ""),
    ToolCallDelta(0, None, None, '{"a":1}'), ToolCallDelta(1, "y", "g", "{}"),
    Finish("tool_calls", "tool_use"), Usage(14, 3, 2, 5, 1, 1),
]  # fmt: skip


def streamed(*events: StreamEvent, attestation: dict[str, object] | None = None) -> bytes:
    encoder = Encoder(REQUEST, "c", 1)
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(attestation)


def frames(stream: bytes) -> list[dict[str, object]]:
    rows = [frame.split(b"\ndata: ", 1) for frame in stream.split(b"\n\n") if frame]
    found = [json.loads(data) for _, data in rows]
    assert [head.decode() for head, _ in rows] == [f"event: {frame['type']}" for frame in found]
    return found


def check_one_by_one(events: list[StreamEvent]) -> None:
    """Blocks are numbered in order, and each is closed before the next opens; pieces are of the open one."""
    number, is_open = -1, False
    for frame in frames(streamed(*events)):
        if frame["type"] == "content_block_start":
            number, is_open = number + 1, not is_open
            assert is_open and frame["index"] == number
        elif str(frame["type"]).startswith("content_block"):
            assert is_open and frame["index"] == number
            is_open = frame["type"] == "content_block_delta"
    assert not is_open


def test_encoder_and_decoder_are_inverse() -> None:
    stream = streamed(*EVENTS)
    again = read(stream)
    assert again[0] == Start("msg_c", "claude")
    assert fold_events(again).blocks == fold_events(EVENTS).blocks
    assert again[-2:] == EVENTS[-2:]
    kinds = [frame["type"] for frame in frames(stream)]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    check_one_by_one(EVENTS)


def test_the_attestation_rides_in_message_delta_or_in_the_error() -> None:
    block: dict[str, object] = {"receipt_id": "r"}
    last = frames(streamed(*EVENTS, attestation=block))[-2]
    assert last["attestation"] == last["_sf_attestation"] == block
    broken = frames(streamed(TextDelta("a"), Failure("m", status=529), attestation=block))
    assert [frame["type"] for frame in broken[-2:]] == ["content_block_stop", "error"]
    assert broken[-1]["attestation"] == block
    assert broken[-1]["error"] == {"type": "overloaded_error", "message": "m"}
    assert all(frame["type"] != "message_stop" for frame in frames(streamed(TextDelta("a"))))


def test_the_name_of_a_call_may_come_late() -> None:
    pieces: list[StreamEvent] = [
        ToolCallDelta(0, "x", None, ""), ToolCallDelta(0, None, None, '{"a"'), ToolCallDelta(0, None, "f", ":1}"),
        Finish("tool_calls"),
    ]  # fmt: skip
    assert fold_events(read(streamed(*pieces))).blocks == (ToolCall("x", "f", '{"a":1}'),)


def test_one_block_is_open_at_a_time_however_calls_interleave() -> None:
    pieces: list[StreamEvent] = [
        ToolCallDelta(0, "x", "f", '{"a":'), ToolCallDelta(1, "y", "g", '{"b":'), TextDelta("and "),
        ToolCallDelta(0, None, None, "1}"), ToolCallDelta(1, None, None, "2}"), TextDelta("so"), Finish("tool_calls"),
    ]  # fmt: skip
    check_one_by_one(pieces)
    assert fold_events(read(streamed(*pieces))).blocks == (
        ToolCall("x", "f", '{"a":1}'), ToolCall("y", "g", '{"b":2}'), Text("and so"),
    )  # fmt: skip


def test_a_whole_call_makes_room_for_the_next_at_once() -> None:
    encoder = Encoder(REQUEST, "c", 1)
    encoder.encode(ToolCallDelta(0, "x", "f", '{"a":'))
    encoder.encode(ToolCallDelta(0, None, None, "1}"))
    assert b'"id":"y"' in encoder.encode(ToolCallDelta(1, "y", "g", "{"))
    assert encoder.encode(ToolCallDelta(0, None, None, " ")) == b""
    with pytest.raises(UpstreamFailed, match="after the end of their call"):
        encoder.encode(ToolCallDelta(0, None, None, ',"b":2}'))


def test_a_call_that_waited_does_not_begin_after_a_failure() -> None:
    cut = streamed(ToolCallDelta(0, "x", "f", '{"a":'), ToolCallDelta(1, "y", "g", '{"b":'), Failure("m"))
    assert b'"id":"x"' in cut and b'"id":"y"' not in cut
    assert frames(cut)[-1]["type"] == "error"


def test_what_waits_for_an_open_call_is_bounded() -> None:
    encoder = Encoder(REQUEST, "c", 1)
    encoder.encode(ToolCallDelta(0, "x", "f", "{"))
    with pytest.raises(UpstreamFailed, match="beside an open call"):
        for _ in range(9):
            encoder.encode(ToolCallDelta(1, "y", "g", "x" * (1 << 20)))
    alone = Encoder(REQUEST, "c", 1)
    alone.encode(ToolCallDelta(0, "x", "f", '{"a":"'))
    assert all(alone.encode(ToolCallDelta(0, None, None, "x" * (1 << 20))) for _ in range(9))
    alone.encode(ToolCallDelta(0, None, None, '"}'))
    alone.encode(ToolCallDelta(1, "y", "g", "{}"))
    assert b'"id":"y"' in alone.finish(None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "{", '"a"', ":1", "}", "{}"])), max_size=14))
def test_any_interleaving_reads_as_the_buffered_answer_does(pieces: list[tuple[int, str]]) -> None:
    """Number 3 stands for text. A call that goes on after its end is refused by the stream alone."""
    begun: set[int] = set()
    events: list[StreamEvent] = []
    for index, said in pieces:
        first = index not in begun
        begun.add(index)
        call = (
            ToolCallDelta(index, f"id{index}", f"f{index}", said) if first else ToolCallDelta(index, None, None, said)
        )
        events.append(TextDelta(said) if index == 3 else call)
    events = [event for event in events if event != TextDelta("")] + [Finish("tool_calls")]
    try:
        stream = streamed(*events)
    except UpstreamFailed as error:
        assert "after the end of their call" in error.message
        return
    check_one_by_one(events)
    wanted = [replace(block, arguments=block.arguments.strip() or "{}") if isinstance(block, ToolCall) else block
              for block in fold_events(events).blocks]  # fmt: skip
    assert list(fold_events(read(stream)).blocks) == wanted


def test_a_picture_in_an_answer_is_a_markdown_image_of_its_own() -> None:
    picture = Media("image", "image/png", "AAAA")
    events: list[StreamEvent] = [TextDelta("here"), picture, TextDelta("so"), Finish("stop")]
    said = ["here", "![image](data:image/png;base64,AAAA)", "so"]
    whole = json.loads(encode_answer(events, REQUEST, "c", 1, None))
    assert [part["text"] for part in whole["content"]] == said
    check_one_by_one(events)
    blocks = [frame for frame in frames(streamed(*events)) if frame["type"] == "content_block_delta"]
    assert [frame["delta"] for frame in blocks] == [{"type": "text_delta", "text": words} for words in said]
    linked = encode_answer([Media("image", url="https://x.test/a.png")], REQUEST, "c", 1, None)
    assert b"![image](https://x.test/a.png)" in linked


@pytest.mark.parametrize("media", [Media("image", file_id="f"), Media("audio", "audio/mpeg", "AAAA")])
def test_what_no_block_can_show_fails_and_does_not_vanish(media: Media) -> None:
    with pytest.raises(UpstreamFailed, match="no place"):
        encode_answer([TextDelta("a"), media, Finish("stop")], REQUEST, "c", 1, None)
    encoder = Encoder(REQUEST, "c", 1)
    encoder.encode(ToolCallDelta(0, "x", "f", "{"))
    with pytest.raises(UpstreamFailed, match="no place"):
        encoder.encode(media)
    assert b"message_stop" not in encoder.finish(None)


def test_a_foreign_seal_of_a_call_comes_back_with_it() -> None:
    call = ToolCallDelta(0, "x", "f", "{}", signature=FOREIGN_SEAL)
    sent = json.loads(encode_answer([call, Finish("tool_calls")], REQUEST, "c", 1, None))
    again = decode_request(body(messages=[{"role": "assistant", "content": sent["content"]}])).messages
    assert again[0].content == (ToolCall("x", "f", "{}", signature=FOREIGN_SEAL),)
    first = frames(streamed(call, Finish("tool_calls")))[1]["content_block"]
    assert isinstance(first, dict) and first["type"] == "thinking"


def test_buffered_answers_both_ways() -> None:
    answer = encode_answer(EVENTS, REQUEST, "c", 1, {"receipt_id": "r"})
    told = json.loads(answer)
    assert (told["id"], told["model"], told["stop_reason"]) == ("msg_c", "claude", "tool_use")
    assert told["attestation"] == told["_sf_attestation"] == {"receipt_id": "r"}
    again = decode_answer(answer)
    assert fold_events(again).blocks == fold_events(EVENTS).blocks
    assert again[-2:] == EVENTS[-2:]
    refused = json.loads(encode_answer([RefusalDelta("no"), Finish("stop")], REQUEST, "c", 1, None))
    assert (refused["content"], refused["stop_reason"]) == ([{"type": "text", "text": "no"}], "refusal")
    hit = json.loads(encode_answer([Finish("stop", None, "x")], REQUEST, "c", 1, None))
    assert (hit["stop_reason"], hit["stop_sequence"]) == ("stop_sequence", "x")
    assert json.loads(encode_answer([Failure("m")], REQUEST, "c", 1, None))["error"]["type"] == "api_error"
    for bad in (b"", b"<html>", b"[]", b"{}"):
        with pytest.raises(UpstreamFailed):
            decode_answer(bad)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"), (404, "not_found_error"),
     (422, "invalid_request_error"), (429, "rate_limit_error"), (502, "api_error"), (503, "overloaded_error")],
)  # fmt: skip
def test_errors_both_ways(status: int, kind: str) -> None:
    raw = encode_error(Failure("m", "c"), status)
    assert json.loads(raw)["error"] == {"type": kind, "message": "m"}
    assert decode_error(raw, status).message == "m"
    assert str(status) in decode_error(b"<html>", status).message


@given(st.binary(max_size=100), st.integers(0, 900), st.integers(0, 255), st.integers(1, 60))
def test_arbitrary_and_mutated_streams_raise_only_gateway_errors(
    noise: bytes, place: int, byte: int, size: int
) -> None:
    good = bytearray(sse(message_start(input_tokens=1), opened(0, type="tool_use", id="a", name="f", input={}),
                         delta(0, type="input_json_delta", partial_json="{}"), closed(0),
                         ended("tool_use"), STOP))  # fmt: skip
    good[place % len(good)] = byte
    for stream in (noise, bytes(good)):
        try:
            events = read(stream)
            decoder = Decoder()
            pieces = [event for at in range(0, len(stream), size) for event in decoder.push(stream[at : at + size])]
            assert pieces + decoder.finish() == events
            encode_answer(events, REQUEST, "c", 1, None)
            decode_answer(stream)
        except GatewayError as error:
            assert error.status == 502


ERROR_FRAME = b"event: error\ndata: " + encode_error(CUT, 500) + b"\n\n"
WIRE = sse(message_start(input_tokens=3), opened(0, type="text", text=""), delta(0, type="text_delta", text="a"))
PIECES = [
    WIRE,
    sse(ended("end_turn", output_tokens=2)),
    sse(STOP),
    sse({"type": "ping"}),
    sse({"type": "error", "error": {"type": "api_error", "message": "m"}}),
    b": note\n\n",
    b"data: {\n\n",
    b"\r\n",
    b"x",
    b"data: ",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join), st.integers(1, 50))
def test_a_verbatim_stream_keeps_its_bytes_in_any_chunking(stream: bytes, size: int) -> None:
    def passed(step: int, attestation: dict[str, object] | None) -> bytes:
        passage = MessagesPassage(REQUEST, 1)
        pushed = b"".join(passage.push(stream[at : at + step]) for at in range(0, len(stream), step))
        closing = passage.closing(attestation)
        assert not (passage.seen().whole and ERROR_FRAME in closing)
        return pushed + closing

    plain = passed(size, None)
    assert plain == passed(len(stream) + 1, None)
    rest = plain.replace(ERROR_FRAME, b"", 1) if ERROR_FRAME in plain else plain
    assert rest == stream
    carried = passed(size, {"receipt_id": "r"})
    assert carried.count(b'"_sf_attestation":{"receipt_id":"r"}') == 1


def test_a_frame_in_several_lines_carries_the_attestation_all_the_same() -> None:
    frame = b'event: error\ndata: {"type":"error",\ndata: "error":{"message":"m"}}\n\n'
    event = parse_frame(attach_to_frame(frame, {"receipt_id": "r"}))
    assert event.event == "error"
    assert json.loads(event.data)["attestation"] == {"receipt_id": "r"}


def test_recorded_streams_decode_to_the_end_and_are_written_anew() -> None:
    seen = 0
    for path in recordings("*.response.sse"):
        events = read(path.read_bytes())
        assert sum(isinstance(event, Finish) for event in events) == 1, path.name
        assert not any(isinstance(event, Failure) for event in events), path.name
        assert isinstance(events[-1], Usage) and events[-1].prompt_tokens, path.name
        again = read(streamed(*events))
        assert fold_events(again).blocks == fold_events(events).blocks, path.name
        assert again[-1] == events[-1], path.name
        seen += 1
    assert seen >= 20


def test_recorded_answers_and_requests_decode() -> None:
    seen = 0
    for path in recordings("*.response.json"):
        raw = path.read_bytes()
        answer = json.loads(raw)
        if isinstance(answer, dict) and isinstance(answer.get("content"), list):
            assert any(isinstance(event, Finish) for event in decode_answer(raw)), path.name
            seen += 1
    for path in recordings("*.request.json"):
        sent = json.loads(path.read_bytes())
        if isinstance(sent, dict) and "max_tokens" in sent:
            request = decode_request(path.read_bytes())
            again = json.loads(encode_request(request, Quirks()))
            assert again["model"] == sent["model"], path.name
            turns = [turn for turn in sent["messages"] if turn["role"] != "system"]
            assert len(again["messages"]) == len(turns), path.name
            assert len(again.get("tools", [])) == len(sent.get("tools", [])), path.name
            seen += 1
    assert seen >= 20


def test_blocks_of_no_event_are_no_text() -> None:
    blocks: tuple[Block, ...] = (Refusal("x"),)
    assert written(Message("assistant", blocks), Message("user", (Text("y"),)))["messages"][0] == {  # type: ignore[index]
        "role": "assistant", "content": [{"type": "text", "text": "x"}]
    }  # fmt: skip
    assert anthropic_messages.PROVIDER.path("m", True) == "/v1/messages"
