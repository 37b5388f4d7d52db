"""Bedrock Converse as a provider: what it sent is read, and what it is sent it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.quirks_table import quirks_of
from gateway.dialects import anthropic_messages, bedrock_converse, openai_chat
from gateway.dialects.eventstream import MessageSplitter
from gateway.dialects.fold import fold_events
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    InferenceRequest,
    Message,
    ReasoningDelta,
    StreamEvent,
    Text,
    TextDelta,
    ThoughtSignature,
    ToolCallDelta,
    Usage,
)
from tests.conftest import find_vectors
from tests.worlds.eventstream import event_message, raw_message, text_header

DIALECTS = find_vectors() / "dialects"
CHAT, MESSAGES, BEDROCK = openai_chat.SURFACE, anthropic_messages.SURFACE, bedrock_converse.PROVIDER
STREAM, REGION = "application/vnd.amazon.eventstream", "eu-central-1"
CLAUDE, NOVA, CLAUDE_45 = (
    "eu.anthropic.claude-opus-5-v1:0",
    "eu.amazon.nova-pro-v1:0",
    "anthropic.claude-sonnet-4-5-v1:0",
)
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/x1"
ASKED = InferenceRequest("elsewhere", "m", (Message("user", (Text("hi"),)),), stream=True, include_usage=True)
USAGE = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 23, "cacheReadInputTokens": 8, "cacheWriteInputTokens": 3,
         "cacheDetails": [{"ttl": "1h", "inputTokens": 2}, {"ttl": "5m", "inputTokens": 1}]}  # fmt: skip
SIGNED = ThoughtSignature("bedrock_converse", "c2ln")
TOOL = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}
PNG = "iVBORw0KGgo="


def framed(path: Path) -> bytes:
    """A recorded stream; of one that was kept as lines, its messages."""
    if path.suffix == ".bin":
        return path.read_bytes()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return b"".join(event_message(kind, payload) for row in rows for kind, payload in row.items())


def delta(index: int, **said: Any) -> bytes:
    return event_message("contentBlockDelta", {"contentBlockIndex": index, "delta": said, "p": "abc"})


def call(index: int, call_id: str, name: str) -> bytes:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return event_message("contentBlockStart", {"contentBlockIndex": index, "start": start})


def stop(reason: str = "end_turn") -> bytes:
    return event_message("messageStop", {"stopReason": reason})


def decoded(stream: bytes, size: int = 0) -> list[StreamEvent]:
    decoder, step = BEDROCK.decoder(1 << 24), size or len(stream) or 1
    pieces = [event for at in range(0, len(stream), step) for event in decoder.push(stream[at : at + step])]
    return pieces + decoder.finish()


def asked(body: dict[str, Any], model: str, surface: Any = CHAT) -> Any:
    """What Bedrock is sent, once its own service model has nothing against it."""
    request = surface.decode_request(json.dumps({"model": model, "max_tokens": 50, **body}).encode())
    written = json.loads(BEDROCK.encode_request(request, quirks_of("bedrock", model)))
    report = ParamValidator().validate({**written, "modelId": model}, CONVERSE)
    assert not report.has_errors(), report.generate_report()
    return written


CONVERSE = (
    ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2")).operation_model("Converse").input_shape
)
STREAMS = [*sorted((DIALECTS / "bedrock").glob("*.bin")), *sorted((DIALECTS / "bedrock").glob("*.chunks.jsonl"))]
ANSWERS = [path for path in sorted((DIALECTS / "bedrock").glob("*.response.json")) if b'"output"' in path.read_bytes()]
ERRORS = [path for path in sorted((DIALECTS / "bedrock").glob("*.response.json")) if path not in ANSWERS]


def test_recordings_are_cut_as_amazons_own_client_cuts_them() -> None:
    assert len(STREAMS) >= 8
    for path in STREAMS:
        theirs = EventStreamBuffer()
        theirs.add_data(framed(path))
        ours = MessageSplitter().push(framed(path))
        assert [(each.headers, each.payload) for each in ours] == [(each.headers, each.payload) for each in theirs]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name[:60])
def test_a_recorded_stream_survives_both_ways(path: Path) -> None:
    events = decoded(framed(path))
    assert fold_events(decoded(framed(path), 13)) == fold_events(events)
    check_both_ways(events)


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.name[:60])
def test_a_recorded_answer_survives_both_ways(path: Path) -> None:
    check_both_ways(BEDROCK.decode_answer(path.read_bytes()))


def check_both_ways(events: list[StreamEvent]) -> None:
    before = fold_events(events)
    assert before.failure is None
    assert before.blocks
    assert before.usage.total_tokens
    for surface, provider in ((CHAT, openai_chat.PROVIDER), (MESSAGES, anthropic_messages.PROVIDER)):
        encoder = surface.encoder(ASKED, "t", 1)
        stream = b"".join(encoder.encode(event) for event in events) + encoder.finish(None)
        decoder = provider.decoder(1 << 24)
        buffered = provider.decode_answer(surface.encode_answer(events, ASKED, "t", 1, None))
        for again in (decoder.push(stream) + decoder.finish(), buffered):
            after = fold_events(again)
            assert after.text == before.text
            assert (after.usage, after.finish.reason) == (before.usage, before.finish.reason)
            assert {type(block) for block in after.blocks} == {type(block) for block in before.blocks}


def test_recorded_refusals_keep_their_words() -> None:
    assert len(ERRORS) == 2
    for path in ERRORS:
        failure = BEDROCK.decode_error(path.read_bytes(), 400)
        assert failure.message == json.loads(path.read_bytes())["message"]
        assert failure.message.encode() in CHAT.encode_error(failure, 400)
    assert BEDROCK.decode_error(b"<html>", 503) == Failure("The provider refused with status 503.", status=503)


def test_every_kind_of_event_is_read() -> None:
    stream = (
        event_message("messageStart", {"role": "assistant"})
        + delta(0, reasoningContent={"text": "hm"})
        + delta(0, reasoningContent={"signature": "c2"})
        + delta(0, reasoningContent={"signature": "ln"})
        + event_message("contentBlockStop", {"contentBlockIndex": 0})
        + delta(1, reasoningContent={"redactedContent": "YQ=="})
        + delta(1, reasoningContent={"redactedContent": "Yg=="})
        + event_message("contentBlockStop", {"contentBlockIndex": 1})
        + delta(2, citation={"title": "t"})
        + delta(2, text="hé")
        + call(3, "a", "f")
        + delta(3, toolUse={"input": '{"x":'})
        + delta(3, toolUse={"input": "1}"})
        + call(4, "b", "g")
        + event_message("somethingNew", {"x": 1})
        + stop("end_turn")
        + event_message("metadata", {"usage": USAGE, "metrics": {}})
    )  # fmt: skip
    for size in (0, 1, 100):
        assert decoded(stream, size) == [
            ReasoningDelta("hm"),
            ReasoningDelta("", SIGNED),
            ReasoningDelta("", ThoughtSignature("bedrock_converse", "YWI="), redacted=True),
            TextDelta("hé"),
            ToolCallDelta(0, "a", "f", ""),
            ToolCallDelta(0, None, None, '{"x":'),
            ToolCallDelta(0, None, None, "1}"),
            ToolCallDelta(1, "b", "g", ""),
            ToolCallDelta(1, None, None, "{}"),
            Finish("tool_calls", "end_turn"),
            Usage(16, 7, 8, 3, cache_write_1h_tokens=2),
        ]


def test_every_kind_of_block_is_read() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "YWI="}},
        {"citationsContent": {"content": [{"text": "ci"}, {"text": "ted"}], "citations": []}},
        {"text": "hé"},
        {"searchResult": {"title": "of no language of ours"}},
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
    ]
    body = {"output": {"message": {"content": content}}, "stopReason": "tool_use", "usage": USAGE}
    assert BEDROCK.decode_answer(json.dumps(body).encode()) == [
        ReasoningDelta("hm", SIGNED),
        ReasoningDelta("", ThoughtSignature("bedrock_converse", "YWI="), redacted=True),
        TextDelta("cited"),
        TextDelta("hé"),
        ToolCallDelta(0, "a", "f", '{"x":1}'),
        Finish("tool_calls", "tool_use"),
        Usage(16, 7, 8, 3, cache_write_1h_tokens=2),
    ]
    hidden = decoded(delta(0, reasoningContent={"redactedContent": "YWI="}) + stop())
    assert hidden[0] == ReasoningDelta("", ThoughtSignature("bedrock_converse", "YWI="), redacted=True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"), ("max_tokens", "length"),
     ("model_context_window_exceeded", "length"), ("guardrail_intervened", "content_filter"),
     ("content_filtered", "content_filter"), ("tomorrows_word", "stop"),
     ("malformed_model_output", None), ("malformed_tool_use", None)],
)  # fmt: skip
def test_stop_reasons(said: str, reason: str | None) -> None:
    body = {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": said, "usage": USAGE}
    for events in (decoded(delta(0, text="a") + stop(said) + event_message("metadata", {"usage": USAGE})),
                   BEDROCK.decode_answer(json.dumps(body).encode())):  # fmt: skip
        ends = [event for event in events if isinstance(event, Finish | Failure)]
        if reason is None:
            assert isinstance(ends[0], Failure)
            assert events[-1] == ends[0]
        else:
            assert ends == [Finish(reason, said)]
            assert isinstance(events[-1], Usage)


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (event_message("throttlingException", {"message": "Slow down"}, message_type="exception"), 429, "Slow down"),
        (event_message("modelStreamErrorException", {"message": "M"}, message_type="exception"), 424, "M"),
        (event_message("newException", {}, message_type="exception"), None, "newException"),
        (
            raw_message(
                text_header(":message-type", "error")
                + text_header(":error-code", "InternalFailure")
                + text_header(":error-message", "oh"),
                b"",
            ),
            None,
            "oh",
        ),
        (stop()[:-3], None, "broke off"),
        (b"", None, "broke off"),
    ],
)
def test_a_stream_that_ends_badly_ends_in_a_failure(end: bytes, status: int | None, words: str) -> None:
    for size in (0, 1):
        events = decoded(delta(0, text="a") + end + (stop() if words != "broke off" else b""), size)
        failure = events[-1]
        assert events[:-1] == [TextDelta("a")]
        assert isinstance(failure, Failure)
        assert words in failure.message
        assert failure.status == status


def test_a_stream_cut_within_its_last_message_is_not_whole() -> None:
    metadata = event_message("metadata", {"usage": USAGE})
    assert isinstance(decoded(delta(0, text="a") + stop() + metadata[:-1])[-1], Failure)
    assert decoded(delta(0, text="a") + stop())[-1] == Finish("stop", "end_turn")


def test_what_follows_the_stop_reason_is_no_part_of_the_answer() -> None:
    stream = delta(0, text="a") + stop() + delta(0, text="b") + call(1, "c", "f") + stop("tool_use")
    events = decoded(stream + event_message("metadata", {"usage": USAGE}))
    assert events[:2] == [TextDelta("a"), Finish("stop", "end_turn")]
    assert len(events) == 3


def test_seals_are_kept_within_a_bound() -> None:
    decoder = BEDROCK.decoder(1000)
    for said in ({"signature": "x" * 400}, {"redactedContent": "x" * 400}):
        decoder.push(delta(0, reasoningContent=said))
    with pytest.raises(UpstreamFailed, match="seals of more than 1000"):
        decoder.push(delta(1, reasoningContent={"signature": "x" * 400}))
    with pytest.raises(UpstreamFailed, match="not base64"):
        decoded(delta(0, reasoningContent={"redactedContent": "YQ"}) * 2 + stop())


def test_a_sealed_thought_comes_back_through_both_kinds_of_client() -> None:
    events: list[StreamEvent] = [
        ReasoningDelta("hm", SIGNED),
        ReasoningDelta("", ThoughtSignature("bedrock_converse", "YWI="), redacted=True),
        ToolCallDelta(0, "a", "weather", "{}"),
        Finish("tool_calls"),
    ]
    said = json.loads(MESSAGES.encode_answer(events, ASKED, "t", 1, None))["content"]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}
    history = [{"role": "user", "content": "q"}, {"role": "assistant", "content": said}, result]
    by_messages = asked({"messages": history}, CLAUDE, MESSAGES)["messages"]
    said = json.loads(CHAT.encode_answer(events, ASKED, "t", 1, None))["choices"][0]["message"]
    history = [{"role": "user", "content": "q"}, said, {"role": "tool", "tool_call_id": "a", "content": "x"}]
    by_chat = asked({"messages": history}, CLAUDE)["messages"]
    for turns in (by_messages, by_chat):
        assert turns[1]["content"] == [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "YWI="}},
            {"toolUse": {"toolUseId": "a", "name": "weather", "input": {}}},
        ]


def test_a_thousand_tool_calls_are_refused() -> None:
    start = {"toolUse": {"toolUseId": "a", "name": "f"}}
    calls = [event_message("contentBlockStart", {"contentBlockIndex": n, "start": start}) for n in range(1025)]
    with pytest.raises(UpstreamFailed, match="1024"):
        decoded(b"".join(calls))
    body = {"output": {"message": {"content": [start] * 1025}}, "stopReason": "tool_use"}
    with pytest.raises(UpstreamFailed, match="1024"):
        BEDROCK.decode_answer(json.dumps(body).encode())


def test_a_whole_chat_is_written_as_bedrock_takes_it() -> None:
    written = asked(
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "file", "file": {"filename": "a?", "file_data": "data:application/pdf;base64,JVBERg=="}},
                ]},
                {"role": "assistant", "content": " ", "tool_calls": [
                    {"id": "functions.weather:0", "type": "function",
                     "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
                    {"id": "b", "type": "function", "function": {"name": "weather", "arguments": ""}},
                ]},
                {"role": "tool", "tool_call_id": "functions.weather:0", "content": "warm"},
                {"role": "tool", "tool_call_id": "b", "content": ""},
                {"role": "user", "content": "and?"},
            ],
            "tools": [TOOL],
            "tool_choice": "required",
            "temperature": 1.5,
            "top_p": 0.5,
            "stop": ["END", "\n"],
            "seed": 3,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        },
        NOVA,
    )  # fmt: skip
    first, said, results = written["messages"]
    assert written["system"] == [{"text": "S"}]
    assert first["content"] == [
        {"text": "look"},
        {"image": {"format": "png", "source": {"bytes": PNG}}},
        {"document": {"format": "pdf", "name": "document-1", "source": {"bytes": "JVBERg=="}}},
    ]
    calls = [part["toolUse"] for part in said["content"]]
    assert [call["input"] for call in calls] == [{"city": "Rome"}, {}]
    assert calls[0]["toolUseId"].startswith("call_") and calls[1]["toolUseId"] == "b"
    assert results["role"] == "user"
    assert results["content"] == [
        {"toolResult": {"toolUseId": calls[0]["toolUseId"], "content": [{"text": "warm"}]}},
        {"toolResult": {"toolUseId": "b", "content": [{"text": "(nothing)"}]}},
        {"text": "and?"},
    ]
    assert written["inferenceConfig"] == {"maxTokens": 50, "temperature": 1.0, "stopSequences": ["END"]}
    assert written["toolConfig"]["toolChoice"] == {"any": {}}
    assert json.loads(written["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]) == {"type": "object"}


def test_a_chat_of_anthropics_keeps_its_cache_points_seals_and_errors() -> None:
    sealed = {"type": "thinking", "thinking": "hm", "signature": "bedrock_converse#c2ln"}
    hidden = {"type": "redacted_thinking", "data": "bedrock_converse#YWI="}
    foreign = {"type": "thinking", "thinking": "no", "signature": "c2ln"}
    point = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body: dict[str, Any] = {
        "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [
                sealed, hidden, foreign, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "x", "is_error": True, **point}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, **point}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
    }  # fmt: skip
    written = asked(body, CLAUDE, MESSAGES)
    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert written["system"] == [{"text": "S"}, {"cachePoint": {"type": "default"}}]
    assert written["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "YWI="}},
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}},
    ]
    result = {"toolResult": {"toolUseId": "a", "content": [{"text": "x"}], "status": "error"}}
    assert written["messages"][2]["content"] == [result, hour]
    assert written["toolConfig"]["tools"][1] == hour
    assert written["additionalModelRequestFields"] == {
        "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"},
    }  # fmt: skip
    assert "cachePoint" not in json.dumps(asked(body, PROFILE, MESSAGES))
    assert "cachePoint" not in json.dumps(asked(body, NOVA, MESSAGES)["toolConfig"])
    assert asked(body, NOVA, MESSAGES)["system"] == written["system"]


def test_thinking_is_asked_for_in_each_models_own_words() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "q"}], "reasoning_effort": "low"}
    body |= {"temperature": 0.5, "max_tokens": 9000}
    budget = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    assert asked(body, CLAUDE_45)["additionalModelRequestFields"] == budget
    assert asked(body, CLAUDE_45)["inferenceConfig"] == {"maxTokens": 9000}
    assert asked(body, "openai.gpt-oss-120b-1:0")["additionalModelRequestFields"] == {"reasoning_effort": "low"}
    for model in (NOVA, PROFILE, "anthropic.claude-3-5-sonnet-20241022-v2:0"):
        assert asked(body, model) == {
            "messages": [{"role": "user", "content": [{"text": "q"}]}],
            "inferenceConfig": {"maxTokens": 9000, "temperature": 0.5},
        }
    forced = {"tools": [TOOL], "tool_choice": "required"}
    assert asked(body | forced, CLAUDE)["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert "additionalModelRequestFields" not in asked(body | forced, CLAUDE_45)
    assert asked(body | {"top_k": 4, "reasoning_effort": None}, CLAUDE_45)["additionalModelRequestFields"] == {
        "top_k": 4
    }


def test_tools_are_named_wherever_they_were_called() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ]
    fresh = {"messages": history[:1], "tools": [TOOL]}
    assert asked(fresh, NOVA)["toolConfig"]["tools"][0]["toolSpec"]["name"] == "weather"
    named = {"type": "function", "function": {"name": "weather"}}
    assert asked(fresh | {"tool_choice": named}, NOVA)["toolConfig"]["toolChoice"] == {"tool": {"name": "weather"}}
    two = fresh | {"tools": [TOOL, {"type": "function", "function": {"name": "other"}}], "tool_choice": named}
    assert len(asked(two, NOVA)["toolConfig"]["tools"]) == 2
    unforced = asked(two, "openai.gpt-oss-120b-1:0")["toolConfig"]
    assert [each["toolSpec"]["name"] for each in unforced["tools"]] == ["weather"]
    assert unforced["toolChoice"] == {"auto": {}}
    assert asked(fresh | {"tool_choice": "auto"}, NOVA)["toolConfig"]["toolChoice"] == {"auto": {}}
    assert "toolConfig" not in asked(fresh | {"tool_choice": "none"}, NOVA)
    (spec,) = asked({"messages": history}, NOVA)["toolConfig"]["tools"]
    assert spec["toolSpec"] == {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {}}}}
    kept = asked({"messages": history, "tools": [TOOL], "tool_choice": "none"}, NOVA)["toolConfig"]
    assert [each["toolSpec"]["name"] for each in kept["tools"]] == ["weather"]
    assert "toolChoice" not in kept


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example"}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}]}]},
        {"messages": [{"role": "system", "content": [
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg=="}}]},
            {"role": "user", "content": "q"}]},
        {"messages": [{"role": "user", "content": "q"}], "n": 2},
        {"messages": [{"role": "user", "content": "q"}], "tools": [TOOL],
         "tool_choice": {"type": "custom", "custom": {}}},
    ],
)  # fmt: skip
def test_what_bedrock_cannot_say_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        asked(body, NOVA)


def test_a_form_of_answers_that_bedrock_does_not_know_is_refused() -> None:
    body = {"messages": [{"role": "user", "content": "q"}], "output_config": {"format": {"type": "grammar"}}}
    with pytest.raises(InvalidRequest, match="response_format"):
        asked(body, NOVA, MESSAGES)


def test_recorded_requests_of_other_languages_pass_amazons_service_model() -> None:
    seen = 0
    for surface, vendors in ((CHAT, ("openai-chat", "deepseek", "kimi", "vllm")), (MESSAGES, ("anthropic", "minimax"))):
        for path in [each for vendor in vendors for each in sorted((DIALECTS / vendor).glob("*.request.json"))]:
            try:
                request = surface.decode_request(path.read_bytes())
            except InvalidRequest:
                continue
            for model in (CLAUDE, CLAUDE_45, NOVA):
                try:
                    written = json.loads(BEDROCK.encode_request(request, quirks_of("bedrock", model)))
                except InvalidRequest as error:
                    assert "no place" in error.message, path.name
                    continue
                report = ParamValidator().validate({**written, "modelId": model}, CONVERSE)
                assert not report.has_errors(), (path.name, report.generate_report())
                seen += 1
    assert seen >= 150


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "end_turn", "tool_use", "YQ=="]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["output", "message", "content", "text", "toolUse", "toolUseId", "name", "input", "stopReason",
                         "reasoningContent", "reasoningText", "signature", "redactedContent", "usage", "inputTokens",
                         "cacheDetails", "contentBlockIndex", "delta", "start", "citationsContent"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "x"]
            ),
            JSON,
            st.sampled_from(["event", "event", "event", "exception"]),
        ),
        max_size=8,
    ),
    JSON,
)
def test_any_answer_is_read_or_refused(rows: list[tuple[str, Any, str]], answer: Any) -> None:
    stream = b"".join(event_message(kind, payload, message_type=how) for kind, payload, how in rows)
    raw = json.dumps(answer).encode()
    ways: list[Callable[[], list[StreamEvent]]] = [
        lambda: decoded(stream),
        lambda: decoded(stream + stop()),
        lambda: BEDROCK.decode_answer(raw),
    ]
    for read in ways:
        try:
            events = read()
        except UpstreamFailed:
            continue
        ends = [event for event in events if isinstance(event, Finish | Failure)]
        assert ends
        assert sum(isinstance(event, Finish) for event in ends) <= 1
        for surface in (CHAT, MESSAGES):
            surface.encode_answer(events, ASKED, "t", 1, None)
