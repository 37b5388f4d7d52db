"""Azure OpenAI behind a live gateway, over sockets: both ways to ask it, its first chunks, its errors (R239)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from gateway.config import decode_config
from gateway.connectors.connector import Connector
from gateway.connectors.quirks_table import quirks_of
from tee.canonical import digest_bytes
from tee.errors import Malformed
from tests.conftest import find_vectors
from tests.test_responses import OURS, asked
from tests.worlds.families import MODELS, EveryFamily, every_family
from tests.worlds.gateway import chat_body
from tests.worlds.upstream import STREAM, UPSTREAM_CREDENTIAL

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
DEPLOYMENT = "/openai/deployments/our%204o"
VERSION = "?api-version=2024-08-01-preview"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[EveryFamily]:
    with every_family(tmp_path_factory.mktemp("azure"), chip_file) as running:
        yield running


def recorded(pattern: str, mark: bytes = b'"choices"') -> list[Path]:
    paths = sorted((find_vectors() / "dialects" / "azure").glob(pattern))
    return [path for path in paths if mark in path.read_bytes()]


def connector_of(**row: Any) -> Connector:
    models = [{"id": "m", "provider": "a"}]
    config = decode_config({"providers": [{"id": "a", "family": "azure", **row}], "models": models}, {})
    return config.models.connectors["a"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("azure", DEPLOYMENT + "/chat/completions" + VERSION),
        ("azure-dated", DEPLOYMENT + "/chat/completions?api-version=2025-04-01-preview"),
        ("azure-v1", "/openai/v1/chat/completions"),
    ],
)
def test_recorded_streams_pass_byte_for_byte_to_the_deployment(world: EveryFamily, model: str, path: str) -> None:
    """R239: the URL names the deployment and the version, the header is `api-key`; or the path without a date."""
    streams = recorded("*.response.sse")
    assert len(streams) >= 8
    for recording in streams:
        raw = recording.read_bytes()
        world.play(raw, STREAM, piece=311)
        answered = world.gateway.post(chat_body("hi", model, stream=True, stream_options={"include_usage": True}))
        block = answered.raw.index(b"event: sf_attestation")
        end = answered.raw.index(b"\n\n", block) + 2
        assert answered.raw[:block] + answered.raw[end:] == raw, recording.name
        receipt = world.gateway.verified(answered)
        got = world.upstream.got
        assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(got.body)
        assert (got.path, got.header("api-key"), got.credential) == (path, UPSTREAM_CREDENTIAL, None)
        assert json.loads(got.body)["model"] == MODELS["azure"]


def test_a_first_chunk_of_content_filters_disturbs_no_client(world: EveryFamily) -> None:
    filters = [path for path in recorded("*.response.sse") if b"prompt_filter_results" in path.read_bytes()]
    assert len(filters) >= 3
    with OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.api_key, max_retries=0) as client:
        for path in filters:
            world.play(path.read_bytes(), STREAM, piece=97)
            with client.chat.completions.create(
                model="azure", messages=[{"role": "user", "content": "hi"}], stream=True
            ) as stream:
                chunks = list(stream)
            assert chunks[0].choices == [] and (chunks[0].model_extra or {})["prompt_filter_results"]
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            called = any(chunk.choices and chunk.choices[0].delta.tool_calls for chunk in chunks)
            assert said or called, path.name
            # And through another language, whose events have no place for it.
            body = json.dumps({"model": "azure", "max_tokens": 9, "stream": True,
                               "messages": [{"role": "user", "content": "hi"}]}).encode()  # fmt: skip
            world.play(path.read_bytes(), STREAM, piece=97)
            translated = world.gateway.post(body, "/v1/messages")
            assert (b"message_stop" in translated.raw, b"error" in translated.raw) == (True, False), path.name
            world.gateway.verified(translated)


def test_each_surface_goes_where_azure_has_it(world: EveryFamily) -> None:
    """Responses exist on the path without a date only: elsewhere they are asked as chats."""
    chat = recorded("ogx-67561a8f3c2e.response.json")[0].read_bytes()
    response = recorded("vercel-azure-text-1.response.json", b'"output"')[0].read_bytes()
    embedding = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m","usage":{}}'
    for model, path, body, answer, verbatim, place in (
        ("azure", CHAT, chat_body("hi", "azure"), chat, True, DEPLOYMENT + "/chat/completions" + VERSION),
        ("azure", RESPONSES, asked("hi", "azure"), chat, False, DEPLOYMENT + "/chat/completions" + VERSION),
        ("azure", EMBEDDINGS, asked("hi", "azure"), embedding, True, DEPLOYMENT + "/embeddings" + VERSION),
        ("azure-v1", RESPONSES, asked("hi", "azure-v1"), response, True, "/openai/v1/responses"),
        ("azure-v1", EMBEDDINGS, asked("hi", "azure-v1"), embedding, True, "/openai/v1/embeddings"),
        ("azure-responses", CHAT, chat_body("hi", "azure-responses"), response, False, "/openai/v1/responses"),
    ):  # fmt: skip
        world.play(answer)
        answered = world.gateway.post(body, path)
        assert (answered.status, world.upstream.got.path) == (200, place), (model, path)
        assert (OURS.sub(b"", answered.raw) == answer) is verbatim
        world.gateway.verified(answered)


def test_its_errors_reach_the_client_and_its_word_on_our_key_does_not(world: EveryFamily) -> None:
    (refused,) = recorded("*auth-error-0.response.json", b'"error"')
    world.play(refused.read_bytes(), status=401)
    answered = world.gateway.post(chat_body("hi", "azure"))
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_refused_key")
    (limit,) = recorded("*context-length-exceede-0.response.json", b"RateLimitReached")
    for path in (CHAT, "/v1/messages"):
        world.play(limit.read_bytes(), status=400)
        body = json.loads(chat_body("hi", "azure")) | ({"max_tokens": 9} if path == "/v1/messages" else {})
        answered = world.gateway.post(json.dumps(body).encode(), path)
        assert answered.status == 400 and "exceeded rate limit" in answered.json["error"]["message"]
        world.gateway.verified(answered)


def test_a_resource_may_be_named_with_its_path_and_must_be_named() -> None:
    """R239: without a resource there is nothing to ask."""
    for given, version in (("", "2024-08-01-preview"), ("/openai", "2024-08-01-preview"), ("/openai/v1/", "v1")):
        connector = connector_of(base_url="https://ours.openai.azure.com" + given)
        assert (connector.base_url, connector.api_version) == ("https://ours.openai.azure.com", version)
        assert ("openai_responses" in connector.also) is (version == "v1")
    for row in ({}, {"base_url": "https://resource.openai.azure.com"}):
        with pytest.raises(Malformed, match="base_url: found nothing"):
            connector_of(**row)
    with pytest.raises(Malformed, match="api_version"):
        connector_of(base_url="https://ours.openai.azure.com", api_version="latest&x=1")


def test_a_deployment_is_known_by_the_model_in_its_name() -> None:
    for name in ("o3", "our-gpt-5-mini", "prod o1"):
        assert quirks_of("azure", name).max_tokens_field == "max_completion_tokens", name
        assert "temperature" in quirks_of("azure-responses", name).drops, name
    for name in ("our 4o", "gpt-4o", "grok-4-1-fast", "turbo1"):
        assert quirks_of("azure", name).max_tokens_field == "max_tokens", name
