"""Ollama's own language as a provider: what it sent is read, what it is asked, and both behind a live gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.catalog import OLLAMA, normalise_base_url
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects import anthropic_messages, ollama, openai_chat, openai_responses
from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fold import fold_events
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    InferenceRequest,
    Message,
    ReasoningDelta,
    Start,
    StreamEvent,
    Text,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tee.canonical import digest_bytes
from tests.conftest import find_vectors
from tests.worlds.gateway import RunningGateway, chat_body, responses_body
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

FOLDER = find_vectors() / "dialects" / "ollama"
CHAT, MESSAGES, SIDE = openai_chat.SURFACE, anthropic_messages.SURFACE, ollama.PROVIDER
STREAM = "application/x-ndjson"
STREAMS = sorted(FOLDER.glob("*.ndjson"))
ANSWERS = [path for path in sorted(FOLDER.glob("prism-*.json")) if b'"done"' in path.read_bytes()]
WAYS: dict[str, tuple[ProviderSide, Callable[..., bytes]]] = {
    "/v1/chat/completions": (openai_chat.PROVIDER, partial(chat_body, "hi")),
    "/v1/messages": (anthropic_messages.PROVIDER, partial(chat_body, "hi", max_tokens=9)),
    "/v1/responses": (openai_responses.PROVIDER, partial(responses_body, "hi")),
}
ASKED = InferenceRequest("elsewhere", "m", (Message("user", (Text("hi"),)),), stream=True, include_usage=True)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "other"}}
PNG = "iVBORw0KGgo="


def record(done: str | None = None, **message: Any) -> bytes:
    end = {} if done is None else {"done_reason": done, "prompt_eval_count": 3, "eval_count": 2}
    fields = {"model": "m", "created_at": "2025-01-29T23:37:41.068257Z", "message": {"role": "assistant", **message}}
    return json.dumps({**fields, "done": done is not None, **end}).encode() + b"\n"


def called(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {**more, "function": {"name": name, "arguments": arguments}}


def decoded(stream: bytes, size: int = 0) -> list[StreamEvent]:
    decoder, step = SIDE.decoder(1 << 20), size or len(stream) or 1
    pieces = [event for at in range(0, len(stream), step) for event in decoder.push(stream[at : at + step])]
    return pieces + decoder.finish()


def asked(body: dict[str, Any], model: str = "llama3.3") -> Any:
    body = {"messages": [{"role": "user", "content": "q"}], **body}
    request = CHAT.decode_request(json.dumps({"model": model, **body}).encode())
    return json.loads(SIDE.encode_request(request, quirks_of("ollama", model)))


@pytest.mark.parametrize("path", STREAMS + ANSWERS, ids=lambda path: path.name)
def test_recordings_survive_both_ways(path: Path) -> None:
    raw = path.read_bytes()
    events = decoded(raw) if path in STREAMS else SIDE.decode_answer(raw)
    if path in STREAMS:
        assert decoded(raw, 13) == events
    before = fold_events(events)
    assert before.failure is None
    assert before.blocks and before.usage.total_tokens and before.start.model and before.start.created
    for surface, provider in ((CHAT, openai_chat.PROVIDER), (MESSAGES, anthropic_messages.PROVIDER)):
        encoder = surface.encoder(ASKED, "t", 1)
        stream = b"".join(encoder.encode(event) for event in events) + encoder.finish(None)
        decoder = provider.decoder(1 << 24)
        buffered = provider.decode_answer(surface.encode_answer(events, ASKED, "t", 1, None))
        for again in (decoder.push(stream) + decoder.finish(), buffered):
            after = fold_events(again)
            assert (after.blocks, after.usage) == (before.blocks, before.usage)
            assert after.finish.reason == before.finish.reason


def test_there_are_recordings() -> None:
    assert len(STREAMS) >= 4
    assert len(ANSWERS) >= 5
    assert any(b"tool_calls" in path.read_bytes() for path in STREAMS)
    assert any(b"thinking" in path.read_bytes() for path in STREAMS)


def test_every_kind_of_record_is_read() -> None:
    calls = [called("f", {"x": 1}), called("g", {}, id="theirs"), called("h", '{"y":2}')]
    stream = (
        record(thinking="hm", content="")
        + b"\r\n\n"
        + record(content="hé")
        + record(content="", tool_calls=calls)
        + record("stop", content="")
        + record(content="after the end")
    )
    for size in (0, 1, 100):
        assert decoded(stream, size) == [
            Start("", "m", 1738193861),
            ReasoningDelta("hm"),
            TextDelta("hé"),
            ToolCallDelta(0, "call_20250129T233741068257Z_0", "f", '{"x":1}'),
            ToolCallDelta(1, "theirs", "g", "{}"),
            ToolCallDelta(2, "call_20250129T233741068257Z_2", "h", '{"y":2}'),
            Finish("tool_calls", "stop"),
            Usage(3, 2),
        ]
    assert decoded(record("stop", content="x").rstrip())[-1] == Usage(3, 2)  # without the last line end
    assert decoded(record("length", content="x"))[-2] == Finish("length", "length")
    assert decoded(record("load", content=""))[-2] == Finish("stop", "load")
    assert Finish("stop", None) in decoded(b'{"message":{"content":"x"},"done":true}\n')
    assert decoded(b'{"done":true,"eval_count":4}\n')[-1] == Usage(0, 4)
    assert decoded(b'{"model":"m","created_at":"2025-01-29T23:37:41"}\n')[0] == Start("", "m")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (b'{"error":"model runner stopped"}\n', "model runner stopped"),
        (b'{"error":{"message":"inner"}}', "inner"),
        (b'{"error":7}', "without a message"),
        (b"<html>\n", "broke off"),
        (b"[1]\n", "broke off"),
        (b"", "broke off"),
        (record("stop", content="")[:-9], "broke off"),
    ],
)
def test_a_stream_that_ends_badly_ends_in_a_failure(end: bytes, words: str) -> None:
    for size in (0, 1):
        events = decoded(record(content="a") + end, size)
        assert events[1] == TextDelta("a")
        assert isinstance(events[2], Failure)
        assert words in events[2].message
        assert len(events) == 3


def test_refusals_keep_their_words() -> None:
    assert SIDE.decode_error(b'{"error":"model \\"x\\" not found"}', 404) == Failure('model "x" not found', status=404)
    assert SIDE.decode_error(b"oops", 500).message == "The provider refused with status 500."
    assert SIDE.decode_answer(b'{"error":"gone"}') == [Failure("gone")]
    for raw in (b"", b"[]", b"{}", b'{"message":"x"}'):
        with pytest.raises(UpstreamFailed):
            SIDE.decode_answer(raw)
    many = record("stop", tool_calls=[called("f", {})] * 1025)
    for read in (SIDE.decode_answer, decoded):
        with pytest.raises(UpstreamFailed, match="1024"):
            read(many)


def test_a_whole_chat_is_written_as_ollama_takes_it() -> None:
    call = {"id": "a:0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    written = asked(
        {
            "messages": [
                {"role": "developer", "content": "S"},
                {"role": "user", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "text", "text": "here"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ]},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "a:0", "content": "warm"},
            ],
            "tools": [TOOL, OTHER],
            "max_tokens": 7,
            "temperature": 0.5,
            "stop": "END",
            "seed": 3,
            "presence_penalty": 0.25,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        }
    )  # fmt: skip
    assert written["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "look\n\nhere", "images": [PNG]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "a:0", "function": {"index": 0, "name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "content": "warm", "tool_name": "weather", "tool_call_id": "a:0"},
    ]  # fmt: skip
    assert written["options"] == {
        "num_predict": 7, "temperature": 0.5, "stop": ["END"], "seed": 3, "presence_penalty": 0.25,
    }  # fmt: skip
    assert written["format"] == {"type": "object"}
    assert written["stream"] is False
    names = [each["function"]["name"] for each in written["tools"]]
    assert names == ["weather", "other"]
    assert set(written) == {"model", "messages", "stream", "options", "format", "tools"}


def test_tools_and_formats_and_thinking() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    both = {"tools": [TOOL, OTHER]}
    assert [each["function"]["name"] for each in asked(both | {"tool_choice": named})["tools"]] == ["weather"]
    assert len(asked(both | {"tool_choice": "required"})["tools"]) == 2
    assert "tools" not in asked(both | {"tool_choice": "none"})
    assert asked({"response_format": {"type": "json_object"}})["format"] == "json"
    assert "format" not in asked({"response_format": {"type": "text"}})
    assert "think" not in asked({"reasoning_effort": "high"}, "llama3.3")
    assert asked({"reasoning_effort": "max"}, "gpt-oss:20b")["think"] == "high"
    assert asked({"reasoning_effort": "low"}, "qwen3:8b")["think"] is True
    assert asked({"reasoning_effort": "none"}, "qwen3:8b")["think"] is False
    assert "think" not in asked({"reasoning_effort": "low"}, "qwen3-coder")
    thought = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    history = {"messages": [{"role": "user", "content": "q"}, thought, {"role": "user", "content": "q"}]}
    assert asked(history, "gpt-oss:20b")["messages"][1] == {"role": "assistant", "content": "a", "thinking": "hm"}
    assert asked(history)["messages"][1] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example"}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}]},
        {"n": 2},
        {"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {}}},
    ],
)  # fmt: skip
def test_what_ollama_cannot_say_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        asked(body)


def test_a_form_of_answers_that_ollama_does_not_know_is_refused() -> None:
    body: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
    body["output_config"] = {"format": {"type": "grammar"}}
    with pytest.raises(InvalidRequest, match="response_format"):
        SIDE.encode_request(MESSAGES.decode_request(json.dumps(body).encode()), quirks_of("ollama", "m"))


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "stop", "2025-01-01"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["message", "content", "thinking", "tool_calls", "function", "name", "arguments", "id", "done",
                         "done_reason", "error", "created_at", "model", "eval_count", "prompt_eval_count"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON, max_size=8), st.integers(1, 50))
def test_any_answer_is_read_or_refused(records: list[Any], size: int) -> None:
    stream = b"\n".join(json.dumps(each).encode() for each in records)
    events = decoded(stream, size)
    ends = [event for event in events if isinstance(event, Finish | Failure)]
    assert len(ends) == 1
    for surface in (CHAT, MESSAGES):
        surface.encode_answer(events, ASKED, "t", 1, None)
    for each in records:
        try:
            read = SIDE.decode_answer(json.dumps(each).encode())
        except UpstreamFailed:
            continue
        assert sum(isinstance(event, Finish | Failure) for event in read) == 1


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/api"])
def test_every_way_to_write_its_url_leads_there(url: str) -> None:
    assert normalise_base_url(url, OLLAMA) + SIDE.path("m", True) == "http://h:1/api/chat"


@pytest.fixture(scope="module")
def llama() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, llama: ScriptedUpstream
) -> Iterator[RunningGateway]:
    config = f'[[providers]]\nid = "o"\nfamily = "ollama"\nbase_url = "{llama.base_url}"\n'
    config += '[[models]]\nid = "m"\nprovider = "o"\nupstream_model = "qwen3:8b"\n'
    state = tmp_path_factory.mktemp("ollama") / "state"
    with RunningGateway(state, config=config, chip=chip_file) as running:
        yield running


@pytest.mark.parametrize("path", list(WAYS))
def test_recordings_reach_every_kind_of_client(gateway: RunningGateway, llama: ScriptedUpstream, path: str) -> None:
    provider, body = WAYS[path]
    for recording in STREAMS + ANSWERS:
        raw, streamed = recording.read_bytes(), recording in STREAMS
        llama.play(Recording(raw, STREAM if streamed else "application/json; charset=utf-8", piece=97))
        options = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
        answered = gateway.post(body(model="m", **options), path)
        receipt = gateway.verified(answered)
        assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(llama.got.body)
        sent = json.loads(llama.got.body)
        assert (llama.got.path, sent["model"], sent["stream"]) == ("/api/chat", "qwen3:8b", streamed)
        assert llama.got.credential is None
        before = fold_events(decoded(raw) if streamed else SIDE.decode_answer(raw))
        decoder = provider.decoder(1 << 24)
        read = decoder.push(answered.raw) + decoder.finish() if streamed else provider.decode_answer(answered.raw)
        after = fold_events(read)
        assert (after.blocks, after.usage, after.finish.reason) == (before.blocks, before.usage, before.finish.reason)


def test_its_errors_reach_the_client(gateway: RunningGateway, llama: ScriptedUpstream) -> None:
    llama.play(Recording(b'{"error":"model not found, try pulling it first"}', "application/json", 404))
    answered = gateway.post(chat_body("hi", "m"))
    assert (answered.status, answered.json["error"]["message"]) == (404, "model not found, try pulling it first")
    for tail, words in ((b'{"error":"runner died"}\n', b"runner died"), (b"", b"broke off")):
        llama.play(Recording(record(content="half") + tail, STREAM))
        for path, (_, body) in WAYS.items():
            answered = gateway.post(body(model="m", stream=True), path)
            gateway.verified(answered, complete=False)
            assert b"half" in answered.raw and words in answered.raw
            assert b"[DONE]" not in answered.raw and not any(
                end in answered.raw for end in (b"message_stop", b"response.completed")
            )
