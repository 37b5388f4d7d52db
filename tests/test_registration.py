"""Providers registered while the gateway runs: attested before use, kept by a restart, and given no key but theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.config import decode_config
from gateway.connectors.registered import read_provider, with_registered, without_registered
from gateway.provider_file import read_providers
from tee.errors import Malformed
from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.upstream import Recording, ScriptedUpstream

CONFIG = 'workers = 2\n[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
OWN_KEY, FOREIGN_KEY = "sk-of-the-new-provider", "sk-of-the-family"
ANSWER = Recording(
    json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "qwen/qwen3",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ).encode(),
    "application/json",
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("registration", numbered=False) / "state"
    with RunningGateway(state, config=CONFIG, chip=chip_file, environ={"VLLM_API_KEY": FOREIGN_KEY}) as running:
        (state / "provider-keys").mkdir()
        (state / "provider-keys" / "site-key").write_text(OWN_KEY)
        yield running


def wish(endpoint: str, **other: Any) -> dict[str, Any]:
    return {
        "id": "site-b",
        "kind": "openai-compatible",
        "display_name": "Site B",
        "endpoint": endpoint,
        "serves_models": ["qwen/qwen3"],
        "region": "eu-central",
        "cost_per_million_tokens_usd": 0.25,
        "typical_latency_ms": 400,
        "api_key_id": "site-key",
        **other,
    }


def operate(gateway: RunningGateway, method: str, path: str, document: Any = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {gateway.demo['admin_token']}"}
    response = httpx2.request(method, gateway.url + path, json=document, headers=headers, timeout=60.0, **PLAIN)
    return response.status_code, response.json()


def configuration(gateway: RunningGateway) -> dict[str, str]:
    quote = httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": "0" * 64}, timeout=60.0, **PLAIN).json()
    assert quote["log"]["startup"]["index"] >= 0
    return dict(quote["workload"]["configuration"])


def wait_for_model(gateway: RunningGateway, name: str, there: bool) -> None:
    """Workers take a new configuration on within their second; until then they answer by the one that they have."""
    headers = {"authorization": f"Bearer {gateway.api_key}"}
    for _ in range(600):
        asked = [httpx2.get(f"{gateway.url}/v1/models", headers=headers, **PLAIN).json() for _ in range(8)]
        if all((name in [row["id"] for row in each["data"]]) is there for each in asked):
            return
    raise AssertionError(f"{name} is not {'there' if there else 'gone'} in all processes")


def test_a_provider_from_its_registration_to_its_end(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    before = configuration(gateway)
    status, made = operate(gateway, "POST", "/admin/providers", wish(upstream.base_url))
    assert status == 201, made
    assert made == {"object": "provider", **wish(upstream.base_url), "registered": True}
    attested = configuration(gateway)
    assert {name for name in before if before[name] != attested[name]} >= {"providers", "models"}
    wait_for_model(gateway, "qwen/qwen3", True)

    upstream.play(ANSWER)
    answered = gateway.ask("hello", "qwen/qwen3")
    assert answered.json["attestation"]["provider_id"] == "site-b"
    assert upstream.got.credential == f"Bearer {OWN_KEY}"
    gateway.verified(answered)

    gateway.restart()
    assert configuration(gateway)["providers"] == attested["providers"]
    upstream.play(ANSWER)
    assert gateway.ask("hello", "qwen/qwen3").status == 200
    _, listed = operate(gateway, "GET", "/admin/providers")
    assert [(row["id"], row["registered"]) for row in listed["data"]] == [("mock", False), ("site-b", True)]
    assert OWN_KEY not in json.dumps(listed)
    _, routes = operate(gateway, "GET", "/admin/routes")
    assert [(row["id"], row["provider"]) for row in routes["data"]] == [("mock-1", "mock"), ("qwen/qwen3", "site-b")]

    assert operate(gateway, "DELETE", "/admin/providers/site-b")[0] == 200
    assert configuration(gateway)["providers"] == before["providers"]
    wait_for_model(gateway, "qwen/qwen3", False)
    assert gateway.ask("hello", "qwen/qwen3").status == 404
    assert operate(gateway, "DELETE", "/admin/providers/site-b")[0] == 404


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"id": "mock"}, 409, "There is a provider `mock` already"),
        ({"serves_models": ["mock-1"]}, 409, "There is a model `mock-1` already"),
        ({"kind": "bedrock"}, 400, "kind"),
        ({"endpoint": "https://user@host/v1"}, 400, "endpoint"),
        ({"endpoint": "file:///etc/passwd"}, 400, "endpoint"),
        ({"api_key_id": "../admin.token"}, 400, "api_key_id"),
        ({"serves_models": []}, 400, "serves_models"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_what_cannot_be_registered_changes_nothing(
    gateway: RunningGateway, change: dict[str, Any], status: int, said: str
) -> None:
    before = configuration(gateway)
    found, answer = operate(gateway, "POST", "/admin/providers", wish("http://127.0.0.1:9") | change)
    assert (found, said in answer["error"]["message"]) == (status, True), answer
    assert configuration(gateway) == before
    assert read_providers(gateway.state) == []


def test_a_configured_provider_is_removed_where_it_is_configured(gateway: RunningGateway) -> None:
    assert operate(gateway, "DELETE", "/admin/providers/mock")[0] == 409


def test_a_registered_provider_gets_no_key_that_was_meant_for_another(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    """The family's usual variable is set, and is not sent to an address that somebody chose later."""
    operate(gateway, "POST", "/admin/providers", wish(upstream.base_url, api_key_id=None))
    wait_for_model(gateway, "qwen/qwen3", True)
    upstream.play(ANSWER)
    gateway.ask("hello", "qwen/qwen3")
    assert FOREIGN_KEY not in upstream.got.head
    assert upstream.got.credential is None
    operate(gateway, "DELETE", "/admin/providers/site-b")


def test_providers_are_for_the_operator(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for method, path in (
            ("GET", "/admin/providers"),
            ("POST", "/admin/providers"),
            ("DELETE", "/admin/providers/mock"),
            ("GET", "/admin/routes"),
        ):
            assert client.request(method, path).status_code == 401


def test_the_document_without_them_is_what_it_was(tmp_path: Path) -> None:
    own = {"providers": [{"family": "mock"}], "models": [{"id": "mock-1", "provider": "mock"}]}
    provider = read_provider(wish("https://b.example"))
    document = with_registered(own, [provider], tmp_path)
    connector = decode_config(document, {}).models.connectors["site-b"]
    assert connector.credential_file == str(tmp_path / "provider-keys" / "site-key")
    assert connector.base_url == "https://b.example/v1"
    assert without_registered(document, [provider]) == own
    assert with_registered({}, [provider], tmp_path) == {}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"id": "x"}]', "null"])
def test_a_file_that_no_gateway_wrote_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "providers.json").write_text(content)
    with pytest.raises(Malformed):
        read_providers(tmp_path)
