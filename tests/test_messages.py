"""`/v1/messages` of a live gateway, and chat in front of Anthropic: bytes, translations, receipts, official clients."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tee.canonical import digest_bytes
from tests.conftest import find_vectors
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream

MESSAGES = "/v1/messages"
OURS = re.compile(rb',"_sf_attestation":\{[^}]*\},"attestation":\{[^}]*\}')
TOOL: Any = {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"claude","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
)
TEXT = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"h\xc3\xa9"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
)
END = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":2}}        \n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
ANSWER = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"x }"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2} }\n'
)
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


def message_body(said: str, model: str = "claude-1", **fields: Any) -> bytes:
    return json.dumps(
        {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": said}], **fields}
    ).encode()


def recorded(provider: str, pattern: str = "*.response.sse") -> list[Path]:
    return sorted((find_vectors() / "dialects" / provider).glob(pattern))


@pytest.fixture(scope="module")
def claude(live_gateway: RunningGateway) -> Iterator[Anthropic]:
    with Anthropic(base_url=live_gateway.url, api_key=live_gateway.api_key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(live_gateway: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live_gateway.url}/v1", api_key=live_gateway.api_key, max_retries=0) as client:
        yield client


def sent_on(gateway: RunningGateway, upstream: ScriptedUpstream, answered: Answered, *, complete: bool = True) -> Any:
    """The body that the provider got, once the receipt vouches for it and for the answer."""
    receipt = gateway.verified(answered, complete=complete)
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(upstream.got.body)
    assert receipt.events["response.returned"]["body_hash"] == digest_bytes(answered.raw)
    assert receipt.events["stream"]["complete"] is complete
    return json.loads(upstream.got.body)


def attestation_of(raw: bytes) -> Any:
    (found,) = OURS.findall(raw)
    both = json.loads(b"{" + found[1:] + b"}")
    assert both["attestation"] == both["_sf_attestation"]
    return both["attestation"]


def test_recorded_streams_pass_byte_for_byte(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    paths = recorded("anthropic")
    assert len(paths) >= 15
    for path in paths:
        stream = path.read_bytes()
        upstream.play(Recording(stream, piece=113))
        answered = live_gateway.post(message_body("hi", stream=True), MESSAGES)
        assert OURS.sub(b"", answered.raw) == stream, path.name
        assert attestation_of(answered.raw)["receipt_id"] == answered.receipt_id
        assert sent_on(live_gateway, upstream, answered)["model"] == "claude-opus-5"


@pytest.mark.parametrize(
    "stream",
    [
        PING + START + PING + TEXT + PING + END + PING,
        (START + TEXT + END).replace(b"\n", b"\r\n"),
        START + START + TEXT + END,
        START + TEXT + END.split(b"event: message_stop")[0],
        START + TEXT + END[:-2],
        START + TEXT + END.split(b"event: message_stop")[0] + TEXT + END,
    ],
    ids=["pings", "CR LF", "two starts", "no stop", "no last blank line", "goes on after its delta"],
)
def test_odd_streams_pass_byte_for_byte(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, stream: bytes
) -> None:
    for piece in (0, 1):
        upstream.play(Recording(stream, piece=piece))
        answered = live_gateway.post(message_body("hi", stream=True), MESSAGES)
        assert OURS.sub(b"", answered.raw) == stream
        attestation_of(answered.raw)
        sent_on(live_gateway, upstream, answered)
        off = live_gateway.post(message_body("hi", stream=True), MESSAGES, x_sf_attestation="off")
        assert off.raw == stream


def test_the_clients_bytes_reach_the_provider_with_its_own_headers(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(ANSWER, "application/json"))
    body = b'{ "model" : "claude-1", "max_tokens": 9.0, "messages":[{"role":"user","content":"\\u00e9"}], "new":[1.50]}'
    answered = live_gateway.post(body, MESSAGES, anthropic_beta="a,b", anthropic_version="2026-10-21")
    assert upstream.got.body == body.replace(b'"claude-1"', b'"claude-opus-5"')
    assert upstream.got.path == "/v1/messages"
    assert (upstream.got.header("x-api-key"), upstream.got.credential) == (UPSTREAM_CREDENTIAL, None)
    assert (upstream.got.header("anthropic-version"), upstream.got.header("anthropic-beta")) == ("2023-06-01", "a,b")
    assert OURS.sub(b"", answered.raw) == ANSWER
    assert answered.headers["request-id"] == answered.headers["x-request-id"]
    sent_on(live_gateway, upstream, answered)
    upstream.play(Recording(ANSWER, "application/json"))
    live_gateway.post(message_body("hi", sf_provider="claude"), MESSAGES)
    assert "sf_provider" not in json.loads(upstream.got.body)


@pytest.mark.parametrize(
    ("recording", "kind"),
    [
        (Recording(START + TEXT), "api_error"),
        (Recording(START + TEXT[:-9]), "api_error"),
        (Recording(START + TEXT, ending="cut"), "api_error"),
        (Recording(START + TEXT + ERROR), "overloaded_error"),
    ],
    ids=["ends early", "ends in half a frame", "is cut", "breaks off"],
)
@pytest.mark.parametrize("ask", ["messages", "chat"])
def test_a_broken_stream_ends_in_an_error_and_says_so_in_its_receipt(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, recording: Recording, kind: str, ask: str
) -> None:
    upstream.play(recording)
    if ask == "messages":
        answered = live_gateway.post(message_body("hi", stream=True), MESSAGES)
        error = re.findall(rb"event: error\ndata: (.*)\n\n", answered.raw)
        assert json.loads(error[0])["error"]["type"] == kind
        assert b"message_stop" not in answered.raw
    else:
        answered = live_gateway.post(chat_body("hi", "claude-1", stream=True))
        assert json.loads(answered.raw.split(b"data: ")[-1])["error"]["type"] == "server_error"
        assert b"[DONE]" not in answered.raw
    attestation_of(answered.raw)
    sent_on(live_gateway, upstream, answered, complete=False)


@pytest.mark.parametrize(
    ("played", "status"), [(b"", 502), (START, 502), (START + ERROR, 529)], ids=["is empty", "only opens", "refuses"]
)
@pytest.mark.parametrize("ask", ["messages", "chat"])
def test_a_stream_that_fails_before_its_answer_begins_is_a_refusal(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, played: bytes, status: int, ask: str
) -> None:
    upstream.play(Recording(played))
    asked = (
        (message_body("hi", stream=True), MESSAGES)
        if ask == "messages"
        else (chat_body("hi", "claude-1", stream=True),)
    )
    answered = live_gateway.post(*asked)
    assert (answered.status, answered.headers["content-type"]) == (status, "application/json")
    assert answered.json["error"]["message"]
    tried = live_gateway.verified(answered).events["attempts"]["tried"]
    assert len(tried) == len(upstream.received) == 2


def test_anthropics_client_streams_from_anthropic(claude: Anthropic, upstream: ScriptedUpstream) -> None:
    upstream.play(Recording(START + PING + TEXT + END, piece=50))
    with claude.messages.stream(model="claude-1", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream:
        events = list(stream)
        final = stream.get_final_message()
    assert final.content[0].type == "text" and final.content[0].text == "hé"
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 2)
    (last,) = [event for event in events if event.type == "message_delta"]
    assert last.model_extra and last.model_extra["attestation"]["provider_id"] == "claude"


def test_anthropics_client_is_answered_by_a_chat_provider(
    claude: Anthropic, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(CHAT_STREAM, piece=40))
    with claude.messages.stream(
        model="wire-1",
        max_tokens=9,
        system="be brief",
        tools=[TOOL],
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=[{"role": "user", "content": "hi"}],
    ) as stream:
        (last,) = [event for event in stream if event.type == "message_delta"]
        final = stream.get_final_message()
    assert last.model_extra and live_gateway.fetch_receipt(last.model_extra["attestation"]["receipt_id"])
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert final.content[2].type == "tool_use" and final.content[2].input == {"a": 1}
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("tool_use", 3, 2)
    sent = json.loads(upstream.got.body)
    assert [row["role"] for row in sent["messages"]] == ["system", "user"]
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert sent["stream_options"] == {"include_usage": True}
    assert upstream.got.path == "/v1/chat/completions"
    assert upstream.got.credential == f"Bearer {UPSTREAM_CREDENTIAL}"


def chat_stream(*deltas: dict[str, object]) -> bytes:
    rows: list[dict[str, object]] = [{"id": "c-1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    rows.append({"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return b"".join(b"data: " + json.dumps(row).encode() + b"\n\n" for row in rows) + b"data: [DONE]\n\n"


def call_delta(index: int, arguments: str, name: str = "") -> dict[str, object]:
    opening = {"id": f"t{index}", "type": "function"} if name else {}
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"tool_calls": [{"index": index, **opening, "function": function}]}


def test_anthropics_client_reads_pictures_and_calls_that_came_interleaved(
    claude: Anthropic, upstream: ScriptedUpstream
) -> None:
    picture: dict[str, object] = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    sent = (picture, call_delta(0, '{"a":', "f"), call_delta(1, '{"b":', "g"), call_delta(0, "1}"), call_delta(1, "2}"))
    upstream.play(Recording(chat_stream(*sent), piece=40))
    with claude.messages.stream(model="wire-1", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream:
        final = stream.get_final_message()
    shown, *calls = final.content
    assert shown.type == "text" and shown.text == "![image](data:image/png;base64,AAAA)"
    found = [(call.id, call.name, call.input) for call in calls if call.type == "tool_use"]
    assert found == [("t0", "f", {"a": 1}), ("t1", "g", {"b": 2})]


def test_a_call_that_goes_on_after_its_end_breaks_the_stream(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    sent = (call_delta(0, "{}", "f"), call_delta(1, "{}", "g"), call_delta(0, '{"a":1}'))
    upstream.play(Recording(chat_stream(*sent)))
    answered = live_gateway.post(message_body("hi", "wire-1", stream=True), MESSAGES)
    assert b"message_stop" not in answered.raw and b"after the end of their call" in answered.raw
    sent_on(live_gateway, upstream, answered, complete=False)


@pytest.mark.parametrize("vendor", ["openai-chat", "azure", "deepseek", "kimi", "nvidia", "vllm", "zai", "ollama"])
def test_anthropics_client_reads_what_chat_vendors_really_stream(
    claude: Anthropic, upstream: ScriptedUpstream, vendor: str
) -> None:
    paths = [path for path in recorded(vendor) if b'"choices"' in path.read_bytes()]
    if not paths:
        paths = [path for path in recorded(vendor, "*.response.json") if b'"message"' in path.read_bytes()]
    assert paths
    for path in paths:
        is_stream = path.suffix == ".sse"
        upstream.play(Recording(path.read_bytes(), "text/event-stream" if is_stream else "application/json", piece=300))
        asked: Any = {"model": "wire-1", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        if is_stream:
            with claude.messages.stream(**asked) as stream:
                carriers: list[Any] = [event for event in stream if event.type == "message_delta"]
                final = stream.get_final_message()
        else:
            carriers = [final := claude.messages.create(**asked)]
        assert final.content, path.name
        assert final.stop_reason in ("end_turn", "tool_use", "max_tokens", "refusal"), path.name
        assert (final.stop_reason == "tool_use") == any(block.type == "tool_use" for block in final.content), path.name
        assert [carrier.model_extra["attestation"]["provider_id"] for carrier in carriers] == ["wire"], path.name


def test_anthropics_client_and_the_mock(claude: Anthropic, live_gateway: RunningGateway) -> None:
    raw = claude.messages.with_raw_response.create(
        model="mock-1", max_tokens=64, messages=[{"role": "user", "content": "hello there"}]
    )
    answer = raw.parse()
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "This is a mock answer. You said: hello there"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens == 2
    assert answer.model_extra and answer.model_extra["attestation"] == answer.model_extra["_sf_attestation"]
    assert answer.id.startswith("msg_")
    assert raw.headers["x-receipt-id"] == answer.model_extra["attestation"]["receipt_id"]
    assert live_gateway.fetch_receipt(raw.headers["x-receipt-id"])
    call = claude.messages.create(
        model="mock-1", max_tokens=64, tools=[TOOL], messages=[{"role": "user", "content": "the weather?"}]
    )
    assert (call.content[0].type, call.stop_reason) == ("tool_use", "tool_use")


def test_openais_client_is_answered_by_anthropic(gpt: OpenAI, upstream: ScriptedUpstream) -> None:
    for path in recorded("anthropic"):
        upstream.play(Recording(path.read_bytes(), piece=200))
        with gpt.chat.completions.stream(
            model="claude-1",
            messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
            stream_options={"include_usage": True},
        ) as stream:
            chunks = [event.chunk for event in stream if event.type == "chunk"]
            final = stream.get_final_completion()
        assert final.choices[0].finish_reason in ("stop", "tool_calls"), path.name
        assert final.choices[0].message.content or final.choices[0].message.tool_calls, path.name
        assert final.usage and final.usage.prompt_tokens and final.usage.completion_tokens, path.name
        blocks = [chunk.model_extra for chunk in chunks if chunk.model_extra and "attestation" in chunk.model_extra]
        assert len(blocks) == 1, path.name
    sent = json.loads(upstream.got.body)
    assert sent["system"] == [{"type": "text", "text": "s"}]
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("claude-opus-5", 32000, True)


def test_a_buffered_answer_of_anthropic_for_openais_client(
    gpt: OpenAI, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(ANSWER, "application/json"))
    answered = live_gateway.post(chat_body("hi", "claude-1"))
    assert answered.json["choices"][0]["message"]["content"] == "x }"
    assert answered.json["usage"]["total_tokens"] == 5
    assert answered.json["attestation"] == answered.json["_sf_attestation"]
    assert "stream" not in sent_on(live_gateway, upstream, answered)
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="claude-1", messages=[{"role": "user", "content": "hi"}], n=2)
    assert caught.value.param == "n"


def test_a_loop_with_tools_and_sealed_thoughts_through_openais_shape(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    thought = json.dumps(
        {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
         "content": [{"type": "thinking", "thinking": "hm", "signature": "EqQB"},
                     {"type": "redacted_thinking", "data": "ErrB"},
                     {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"a": 1}}],
         "usage": {"input_tokens": 1, "output_tokens": 1}}
    ).encode()  # fmt: skip
    upstream.play(Recording(thought, "application/json"))
    said = live_gateway.post(chat_body("hi", "claude-1")).json["choices"][0]["message"]
    turns = [{"role": "user", "content": "hi"}, said, {"role": "tool", "tool_call_id": "toolu_1", "content": "12"}]
    upstream.play(Recording(ANSWER, "application/json"))
    live_gateway.post(json.dumps({"model": "claude-1", "messages": turns}).encode())
    again = json.loads(upstream.got.body)["messages"]
    assert again[1]["content"] == json.loads(thought)["content"]
    assert again[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "12"}]}
    ]


def test_minimax_speaks_anthropic_and_thinks_in_its_own_way(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for path in recorded("minimax"):
        upstream.play(Recording(path.read_bytes()))
        answered = live_gateway.post(chat_body("hi", "mini-1", stream=True, reasoning_effort="high"))
        assert b'"reasoning_content"' in answered.raw
        sent = sent_on(live_gateway, upstream, answered)
        assert sent["thinking"] == {"type": "adaptive"}
        assert "output_config" not in sent
    # The operator chose another header for the key and another version of the API.
    assert (upstream.got.credential, upstream.got.header("x-api-key")) == (f"Bearer {UPSTREAM_CREDENTIAL}", None)
    assert upstream.got.header("anthropic-version") == "2026-10-21"


def test_a_request_as_claude_code_sends_it_is_answered_by_a_chat_provider(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    cached = {"type": "ephemeral"}
    body = message_body(
        "hi",
        "wire-1",
        stream=True,
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197"},
            {"type": "text", "text": "You are helpful.", "cache_control": cached},
            {"type": "text", "text": "Be brief.", "cache_control": cached},
        ],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": cached}]},
            {"role": "system", "content": "The date is today."},
        ],
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": "u" * 150},
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
    )
    upstream.play(Recording(CHAT_STREAM))
    answered = live_gateway.post(body, f"{MESSAGES}?beta=true", anthropic_beta="a,b", anthropic_version="2023-06-01")
    attestation_of(answered.raw)
    sent = sent_on(live_gateway, upstream, answered)
    assert sent["messages"] == [
        {"role": "system", "content": [
            {"type": "text", "text": "You are helpful."}, {"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "The date is today."},
    ]  # fmt: skip
    assert sent.keys() == {
        "model", "messages", "tools", "max_tokens", "stream", "stream_options", "chat_template_kwargs",
    }  # fmt: skip
    assert len(sent["tools"]) == 1
    assert upstream.got.header("anthropic-beta") is None


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        (400, anthropic.BadRequestError, openai.BadRequestError),
        (429, anthropic.RateLimitError, openai.RateLimitError),
        (529, anthropic.APIStatusError, openai.InternalServerError),
        (401, anthropic.InternalServerError, openai.InternalServerError),
    ],
)
def test_a_providers_refusal_in_both_shapes(
    claude: Anthropic, gpt: OpenAI, upstream: ScriptedUpstream, status: int, error: Any, raised: Any
) -> None:
    said: Any = [{"role": "user", "content": "hi"}]
    refusal = b'{"type":"error","error":{"type":"invalid_request_error","message":"no such thing"}}'
    upstream.play(Recording(refusal, "application/json", status))
    with pytest.raises(error) as caught:
        claude.messages.create(model="claude-1", max_tokens=9, messages=said)
    assert caught.value.body["type"] == "error"
    with pytest.raises(raised) as other:
        gpt.chat.completions.create(model="claude-1", messages=said)
    assert other.value.status_code == (502 if status == 401 else status)
    assert isinstance(other.value.body, dict) and other.value.body["message"]
    flat = b'{"error":{"message":"chat says no","type":"t","code":"c"}}'
    upstream.play(Recording(flat, "application/json", status))
    with pytest.raises(error) as translated:
        claude.messages.create(model="wire-1", max_tokens=9, messages=said)
    assert translated.value.body["type"] == "error"


def test_our_own_refusals_have_anthropics_shape(claude: Anthropic, live_gateway: RunningGateway) -> None:
    said: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="gpt-9", max_tokens=9, messages=said)
    assert missing.value.response.headers["x-receipt-id"]
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model="mock-1", max_tokens=9, messages=[])
    assert caught.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    with (
        Anthropic(base_url=live_gateway.url, api_key="sk-router-wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError) as refused,
    ):
        stranger.messages.create(model="mock-1", max_tokens=9, messages=said)
    assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    assert "x-receipt-id" not in refused.value.response.headers


def test_tokens_are_counted_by_the_provider_or_estimated_honestly(
    claude: Anthropic, live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    said: Any = [{"role": "user", "content": "word " * 300}]
    upstream.play(Recording(b'{"input_tokens": 671}', "application/json"))
    counted = claude.messages.count_tokens(model="claude-1", messages=said)
    assert counted.input_tokens == 671
    assert upstream.got.path == "/v1/messages/count_tokens"
    upstream.play(Recording(b""))
    for model in ("wire-1", "mini-1"):
        body = json.dumps({"model": model, "messages": said, "tools": [TOOL]}).encode()
        answered = live_gateway.post(body, f"{MESSAGES}/count_tokens")
        assert answered.json["estimated"] is True
        assert 300 <= answered.json["input_tokens"] <= 900
        assert live_gateway.fetch_receipt(answered.receipt_id)
    assert upstream.received == []


def test_models_in_anthropics_shape(claude: Anthropic) -> None:
    listed = {model.id: model for model in claude.models.list()}
    assert {"mock-1", "claude-1"} <= listed.keys()
    assert claude.models.retrieve("claude-1").type == "model"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("gpt-9")
