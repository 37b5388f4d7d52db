"""What a gateway does when a provider fails: who is asked next, and what client, activity and receipt are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import digest_bytes
from tests.worlds.fallback import KEYS, Providers, running_providers
from tests.worlds.gateway import Answered, chat_body
from tests.worlds.upstream import Recording

JSON = "application/json"
ANSWER = Recording(b'{"id":"c-1","choices":[{"message":{"role":"assistant","content":"from the first"}}]}', JSON)
CHUNK = b'data: {"id":"c-1","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"first"}}]}\n\n'
ROLE = b'data: {"id":"c-1","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
FINISH = b'data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = Recording(ROLE + CHUNK + FINISH + DONE)
ERROR = b'data: {"error":{"message":"told","type":"server_error","code":null}}\n\n'
OTHER = Recording(
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m",'
    b'"content":[{"type":"text","text":"from the other"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}',
    JSON,
)
_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": {"input_tokens": 3}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "from the other"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
OTHER_STREAM = Recording(
    b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in _EVENTS)
)
FAILURE = b'{"error":{"message":"no, says the first","type":"server_error","code":null}}'
BEARERS = [f"Bearer {KEYS[name]}" for name in ("FIRST_KEY", "FIRST_SPARE")]


def failing(status: int, *headers: tuple[str, str], body: bytes = FAILURE) -> Recording:
    return Recording(body, JSON, status, headers)


# What the first provider does, and what its attempts are called. After each the other model answers.
BUFFERED: dict[str, tuple[Recording, list[Any]]] = {
    "503": (failing(503), [503, 503]),
    "529": (failing(529), [529, 529]),
    "408": (failing(408), [408, 408]),
    "cut": (Recording(b'{"id":', JSON, ending="cut"), ["upstream_failed", "upstream_failed"]),
    "html": (Recording(b"<html>", "text/html"), ["upstream_failed", "upstream_failed"]),
    "array": (Recording(b"[]", JSON), ["upstream_failed", "upstream_failed"]),
    "moved": (Recording(b"", "text/html", 302, (("location", "http://127.0.0.1:1/"),)), [302]),
    "zipped": (
        Recording(b"\x1f", JSON, headers=(("content-encoding", "gzip"),)),
        ["upstream_failed", "upstream_failed"],
    ),
    "unpaid": (failing(402), [402, 402]),
    "spent": (failing(429, body=b'{"error":{"message":"m","code":"insufficient_quota"}}'), [429, 429]),
}
STREAMED: dict[str, tuple[Recording, list[Any]]] = {
    "s503": (failing(503), [503, 503]),
    "sempty": (Recording(b""), ["upstream_cut", "upstream_cut"]),
    "scut": (Recording(ROLE, ending="cut"), ["upstream_failed", "upstream_failed"]),
    "send": (Recording(ROLE), ["upstream_cut", "upstream_cut"]),
    "serror": (Recording(ERROR), ["upstream_failed", "upstream_failed"]),
    "sroleerror": (Recording(ROLE + ERROR), ["upstream_failed", "upstream_failed"]),
    "shtml": (Recording(b"<html>", "text/html"), ["upstream_failed", "upstream_failed"]),
}
SINGLE = [
    "again", "again-stream", "second-key", "comes-again", "comes-never", "key-rests", "bubbles", "bars-401",
    "bars-403", "all-fail", "alternative-refuses", "pinned", "late", "in-stream-400", "private",
    "broken-line",
]  # fmt: skip
SETTINGS = """
[retry]
base_milliseconds = 1
cap_milliseconds = 1500
[breaker]
failures = 64
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Providers]:
    state = tmp_path_factory.mktemp("fallback", numbered=False) / "state"
    with running_providers(state, chip_file, [*BUFFERED, *STREAMED, *SINGLE], SETTINGS) as providers:
        yield providers


def outcomes(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["failure"] if row["status"] is None else row["status"] for row in rows]


def check_stood_in(world: Providers, answered: Answered, name: str, expected: list[Any]) -> None:
    """The other model's answer: in the headers, in the activity, and in a receipt that verifies."""
    assert answered.status == 200
    for family in ("x-saferouter", "x-sf"):
        assert answered.headers[f"{family}-fallback-from"] == name
        assert answered.headers[f"{family}-fallback-to"] == f"{name}-other"
    receipt = world.gateway.verified(answered)
    told, route = receipt.events["attempts"], receipt.events["route"]
    assert (route["provider_id"], route["upstream_model"]) == (f"{name}-at", f"their-{name}")
    assert [row["provider_id"] for row in route["fallback"]] == [f"{name}-second"]
    assert outcomes(told["tried"]) == [*expected, 200]
    assert told["answered"] == len(expected)
    last = told["tried"][-1]
    assert (last["provider_id"], last["upstream_model"]) == (f"{name}-second", f"their-{name}-other")
    sent = digest_bytes(world.second.got.body)
    assert receipt.events["request.forwarded"]["body_hash"] == last["body_hash"] == sent
    assert told["tried"][0]["body_hash"] == digest_bytes(world.first.received[0].body)
    assert receipt.events["upstream.verified"]["model_id"] == f"their-{name}-other"
    row = world.activity(answered.receipt_id)
    assert (row["provider"], row["status"], row["completion_tokens"]) == (f"{name}-second", 200, 2)
    assert outcomes(row["attempts"]) == [*expected, 200]
    assert [each["model"] for each in row["attempts"]] == [name] * len(expected) + [f"{name}-other"]


@pytest.mark.parametrize("name", BUFFERED)
def test_another_model_answers_where_the_first_does_not(world: Providers, name: str) -> None:
    recording, expected = BUFFERED[name]
    world.first.play(recording)
    world.second.play(OTHER)
    answered = world.gateway.ask("hi", name)
    assert answered.json["choices"][0]["message"]["content"] == "from the other"
    assert answered.json["attestation"]["provider_id"] == f"{name}-second"
    check_stood_in(world, answered, name, expected)


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_that_fails_before_it_says_anything_is_another_models(world: Providers, name: str) -> None:
    recording, expected = STREAMED[name]
    world.first.play(recording)
    world.second.play(OTHER_STREAM)
    answered = world.gateway.ask("hi", name, stream=True)
    assert b"from the other" in answered.raw
    assert answered.raw.endswith(b"data: [DONE]\n\n")
    assert b"told" not in answered.raw
    check_stood_in(world, answered, name, expected)


def test_a_provider_that_is_not_there_is_stood_in_for(world: Providers) -> None:
    world.second.play(OTHER)
    answered = world.gateway.ask("hi", "refused")
    assert answered.headers["x-saferouter-fallback-to"] == "other"
    told = world.gateway.verified(answered).events["attempts"]
    assert outcomes(told["tried"]) == ["upstream_failed", "upstream_failed", 200]


@pytest.mark.parametrize(("name", "stream"), [("again", False), ("again-stream", True)])
def test_one_failure_is_made_good_by_asking_again(world: Providers, name: str, stream: bool) -> None:
    good = STREAM if stream else ANSWER
    world.first.play(failing(500), good)
    answered = world.gateway.ask("hi", f"{name}-alone", stream=stream)
    assert answered.status == 200
    assert "x-saferouter-fallback-from" not in answered.headers
    receipt = world.gateway.verified(answered)
    assert receipt.events["attempts"]["answered"] == 1
    assert outcomes(receipt.events["attempts"]["tried"]) == [500, 200]
    assert "fallback" not in receipt.events["route"]
    bodies = {got.body for got in world.first.received}
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(bodies.pop())
    assert not bodies


def test_a_key_that_was_asked_too_often_gives_way_to_the_next_and_rests(world: Providers) -> None:
    world.first.play(failing(429, ("retry-after", "3600")), ANSWER)
    answered = world.gateway.ask("hi", "second-key-keys")
    assert answered.status == 200
    assert [got.credential for got in world.first.received] == BEARERS
    assert outcomes(world.gateway.verified(answered).events["attempts"]["tried"]) == [429, 200]
    assert world.gateway.ask("hi", "second-key-keys").status == 200
    assert world.first.received[-1].credential == BEARERS[1]
    assert len(world.first.received) == 3


def test_where_there_is_one_key_alone_its_provider_is_asked_again_when_it_says(world: Providers) -> None:
    world.first.play(failing(429, ("retry-after", "1")), ANSWER)
    answered = world.gateway.ask("hi", "comes-again-alone")
    assert answered.status == 200
    first, _ = world.gateway.verified(answered).events["attempts"]["tried"]
    assert first["status"] == 429
    assert world.activity(answered.receipt_id)["milliseconds"] >= 1000


@pytest.mark.parametrize("headers", [(("retry-after", "3600"),), ()], ids=["too long", "unsaid"])
def test_what_cannot_be_waited_for_is_the_clients_to_wait_for(world: Providers, headers: Any) -> None:
    refusal = failing(429, *headers)
    world.first.play(refusal)
    answered = world.gateway.ask("hi", "comes-never-alone")
    assert (answered.status, answered.raw) == (429, refusal.body)
    assert answered.headers.get("retry-after") == (headers[0][1] if headers else None)
    assert outcomes(world.gateway.verified(answered).events["attempts"]["tried"]) == [429]


def test_while_every_key_rests_the_other_model_is_asked_first(world: Providers) -> None:
    world.first.play(failing(429, ("retry-after", "3600")))
    world.second.play(OTHER)
    assert world.gateway.ask("hi", "key-rests").status == 200
    assert len(world.first.received) == 2
    world.second.play(OTHER)
    again = world.gateway.ask("hi", "key-rests")
    assert again.headers["x-saferouter-fallback-to"] == "key-rests-other"
    assert len(world.first.received) == 2
    told = world.gateway.verified(again).events["attempts"]
    assert [row["provider_id"] for row in told["tried"]] == ["key-rests-second"]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refusal_of_the_request_is_the_clients_and_nobody_else_is_asked(world: Providers, status: int) -> None:
    world.first.play(failing(status))
    world.second.play(OTHER)
    answered = world.gateway.ask("hi", "bubbles", stream=True)
    assert (answered.status, answered.raw) == (status, FAILURE)
    assert (len(world.first.received), world.second.received) == (1, [])
    assert world.gateway.verified(answered).events["attempts"]["answered"] == 0
    assert "x-should-retry" not in answered.headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_our_own_keys_is_never_the_clients(world: Providers, status: int) -> None:
    world.first.play(failing(status))
    answered = world.gateway.ask("hi", f"bars-{status}-keys")
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_refused_key")
    assert answered.headers["x-should-retry"] == "false"
    assert {got.credential for got in world.first.received} == set(BEARERS)
    assert outcomes(world.gateway.verified(answered).events["attempts"]["tried"]) == [status, status]


def test_where_all_fail_the_client_is_told_of_the_model_that_it_asked_for(world: Providers) -> None:
    world.first.play(failing(503))
    world.second.play(Recording(b"<html>", "text/html", 500))
    answered = world.gateway.ask("hi", "all-fail")
    assert (answered.status, answered.raw) == (503, FAILURE)
    receipt = world.gateway.verified(answered)
    assert outcomes(receipt.events["attempts"]["tried"]) == [503, 503, 500, 500]
    assert receipt.events["attempts"]["answered"] == 1
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(world.first.received[0].body)
    assert "x-saferouter-fallback-from" not in answered.headers
    assert world.activity(answered.receipt_id)["provider"] == "all-fail-at"


def test_a_stand_in_that_refuses_the_request_does_not_speak_for_the_model(world: Providers) -> None:
    world.first.play(failing(503))
    world.second.play(
        failing(400, body=b'{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}')
    )
    answered = world.gateway.ask("hi", "alternative-refuses")
    assert (answered.status, answered.raw) == (503, FAILURE)
    assert outcomes(world.gateway.verified(answered).events["attempts"]["tried"]) == [503, 503, 400]


def test_a_client_that_names_the_provider_gets_no_other(world: Providers) -> None:
    world.first.play(failing(503))
    world.second.play(OTHER)
    answered = world.gateway.post(chat_body("hi", "pinned"), **{"x-sf-provider": "pinned-at"})
    assert (answered.status, world.second.received) == (503, [])
    assert "fallback" not in world.gateway.verified(answered).events["route"]


def test_after_the_first_word_there_is_no_silent_switch(world: Providers) -> None:
    world.first.play(Recording(ROLE + CHUNK, ending="cut"))
    world.second.play(OTHER_STREAM)
    answered = world.gateway.ask("hi", "late", stream=True)
    assert answered.raw.startswith(ROLE + CHUNK)
    assert json.loads(answered.raw.rstrip().rsplit(b"data: ", 1)[1])["error"]["type"] == "server_error"
    assert b"[DONE]" not in answered.raw
    assert (len(world.first.received), world.second.received) == (1, [])
    receipt = world.gateway.verified(answered, complete=False)
    assert outcomes(receipt.events["attempts"]["tried"]) == [200]


def test_an_error_in_a_stream_that_is_the_requests_own_fault_has_its_status(world: Providers) -> None:
    fault = b'data: {"error":{"message":"no such tool","type":"BadRequestError","code":400}}\n\n'
    world.first.play(Recording(fault))
    answered = world.gateway.ask("hi", "in-stream-400-alone", stream=True)
    assert (answered.status, answered.json["error"]["type"]) == (400, "invalid_request_error")
    assert "no such tool" in answered.json["error"]["message"]
    assert len(world.gateway.verified(answered).events["attempts"]["tried"]) == 1


def test_a_broken_line_in_a_stream_costs_itself_alone(world: Providers) -> None:
    broken = b'data: {"id":"c-1","choi\n\n'
    world.first.play(Recording(ROLE + broken + CHUNK + FINISH + DONE))
    verbatim = world.gateway.ask("hi", "broken-line-alone", stream=True)
    assert verbatim.raw.startswith(ROLE + broken + CHUNK + FINISH)
    asked = json.dumps({"model": "broken-line-alone", "max_tokens": 9, "stream": True, "messages": [
        {"role": "user", "content": "hi"}]}).encode()  # fmt: skip
    translated = world.gateway.post(asked, "/v1/messages")
    assert b'"first"' in translated.raw and b"message_stop" in translated.raw and b"choi" not in translated.raw
    for answered in (verbatim, translated):
        world.gateway.verified(answered)
        assert world.activity(answered.receipt_id)["skipped"] == 1


def test_what_a_provider_calls_its_failure_stays_out_of_the_record(world: Providers) -> None:
    secret = "the-word-of-the-provider-5521"
    world.first.play(Recording(ERROR.replace(b"null", json.dumps(secret).encode())))
    answered = world.gateway.ask("hi", "private-alone", stream=True)
    assert answered.json["error"]["code"] == secret
    assert secret not in json.dumps(world.activity(answered.receipt_id))
    assert secret.encode() not in world.gateway.fetch_receipt(answered.receipt_id)
