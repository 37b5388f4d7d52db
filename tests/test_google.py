"""Google's models behind a live gateway, over sockets: both kinds of client, tools and seals, keys and tokens."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from anthropic import Anthropic
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from openai import OpenAI

from gateway.config import decode_config, read_credential
from gateway.dialects import gemini
from gateway.dialects.fold import fold_events
from gateway.errors import UpstreamFailed
from gateway.google_token import GoogleTokens
from tee.canonical import digest_bytes
from tee.errors import Malformed
from tests.conftest import find_vectors
from tests.worlds.gateway import Answered, RunningGateway, chat_body
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream

CHAT, MESSAGES, JSON = "/v1/chat/completions", "/v1/messages", "application/json; charset=UTF-8"
GOOGLE, PROJECT = "/v1/models", "/v1/projects/p/locations/global/publishers/google/models"
TOKEN = "ya-token-of-the-test"
TOOL: Any = {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


class World:
    """A gateway with both ways to Google, the provider that plays, and who gives tokens."""

    def __init__(self, folder: Path, provider: ScriptedUpstream, tokens: ScriptedUpstream) -> None:
        self.provider, self.tokens, self.key_file = provider, tokens, folder / "account.json"
        self.key: RSAPrivateKey = generate_private_key(65537, 2048)
        self.account = {
            "type": "service_account", "client_email": "gateway@p.iam", "private_key_id": "k1",
            "token_uri": tokens.base_url + "/token",
            "private_key": self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        }  # fmt: skip
        self.write_account()
        self.gateway: RunningGateway

    def write_account(self, **changes: Any) -> None:
        """The key file, as Google hands it out: over many lines."""
        self.key_file.write_text(json.dumps(self.account | changes, indent=2))

    def config(self) -> str:
        """Its configuration."""
        at_project = self.provider.base_url.removesuffix("/v1") + PROJECT.removesuffix("/models")
        return f"""
[[providers]]
id = "google"
family = "gemini"
base_url = "{self.provider.base_url}"
credential_env = "WIRE_KEY"

[[providers]]
id = "cloud"
family = "vertex"
base_url = "{at_project}"
credential_file = "{self.key_file}"

[[models]]
id = "gem"
provider = "google"
upstream_model = "gemini-3-flash-preview"

[[models]]
id = "ver"
provider = "cloud"
upstream_model = "gemini-2.5-flash@001"
"""

    def give(self, body: bytes, status: int = 200) -> None:
        """Answer so to whoever asks for a token."""
        self.tokens.play(Recording(body, "application/json", status))

    def checked(self, answered: Answered) -> Any:
        """What the provider got, once the receipt vouches for it and for the answer."""
        receipt = self.gateway.verified(answered)
        assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(self.provider.got.body)
        return json.loads(self.provider.got.body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("google")
    with scripted_upstream() as provider, scripted_upstream() as tokens:
        world = World(folder, provider, tokens)
        environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
        config = world.config()
        with RunningGateway(folder / "state", config=config, chip=chip_file, environ=environ) as gateway:
            world.gateway = gateway
            yield world


def recorded(vendor: str, pattern: str, mark: bytes = b'"candidates"') -> list[Path]:
    paths = sorted((find_vectors() / "dialects" / vendor).glob(pattern))
    return [path for path in paths if mark in path.read_bytes()]


def token(name: str = TOKEN, seconds: int = 3600) -> bytes:
    return json.dumps({"access_token": name, "expires_in": seconds, "token_type": "Bearer"}).encode()


def messages_body(model: str, **fields: Any) -> bytes:
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **fields}
    return json.dumps(body).encode()


def text_of(answered: Answered, path: str) -> str:
    """The text that a client read out of a stream or a buffered answer."""
    if not answered.raw.startswith((b"data:", b"event:")):
        fields = answered.json
        if path == MESSAGES:
            return "".join(block.get("text", "") for block in fields["content"])
        return fields["choices"][0]["message"]["content"] or ""
    rows = [json.loads(row[6:]) for row in answered.raw.decode().splitlines() if row.startswith("data: {")]
    if path == MESSAGES:
        return "".join(row.get("delta", {}).get("text", "") for row in rows)
    return "".join(choice["delta"].get("content") or "" for row in rows for choice in row["choices"])


@pytest.mark.parametrize(("vendor", "model"), [("gemini", "gem"), ("vertex", "ver")])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_recorded_answers_reach_the_client_streamed_and_buffered(
    world: World, vendor: str, model: str, path: str
) -> None:
    world.give(token())
    body = chat_body if path == CHAT else lambda _said, model, **fields: messages_body(model, **fields)
    place = GOOGLE + "/gemini-3-flash-preview" if model == "gem" else PROJECT + "/gemini-2.5-flash@001"
    credential = ("x-goog-api-key", UPSTREAM_CREDENTIAL) if model == "gem" else ("authorization", f"Bearer {TOKEN}")
    streams, answers = recorded(vendor, "*.response.sse"), recorded(vendor, "*.response.json")
    assert min(len(streams), len(answers)) >= 5
    for recording in [*streams, *answers]:
        raw, stream = recording.read_bytes(), recording.suffix == ".sse"
        world.provider.play(Recording(raw, "text/event-stream" if stream else JSON, piece=97))
        answered = world.gateway.post(body("hi", model, stream=stream), path)
        assert answered.status == 200, answered.raw
        sent = world.checked(answered)
        assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
        assert world.provider.got.header(credential[0]) == credential[1]
        assert (world.provider.got.header("authorization") is None) is (model == "gem")
        way = ":streamGenerateContent?alt=sse" if stream else ":generateContent"
        assert world.provider.got.path == place + way
        decoder = gemini.PROVIDER.decoder(1 << 24)
        events = decoder.push(raw) + decoder.finish() if stream else gemini.decode_answer(raw)
        assert text_of(answered, path) == fold_events(events).text, recording.name
        assert b"_sf_attestation" in answered.raw


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_calls_a_tool_and_gives_back_its_seal(world: World, stream: bool) -> None:
    call = {"functionCall": {"name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "Cg=="}
    answer = {"candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}], "responseId": "r1",
              "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}  # fmt: skip
    asked: list[Any] = [{"role": "user", "content": "weather?"}]
    with OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.api_key, max_retries=0) as client:
        if stream:
            world.provider.play(Recording(b"data: " + json.dumps(answer).encode() + b"\r\n\r\n"))
            with client.chat.completions.stream(model="gem", messages=asked, tools=[FUNCTION]) as events:
                completion = events.get_final_completion()
        else:
            world.provider.play(Recording(json.dumps(answer).encode(), JSON))
            completion = client.chat.completions.create(model="gem", messages=asked, tools=[FUNCTION])  # type: ignore[assignment]
        (choice,) = completion.choices
        assert choice.finish_reason == "tool_calls"
        (said,) = choice.message.tool_calls or []
        assert said.function.arguments == '{"city":"Bern"}'
        asked += [choice.message.model_dump(exclude_none=True, exclude={"parsed"}),
                  {"role": "tool", "tool_call_id": said.id, "content": "rain"}]  # fmt: skip
        world.provider.play(Recording(recorded("gemini", "vercel-google-text*")[0].read_bytes(), JSON))
        client.chat.completions.create(model="gem", messages=asked, tools=[FUNCTION])
    assert json.loads(world.provider.got.body)["contents"][1:] == [
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "rain"}}}]},
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_client_calls_a_tool_and_gives_back_its_seal(world: World, stream: bool) -> None:
    call = {"functionCall": {"id": "g7", "name": "weather", "args": {}}, "thoughtSignature": "Cg=="}
    answer = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "so"}, call]},
                              "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}}  # fmt: skip
    asked: list[Any] = [{"role": "user", "content": "weather?"}]
    fields: Any = {"model": "gem", "max_tokens": 64, "tools": [TOOL]}
    with Anthropic(base_url=world.gateway.url, api_key=world.gateway.api_key, max_retries=0) as client:
        if stream:
            world.provider.play(Recording(b"data: " + json.dumps(answer).encode() + b"\r\n\r\n"))
            with client.messages.stream(messages=asked, **fields) as events:
                message: Any = events.get_final_message()
        else:
            world.provider.play(Recording(json.dumps(answer).encode(), JSON))
            message = client.messages.create(messages=asked, **fields)
        assert message.stop_reason == "tool_use"
        asked += [{"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]},
                  {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "g7",
                                               "content": "rain"}]}]  # fmt: skip
        for block in asked[1]["content"]:
            block.pop("caller", None)
        world.provider.play(Recording(recorded("gemini", "vercel-google-text*")[0].read_bytes(), JSON))
        client.messages.create(messages=asked, **fields)
    assert json.loads(world.provider.got.body)["contents"][1:] == [
        {"role": "model", "parts": [{"text": "so"}, call]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "g7", "name": "weather", "response": {"output": "rain"}}}
        ]},
    ]  # fmt: skip


def test_refusals_and_cuts_are_told_in_the_clients_language(world: World) -> None:
    refused = recorded("vertex", "*context-length*.response.json", b'"error"')[0].read_bytes()
    for raw, stream in ((refused, False), (b"[" + refused + b"]", True)):
        world.provider.play(Recording(raw, JSON, 400))
        answered = world.gateway.post(chat_body("hi", "gem", stream=stream))
        assert (answered.status, answered.json["error"]["code"]) == (400, "INVALID_ARGUMENT")
        assert "1048576" in answered.json["error"]["message"]
        answered = world.gateway.post(messages_body("gem", stream=stream), MESSAGES)
        assert (answered.status, answered.json["error"]["type"]) == (400, "invalid_request_error")
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "18.5s"}
    busy = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [wait]}}
    world.provider.play(Recording(json.dumps(busy).encode(), JSON, 429))
    answered = world.gateway.post(chat_body("hi", "gem"))
    assert (answered.status, answered.headers["retry-after"]) == (429, "18.5")
    bad_key = {"error": {"code": 400, "message": "key", "details": [{"reason": "API_KEY_INVALID"}]}}
    world.provider.play(Recording(json.dumps(bad_key).encode(), JSON, 400))
    answered = world.gateway.post(chat_body("hi", "gem"))
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_refused_key")
    whole = recorded("gemini", "test-google-model-stream-0.response.sse")[0].read_bytes()
    world.provider.play(Recording(whole[: whole.index(b"data:", 9)]))
    answered = world.gateway.post(chat_body("hi", "gem", stream=True))
    assert b"upstream_cut" in answered.raw
    assert b"[DONE]" not in answered.raw
    world.gateway.verified(answered, complete=False)


def test_tokens_of_a_prompt_are_estimated_here(world: World) -> None:
    world.provider.play(Recording(b""))
    answered = world.gateway.post(messages_body("gem"), MESSAGES + "/count_tokens")
    assert answered.json["input_tokens"] > 0
    assert not world.provider.received


def play_text(world: World) -> None:
    world.provider.play(Recording(recorded("vertex", "*explicit-caching*.response.json")[0].read_bytes(), JSON))


def test_a_token_is_bought_once_by_a_signature_that_google_could_check(world: World) -> None:
    world.write_account(private_key_id="another")  # another file is another account: nothing is remembered of it
    world.give(token("fresh"))
    play_text(world)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: world.gateway.post(chat_body("hi", "ver")).status, range(8)))
    assert statuses == [200] * 8
    assert {call.credential for call in world.provider.received} == {"Bearer fresh"}
    form = parse_qs(world.tokens.got.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")
    signed = f"{head}.{claims}".encode()
    world.key.public_key().verify(base64.urlsafe_b64decode(signature + "=="), signed, PKCS1v15(), SHA256())
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "RS256", "typ": "JWT", "kid": "another"}
    assert said.items() >= {"iss": "gateway@p.iam", "aud": world.account["token_uri"],
                            "scope": "https://www.googleapis.com/auth/cloud-platform"}.items()  # fmt: skip
    assert abs(said["iat"] - time.time()) < 60
    assert said["exp"] - said["iat"] == 3600


def test_a_token_is_bought_anew_when_it_ends_or_is_refused(world: World) -> None:
    world.write_account(private_key_id="third")
    world.give(token("short", 60))  # less than what is spared
    play_text(world)
    for _ in range(2):
        assert world.gateway.post(chat_body("hi", "ver")).status == 200
    assert len(world.tokens.received) == 2
    world.give(token("long"))
    refused = b'{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}'
    for body, status, mark in ((refused, 401, 502), (refused, 401, 502)):
        world.provider.play(Recording(body, JSON, status))
        answered = world.gateway.post(chat_body("hi", "ver"))
        assert (answered.status, answered.json["error"]["code"]) == (mark, "upstream_refused_key")
    assert len(world.tokens.received) == 2
    play_text(world)
    for _ in range(2):
        assert world.gateway.post(chat_body("hi", "ver")).status == 200
    assert len(world.tokens.received) == 3


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"error":"invalid_grant","error_description":"secret words"}', 400, "status 400 (invalid_grant)"),
        (b"<html>", 500, "status 500."),
        (b"{}", 200, "holds none"),
        (b'{"access_token":"two\\nlines","expires_in":9}', 200, "holds none"),
        (b"x" * (65 << 10), 200, "too long"),
    ],
)
def test_no_token_is_a_failure_of_ours_with_a_receipt(world: World, body: bytes, status: int, told: str) -> None:
    world.write_account(private_key_id="fourth")
    world.give(body, status)
    world.provider.play(Recording(b""))
    answered = world.gateway.post(chat_body("hi", "ver", stream=True))
    assert (answered.status, answered.json["error"]["code"]) == (502, "no_token")
    assert told in answered.json["error"]["message"]
    assert b"secret words" not in answered.raw
    assert not world.provider.received
    world.gateway.verified(answered)


@pytest.mark.parametrize(
    ("member", "found"),
    [("type", "user"), ("client_email", ""), ("private_key", "PEM"), ("private_key", 1),
     ("token_uri", "http://198.51.100.7/"), ("token_uri", "http://["), ("token_uri", "")],
)  # fmt: skip
def test_a_key_file_that_is_none_says_which_member_is_wrong(world: World, member: str, found: object) -> None:
    world.write_account(**{member: found})
    answered = world.gateway.post(chat_body("hi", "ver"))
    world.write_account()
    assert (answered.status, answered.json["error"]["code"]) == (503, "no_credential")
    assert f"its {member} is missing or wrong" in answered.json["error"]["message"]


def test_a_missing_key_file_and_an_absent_token_server(world: World) -> None:
    world.key_file.unlink()
    answered = world.gateway.post(chat_body("hi", "ver"))
    assert (answered.status, answered.json["error"]["code"]) == (503, "no_credential")
    world.write_account(token_uri="http://127.0.0.1:1/token")
    answered = world.gateway.post(chat_body("hi", "ver"))
    world.write_account()
    assert (answered.status, answered.json["error"]["code"]) == (502, "no_token")
    assert "PRIVATE" not in world.gateway.log.read_text()
    assert TOKEN not in world.gateway.log.read_text()


def test_a_silent_token_server_is_left_and_one_that_leaves_takes_no_token_from_the_others() -> None:
    async def ask(waiters: int, leaving: int) -> list[Any]:
        tasks = [asyncio.create_task(buyer.token("v", account)) for _ in range(waiters)]
        await asyncio.sleep(0)
        for task in tasks[:leaving]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    buyer = GoogleTokens(patience=0.3)
    with scripted_upstream() as server:
        account = json.dumps({"type": "service_account", "client_email": "e", "private_key": key,
                              "token_uri": server.base_url})  # fmt: skip
        server.play(Recording(token()[:9], "application/json", ending="hold"))
        assert [type(error) for error in asyncio.run(ask(2, 0))] == [UpstreamFailed] * 2
        server.play(Recording(token(), "application/json"))
        left, *rest = asyncio.run(ask(3, 1))
        assert isinstance(left, asyncio.CancelledError)
        assert rest == [TOKEN, TOKEN]
        assert server.got.path == "/v1"


def test_a_project_must_be_named_and_a_key_file_may_be_where_google_says(tmp_path: Path) -> None:
    models = [{"id": "m", "provider": "v"}]
    with pytest.raises(Malformed, match="with your project"):
        decode_config({"providers": [{"id": "v", "family": "vertex"}], "models": models}, {})
    place = "https://eu.example/v1/projects/p/locations/eu/publishers/google/"
    named = {"id": "v", "family": "vertex", "base_url": place}
    connector = decode_config({"providers": [named], "models": models}, {}).models.connectors["v"]
    assert connector.base_url == place[:-1]
    file = tmp_path / "key.json"
    file.write_text('{\n  "type": "service_account"\n}\n')
    assert (
        read_credential(connector, {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}) == '{   "type": "service_account" }'
    )
    assert read_credential(connector, {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}) is None
    assert read_credential(connector, {}) is None
    bare = {"id": "v", "family": "gemini", "base_url": "https://g.example"}
    connectors = decode_config({"providers": [bare], "models": models}, {}).models.connectors
    assert connectors["v"].base_url == "https://g.example/v1beta"
