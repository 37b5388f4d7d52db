"""Bedrock behind a live gateway: signed bytes, both languages of clients, refusals; and where credentials are found."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.connectors.catalog import FAMILIES
from gateway.credentials import Credentials, read_aws_file
from gateway.dialects import anthropic_messages, bedrock_converse, openai_chat, openai_responses
from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fold import fold_events
from gateway.errors import NoRoute
from tee.aws.credentials import fetch_credentials
from tee.aws.sigv4 import AwsCredentials, AwsScope, sign_request
from tee.canonical import digest_bytes
from tee.errors import Unavailable
from tests.conftest import find_vectors
from tests.worlds.eventstream import event_message
from tests.worlds.gateway import Answered, RunningGateway, chat_body, responses_body, run_cli
from tests.worlds.kms import ACCESS_KEY, SECRET_KEY, TOKEN, metadata_world, signature_of
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream

DIALECTS = find_vectors() / "dialects"
BEDROCK = bedrock_converse.PROVIDER
STREAM, REGION, MODEL = "application/vnd.amazon.eventstream", "eu-central-1", "eu.amazon.nova-pro-v1:0"
PROFILE = f"arn:aws:bedrock:{REGION}:123456789012:application-inference-profile/x1"
STREAMS = sorted((DIALECTS / "bedrock").glob("*.bin"))
ANSWERS = [path for path in sorted((DIALECTS / "bedrock").glob("*.response.json")) if b'"output"' in path.read_bytes()]
WAYS: dict[str, tuple[ProviderSide, Callable[..., bytes]]] = {
    "/v1/chat/completions": (openai_chat.PROVIDER, partial(chat_body, "hi")),
    "/v1/messages": (anthropic_messages.PROVIDER, partial(chat_body, "hi", max_tokens=9)),
    "/v1/responses": (openai_responses.PROVIDER, partial(responses_body, "hi")),
}
CONNECTOR = replace(FAMILIES["bedrock"], region=REGION)


def config(base_url: str, file: Path) -> str:
    file.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    rows = []
    for name, credential in (
        ("environ", ""),
        ("file", f'credential_file = "{file}"'),
        ("bearer", 'credential_env = "WIRE_KEY"'),
        ("none", 'credential_env = "SAFEROUTER_TEST_NO_SUCH_KEY"'),
    ):
        rows.append(f'[[providers]]\nid = "{name}"\nfamily = "bedrock"\nregion = "{REGION}"\nbase_url = "{base_url}"')
        rows.append(f'{credential}\n[[models]]\nid = "{name}-1"\nprovider = "{name}"\nupstream_model = "{MODEL}"')
    rows.append(f'[[models]]\nid = "profile"\nprovider = "environ"\nupstream_model = "{PROFILE}"')
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def amazon() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as provider:
        provider.base_url = provider.base_url.removesuffix("/v1")
        yield provider


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, amazon: ScriptedUpstream
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("bedrock")
    environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": TOKEN}
    environ |= {"WIRE_KEY": UPSTREAM_CREDENTIAL, "AWS_BEARER_TOKEN_BEDROCK": ""}
    written = config(amazon.base_url, folder / "aws")
    with RunningGateway(folder / "state", config=written, chip=chip_file, environ=environ) as running:
        yield running
        log = running.log.read_bytes()
        assert not any(secret.encode() in log for secret in (SECRET_KEY, TOKEN, UPSTREAM_CREDENTIAL))


def checked(gateway: RunningGateway, amazon: ScriptedUpstream, answered: Answered, *, complete: bool = True) -> Any:
    """What Amazon got, once its signature and the receipt both vouch for these bytes."""
    got = amazon.got
    receipt = gateway.verified(answered, complete=complete)
    assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(got.body)
    names = (got.credential or "").split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"content-type", "host", "x-amz-date"} <= set(names)
    signed = {name: got.header(name) or "" for name in names}
    signature = signature_of("POST", amazon.base_url + got.path, signed, got.body, REGION, "bedrock")
    assert (got.credential or "").endswith(f"/{REGION}/bedrock/aws4_request, SignedHeaders={';'.join(names)}, "
                                           f"Signature={signature}")  # fmt: skip
    return json.loads(got.body)


@pytest.mark.parametrize("path", list(WAYS))
def test_recorded_streams_reach_every_kind_of_client(
    gateway: RunningGateway, amazon: ScriptedUpstream, path: str
) -> None:
    provider, body = WAYS[path]
    assert len(STREAMS) >= 8
    for recording in STREAMS:
        raw = recording.read_bytes()
        amazon.play(Recording(raw, STREAM, piece=57))
        answered = gateway.post(body(model="environ-1", stream=True, stream_options={"include_usage": True}), path)
        assert amazon.got.path == "/model/eu.amazon.nova-pro-v1%3A0/converse-stream"
        assert amazon.got.header("x-amz-security-token") == TOKEN
        assert checked(gateway, amazon, answered)["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]
        check_same(BEDROCK.decoder(1 << 24), raw, provider.decoder(1 << 24), answered.raw)


@pytest.mark.parametrize("path", list(WAYS))
def test_recorded_answers_reach_every_kind_of_client(
    gateway: RunningGateway, amazon: ScriptedUpstream, path: str
) -> None:
    provider, body = WAYS[path]
    for recording in ANSWERS:
        amazon.play(Recording(recording.read_bytes(), "application/json"))
        answered = gateway.post(body(model="profile"), path)
        assert amazon.got.path == f"/model/{PROFILE.replace(':', '%3A').replace('/', '%2F')}/converse"
        checked(gateway, amazon, answered)
        before = fold_events(BEDROCK.decode_answer(recording.read_bytes()))
        after = fold_events(provider.decode_answer(answered.raw))
        assert (after.text, after.usage, after.finish.reason) == (before.text, before.usage, before.finish.reason)


def check_same(theirs: Any, sent: bytes, ours: Any, read: bytes) -> None:
    before, after = (
        fold_events(decoder.push(raw) + decoder.finish()) for decoder, raw in ((theirs, sent), (ours, read))
    )
    assert before.text == after.text
    assert before.usage == after.usage
    assert before.finish.reason == after.finish.reason
    assert after.failure is None


def test_a_profiles_file_and_a_bearer_key_serve_as_well(gateway: RunningGateway, amazon: ScriptedUpstream) -> None:
    amazon.play(Recording(ANSWERS[0].read_bytes(), "application/json"))
    checked(gateway, amazon, gateway.post(chat_body("hi", "file-1")))
    assert amazon.got.header("x-amz-security-token") is None
    amazon.play(Recording(ANSWERS[0].read_bytes(), "application/json"))
    gateway.verified(gateway.post(chat_body("hi", "bearer-1")))
    assert amazon.got.credential == f"Bearer {UPSTREAM_CREDENTIAL}"
    amazon.play(Recording(b""))
    refused = gateway.post(chat_body("hi", "none-1"))
    assert (refused.status, refused.json["error"]["code"]) == (503, "no_credential")
    assert not amazon.received


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (event_message("throttlingException", {"message": "Slow down"}, message_type="exception"), b"Slow down"),
        (b"\0\0\0\x10\0\0\0\0\0\0\0\0", b"checksum"),
        (b"", b"broke off"),
    ],
)
def test_a_stream_that_breaks_ends_in_an_error_and_a_receipt(
    gateway: RunningGateway, amazon: ScriptedUpstream, tail: bytes, words: bytes
) -> None:
    text = event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "half"}})
    for path, (_, body) in WAYS.items():
        amazon.play(Recording(text + tail, STREAM, piece=len(text)))
        answered = gateway.post(body(model="environ-1", stream=True), path)
        assert b"half" in answered.raw
        assert words in answered.raw
        assert b"[DONE]" not in answered.raw and not any(
            end in answered.raw for end in (b"message_stop", b"response.completed")
        )
        checked(gateway, amazon, answered, complete=False)


def test_refusals_are_told_in_the_clients_language(gateway: RunningGateway, amazon: ScriptedUpstream) -> None:
    kind = (("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/"),)
    amazon.play(Recording(b'{"message":"Too many requests"}', "application/json", 429, kind))
    answered = gateway.post(chat_body("hi", "environ-1"))
    assert (answered.status, answered.json["error"]["message"]) == (429, "Too many requests")
    amazon.play(Recording(b'{"message":"The security token is invalid: AKIA"}', "application/json", 403))
    answered = gateway.post(chat_body("hi", "environ-1"))
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_refused_key")
    assert b"AKIA" not in answered.raw


def test_amazons_own_vectors_are_signed_alike() -> None:
    vectors = json.loads((DIALECTS / "bedrock-sigv4" / "sigv4_bedrock_botocore.json").read_bytes())["vectors"]
    assert len(vectors) == 40
    for vector in vectors:
        way = BEDROCK.path(vector["model_id"], vector["url"].endswith("-stream"))
        assert FAMILIES["bedrock"].base_url.format(region=vector["region"]) + way == vector["url"]
        credentials = AwsCredentials(vector["access_key"], vector["secret_key"], vector["session_token"])
        now = datetime.strptime(vector["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        sent = {"accept": vector["accept"], "content-type": vector["content_type"]}
        scope = AwsScope(vector["region"], vector["service"])
        headers = sign_request("POST", vector["url"], sent, vector["body"].encode(), credentials, scope, now)
        assert headers["authorization"] == vector["authorization"]


def test_amazons_suite_for_all_services_is_signed_alike() -> None:
    suite = json.loads((DIALECTS / "bedrock-sigv4" / "aws4_testsuite.json").read_bytes())
    credentials, scope = AwsCredentials(suite["access_key"], suite["secret_key"]), AwsScope("us-east-1", "service")
    now = datetime.strptime(suite["date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    seen = 0
    for case in suite["cases"]:
        head, _, body = case["req"].partition("\n\n")
        first, *rows = head.split("\n")
        method, way = first.removesuffix(" HTTP/1.1").split(" ", 1)
        names = [row.split(":")[0].lower() for row in rows]
        if way != "/" or len(set(names)) < len(names) or any(row[0].isspace() for row in rows):
            continue  # we send no query, and no header twice
        sent = {name: row.split(":", 1)[1] for name, row in zip(names, rows, strict=True)}
        host = sent.pop("host")
        del sent["x-amz-date"]
        sent.pop("x-amz-security-token", None)
        token = next((row[21:] for row in case["creq"].split("\n") if row.startswith("x-amz-security-token:")), None)
        signed = sign_request(
            method, f"https://{host}/", sent, body.encode(), replace(credentials, session_token=token), scope, now
        )
        assert signed["authorization"] == case["authz"], case["name"]
        seen += 1
    assert seen >= 5


def test_the_machines_role_is_asked_once_for_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    document = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": TOKEN}
    asked: list[int] = []
    with metadata_world({"": (200, b"role"), "role": (200, json.dumps(document).encode())}) as url:

        def fetch() -> AwsCredentials:
            asked.append(threading.get_ident())
            return fetch_credentials(url)

        async def find() -> list[Any]:
            credentials = Credentials(fetch)
            return await asyncio.gather(*(credentials.find(CONNECTOR) for _ in range(20)))

        found = asyncio.run(find())
    assert found == [AwsCredentials(ACCESS_KEY, SECRET_KEY, TOKEN)] * 20
    assert len(asked) == 1
    assert asked[0] != threading.get_ident()  # a slow answer holds nobody up


def test_a_machine_without_a_role_is_not_asked_at_each_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    asked: list[bool] = []

    def fetch() -> AwsCredentials:
        asked.append(True)
        raise Unavailable("metadata", "no answer", retryable=True)

    async def find() -> None:
        credentials = Credentials(fetch)
        elsewhere = replace(CONNECTOR, credential_file=str(tmp_path / "none"))
        for connector in (CONNECTOR, CONNECTOR, elsewhere, replace(CONNECTOR, credential_env=("SOME_NAME",))):
            with pytest.raises(NoRoute, match="has not set a key"):
                await credentials.find(connector)

    asyncio.run(find())
    assert len(asked) == 1


def test_credentials_that_no_header_carries_count_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "aws"
    for secret, good in (("s3cret", True), ("s3cr\u00e9t", False), ("s3cret\n  more", False)):
        file.write_text(f"[default]\naws_access_key_id = A\naws_secret_access_key = {secret}\n")
        found = Credentials().find(replace(CONNECTOR, credential_file=str(file)))
        if good:
            assert asyncio.run(found) == AwsCredentials("A", secret)
            continue
        with pytest.raises(NoRoute) as refused:
            asyncio.run(found)
        assert "s3" not in refused.value.message


@pytest.mark.parametrize("text", ["", "no sections", "[other]\naws_access_key_id = a\naws_secret_access_key = b\n",
                                  "[default]\naws_access_key_id = a\n", "[default]\n[default]\n", "\xff"])  # fmt: skip
def test_a_file_without_a_default_profile_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "aws").write_bytes(text.encode("latin-1"))
    assert read_aws_file(tmp_path / "aws") is None


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ('family = "bedrock"', "region"),
        ('family = "bedrock"\nregion = "eu-central-1.evil.example/"', "region"),
        ('family = "deepseek"\nregion = "eu-central-1"', "region"),
        ('family = "bedrock"\nregion = "eu-central-1"\nbase_url = "https://h/?x=1"', "base_url"),
    ],
)
def test_a_region_is_asked_for_where_a_signature_names_it(tmp_path: Path, row: str, field: str) -> None:
    (tmp_path / "c.toml").write_text(f'[[providers]]\nid = "a"\n{row}\n[[models]]\nid = "m"\nprovider = "a"\n')
    refused = run_cli("serve", "--config", tmp_path / "c.toml", environ={"SAFEROUTER_STATE": str(tmp_path / "state")})
    assert refused.returncode != 0
    assert f"config.providers[0].{field}" in refused.stderr
