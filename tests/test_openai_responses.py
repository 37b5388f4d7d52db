"""OpenAI Responses in both directions: what is refused and how, what survives, and what real providers stream."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.dialects import (
    anthropic_messages,
    bedrock_converse,
    gemini,
    ollama,
    openai_chat,
    openai_chat_legacy,
    openai_embeddings,
    openai_responses,
)
from gateway.dialects.dialect import CUT, ProviderSide
from gateway.dialects.fold import fold_events
from gateway.dialects.openai_responses_decoder import MAX_ITEMS, Decoder, decode_answer
from gateway.dialects.openai_responses_encoder import MAX_ANSWER, Encoder, encode_answer
from gateway.dialects.openai_responses_request import decode_request, encode_request
from gateway.dialects.openai_responses_verbatim import ResponsesPassage, forward_unstored
from gateway.dialects.quirks import PLAIN, Quirks
from gateway.dialects.splice import attach_inside
from gateway.dialects.sse import parse_frame
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.inference import (
    Block,
    Failure,
    Finish,
    Foreign,
    InferenceRequest,
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
NAME = "openai_responses"
OWN_SEAL = ThoughtSignature(NAME, "rs_1:gAAA")
GEMINI_SEAL = ThoughtSignature("gemini", "Cg==")
CLAUDE_SEAL = ThoughtSignature("anthropic_messages", "EqQB")
BLOCK: dict[str, object] = {"receipt_id": "rcpt-1"}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "role",
                    "content",
                    "name",
                    "call_id",
                    "arguments",
                    "output",
                    "summary",
                    "text",
                    "tools",
                    "encrypted_content",
                    "id",
                    "format",
                    "effort",
                    "delta",
                    "item",
                    "response",
                    "output_index",
                    "status",
                    "error",
                    "usage",
                    "input_tokens",
                    "message",
                ]
            )
            | st.text(max_size=3),
            inner
            | st.sampled_from(
                [
                    "message",
                    "reasoning",
                    "function_call",
                    "function_call_output",
                    "input_text",
                    "custom_tool_call",
                    "user",
                    "input_image",
                    "input_file",
                    "input_audio",
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=12,
)


def recordings(pattern: str) -> list[Path]:
    folder = VECTORS / "dialects"
    if not folder.is_dir():
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(f"recorded vectors are required, and {folder} is absent")
        pytest.skip(f"recorded vectors: {folder} is absent")
    found = [
        path
        for part in ("openai-responses", "azure", "deepseek", "bedrock-openai")
        for path in (folder / part).glob(pattern)
    ]
    marks = (b'"object":"response"', b'"object": "response"', b'"input"')
    return sorted(path for path in found if any(mark in path.read_bytes() for mark in marks))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "input": "hi", **fields}).encode()


def letters_of(request: InferenceRequest) -> str:
    """All words of the turns, whoever joined them and with what."""
    words = [block.text for turn in request.messages for block in turn.content if isinstance(block, Text)]
    return "".join("".join(words).split())


def seals_of(blocks: Iterable[Block]) -> list[ThoughtSignature]:
    return [block.signature for block in blocks if isinstance(block, Thinking | ToolCall) and block.signature]


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def read(stream: bytes, size: int = 0) -> list[StreamEvent]:
    decoder, events = Decoder(), []
    for at in range(0, len(stream), size or len(stream) or 1):
        events += decoder.push(stream[at : at + (size or len(stream))])
    return events + decoder.finish()


def write(events: list[StreamEvent], attestation: dict[str, object] | None = None, **asked: object) -> bytes:
    encoder = Encoder(decode_request(body(**asked)), "t", 7)
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(attestation)


def frames(stream: bytes) -> list[dict[str, Any]]:
    found = []
    for piece in stream.split(b"\n\n")[:-1]:
        event = parse_frame(piece)
        fields = json.loads(event.data)
        assert fields["type"] == event.event
        found.append(fields)
    return found


def checked(stream: bytes) -> list[dict[str, Any]]:
    """The frames of a stream that keeps all rules: numbered, valid to OpenAI's own types, each item in order."""
    found = frames(stream)
    assert [frame["sequence_number"] for frame in found] == list(range(len(found)))
    assert [frame["type"] for frame in found[:2]] == ["response.created", "response.in_progress"]
    for frame in found:
        EVENT.validate_python(frame, strict=False)
    added = [frame["output_index"] for frame in found if frame["type"] == "response.output_item.added"]
    assert added == list(range(len(added)))
    last = found[-1]
    if last["type"] in ("response.completed", "response.incomplete"):
        done = {frame["output_index"]: frame["item"] for frame in found if frame["type"] == "response.output_item.done"}
        assert [done[at] for at in range(len(added))] == last["response"]["output"]
        Response.model_validate(last["response"])
    return found


def kinds(stream: bytes) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in checked(stream)]


def test_reads_a_full_request() -> None:
    request = decode_request(
        body(
            instructions="s",
            stream=True,
            temperature=1,
            top_p=0.5,
            max_output_tokens=9.0,
            user="u",
            parallel_tool_calls=False,
            reasoning={"effort": "none", "summary": "auto"},
            text={
                "verbosity": "low",
                "format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True},
            },
            tools=[
                {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
                {"type": "custom", "name": "c", "format": {"type": "text"}},
                {"type": "web_search"},
            ],
            tool_choice={"type": "function", "name": "f"},
            client_metadata={"x": 1},
            store=False,
            background=False,
        )
    )
    assert request.messages == (Message("system", (Text("s"),)), Message("user", (Text("hi"),)))
    assert request.tools == (
        Tool("f", "d", {"type": "object"}, True),
        Tool("c", "", {"type": "text"}, custom=True),
        Foreign(NAME, {"type": "web_search"}),
    )
    assert request.tool_choice == ToolChoice("required", ("f",))
    assert (request.max_tokens, request.temperature, request.top_p, request.user) == (9, 1.0, 0.5, "u")
    assert (request.parallel_tool_calls, request.stream, request.include_usage) == (False, True, True)
    assert request.reasoning == Reasoning("off", visible=True)
    assert request.output_format == OutputFormat("json_schema", "n", {"a": 1}, True)
    assert request.extra["client_metadata"] == {"x": 1}


def test_a_turn_of_thoughts_words_and_calls_is_one_message_and_comes_back_in_order() -> None:
    items: list[dict[str, object]] = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,BBBB", "filename": "f.pdf"},
                {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "mp3"}},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "b"}, {"type": "refusal", "refusal": "no"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "q"},
                {"type": "input_image", "file_id": "file-1", "detail": "high"},
            ],
        },
    ]
    request = decode_request(body(input=items))
    assert request.messages == (
        Message("user", (Text("a"), Media("image", "image/png", "AAAA", detail="low"),
                         Media("document", "application/pdf", "BBBB", name="f.pdf"),
                         Media("audio", "audio/mpeg", "CCCC"))),
        Message("assistant", (Thinking("hm", OWN_SEAL), Text("b"), Refusal("no"), ToolCall("c1", "f", "{}"),
                              ToolCall("c2", "g", "x", custom=True))),
        Message("tool", (ToolResult("c1", (Text("r"),)),)),
        Message("tool", (ToolResult("c2", (Text("q"), Media("image", file_id="file-1", detail="high")), custom=True),)),
    )  # fmt: skip
    again = json.loads(encode_request(request))
    assert decode_request(json.dumps(again).encode()).messages == request.messages
    assert again["store"] is False
    assert again["input"][1] == items[1]


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_what_needs_something_stored_is_refused_in_clear_words(name: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing is stored here") as caught:
        decode_request(body(**{name: "x_1"}))
    assert caught.value.param == name
    assert (caught.value.code == "previous_response_not_found") == (name == "previous_response_id")
    assert decode_request(body(**{name: None})).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"store": "yes"}, "store"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "rs_1"}]}, "input[1]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": {}}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [3]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call_output", "output": 3}]}, "input[0].output"),
        ({"instructions": 3}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": 3}}, "text.format"),
        ({"text": 3}, "text"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"tool_choice": 3}, "tool_choice"),
        ({"tools": [3]}, "tools[0]"),
        ({"model": None}, "model"),
    ],
)
def test_a_bad_member_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body(**fields))
    assert caught.value.param == param


def test_another_languages_request_is_written_whole() -> None:
    asked = replace(
        decode_request(body()),
        dialect="elsewhere",
        messages=(
            Message("system", (Text("s"),)),
            Message("assistant", (Thinking("t", CLAUDE_SEAL), Text("x"), ToolCall("c", "f", "{}"))),
            Message("tool", (ToolResult("c", ()),)),
            Message("developer", (Text("d"),)),
        ),
        tools=(Tool("f"), Foreign("elsewhere", {"type": "x"})),
        tool_choice=ToolChoice("auto", ("f", "g")),
        reasoning=Reasoning(budget=9000, visible=True),
        output_format=OutputFormat("json"),
        stop=("x",),
    )
    written = json.loads(encode_request(asked, Quirks(efforts=("low", "high"), drops=frozenset({"temperature"}))))
    assert written == {
        "model": "m",
        "instructions": "s",
        "input": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": ""},
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "d"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
        ],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "g"}],
        },
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_object"}},
    }
    replayed = json.loads(encode_request(asked, Quirks(replays_reasoning=True)))["input"][0]
    assert replayed["content"] == [{"type": "reasoning_text", "text": "t"}]
    for message in (Message("user", (Media("video", url="u"),)), Message("user", (Foreign("elsewhere", {}),))):
        with pytest.raises(InvalidRequest, match="no place"):
            encode_request(replace(asked, messages=(message,)))
    with pytest.raises(InvalidRequest, match="more than one answer"):
        encode_request(replace(asked, choices=2))


def test_tools_in_a_namespace_are_offered_and_called_by_their_full_names() -> None:
    function = {"type": "function", "name": "read", "parameters": {"type": "object"}}
    tools = [{"type": "namespace", "name": "mcp__disk__", "description": "d", "tools": [function]},
             {"type": "namespace", "name": "web", "tools": [function, {"type": "function"}]},
             {"type": "namespace", "tools": 3}]  # fmt: skip
    called = {"type": "function_call", "call_id": "c", "name": "read", "namespace": "web", "arguments": "{}"}
    request = decode_request(body(input=[called], tools=tools))
    assert request.tools == (Tool("mcp__disk__read", "", {"type": "object"}), Tool("web__read", "", {"type": "object"}))
    assert request.messages == (Message("assistant", (ToolCall("c", "web__read", "{}"),)),)
    events: list[StreamEvent] = [ToolCallDelta(0, "c", "web__read", "{}"), Finish("tool_calls")]
    stream = write(events, tools=tools[:2])
    last = frames(stream)[-1]["response"]["output"][0]
    assert {name: last[name] for name in called} == called


def test_seals_of_other_vendors_come_back_to_them() -> None:
    events: list[StreamEvent] = [
        ReasoningDelta("why", CLAUDE_SEAL),
        ReasoningDelta("", CLAUDE_SEAL, redacted=True),
        TextDelta("so"),
        ToolCallDelta(0, "c1", "f", "{}", signature=GEMINI_SEAL),
        Finish("tool_calls"),
    ]
    output = checked(write(events))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "reasoning", "message", "reasoning", "function_call"]
    (turn,) = decode_request(json.dumps({"model": "m", "input": output}).encode()).messages
    assert turn.content == (
        Thinking("why", CLAUDE_SEAL),
        Thinking("", CLAUDE_SEAL, redacted=True),
        Text("so"),
        ToolCall("c1", "f", "{}", signature=GEMINI_SEAL),
    )
    orphan = decode_request(json.dumps({"model": "m", "input": output[3:4]}).encode())
    assert orphan.messages == (Message("assistant", ()),)


@pytest.mark.parametrize("language", [openai_chat, anthropic_messages])
def test_sealed_reasoning_comes_back_through_clients_of_other_languages(language: Any) -> None:
    output = [{"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
              {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}]  # fmt: skip
    events = decode_answer(json.dumps(response(output=output)).encode())
    answer = json.loads(language.encode_answer(events, decode_request(body()), "t", 7, None))
    chat = language is openai_chat
    said = answer["choices"][0]["message"] if chat else {"role": "assistant", "content": answer["content"]}
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}, said]}
    request = language.SURFACE.decode_request(json.dumps(asked).encode())
    _, thought, call = json.loads(encode_request(request))["input"]
    assert thought == output[0]
    assert (call["call_id"], call["name"]) == ("c1", "f")


def test_a_stream_keeps_the_grammar() -> None:
    events: list[StreamEvent] = [
        Start("x", "theirs", 5),
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("a"),
        TextDelta("b"),
        RefusalDelta("r"),
        ToolCallDelta(0, "c", "f", ""),
        ToolCallDelta(0, None, None, '{"a":1}'),
        ToolCallDelta(1, "d", "g", "raw", True),
        Media("image", "image/png", "AAAA"),
        Finish("tool_calls"),
        Usage(5, 4, 1, 1, 2),
    ]
    stream = write(events, BLOCK, tools=[{"type": "function", "name": "f", "parameters": {}, "strict": False}])
    assert kinds(stream) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "output_item.added",
        "output_item.done",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    response = checked(stream)[-1]["response"]
    assert (response["id"], response["model"], response["created_at"], response["status"]) == (
        "resp_t",
        "theirs",
        5,
        "completed",
    )
    assert response["usage"] == {
        "input_tokens": 5, "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 1},
        "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 9,
    }  # fmt: skip
    assert response["attestation"] == response["_sf_attestation"] == BLOCK
    assert "user" not in response and response["store"] is False
    again = fold_events(read(stream, 7))
    assert again.blocks == (
        Thinking("hm"), Text("ab"), Refusal("r"), ToolCall("c", "f", '{"a":1}'), ToolCall("d", "g", "raw", custom=True),
        Media("image", "image/png", "AAAA"),
    )  # fmt: skip
    assert again.usage == Usage(5, 4, 1, 1, 2)
    asked = decode_request(body())
    whole = json.loads(encode_answer(events, asked, "t", 7, BLOCK))
    assert whole == {**response, "tools": []}
    Response.model_validate(whole)


def test_interleaved_and_late_named_calls_come_out_whole() -> None:
    events: list[StreamEvent] = [
        ToolCallDelta(0, "c", "f", '{"a"'), ToolCallDelta(1, "d", None, '{"b'), ToolCallDelta(1, None, "g", '":2'),
        ToolCallDelta(0, None, None, ":1}"), TextDelta("so"), ToolCallDelta(0, None, None, " "),
        ToolCallDelta(1, None, None, "}"), ToolCallDelta(2, None, "h", ""), Finish("tool_calls"),
    ]  # fmt: skip
    output = checked(write(events))[-1]["response"]["output"]
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in output if item["type"] == "function_call"]
    assert calls == [("c", "f", '{"a":1}'), ("d", "g", '{"b":2}'), ("call_2", "h", "{}")]


@pytest.mark.parametrize(("finish", "details"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_short_is_incomplete(finish: str, details: str) -> None:
    stream = write([TextDelta("a"), Finish(finish)])
    last = checked(stream)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": details}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert Finish(finish, details) in read(stream)


def test_a_failure_is_no_whole_answer_and_runs_no_call() -> None:
    stream = write(
        [TextDelta("a"), ToolCallDelta(0, "c", "f", '{"a":1}'), Failure("broke", "c", None, None, 429)], BLOCK
    )
    failed, error = checked(stream)[-2:]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "broke"}
    assert failed["response"]["attestation"] == BLOCK
    assert (error["type"], error["error"]["message"], error["code"]) == ("error", "broke", "c")
    assert [frame["item"]["type"] for frame in frames(stream) if frame["type"] == "response.output_item.done"] == [
        "message"
    ]
    assert read(stream)[-1] == Failure("broke", "rate_limit_exceeded")
    assert [frame["type"] for frame in frames(write([TextDelta("a")]))][-1] == "response.output_item.done"
    buffered = json.loads(encode_answer([TextDelta("a"), Failure("broke")], decode_request(body()), "t", 7, BLOCK))
    assert (buffered["error"]["message"], buffered["attestation"]) == ("broke", BLOCK)


def response(**fields: object) -> dict[str, object]:
    return {"id": "resp_1", "model": "m", "created_at": 3, "status": "completed", **fields}


ITEM = {"type": "message", "content": [{"type": "output_text", "text": "hi"}, {"type": "refusal", "refusal": "no"}]}


def test_an_answer_in_any_form_is_read_once() -> None:
    done: dict[str, object] = {"type": "response.completed", "response": response(output=[ITEM])}
    piece = {"type": "response.output_text.delta", "output_index": 0, "delta": "hi"}
    whole = {"type": "response.output_item.done", "output_index": 0, "item": ITEM}
    expected = [Start("resp_1", "m", 3), TextDelta("hi"), RefusalDelta("no"), Finish("stop", "completed")]
    for events in ([done], [piece, whole, done], [whole, done], [done, done]):
        assert sorted(map(repr, read(sse(*events)))) == sorted(map(repr, expected))
    thought = {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "t"}
    summary = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "s"}
    assert read(sse(thought, summary, done))[:2] == [ReasoningDelta("t"), Start("resp_1", "m", 3)]
    second = {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1}
    assert read(sse(summary, second, summary))[:3] == [ReasoningDelta("s"), ReasoningDelta("\n\n"), ReasoningDelta("s")]


@pytest.mark.parametrize(
    ("stream", "failure"),
    [
        (b"", Failure("the provider's stream ended before the answer did", "upstream_cut")),
        (b"data: [3]\n\n", Failure("the provider's stream ended before the answer did", "upstream_cut")),
        (sse({"type": "error", "code": "x", "message": "m", "param": "p"}), Failure("m", "x", None, "p")),
        (sse({"type": "error", "error": {"type": "t", "code": 4, "message": "m"}}), Failure("m", "4", "t")),
        (sse({"type": "response.failed", "response": response(status="failed", error={"code": "c", "message": "m"})}),
         Failure("m", "c")),
        (sse({"type": "response.cancelled", "response": response(status="cancelled")}),
         Failure("The provider says that the response cancelled.", "cancelled")),
    ],
)  # fmt: skip
def test_a_stream_that_fails_says_how(stream: bytes, failure: Failure) -> None:
    assert read(stream)[-1] == failure


def test_nothing_grows_without_end() -> None:
    encoder = Encoder(decode_request(body()), "t", 7)
    with pytest.raises(UpstreamFailed, match="longer than"):
        encoder.encode(TextDelta("x" * (MAX_ANSWER + 1)))
    failed = encoder.encode(Failure("too long")) + encoder.finish(BLOCK)
    assert [frame["type"] for frame in checked(failed)][-2:] == ["response.failed", "error"]
    with pytest.raises(UpstreamFailed, match="items"):
        read(sse(*({"type": "response.output_item.added", "output_index": at} for at in range(MAX_ITEMS + 1))))
    passage = ResponsesPassage(decode_request(body(stream=True)), 7, max_frame=1000)
    passage.push(LAST % RESPONSE)
    with pytest.raises(UpstreamFailed, match="after its end"):
        passage.push(b": still here\n\n" * 100)
    assert b"rcpt-1" in passage.closing(BLOCK, Failure("too long"))
    with pytest.raises(InvalidRequest, match="1 to 2048"):
        openai_chat_legacy.decode_request(json.dumps({"model": "m", "prompt": ["x"] * 2049}).encode())


def test_recorded_streams_are_read_and_written_again() -> None:
    paths = recordings("*.response.sse")
    assert len(paths) >= 11
    for path in paths:
        events = read(path.read_bytes(), 101)
        before = fold_events(events)
        assert before.failure is None and before.blocks and before.usage.total_tokens and before.start.id, path.name
        after = fold_events(read(write(events)))
        checked(write(events))
        assert (after.text, after.finish.reason, after.usage) == (before.text, before.finish.reason, before.usage)
        assert [b for b in after.blocks if isinstance(b, ToolCall)] == [
            b for b in before.blocks if isinstance(b, ToolCall)
        ]
        last = json.loads(parse_frame(path.read_bytes().rstrip(b"\n").split(b"\n\n")[-1]).data)["response"]
        whole = fold_events(decode_answer(json.dumps(last).encode()))
        assert whole.text == before.text, path.name
        for other in (openai_chat, anthropic_messages):
            translated = fold_events(
                other.decode_answer(other.encode_answer(events, decode_request(body()), "t", 1, None))
            )
            assert translated.text == before.text, path.name
            assert translated.usage.total_tokens == before.usage.total_tokens, path.name


@pytest.mark.parametrize(
    ("provider", "folders", "suffix"),
    [
        (openai_chat.PROVIDER, ("openai-chat", "azure", "deepseek", "kimi", "nvidia", "vllm", "zai"), "sse"),
        (anthropic_messages.PROVIDER, ("anthropic", "minimax"), "sse"),
        (gemini.PROVIDER, ("gemini", "vertex"), "sse"),
        (bedrock_converse.PROVIDER, ("bedrock",), "bin"),
        (ollama.PROVIDER, ("ollama",), "ndjson"),
    ],
)
def test_what_every_vendor_streamed_keeps_the_grammar(
    provider: ProviderSide, folders: tuple[str, ...], suffix: str
) -> None:
    recordings("*")
    seen = 0
    for path in (path for part in folders for path in (VECTORS / "dialects" / part).glob(f"*.response.{suffix}")):
        decoder = provider.decoder(1 << 24)
        events = decoder.push(path.read_bytes()) + decoder.finish()
        if isinstance(events[-1], Failure) or b'"response.created"' in path.read_bytes():
            continue
        stream = write(events)
        last = checked(stream)[-1]
        before, after = fold_events(events), fold_events(read(stream))
        assert (after.text, after.usage.total_tokens) == (before.text, before.usage.total_tokens), path.name
        calls = [[block for block in side.blocks if isinstance(block, ToolCall)] for side in (before, after)]
        names = [[(call.id, call.name, json.loads(call.arguments or "{}")) for call in side] for side in calls]
        assert names[0] == names[1], path.name
        request = decode_request(body(input=[{"role": "user", "content": "x"}, *last["response"]["output"]]))
        back = [block for turn in request.messages for block in turn.content]
        assert seals_of(back) == seals_of(before.blocks), path.name
        seen += 1
    assert seen >= 3


def test_recorded_answers_are_read() -> None:
    seen = 0
    for path in recordings("*.response.json"):
        raw = path.read_bytes()
        reply = fold_events(decode_answer(raw))
        output = json.loads(raw).get("output")
        assert (reply.failure is None) == (output is not None), path.name
        calls = [item for item in output or [] if item["type"] in ("function_call", "custom_tool_call")]
        assert [block.name for block in reply.blocks if isinstance(block, ToolCall)] == [call["name"] for call in calls]
        sealed = [item["encrypted_content"] for item in output or [] if item.get("encrypted_content")]
        seals = [b.signature.value.split(":")[1] for b in reply.blocks if isinstance(b, Thinking) and b.signature]
        assert seals == sealed, path.name
        seen += 1
    assert seen >= 15
    with pytest.raises(UpstreamFailed):
        decode_answer(b"[]")
    with pytest.raises(UpstreamFailed):
        decode_answer(b"{}")


def test_recorded_requests_are_read_and_written_again() -> None:
    seen = 0
    for path in recordings("*.request.json"):
        fields = json.loads(path.read_bytes())
        if "input" not in fields:
            continue
        request = decode_request(path.read_bytes())
        again = decode_request(encode_request(request, Quirks(replays_reasoning=True)))
        assert (again.messages, again.tools, again.tool_choice) == (
            request.messages,
            request.tools,
            request.tool_choice,
        )
        assert (again.reasoning, again.output_format) == (request.reasoning, request.output_format), path.name
        for other in (openai_chat, anthropic_messages):
            try:
                written = other.PROVIDER.encode_request(request, PLAIN)
            except InvalidRequest as error:
                assert "no place" in error.message, path.name
                continue
            said = letters_of(other.SURFACE.decode_request(written))
            assert said == letters_of(request), path.name
            seen += 1
    assert seen >= 20


def test_verbatim_bodies_are_never_stored() -> None:
    for sent, wanted in (
        (b'{ "model":"m", "input":"hi"}', b'{"store":false, "model":"n", "input":"hi"}'),
        (b'{"model":"m","store":false,"input":"hi"}', b'{"model":"n","store":false,"input":"hi"}'),
        (b'{"model":"m","store":null,"input":"hi"}', b'{"model":"n","store":false,"input":"hi"}'),
        (b'{"model":"m","input":"hi","sf_provider":"x"}', b'{"store":false,"model":"n","input":"hi"}'),
    ):
        assert forward_unstored(sent, decode_request(sent), "n") == wanted


LAST = b'event: response.completed\ndata: { "type":"response.completed","response" : %b ,"sequence_number":3}\n\n'
RESPONSE = (
    b'{"id":"resp_1","status":"completed","model":"m","output":[{"response":{}}],'
    b'"usage":{"input_tokens":1,"output_tokens":2} }'
)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_verbatim_stream_gains_the_block_and_nothing_else(size: int) -> None:
    start = sse({"type": "response.created", "response": response(status="in_progress")})
    text = sse({"type": "response.output_text.delta", "output_index": 0, "delta": "hé"})
    end = LAST % RESPONSE
    for stream, whole in (
        (start + text + end, True),
        (start + text + end + b"data: [DONE]\n\n", True),
        (start + text + end + text + end, True),
        (start + text + end[:-1], True),
        (start + text + end.replace(b"completed", b"incomplete"), True),
        (start + text + end.replace(b"completed", b"failed"), False),
        (start + sse({"type": "error", "message": "m"}) + end.replace(b"completed", b"failed"), False),
    ):
        passage = ResponsesPassage(decode_request(body(stream=True)), 7)
        passed = b"".join(passage.push(stream[at : at + size]) for at in range(0, len(stream), size))
        passed += passage.closing(BLOCK)
        ours = b',"_sf_attestation":{"receipt_id":"rcpt-1"},"attestation":{"receipt_id":"rcpt-1"}'
        assert passed.count(ours) == 1
        assert passed.replace(ours, b"") == stream
        assert passage.seen().whole is whole
        assert passage.seen().chat_id == "resp_1"
        carrier = next(
            frame
            for frame in frames(passed.replace(b"data: [DONE]\n\n", b"") + b"\n")
            if b"rcpt" in str(frame).encode()
        )
        assert (carrier if carrier["type"] == "error" else carrier["response"])["attestation"] == BLOCK


@pytest.mark.parametrize("cut", [None, Failure("gone", "upstream_cut", None, None, 502)])
def test_a_verbatim_stream_that_breaks_off_ends_in_a_failure(cut: Failure | None) -> None:
    passage = ResponsesPassage(decode_request(body(stream=True)), 7)
    passed = passage.push(
        sse({"type": "response.created", "sequence_number": 0, "response": response(status="in_progress")})
    )
    failed, error = frames(passage.closing(BLOCK, cut))
    assert passed and not passage.seen().whole
    assert (failed["type"], failed["response"]["id"], failed["response"]["attestation"]) == (
        "response.failed",
        "resp_1",
        BLOCK,
    )
    assert error["error"]["message"] == (cut or CUT).message
    assert (failed["sequence_number"], error["sequence_number"]) == (2, 3)
    Response.model_validate(failed["response"])


def test_the_block_goes_into_the_member_that_parsers_see() -> None:
    for event in (b'{"response":{"a":"}"} , "x":[1,{"response":{}}]}', b'{"x":"\\"response\\":{","response":{"a":1}}',
                  b'{"response":{},"response":{"a":1}}', b'\r\n{ "r\\u0065sponse"\t:\n{ } }'):  # fmt: skip
        before, after = json.loads(event), json.loads(attach_inside(event, "response", BLOCK))
        assert after == {**before, "response": {**before["response"], "_sf_attestation": BLOCK, "attestation": BLOCK}}
    with pytest.raises(UpstreamFailed):
        attach_inside(b"{}", "response", BLOCK)


@settings(max_examples=200, deadline=None)
@given(JSON, JSON, JSON, JSON)
def test_no_request_raises_anything_but_a_refusal(items: Any, tools: Any, text: Any, choice: Any) -> None:
    for said in (items, [items], [{"role": "assistant", "content": items}, {"type": "function_call", "name": "f"}]):
        raw = json.dumps({"model": "m", "input": said, "tools": tools, "text": text, "tool_choice": choice})
        for provider in (openai_responses.PROVIDER, openai_chat.PROVIDER, anthropic_messages.PROVIDER):
            try:
                provider.encode_request(decode_request(raw.encode()), PLAIN)
            except GatewayError as error:
                assert error.status == 400


@settings(max_examples=200, deadline=None)
@given(
    st.lists(JSON, max_size=5), st.integers(1, 40), st.sampled_from(["completed", "output_item.done", "created", "x"])
)
def test_no_stream_raises_anything_but_a_failure(values: list[Any], size: int, kind: str) -> None:
    events = [{"type": f"response.{kind}", "response": value, "item": value, "output_index": value} for value in values]
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in [*values, *events])
    passage = ResponsesPassage(decode_request(body(stream=True)), 7)
    try:
        write(read(stream, size))
        decode_answer(json.dumps(values).encode())
    except UpstreamFailed:
        pass
    passed = b"".join(passage.push(stream[at : at + size]) for at in range(0, len(stream), size))
    assert b"rcpt-1" in passed + passage.closing(BLOCK)


@settings(max_examples=200, deadline=None)
@given(JSON, JSON, JSON)
def test_no_prompt_or_input_raises_anything_but_a_refusal(value: Any, options: Any, number: Any) -> None:
    whole = {"input": value, "prompt": value, "stream_options": options, "n": number, "dimensions": number}
    for decode in (openai_chat_legacy.decode_request, openai_embeddings.decode_request):
        for fields in (whole, {"prompt": value, "input": value}):
            try:
                decode(json.dumps({"model": "m", **fields}).encode())
            except InvalidRequest as error:
                assert error.param
