"""No credential of a prompt reaches a provider, a log, the database, a receipt or a metric."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.leakscan.step import OFF, REDACT, REFUSE
from gateway.metrics import CREDENTIALS
from tee.canonical import digest_bytes
from tests.test_leakscan import SECRET, SURFACES
from tests.worlds.credentials import FORMS, new_secret, new_told
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.minting import minted_key
from tests.worlds.scrape import scrape
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream

CHANCE = random.Random(11)
DRAWN = [new_secret(forms[0], CHANCE) for forms in FORMS.values()]
TOLD = [(text, secret) for _, text, secret in new_told(CHANCE)]
ALL = "\n".join([f"key: {secret}" for secret in DRAWN] + [text for text, _ in TOLD])
# Of each credential a piece from its middle that occurs nowhere else, as it would stand in any file.
PIECES = [
    line[len(line) // 3 :].encode()
    for each in (*DRAWN, *(s for _, s in TOLD))
    for line in each.splitlines()[-2:-1] or [each]
]
FAMILIES = ("openai", "anthropic", "openai-responses", "gemini", "vllm")
NO = Recording(b'{"error":{"message":"no","type":"invalid_request_error"}}', "application/json", 400)
CHAT = {
    "messages": [
        {"role": "system", "content": "SECRET"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "SECRET"},
                {"type": "image_url", "image_url": {"url": "https://h/i?SECRET"}},
            ],
        },
        {
            "role": "assistant",
            "content": "SECRET",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"k":"SECRET"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "SECRET"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "SECRET", "parameters": {"type": "object"}}},
    ],
}
OWN_WAY = {
    "/v1/chat/completions": "openai", "/v1/completions": "vllm", "/v1/embeddings": "openai",
    "/v1/responses": "openai-responses", "/v1/messages": "anthropic", "/v1/messages/count_tokens": "anthropic",
}  # fmt: skip


def config(base_url: str, leak_scan: str) -> str:
    rows = ["access_log = true"]
    for name, wanted in (("default", leak_scan), ("as-it-is", OFF)):
        rows += ["[[policies]]", f'id = "{name}"', f'leak_scan = "{wanted}"']
    for family in FAMILIES:
        rows += ["[[providers]]", f'id = "{family}"', f'family = "{family}"', 'credential_env = "WIRE_KEY"']
        versioned = family in ("openai", "openai-responses", "vllm")
        rows.append(f'base_url = "{base_url if versioned else base_url.removesuffix("/v1")}"')
        rows += ["[[models]]", f'id = "{family}"', f'provider = "{family}"']
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        upstream.play(NO)
        yield upstream


@pytest.fixture(scope="module")
def redacting(
    provider: ScriptedUpstream, chip_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("redacting")
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    with RunningGateway(
        folder / "state", config=config(provider.base_url, REDACT), chip=chip_file, environ=environ
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def refusing(
    provider: ScriptedUpstream, chip_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("refusing")
    with RunningGateway(folder / "state", config=config(provider.base_url, REFUSE), chip=chip_file) as gateway:
        yield gateway


def filled(document: dict[str, Any], model: str, secret: str) -> bytes:
    """The document about a secret, which is escaped once more where it stands in JSON within JSON."""
    once = json.dumps(secret)[1:-1]
    twice = '\\"' + json.dumps(once)[1:-1]
    text = json.dumps(document | {"model": model})
    return re.sub(r'(\\")?SECRET', lambda place: twice if place[1] else once, text).encode()


def route_of(gateway: RunningGateway, answered: Answered) -> dict[str, Any]:
    receipt = json.loads(gateway.fetch_receipt(answered.receipt_id))
    (event,) = (event for event in receipt["event_log"] if event["type"] == "route")
    assert isinstance(event, dict)
    return event


def assert_nowhere(gateway: RunningGateway, *more: bytes) -> None:
    """In no file that the gateway writes, its database with what is not yet merged into it among them."""
    files = [path for path in gateway.state.rglob("*") if path.is_file()]
    assert {"gateway.sqlite3", "gateway.sqlite3-wal"} <= {path.name for path in files}
    held = [*((path.name, path.read_bytes()) for path in (*files, gateway.log)), *(("answer", each) for each in more)]
    found = [(name, piece) for name, content in held for piece in PIECES if piece in content]
    assert not found, found[:3]


@pytest.mark.parametrize("path", SURFACES)
def test_a_provider_of_the_same_language_gets_the_same_bytes_without_them(
    redacting: RunningGateway, provider: ScriptedUpstream, path: str
) -> None:
    """R69: redacted in place before the prompt reaches any provider."""
    provider.play(NO)
    body = json.dumps(SURFACES[path] | {"model": OWN_WAY[path]}, indent=1).encode()
    answered = redacting.post(body.replace(b"SECRET", SECRET.encode()), path)
    assert provider.got.body == body.replace(b"SECRET", b"[redacted:openai-api-key]"), answered.raw
    assert answered.headers["x-sf-redactions"] == str(body.count(b"SECRET"))


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_no_provider_of_any_language_gets_one(
    redacting: RunningGateway, provider: ScriptedUpstream, model: str, stream: bool
) -> None:
    provider.play(NO)
    answered = redacting.post(filled(CHAT | {"stream": stream}, model, ALL), x_sf_note=SECRET)
    sent = provider.got.head.encode() + provider.got.body
    assert not [piece for piece in PIECES if piece in sent]
    assert sent.count(b"[redacted:private-key]") >= 15
    found = route_of(redacting, answered)["leak_scan"]
    assert found["outcome"] == "redacted"
    assert len(found["findings"]) > len(FORMS)
    assert sum(row["count"] for row in found["findings"]) == int(answered.headers["x-sf-redactions"])
    assert_nowhere(redacting, answered.raw, redacting.fetch_receipt(answered.receipt_id))


def test_the_receipt_tells_what_was_asked_and_what_was_sent_on(
    redacting: RunningGateway, provider: ScriptedUpstream
) -> None:
    provider.play(NO)
    answered = redacting.post(filled(CHAT, "openai", SECRET), origin="https://page.example")
    assert "x-sf-redactions" in answered.headers["access-control-expose-headers"], "a browser's page may read it"
    receipt = redacting.verified(answered)
    assert receipt.events["request.received"]["body_hash"] == digest_bytes(answered.request)
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(provider.got.body)
    places = ["messages[0].content", "messages[1].content[0].text", "messages[1].content[1].image_url.url"]
    places += ["messages[2].content", "messages[2].tool_calls[0].function.arguments", "messages[3].content"]
    places += ["tools[0].function.description"]
    wanted = [{"kind": "openai-api-key", "count": 7, "at": places}]
    assert receipt.events["route"]["leak_scan"] == {"outcome": "redacted", "findings": wanted}


def test_activity_tells_kinds_and_how_many(redacting: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(NO)
    answered = redacting.post(chat_body(f"{DRAWN[0]}, {SECRET} and {SECRET}", "openai"))
    redacting.fetch_receipt(answered.receipt_id)
    with redacting.client() as client:
        shown = client.get("/v1/activity")
    (entry,) = (row for row in shown.json()["data"] if row["receipt_id"] == answered.receipt_id)
    assert entry["findings"] == [{"kind": "openai-api-key", "count": 2}, {"kind": "saferouter-api-key", "count": 1}]
    assert_nowhere(redacting, shown.content)


def test_a_clean_prompt_goes_on_as_it_came(redacting: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(NO)
    answered = redacting.post(chat_body("what is a task-runner?", "openai"))
    assert provider.got.body == answered.request
    assert "x-sf-redactions" not in answered.headers
    assert route_of(redacting, answered)["leak_scan"] == {"outcome": "clean", "findings": []}


def test_the_key_that_calls_is_never_sent_on(redacting: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(NO)
    redacting.post(chat_body(f"I call with {redacting.api_key}.", "openai"))
    assert json.loads(provider.got.body)["messages"][0]["content"] == "I call with [redacted:saferouter-api-key]."


def test_a_credential_for_a_models_name_is_not_repeated(redacting: RunningGateway) -> None:
    answered = redacting.post(chat_body("hi", SECRET))
    assert answered.status == 404
    assert_nowhere(redacting, answered.raw, redacting.fetch_receipt(answered.receipt_id))


def test_kinds_are_counted_and_nothing_else(redacting: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(NO)
    name, labels = CREDENTIALS.name + "_total", {"kind": "openai-api-key", "outcome": "redacted"}
    before = scrape(redacting).sum(name, **labels)
    redacting.post(chat_body(f"{SECRET} and {SECRET}", "openai"))
    after = scrape(redacting)
    assert after.sum(name, **labels) == before + 2
    assert_nowhere(redacting, after.text.encode())


@pytest.mark.parametrize("path", SURFACES)
def test_a_policy_may_refuse_the_prompt(refusing: RunningGateway, provider: ScriptedUpstream, path: str) -> None:
    provider.play(NO)
    model = OWN_WAY[path]
    answered = refusing.post(filled(SURFACES[path], model, ALL), path)
    assert answered.status == 422
    assert provider.received == []
    message = answered.json["error"]["message"]
    assert "openai-api-key" in message and "private-key" in message
    if path.startswith("/v1/messages"):
        assert answered.json["error"]["type"] == "invalid_request_error"
    else:
        assert answered.json["error"]["code"] == "credential_in_prompt"
    events = refusing.verified(answered).events
    assert events.keys() == {"request.received", "route.refused", "response.returned", "stream"}
    assert events["route.refused"]["leak_scan"]["outcome"] == "refused"
    assert_nowhere(refusing, answered.raw, refusing.fetch_receipt(answered.receipt_id))
    clean = refusing.post(chat_body("hi", "openai"))
    assert route_of(refusing, clean)["leak_scan"]["outcome"] == "clean"


def test_a_policy_may_leave_prompts_alone(redacting: RunningGateway, provider: ScriptedUpstream) -> None:
    provider.play(NO)
    key = minted_key(redacting, {"allowed_policies": ["as-it-is"]}, {})
    body = filled(CHAT, "openai", SECRET)
    with redacting.client(key) as client:
        answer = client.post("/v1/chat/completions", content=body)
    assert provider.got.body == body
    receipt = json.loads(redacting.fetch_receipt(answer.headers["x-receipt-id"], key))
    (route,) = (event for event in receipt["event_log"] if event["type"] == "route")
    assert route["leak_scan"] == {"outcome": "off", "findings": []}
    assert "x-sf-redactions" not in answer.headers
