"""Usage in streams: asked of every provider, shown to those who asked, kept by class, marked where it was cut."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from gateway.dialects.openai_chat import PROVIDER as CHAT
from gateway.inference import Usage
from gateway.languages import SERVICES
from gateway.translate import Exchange, Translation
from tests.conftest import find_vectors
from tests.test_translation import ASKED
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.upstream import Recording, ScriptedUpstream

MESSAGES = "/v1/messages"
HEAD: dict[str, Any] = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
CLASSES = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens",
           "reasoning_tokens", "audio_prompt_tokens", "audio_completion_tokens")  # fmt: skip
USED: dict[str, Any] = {
    "prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 15, "audio_tokens": 5, "accepted_prediction_tokens": 1},
}  # fmt: skip
WHOLE = Usage(90, 40, 30, 20, 15, 0, 10, 5)


def chunk(delta: Any, reason: str | None = None, **members: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **members}


def stream(*chunks: dict[str, Any] | str) -> bytes:
    rows = [row if isinstance(row, str) else json.dumps(row) for row in chunks]
    return "".join(f"data: {row}\n\n" for row in rows).encode()


SAID, ENDED = chunk({"content": "a"}), chunk({}, "stop")
GROWING = {"prompt_tokens": 90, "completion_tokens": 1}
SHAPES: dict[str, tuple[bytes, Usage | None]] = {
    "last, without choices": (stream(SAID, ENDED, {**HEAD, "choices": [], "usage": USED}, "[DONE]"), WHOLE),
    "last, choices left out": (stream(SAID, ENDED, {**HEAD, "usage": USED}, "[DONE]"), WHOLE),
    "last, choices null": (stream(SAID, ENDED, {**HEAD, "choices": None, "usage": USED}, "[DONE]"), WHOLE),
    "last, before no [DONE]": (stream(SAID, ENDED, {**HEAD, "choices": [], "usage": USED}), WHOLE),
    "with the finish": (stream(SAID, {**ENDED, "usage": USED}, "[DONE]"), WHOLE),
    "inside the choice": (
        stream(SAID, {**HEAD, "choices": [{**ENDED["choices"][0], "usage": USED}]}, "[DONE]"),
        WHOLE,
    ),
    "in each chunk": (stream({**SAID, "usage": GROWING}, {**ENDED, "usage": USED}, "[DONE]"), WHOLE),
    "null, then last": (
        stream({**SAID, "usage": None}, {**ENDED, "usage": None}, {**HEAD, "choices": [], "usage": USED}, "[DONE]"),
        WHOLE,
    ),
    "null only": (stream({**SAID, "usage": None}, {**ENDED, "usage": None}, "[DONE]"), None),
    "never": (stream(SAID, ENDED, "[DONE]"), None),
    "twice, the last counts": (
        stream(SAID, ENDED, *({**HEAD, "choices": [], "usage": each} for each in (GROWING, USED)), "[DONE]"),
        WHOLE,
    ),
    "other vendors' names": (
        stream(SAID, {**ENDED, "usage": {"prompt_tokens": 90, "completion_tokens": 40, "prompt_cache_hit_tokens": 30,
                                         "reasoning_tokens": 15}}, "[DONE]"),
        Usage(90, 40, 30, 0, 15),
    ),
    "more cached than there was": (
        stream(SAID, {**ENDED, "usage": {"prompt_tokens": 7, "completion_tokens": 1, "cached_tokens": 161}}, "[DONE]"),
        Usage(7, 1, 7),
    ),
}  # fmt: skip


def activity(gateway: RunningGateway, answered: Answered) -> dict[str, Any]:
    """What was written down of a call, once it is closed."""
    gateway.fetch_receipt(answered.receipt_id)
    query = "SELECT activity.* FROM activity JOIN calls ON calls.id = call_id WHERE receipt_id = ?"
    database = sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)
    try:
        database.row_factory = sqlite3.Row
        return dict(database.execute(query, (answered.receipt_id,)).fetchone())
    finally:
        database.close()


def classes(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in CLASSES}


def used(usage: Usage | None) -> dict[str, Any]:
    return {name: None if usage is None else getattr(usage, name) for name in CLASSES}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_metered_by_class(live_gateway: RunningGateway, upstream: ScriptedUpstream, name: str) -> None:
    raw, usage = SHAPES[name]
    for path, fields in (("/v1/chat/completions", {}), (MESSAGES, {"max_tokens": 9})):
        upstream.play(Recording(raw, piece=31))
        answered = live_gateway.post(chat_body("hi", "wire-1", stream=True, **fields), path)
        assert answered.status == 200 and b"error" not in answered.raw
        row = activity(live_gateway, answered)
        assert (classes(row), row["partial"]) == (used(usage), 0), path
        assert json.loads(upstream.got.body)["stream_options"] == {"include_usage": True}
        live_gateway.verified(answered)


@pytest.mark.parametrize("name", SHAPES)
def test_who_did_not_ask_sees_no_chunk_of_usage_alone(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, name: str
) -> None:
    raw, _ = SHAPES[name]
    upstream.play(Recording(raw, piece=31))
    off = {"x_sf_attestation": "off"}
    without = live_gateway.post(chat_body("hi", "wire-1", stream=True), **off)
    rows = [json.loads(row[6:]) for row in without.raw.decode().splitlines() if row.startswith("data: {")]
    assert rows and all(row["choices"] for row in rows)
    upstream.play(Recording(raw, piece=31))
    asking = chat_body("hi", "wire-1", stream=True, stream_options={"include_usage": True})
    assert live_gateway.post(asking, **off).raw == raw
    assert upstream.got.body == asking


def test_a_stream_that_was_cut_is_metered_by_what_was_said_and_marked(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for path, fields in (("/v1/chat/completions", {}), (MESSAGES, {"max_tokens": 9})):
        for ending in ("cut", "end"):
            for raw, usage in ((stream({**SAID, "usage": GROWING}), Usage(90, 1)), (stream(SAID), None)):
                upstream.play(Recording(raw, ending=ending))
                answered = live_gateway.post(chat_body("hi", "wire-1", stream=True, **fields), path)
                row = activity(live_gateway, answered)
                assert (classes(row), row["partial"]) == (used(usage), 1), (path, ending)
                assert b"error" in answered.raw and b"[DONE]" not in answered.raw
                live_gateway.verified(answered, complete=False)


def test_a_damaged_line_is_skipped_and_counted(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    damaged = stream(SAID, '{"id":"c-1","choi', {**ENDED, "usage": USED}, "[DONE]")
    upstream.play(Recording(damaged, piece=29))
    answered = live_gateway.post(chat_body("hi", "wire-1", stream=True, max_tokens=9), MESSAGES)
    assert b"message_stop" in answered.raw and b"error" not in answered.raw
    row = activity(live_gateway, answered)
    assert (row["skipped"], row["partial"], row["prompt_tokens"]) == (1, 0, 90)
    live_gateway.verified(answered)


def test_a_stream_whose_client_left_is_metered_by_what_was_said_and_marked(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(stream({**SAID, "usage": GROWING}), ending="hold"))
    body = chat_body("hi", "wire-1", stream=True)
    with (
        live_gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", content=body) as response,
    ):
        assert next(response.iter_raw())
        left = Answered(body, response.status_code, dict(response.headers), b"")
    row = activity(live_gateway, left)
    assert (classes(row), row["partial"], row["status"]) == (used(Usage(90, 1)), 1, 499)


def test_buffered_answers_are_metered_by_class(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    message = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    raw = json.dumps({**HEAD, "object": "chat.completion", "choices": [message], "usage": USED}).encode()
    for path, fields in (("/v1/chat/completions", {}), (MESSAGES, {"max_tokens": 9})):
        upstream.play(Recording(raw, "application/json"))
        answered = live_gateway.post(chat_body("hi", "wire-1", **fields), path)
        row = activity(live_gateway, answered)
        assert (classes(row), row["partial"]) == (used(WHOLE), 0)


def test_a_cut_recording_of_any_language_still_tells_what_it_had_said() -> None:
    """Where a vendor counts on the way, a client that leaves early is not free."""
    counted = {"gemini": 0, "anthropic": 0}
    languages = {"gemini": "gemini", "anthropic": "anthropic_messages"}
    service = SERVICES["/v1/chat/completions"]
    for vendor, language in languages.items():
        for path in sorted((find_vectors() / "dialects" / vendor).glob("*.response.sse")):
            raw = path.read_bytes()
            passage = Translation(Exchange(service.surface, service.providers[language], ASKED, "t", 1), 1 << 24)
            passage.push(raw[: len(raw) * 3 // 4])
            passage.closing(None, None)
            counted[vendor] += passage.seen().usage is not None
    assert min(counted.values()) >= 5, counted


def test_a_provider_that_never_ends_its_usage_stays_a_stream() -> None:
    decoder = CHAT.decoder(1 << 20)
    events = decoder.push(stream({**SAID, "usage": GROWING}, {**SAID, "usage": {**GROWING, "completion_tokens": 2}}))
    assert not [event for event in events if isinstance(event, Usage)]
    assert [event for event in decoder.finish() if isinstance(event, Usage)] == [Usage(90, 2)]
