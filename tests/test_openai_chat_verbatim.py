"""The verbatim path: the client's and the provider's bytes stay theirs, and only our frame is added."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from gateway.dialects.openai_chat_request import decode_request
from gateway.dialects.openai_chat_stream import attestation_frame
from gateway.dialects.openai_chat_verbatim import VerbatimStream, forward_body
from gateway.dialects.splice import attach_attestation
from gateway.dialects.sse import FrameSplitter, parse_frame
from gateway.errors import GatewayError, UpstreamFailed
from gateway.inference import Failure, Usage

VECTORS = Path(os.environ.get("SAFEROUTER_VECTORS") or Path(__file__).resolve().parents[2] / "shared" / "vectors")
PROVIDERS = ("openai-chat", "azure", "bedrock-openai", "deepseek", "kimi", "nvidia", "ollama", "vllm", "zai")
BOTH = {"_sf_attestation": {"receipt_id": "r"}, "attestation": {"receipt_id": "r"}}
HEAD: dict[str, object] = {"id": "chat-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
OURS = attestation_frame(HEAD, {"receipt_id": "r"})
DELTA = (
    b'data: {"id":"chat-1","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"a \\"usage\\":{"}}],'
    b'"usage":null}\n\n'
)
FINISH = b'data: {"id":"chat-1","choices":[{"index":0,"delta":{},"finish_reason" : "stop"}],"usage":null}\n\n'
USAGE = b'data: {"id":"chat-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
NOTE = b": keep-alive\n\n"
ERROR = b'data: {"error":{"message":"m","type":"t","code":"c"}}\n\n'
CRLF = b"event: x\r\ndata: {}\r\n\r\n"
STREAMS = st.lists(
    st.sampled_from([DELTA, FINISH, USAGE, DONE, NOTE, ERROR, b"\n", b"\r\n", CRLF, b"data: [", b"\r", b"x"]),
    max_size=12,
).map(b"".join)


def recordings() -> list[Path]:
    folder = VECTORS / "dialects"
    if not folder.is_dir():
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(f"recorded vectors are required, and {folder} is absent")
        pytest.skip(f"recorded vectors: {folder} is absent")
    return sorted(path for provider in PROVIDERS for path in (folder / provider).glob("*.response.sse"))


def run(stream: bytes, size: int = 0, keep: bool = True, frame: bytes = OURS) -> tuple[bytes, bytes, VerbatimStream]:
    tap = VerbatimStream(keep)
    step = size or len(stream) or 1
    pushed = b"".join(tap.push(stream[at : at + step]) for at in range(0, len(stream), step))
    tap.finish()
    return pushed, tap.closing(frame), tap


def body(**fields: object) -> bytes:
    message = {"role": "user", "content": "h\u00e9 \u2028"}
    return json.dumps({"model": "m", "messages": [message], **fields}, indent=1).encode()


def forward(raw: bytes, model: str = "m") -> bytes:
    return forward_body(raw, decode_request(raw), model)


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": True, "stream_options": {"include_usage": True}},
                                    {"future": [1.50, 1e2]}])  # fmt: skip
def test_body_passes_untouched(fields: dict[str, object]) -> None:
    assert forward(body(**fields)) == body(**fields)


def test_usage_is_asked_for_by_a_splice() -> None:
    raw = b' \n {"stream":true,' + body()[1:]
    assert forward(raw) == raw.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    assert decode_request(forward(raw)) == replace(decode_request(raw), include_usage=True,
        extra={"stream_options": {"include_usage": True}})  # fmt: skip


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_the_clients_own_stream_options_are_kept_and_completed(options: dict[str, object] | None) -> None:
    sent = json.loads(forward(body(stream=True, stream_options=options)))
    assert sent["stream_options"] == {**(options or {}), "include_usage": True}


def test_stream_options_hidden_behind_an_escape_are_found() -> None:
    raw = b'{"stream\\u005foptions":{"include_usage":false},"stream":true,' + body()[1:]
    assert json.loads(forward(raw))["stream_options"] == {"include_usage": True}


def test_model_is_renamed_in_place() -> None:
    raw = body(stream=True, user='say "model": "m"')
    sent = forward(raw, 'up"stream')
    assert sent == raw.replace(b"{", b'{"stream_options":{"include_usage":true},', 1).replace(
        b'"model": "m"', b'"model": "up\\"stream"', 1
    )


@pytest.mark.parametrize(
    "raw",
    [
        body(tools=[{"function": {"parameters": {"model": "m"}}}]),
        b'{"mod\\u0065l":"m","tools":[{"model":"m"}],"messages":[{"role":"user","content":"x"}]}',
        b'{"mod\\u0065l":"m","tools":[{"x\\"model":"m"}],"messages":[{"role":"user","content":"x"}]}',
    ],
)
def test_only_the_top_level_model_is_renamed(raw: bytes) -> None:
    assert json.loads(forward(raw, "up")) == {**json.loads(raw), "model": "up"}


def test_our_own_fields_never_reach_the_provider() -> None:
    assert json.loads(forward(body(sf_policy="p", sf_provider=None, x=1))) == json.loads(body(x=1))


@given(st.text(max_size=8), st.text(max_size=30), st.booleans())
def test_forwarding_changes_nothing_but_what_it_says(model: str, content: str, stream: bool) -> None:
    raw = body(stream=stream, messages=[{"role": "user", "content": content}], metadata={content: content})
    wanted = json.loads(raw) | {"model": model} | ({"stream_options": {"include_usage": True}} if stream else {})
    assert json.loads(forward(raw, model)) == wanted


def test_our_frame_stands_between_finish_and_usage() -> None:
    pushed, closing, tap = run(DELTA + NOTE + FINISH + USAGE + DONE)
    assert (pushed, closing) == (DELTA + NOTE + FINISH, OURS + USAGE + DONE)
    assert (tap.usage, tap.finish_reason, tap.done_seen, tap.failure) == (Usage(3, 2), "stop", True, None)
    assert (tap.chat_id, tap.created, tap.model) == ("chat-1", 7, "m")


def test_usage_chunk_is_dropped_for_clients_that_did_not_ask() -> None:
    pushed, closing, tap = run(DELTA + FINISH + USAGE + DONE, keep=False)
    assert (pushed, closing, tap.usage) == (DELTA + FINISH, OURS + DONE, Usage(3, 2))


def test_usage_on_a_chunk_with_a_choice_passes_and_is_seen() -> None:
    on_finish = FINISH.replace(b'"usage":null', b'"usage":{"prompt_tokens":1,"completion_tokens":1}')
    choice = b'{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":1,"completion_tokens":1}}'
    in_choice = b'data: {"choices":[' + choice + b"]}\n\n"
    for last in (on_finish, in_choice):
        pushed, closing, tap = run(DELTA + last + DONE, keep=False)
        assert (pushed, closing, tap.usage) == (DELTA + last, OURS + DONE, Usage(1, 1))


def test_frames_between_and_after_held_ones_keep_their_order() -> None:
    pushed, closing, _ = run(FINISH + USAGE + NOTE + DONE + NOTE + DELTA)
    assert (pushed, closing) == (FINISH, OURS + USAGE + NOTE + DONE + NOTE + DELTA)


def test_an_early_usage_chunk_does_not_stop_the_stream() -> None:
    assert run(USAGE + NOTE + DELTA + FINISH + DONE)[:2] == (USAGE + NOTE + DELTA + FINISH, OURS + DONE)
    assert run(USAGE + NOTE + DELTA + FINISH + DONE, keep=False)[:2] == (NOTE + DELTA + FINISH, OURS + DONE)


def test_cut_streams_and_streams_without_done() -> None:
    assert run(DELTA + b'data: {"id":')[:2] == (DELTA, OURS + b'data: {"id":')
    _, closing, tap = run(DELTA + FINISH + USAGE)
    assert (closing, tap.done_seen) == (OURS + USAGE, False)
    _, closing, tap = run(FINISH + b"data: [DONE]")
    assert (closing, tap.done_seen) == (OURS + b"data: [DONE]", True)
    assert run(FINISH + USAGE.rstrip(), keep=False)[1] == OURS
    assert run((DELTA + FINISH).replace(b"\n", b"\r"))[1].startswith(FINISH.replace(b"\n", b"\r") + OURS)


def test_closing_is_complete_without_finish_and_only_once() -> None:
    tap = VerbatimStream(True)
    tap.push(FINISH + DONE + b"x")
    assert tap.closing(OURS) == OURS + DONE + b"x"
    assert tap.closing(b"") == b""


def test_midstream_error_is_noted_and_passed_on() -> None:
    pushed, closing, tap = run(DELTA + ERROR + DONE)
    assert (pushed, closing, tap.failure) == (DELTA + ERROR, OURS + DONE, Failure("m", "c", "t"))
    assert run(b'event: error\ndata: {"message":"m"}\n\n')[2].failure == Failure("m")
    assert run(DELTA + b'event: error\ndata: {"message":"m"}\n\n')[2].failure == Failure("m")


def test_azure_opens_without_an_id() -> None:
    opening = b'data: {"id":"","model":"","created":0,"choices":[],"prompt_filter_results":[]}\n\n'
    pushed, _, tap = run(opening + DELTA)
    assert (pushed, tap.chat_id, tap.created) == (opening + DELTA, "chat-1", 7)


def test_what_follows_the_end_is_bounded() -> None:
    tap = VerbatimStream(True, max_frame=1000)
    tap.push(DONE)
    with pytest.raises(UpstreamFailed, match="after its end"):
        for _ in range(1000):
            tap.push(NOTE)


@given(STREAMS, st.integers(1, 50))
def test_without_our_frame_the_stream_is_the_providers(stream: bytes, size: int) -> None:
    pushed, closing, tap = run(stream)
    whole = pushed + closing
    assert whole.count(OURS) == 1
    assert whole.replace(OURS, b"") == stream
    assert pushed + run(stream, frame=b"")[1] == stream
    torn, torn_closing, torn_tap = run(stream, size)
    assert torn + torn_closing == whole
    names = ("usage", "chat_id", "finish_reason", "done_seen", "failure")
    assert [getattr(torn_tap, name) for name in names] == [getattr(tap, name) for name in names]


@given(STREAMS, st.integers(1, 50))
def test_dropping_usage_chunks_does_not_depend_on_chunking(stream: bytes, size: int) -> None:
    whole, torn = run(stream, keep=False), run(stream, size, keep=False)
    assert whole[0] + whole[1] == torn[0] + torn[1]
    frames = [parse_frame(frame).data for frame in FrameSplitter().push(whole[0] + whole[1])]
    before_the_end = frames[: frames.index("[DONE]")] if "[DONE]" in frames else frames
    assert parse_frame(USAGE).data not in before_the_end


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_arbitrary_bytes_raise_only_gateway_errors(stream: bytes, answer: bytes) -> None:
    pushed, closing, _ = run(stream)
    assert (pushed + closing).replace(OURS, b"") == stream
    try:
        attach_attestation(answer, {"receipt_id": "r"})
    except GatewayError as error:
        assert error.status == 502


def test_recorded_streams_pass_verbatim() -> None:
    seen = 0
    for path in recordings():
        stream = path.read_bytes()
        if b'"choices"' not in stream:
            continue  # other dialects of the same provider
        for size in (0, 1, 100):
            pushed, closing, tap = run(stream, size)
            assert (pushed + closing).replace(OURS, b"") == stream, path.name
            assert closing.startswith(OURS), path.name
            assert tap.done_seen and tap.chat_id and tap.finish_reason and not tap.failure, path.name
            assert (tap.usage is not None) == (b'"prompt_tokens"' in stream), path.name
        splitter = FrameSplitter()
        assert b"".join(splitter.push(stream)) + splitter.finish() == stream
        seen += 1
    assert seen >= 30


def test_our_frame_is_a_valid_chunk_with_both_names() -> None:
    event = parse_frame(OURS)
    chunk = json.loads(event.data)
    assert event.event == "sf_attestation"
    assert chunk["_sf_attestation"] == chunk["attestation"] == {"receipt_id": "r"}
    assert ChatCompletionChunk.model_validate(chunk).choices[0].delta.content is None
    hostile = attestation_frame(HEAD | {"id": "a\n\ndata: x", "model": "m\r\r"}, {"x": "\n\n"})
    assert FrameSplitter().push(hostile) == [hostile]


def test_attestation_joins_a_buffered_answer_without_touching_it() -> None:
    answer = b'\n\n{ "id": "c", "n": 1.50, "choices": [{"x": "}"}] }\n'
    attached = attach_attestation(answer, {"receipt_id": "r"})
    ours = b',"_sf_attestation":{"receipt_id":"r"},"attestation":{"receipt_id":"r"}'
    assert attached == answer[:-2] + ours + b"}\n"
    assert json.loads(attached) == {**json.loads(answer), **BOTH}
    assert json.loads(attach_attestation(b"{}", {}))["attestation"] == {}


@pytest.mark.parametrize(
    "forged", [b'{"attestation":1,"id":"c"}', b'{"id":"c","_sf_\\u0061ttestation":{"receipt_id":"forged"}}']
)
def test_our_attestation_wins(forged: bytes) -> None:
    attached = attach_attestation(forged, {"receipt_id": "r"})
    assert json.loads(attached) == {"id": "c", **BOTH}
    assert attached.count(b"ttestation") == 2


@pytest.mark.parametrize("answer", [b"", b"[1]", b"<html>", b'{"a":1', b"\xff{}"])
def test_what_is_no_answer_is_not_attested(answer: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        attach_attestation(answer, {})


def _finish(index: int, reason: str) -> bytes:
    choice = {"index": index, "delta": {}, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("frames", "choices", "whole"),
    [
        ([_finish(0, "stop")], 1, True),
        ([_finish(0, "stop")], 2, False),
        ([_finish(0, "stop"), _finish(1, "length")], 2, True),
        ([_finish(0, "stop"), b"data: [DONE]\n\n"], 2, True),
        ([_finish(0, "network_error"), b"data: [DONE]\n\n"], 1, False),
        ([b'data: {"error":{"message":"gone"}}\n\n', b"data: [DONE]\n\n"], 1, False),
        ([], 1, False),
    ],
)
def test_an_answer_is_whole_only_if_the_provider_says_so_of_every_choice(
    frames: list[bytes], choices: int, whole: bool
) -> None:
    stream = VerbatimStream(False, choices=choices)
    for frame in frames:
        stream.push(frame)
    stream.closing(b"")
    assert stream.whole is whole
