"""While an answer streams, the gateway signs for what has left: what a client holds of a cut stream is proven."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
from openai import OpenAI

from tee.canonical import digest_bytes
from tee.evidence import Outcome
from tee.keys.identity import parse_workload, verify_ed25519
from tee.log.receipt import parse_receipt
from tee.log.stream import checkpoint_of, parse_stream_checkpoint, stream_message
from tests.worlds.gateway import RunningGateway, chat_body, run_cli
from tests.worlds.upstream import Recording, ScriptedUpstream

COMMENT = re.compile(rb": sf-checkpoint ([A-Za-z0-9+/=]+)\n\n")
DELTA = b'data: {"id":"c-1","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
END = b'data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
PLAIN = DELTA * 300 + END
ASKED = chat_body("hi", "wire-1", stream=True)


def test_a_long_stream_carries_its_newest_checkpoint_in_the_receipt(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.play(Recording(PLAIN, piece=len(DELTA)))
    answered = live_gateway.post(ASKED, x_sf_attestation="off")
    assert answered.raw == PLAIN
    receipt = live_gateway.verified(answered)
    checkpoint = checkpoint_of(receipt)
    assert checkpoint is not None
    assert checkpoint.keyset_digest == receipt.keyset_digest
    assert 300 - 64 < checkpoint.events <= 301
    assert checkpoint.body_hash == digest_bytes(PLAIN[: checkpoint.size])
    stream = receipt.events["stream"]
    assert (stream["bytes"], stream["events"], stream["complete"]) == (len(PLAIN), 302, True)
    check = live_gateway.judge(live_gateway.fetch_receipt(answered.receipt_id), ASKED, PLAIN).check("receipt.stream")
    assert check.outcome is Outcome.PASS
    assert check.found.startswith(f"the first {checkpoint.size} of {len(PLAIN)} bytes and {checkpoint.events} of 302")


def test_a_buffered_answer_and_a_short_stream_carry_none(live_gateway: RunningGateway) -> None:
    for answered in (live_gateway.ask("hi"), live_gateway.ask("hi", stream=True)):
        verdict = live_gateway.judge(live_gateway.fetch_receipt(answered.receipt_id), answered.request, answered.raw)
        check = verdict.check("receipt.stream")
        assert (verdict.outcome, check.outcome) == ("verified", Outcome.SKIP)
        assert check.reason.startswith("the receipt carries no checkpoint")


def test_a_slow_stream_is_signed_for_by_the_second(live_gateway: RunningGateway) -> None:
    answered = live_gateway.ask("mock:slow=2.5 mock:chunks=10", stream=True)
    receipt = live_gateway.verified(answered)
    checkpoint = checkpoint_of(receipt)
    assert checkpoint is not None
    assert 0 < checkpoint.events < 64


def test_checkpoints_in_the_stream_verify_before_it_ends(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    """Whoever holds a beginning holds proof of it, without any receipt."""
    upstream.play(Recording(DELTA * 200, piece=len(DELTA), ending="hold"))
    workload = parse_workload(quote_of(live_gateway)["workload"])
    assert workload.stream_key
    with (
        live_gateway.client() as client,
        client.stream(
            "POST",
            "/v1/chat/completions",
            content=ASKED,
            headers={"x-sf-attestation": "checkpoints"},
            timeout=httpx2.Timeout(30, read=3),
        ) as response,
    ):
        receipt_id, got = response.headers["x-receipt-id"], b""
        with suppress(httpx2.ReadTimeout):  # until nothing more comes: a comment may follow the last event
            for piece in response.iter_raw():
                got += piece
    assert COMMENT.sub(b"", got) == DELTA * 200
    assert COMMENT.search(got)
    for match in COMMENT.finditer(got):
        checkpoint = parse_stream_checkpoint(json.loads(base64.b64decode(match[1], validate=True)), "comment")
        assert verify_ed25519(workload.stream_key, checkpoint.signature, stream_message(checkpoint.document))
        assert checkpoint.receipt_id == receipt_id
        assert checkpoint.size <= match.start()
        assert checkpoint.body_hash == digest_bytes(got[: checkpoint.size])
        assert checkpoint.events == got[: checkpoint.size].count(b"\n\n")
    raw = live_gateway.fetch_receipt(receipt_id)
    verdict = live_gateway.judge(raw, ASKED, got)
    assert verdict.failures() == ("receipt.complete",)
    assert verdict.check("receipt.stream").outcome is Outcome.PASS


def quote_of(gateway: RunningGateway) -> dict[str, Any]:
    with gateway.client() as client:
        quote: dict[str, Any] = client.post("/attestation/quote", json={"nonce": None}).json()
    return quote


def test_official_clients_pass_over_the_comments(live_gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.play(Recording(PLAIN, piece=len(DELTA)))
    with OpenAI(base_url=f"{live_gateway.url}/v1", api_key=live_gateway.api_key, max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="wire-1",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            extra_headers={"X-SF-Attestation": "checkpoints"},
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == "x" * 300


def killed_stream(gateway: RunningGateway, body: bytes) -> tuple[str, bytes]:
    """A stream of which a checkpoint is durable when the gateway dies: its receipt's id, and what the client got."""
    with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", content=body) as response,
    ):
        pieces, got = response.iter_raw(), b""
        while got.count(b"\n\n") < 150:
            got += next(pieces)
        time.sleep(0.5)
        gateway.kill()
        with suppress(httpx2.ReadError, httpx2.RemoteProtocolError):
            for piece in pieces:  # what was on its way had left, and may be signed for
                got += piece
        return response.headers["x-receipt-id"], got


def test_after_a_crash_the_dead_boots_checkpoint_still_proves_a_beginning(tmp_path: Path, chip_file: Path) -> None:
    body = chat_body("mock:slow=30 mock:chunks=3000", stream=True)
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        dead = quote_of(gateway)["workload"]["stream_key"]
        receipt_id, got = killed_stream(gateway, body)
        gateway.start()
        assert quote_of(gateway)["workload"]["stream_key"] != dead
        raw = gateway.fetch_receipt(receipt_id)
        receipt, checkpoint = parse_receipt(raw), checkpoint_of(parse_receipt(raw))
        assert checkpoint is not None
        assert checkpoint.keyset_digest != receipt.keyset_digest
        assert digest_bytes(got[: checkpoint.size]) == checkpoint.body_hash
        assert gateway.judge(raw, body).check("receipt.stream").outcome is Outcome.PASS
        files = {"key": gateway.api_key.encode(), "request": body, "response": got}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        words: list[str | Path] = ["verify", gateway.url, "--policy", gateway.policy, "--accept-mock", "--json"]
        words += ["--receipt", receipt_id, "--key-file", tmp_path / "key"]
        bodies: list[str | Path] = ["--request", tmp_path / "request", "--response", tmp_path / "response"]
        live = json.loads(run_cli(*words, *bodies, "--save", tmp_path / "kept").stdout)
        policy = (gateway.policy, "--accept-mock", "--json")
    kept = json.loads(run_cli("verify", tmp_path / "kept", "--policy", *policy, *bodies).stdout)
    for shown in (live, kept):
        check = next(check for check in shown["checks"] if check["id"] == "receipt.stream")
        assert check["outcome"] == "pass"
        assert check["wanted"] == "a signed beginning of the response that was given"
    assert [row for row in kept["checks"] if row["id"].startswith("receipt.")] == [
        row for row in live["checks"] if row["id"].startswith("receipt.")
    ]


def test_a_checkpoint_that_somebody_wrote_to_the_disk_is_never_signed(tmp_path: Path, chip_file: Path) -> None:
    with RunningGateway(tmp_path / "state", chip=chip_file) as gateway:
        killed_stream(gateway, chat_body("mock:slow=30 mock:chunks=3000", stream=True))
        with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
            changed = record.execute("UPDATE calls SET checkpoint = replace(checkpoint, '\"time\": 1', '\"time\": 2')")
            assert changed.rowcount == 1
            record.commit()
        gateway.start()
        assert "calls.sent_bytes: found another prefix" in gateway.log.read_text()
