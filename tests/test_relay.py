"""What passes through a live gateway: bytes, hashes, and a receipt for every way in which a call can end."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tee.canonical import digest_bytes
from tee.log.receipt import Receipt, parse_receipt
from tests.conftest import find_vectors
from tests.worlds.gateway import Answered, RunningGateway, chat_body, run_cli
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream

OURS = re.compile(rb"event: sf_attestation\ndata: [^\n]*\n\n")
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
DELTA = b'data: {"id":"c-1","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"\xc3\xa9"}}]}'
FINISH = b'data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = b'data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
DONE = b"data: [DONE]"
NOTE = b": keep-alive"
ANSWER = b'{ "id": "c-1", "n": 1.50, "choices": [{"message":{"role":"assistant","content":"x }"}}] }\n'
PROMPT, REPLY = "the-secret-question-7731", "the-secret-answer-4242"


def joined(*frames: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(frame + end + end for frame in frames)


SYNTHETIC = {
    "lines end in CR LF": joined(DELTA, FINISH, USAGE, DONE, end=b"\r\n"),
    "comments between frames": joined(NOTE, DELTA, NOTE, NOTE, DELTA, FINISH, NOTE, USAGE, DONE),
    "fields that nobody knows": joined(b"id: 7\nretry: 10\nevent: delta\n" + DELTA, FINISH, USAGE, DONE),
    "data in two lines": joined(b'data: {"id":"c-1","choices":[{"delta":\ndata: {"content":"x"}}]}', FINISH, DONE),
    "no blank line at the end": joined(DELTA, FINISH, USAGE) + DONE,
    "no DONE": joined(DELTA, FINISH, USAGE),
    "usage on the finish chunk": joined(DELTA, FINISH[:-1] + b',"usage":{"prompt_tokens":1}}', DONE),
    "comments after the end": joined(DELTA, FINISH, DONE, NOTE),
}


@pytest.fixture
def wire(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> Callable[..., Answered]:
    """Ask the scripted upstream through the gateway: what it plays, how the client asks, what the client gets."""

    def ask(recording: Recording, body: bytes | None = None, **headers: str) -> Answered:
        upstream.play(recording)
        return live_gateway.post(body or chat_body("hi", "wire-1", **WITH_USAGE), **headers)

    return ask


def event(receipt: Receipt, kind: str) -> dict[str, Any]:
    return receipt.events[kind]


def left(raw: bytes, *, complete: bool) -> dict[str, Any]:
    """What the receipt of a stream too short for a checkpoint says of it: an event ends with a blank line."""
    lines = [bool(line.strip()) for line in raw.splitlines()]
    ended = sum(1 for full, after in pairwise(lines) if full and not after)
    return {"type": "stream", "bytes": len(raw), "events": ended, "complete": complete}


def recordings() -> list[Path]:
    found = sorted((find_vectors() / "dialects" / "openai-chat").glob("*.response.sse"))
    assert len(found) >= 5
    return found


def without_usage_chunk(stream: bytes) -> bytes:
    frames = re.findall(rb".*?(?:\r\n\r\n|\n\n)|.+\Z", stream, re.DOTALL)
    assert b"".join(frames) == stream
    return b"".join(frame for frame in frames if b'"choices":[],' not in frame or b'"usage":{' not in frame)


def check_stream(gateway: RunningGateway, upstream: ScriptedUpstream, answered: Answered, expected: bytes) -> None:
    """The expected bytes with our one event in them, and a receipt over all that the client got."""
    assert answered.status == 200
    assert len(OURS.findall(answered.raw)) == 1
    assert OURS.sub(b"", answered.raw) == expected
    receipt = gateway.verified(answered)
    assert event(receipt, "request.forwarded")["body_hash"] == digest_bytes(upstream.got.body)
    assert event(receipt, "response.returned") == {
        "type": "response.returned",
        "body_hash": digest_bytes(answered.raw),
        "status": 200,
        "content_type": answered.headers["content-type"],
    }
    assert event(receipt, "stream") == left(answered.raw, complete=True)
    block = json.loads(OURS.findall(answered.raw)[0].split(b"data: ")[1])["attestation"]
    assert block["receipt_id"] == answered.receipt_id == receipt.receipt_id


def test_recorded_streams_pass_byte_for_byte(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, wire: Callable[..., Answered]
) -> None:
    for path in recordings():
        stream = path.read_bytes()
        for piece in (0, 97):
            check_stream(live_gateway, upstream, wire(Recording(stream, piece=piece)), stream)
        bare = wire(Recording(stream, piece=61), chat_body("hi", "wire-1", stream=True))
        check_stream(live_gateway, upstream, bare, without_usage_chunk(stream))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_odd_streams_pass_byte_for_byte(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, wire: Callable[..., Answered], name: str
) -> None:
    stream = SYNTHETIC[name]
    for piece in (0, 1):
        check_stream(live_gateway, upstream, wire(Recording(stream, piece=piece)), stream)
    bare = wire(Recording(stream), chat_body("hi", "wire-1", stream=True))
    check_stream(live_gateway, upstream, bare, without_usage_chunk(stream))


def test_attestation_off_gives_the_upstreams_pure_stream(
    live_gateway: RunningGateway, wire: Callable[..., Answered]
) -> None:
    for stream in SYNTHETIC.values():
        answered = wire(Recording(stream), x_sf_attestation="off")
        assert answered.raw == stream
        live_gateway.verified(answered)
    buffered = wire(Recording(ANSWER, "application/json"), chat_body("hi", "wire-1"), x_sf_attestation="OFF")
    assert buffered.raw == ANSWER
    live_gateway.verified(buffered)


def test_a_buffered_answer_keeps_its_bytes_around_the_attestation(
    live_gateway: RunningGateway, wire: Callable[..., Answered]
) -> None:
    answered = wire(Recording(ANSWER, "application/json"), chat_body("hi", "wire-1"))
    head, tail = ANSWER[: ANSWER.rindex(b"}")], ANSWER[ANSWER.rindex(b"}") :]
    assert answered.raw.startswith(head + b',"_sf_attestation":{')
    assert answered.raw.endswith(b"}" + tail)
    assert answered.json["attestation"]["receipt_id"] == answered.receipt_id
    assert live_gateway.verified(answered).document["chat_id"] == "c-1"


def test_the_request_reaches_the_provider_as_its_client_wrote_it(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, wire: Callable[..., Answered]
) -> None:
    odd = b' {\n "model" : "wire-1", "messages":[{"role":"user","content":"\\u00e9 \xe2\x80\xa8"}],"t":1.50 } \n'
    answered = wire(Recording(ANSWER, "application/json"), odd)
    assert upstream.got.body == odd
    receipt = live_gateway.verified(answered)
    assert event(receipt, "request.received")["body_hash"] == event(receipt, "request.forwarded")["body_hash"]
    renamed = wire(Recording(ANSWER, "application/json"), odd.replace(b"wire-1", b"wire/renamed"))
    assert upstream.got.body == odd.replace(b"wire-1", b"vendor/their name")
    receipt = live_gateway.verified(renamed)
    assert event(receipt, "request.forwarded")["body_hash"] == digest_bytes(upstream.got.body)
    assert (receipt.model, event(receipt, "route")["upstream_model"]) == ("wire/renamed", "vendor/their name")


def test_the_provider_gets_its_own_key_and_never_the_clients(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, wire: Callable[..., Answered]
) -> None:
    wire(Recording(ANSWER, "application/json"), chat_body("hi", "wire-1"), x_api_key="sk-router-other", cookie="a=b")
    assert upstream.got.credential == f"Bearer {UPSTREAM_CREDENTIAL}"
    for secret in (live_gateway.api_key, "sk-router-other", "cookie"):
        assert secret not in upstream.got.head


def test_the_receipt_never_claims_an_attested_upstream(
    live_gateway: RunningGateway, wire: Callable[..., Answered]
) -> None:
    receipt = live_gateway.verified(wire(Recording(ANSWER, "application/json"), chat_body("hi", "wire-1")))
    assert event(receipt, "upstream.verified")["result"] == "not_attested"
    assert event(receipt, "route")["tier_observed"] == "quarantine"
    assert "upstream.tls" not in receipt.events


REFUSALS = {
    "unknown model": (chat_body("hi", "gpt-9"), 404),
    "no JSON": (b"{", 400),
    "nothing": (b"", 400),
    "no messages": (b'{"model":"mock-1"}', 400),
    "no key for the provider": (chat_body("hi", "keyless-1"), 503),
    "provider out of reach": (chat_body("hi", "absent-1"), 502),
    "provider refuses": (chat_body("mock:error=429"), 429),
    "provider fails": (chat_body("mock:error=500", stream=True), 500),
    "provider refuses our key": (chat_body("mock:error=401"), 502),
    "provider hangs up": (chat_body("mock:cut"), 502),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_every_refusal_has_a_receipt_over_what_was_said(live_gateway: RunningGateway, name: str) -> None:
    body, status = REFUSALS[name]
    answered = live_gateway.post(body)
    assert answered.status == status
    assert answered.json["error"]["message"]
    returned = event(live_gateway.verified(answered), "response.returned")
    assert (returned["status"], returned["content_type"]) == (status, answered.headers["content-type"])


def test_a_call_without_a_key_makes_no_receipt(live_gateway: RunningGateway) -> None:
    answered = live_gateway.post(chat_body("hi"), authorization="Bearer sk-router-unknown")
    assert answered.status == 401
    assert "x-receipt-id" not in answered.headers


@pytest.mark.parametrize("ending", ["cut", "end"])
def test_a_stream_that_breaks_off_says_so_and_its_receipt_is_incomplete(
    live_gateway: RunningGateway, wire: Callable[..., Answered], ending: str
) -> None:
    whole = joined(DELTA, DELTA)
    answered = wire(Recording(whole + b'data: {"id"', ending=ending))
    assert answered.status == 200
    assert answered.raw.startswith(whole)
    last = json.loads(answered.raw.rstrip().rsplit(b"data: ", 1)[1])
    assert last["error"]["type"] == "server_error"
    receipt = live_gateway.verified(answered, complete=False)
    assert event(receipt, "stream") == left(answered.raw, complete=False)


def test_an_error_in_midstream_passes_and_its_receipt_is_incomplete(
    live_gateway: RunningGateway, wire: Callable[..., Answered]
) -> None:
    stream = joined(DELTA, b'data: {"error":{"message":"m","type":"server_error","code":null}}', DONE)
    answered = wire(Recording(stream))
    assert OURS.sub(b"", answered.raw) == stream
    live_gateway.verified(answered, complete=False)


def test_an_upstream_that_compresses_or_redirects_is_refused(
    live_gateway: RunningGateway, wire: Callable[..., Answered]
) -> None:
    zipped = wire(Recording(b"\x1f\x8b", "application/json", headers=(("content-encoding", "gzip"),)))
    moved = wire(Recording(b"", "text/html", 302, headers=(("location", "http://127.0.0.1:1/"),)))
    for answered in (zipped, moved):
        assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_failed")
        live_gateway.verified(answered)


@pytest.mark.parametrize(
    ("given", "passed"), [("7", "7"), ("Sat, 21 Nov 2026 09:00:00 GMT",) * 2, ("\u0667 s", None), ("9" * 5000, None)]
)
def test_the_providers_retry_after_passes_if_a_client_can_read_it(
    live_gateway: RunningGateway, wire: Callable[..., Answered], given: str, passed: str | None
) -> None:
    refusal = Recording(b'{"error":{"message":"m"}}', "application/json", 429, headers=(("retry-after", given),))
    answered = wire(refusal)
    assert (answered.status, answered.raw) == (429, refusal.body)
    assert answered.headers.get("retry-after") == passed
    live_gateway.verified(answered)


@pytest.mark.parametrize("name", ["\\ud800", "x" * 300_000, "a\\u0000\\n"])
def test_a_hostile_chat_id_cannot_cost_the_receipt(
    live_gateway: RunningGateway, wire: Callable[..., Answered], name: str
) -> None:
    stream = joined(DELTA, FINISH, DONE).replace(b"c-1", name.encode())
    answered = wire(Recording(stream))
    assert OURS.sub(b"", answered.raw) == stream
    live_gateway.verified(answered)
    buffered = wire(Recording(ANSWER.replace(b"c-1", name.encode()), "application/json"), chat_body("hi", "wire-1"))
    assert buffered.status == 200
    live_gateway.verified(buffered)


@pytest.mark.parametrize("name", ["m" * 300_000, "\u00e9\n\u2028", "a\x00"])
def test_a_hostile_model_name_cannot_cost_the_receipt(live_gateway: RunningGateway, name: str) -> None:
    answered = live_gateway.ask("hi", name)
    assert answered.status in (400, 404)
    live_gateway.verified(answered)


def test_a_client_that_leaves_frees_the_provider_and_keeps_its_receipt(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    sent = joined(DELTA, DELTA, DELTA)
    upstream.play(Recording(sent, ending="hold"))
    body = chat_body("hi", "wire-1", **WITH_USAGE)
    with (
        live_gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", content=body) as response,
    ):
        pieces, got = response.iter_raw(), b""
        while len(got) < len(sent):
            got += next(pieces)
        receipt_id = response.headers["x-receipt-id"]
        assert client.get(f"/v1/aci/receipts/{receipt_id}").status_code == 404
    assert got == sent
    assert upstream.abandoned.wait(5)
    raw = live_gateway.fetch_receipt(receipt_id)
    assert live_gateway.judge(raw, body, got).failures() == ("receipt.complete",)
    assert event(parse_receipt(raw), "stream") == left(got, complete=False)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_that_leaves_before_the_answer_begins_frees_the_provider(
    live_gateway: RunningGateway, upstream: ScriptedUpstream, streaming: bool
) -> None:
    upstream.play(Recording(b"", "application/json", ending="hold"))
    with live_gateway.client() as client, pytest.raises(httpx2.ReadTimeout):
        body = chat_body("hi", "wire-1", stream=streaming)
        client.post("/v1/chat/completions", content=body, timeout=0.3)
    assert upstream.got
    assert upstream.abandoned.wait(5)
    wait_until_no_receipt_is_owed(live_gateway)


def test_clients_that_leave_at_once_leave_no_receipt_owed(live_gateway: RunningGateway) -> None:
    body = chat_body("mock:slow=30 mock:chunks=400", stream=True)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Api-Key: {live_gateway.api_key}\r\n"
    before, _ = calls(live_gateway)
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", live_gateway.port), timeout=10) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    wait_until_no_receipt_is_owed(live_gateway)
    assert calls(live_gateway)[0] > before


def wait_until_no_receipt_is_owed(gateway: RunningGateway) -> None:
    deadline = time.monotonic() + 5
    time.sleep(0.2)
    while owed := calls(gateway)[1]:
        assert time.monotonic() < deadline, f"the record still owes {owed} receipts"
        time.sleep(0.02)


def calls(gateway: RunningGateway) -> tuple[int, int]:
    """How many calls the record has, and how many of them have no receipt yet."""
    with closing(sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)) as record:
        total, signed = record.execute("SELECT count(*), count(receipt) FROM calls").fetchone()
    return total, total - signed


def test_only_the_key_that_made_the_call_reads_its_receipt(live_gateway: RunningGateway) -> None:
    state = {"SAFEROUTER_STATE": str(live_gateway.state)}
    other = run_cli("keys", "create", "somebody-else", environ=state).stdout.strip()
    mine = live_gateway.ask("hi").receipt_id
    with live_gateway.client(other) as client:
        assert client.get("/v1/models").status_code == 200
        refused = client.get(f"/v1/aci/receipts/{mine}")
        unknown = client.get("/v1/aci/receipts/rcpt-" + "0" * 32)
        assert (
            (refused.status_code, refused.content) == (unknown.status_code, unknown.content) == (404, unknown.content)
        )
        client.headers["authorization"] = "Bearer nobody"
        assert client.get(f"/v1/aci/receipts/{mine}").status_code == 401
    assert live_gateway.fetch_receipt(mine)


@pytest.fixture
def written(live_gateway: RunningGateway, wire: Callable[..., Answered]) -> dict[str, bytes]:
    """Everything that the gateway has written while prompts, answers and keys passed through it in every way."""
    reply = json.dumps({"id": "c", "choices": [{"delta": {"content": REPLY}}]}).encode()
    refusal = json.dumps({"error": {"message": f"{PROMPT} {REPLY}", "type": "t", "code": REPLY}}).encode()
    asked = chat_body(PROMPT, "wire-1", stream=True, user=PROMPT, tools=[{"function": {"name": PROMPT}}])
    ids = [
        wire(Recording(joined(b"data: " + reply, FINISH, DONE)), asked).receipt_id,
        wire(Recording(joined(b"data: " + reply) + b"data: " + reply, ending="cut"), asked).receipt_id,
        wire(Recording(joined(b"data: " + refusal)), asked).receipt_id,
        wire(Recording(refusal, "application/json", 400), asked).receipt_id,
        wire(Recording(b"<html>" + refusal, "text/html", 500), asked).receipt_id,
        wire(Recording(b"[" + reply + b"]", "application/json"), asked).receipt_id,
        live_gateway.post(asked[:-1]).receipt_id,
        live_gateway.post(asked.replace(b'"user"', PROMPT.encode(), 1)).receipt_id,
        live_gateway.ask(PROMPT).receipt_id,
    ]
    for receipt_id in ids:
        live_gateway.fetch_receipt(receipt_id)
    files = [live_gateway.log, *live_gateway.state.glob("gateway.sqlite3*")]
    return {"id": ids[0].encode()} | {path.name: path.read_bytes() for path in files}


def test_neither_log_nor_database_holds_a_prompt_an_answer_or_a_key(
    live_gateway: RunningGateway, written: dict[str, bytes]
) -> None:
    receipt_id = written.pop("id")
    assert any(receipt_id in content for name, content in written.items() if "sqlite" in name)
    key = live_gateway.api_key
    log = written.pop(live_gateway.log.name).decode()
    assert key in log  # shown once to the person who started the demo
    for secret in (PROMPT, REPLY, UPSTREAM_CREDENTIAL, "Traceback"):
        assert secret not in log
    for name, content in written.items():
        for secret in (PROMPT, REPLY, key, UPSTREAM_CREDENTIAL):
            assert secret.encode() not in content, name


def test_files_with_secrets_are_the_owners_alone(live_gateway: RunningGateway) -> None:
    assert stat.S_IMODE(live_gateway.state.stat().st_mode) == 0o700
    for name in ("demo.json", "identity.sealed", "mock-sealing.key", "demo-policy.toml"):
        assert stat.S_IMODE((live_gateway.state / name).stat().st_mode) == 0o600, name
