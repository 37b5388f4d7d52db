"""Buffered answers are signed as HTTP messages (RFC 9421, RFC 9530): whoever holds head and body can tell."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tee.evidence import Outcome
from tee.keys.httpsig import signature_base
from tee.keys.identity import verify_ed25519
from tests.worlds.gateway import Answered, RunningGateway, chat_body, run_cli
from tests.worlds.upstream import Recording, ScriptedUpstream

FIELDS = ("content-digest", "signature-input", "signature")


def test_the_standards_own_example() -> None:
    """RFC 9421, appendix B.2.6 with the key of B.1.4: our base, and the signature over it, are the published ones."""
    covered = [
        ('"date"', "Tue, 20 Apr 2021 02:07:55 GMT"),
        ('"@method"', "POST"),
        ('"@path"', "/foo"),
        ('"@authority"', "example.com"),
        ('"content-type"', "application/json"),
        ('"content-length"', "18"),
    ]
    base = signature_base(covered, ';created=1618884473;keyid="test-key-ed25519"')
    public = base64.b64decode("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")[-32:]
    signature = base64.b64decode(
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    )
    assert verify_ed25519(public, signature, base)
    seed = base64.b64decode("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")[-32:]
    assert SigningKey(seed).sign(base).signature == signature


def head_of(answered: Answered) -> bytes:
    lines = [f"HTTP/1.1 {answered.status} ", *(f"{name}: {value}" for name, value in answered.headers.items()), ""]
    return "".join(line + "\r\n" for line in lines).encode()


def outcome(gateway: RunningGateway, answered: Answered, head: bytes | None = None) -> tuple[Outcome, str]:
    raw = gateway.fetch_receipt(answered.receipt_id)
    check = gateway.judge(raw, answered.request, answered.raw, head or head_of(answered)).check(
        "receipt.http-signature"
    )
    return check.outcome, check.found or check.reason


@pytest.mark.parametrize(
    ("said", "model", "status"), [("hi", "mock-1", 200), ("hi", "nobody", 404), ("hi", "absent-1", 502)]
)
def test_answers_and_refusals_are_signed(live_gateway: RunningGateway, said: str, model: str, status: int) -> None:
    answered = live_gateway.ask(said, model)
    assert answered.status == status
    assert outcome(live_gateway, answered)[0] is Outcome.PASS
    changed = head_of(answered).replace(f"HTTP/1.1 {status}".encode(), b"HTTP/1.1 299")
    assert outcome(live_gateway, answered, changed) == (Outcome.FAIL, "status 299")


def test_a_providers_own_refusal_is_signed_as_it_was_passed_on(
    live_gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    refusal = json.dumps({"error": {"message": "too long", "type": "invalid_request_error"}}).encode()
    upstream.play(Recording(refusal, "application/json; charset=utf-8", 400))
    answered = live_gateway.ask("hi", "wire-1")
    assert (answered.status, answered.raw) == (400, refusal)
    assert outcome(live_gateway, answered)[0] is Outcome.PASS


def test_another_answers_head_is_refused(live_gateway: RunningGateway) -> None:
    one, other = live_gateway.ask("one"), live_gateway.ask("other")
    assert outcome(live_gateway, one, head_of(other))[0] is Outcome.FAIL


def test_neither_a_stream_nor_a_stranger_gets_a_signature(live_gateway: RunningGateway) -> None:
    streamed = live_gateway.ask("hi", stream=True)
    assert not set(FIELDS) & streamed.headers.keys()
    assert outcome(live_gateway, streamed)[0] is Outcome.SKIP
    assert not set(FIELDS) & live_gateway.post(chat_body("hi"), authorization="Bearer nobody").headers.keys()


def test_the_command_line_takes_what_curl_writes(live_gateway: RunningGateway, tmp_path: Path) -> None:
    body = tmp_path / "request.json"
    body.write_bytes(chat_body("hi"))
    key_file = tmp_path / "key"
    key_file.write_text(live_gateway.api_key)
    head, response = tmp_path / "head", tmp_path / "response"
    options = tmp_path / "curlrc"
    options.write_text(f'header = "Authorization: Bearer {live_gateway.api_key}"\nnoproxy = "*"\nsilent\n')
    curl: list[str | Path] = ["curl", "-K", options, "-D", head, "-o", response, "--data-binary", f"@{body}"]
    curl += ["-H", "Content-Type: application/json", f"{live_gateway.url}/v1/chat/completions"]
    subprocess.run(curl, check=True, timeout=30)
    receipt_id = next(
        line.split(": ")[1] for line in head.read_text().splitlines() if line.lower().startswith("x-receipt-id")
    )
    words: list[str | Path] = ["verify", live_gateway.url, "--policy", live_gateway.policy, "--accept-mock", "--json"]
    words += ["--receipt", receipt_id, "--key-file", key_file, "--request", body, "--response", response]
    extras: list[tuple[str, list[str | Path]]] = [("pass", ["--headers", head]), ("skip", [])]
    for wanted, extra in extras:
        shown = json.loads(run_cli(*words, *extra).stdout)
        assert shown["verdict"] == "verified", shown
        found = next(check for check in shown["checks"] if check["id"] == "receipt.http-signature")
        assert found["outcome"] == wanted, found
    run_cli(*words, "--headers", head, "--save", tmp_path / "kept")
    offline: list[str | Path] = ["verify", tmp_path / "kept", *words[2:5], "--json", "--headers", head]
    offline += ["--request", body, "--response", response]
    for kept in (offline, [word for word in offline if word not in ("--headers", head)]):
        shown = json.loads(run_cli(*kept).stdout)
        found = next(check for check in shown["checks"] if check["id"] == "receipt.http-signature")
        assert (shown["verdict"], found["outcome"]) == ("verified", "pass"), shown
    lost = run_cli("verify", live_gateway.url, "--headers", head)
    assert (lost.returncode, "--receipt" in lost.stderr) == (2, True)
