"""A gateway with a provider of every family, all of them at one place that plays what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.connectors.catalog import FAMILIES
from tests.worlds.gateway import RunningGateway
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, scripted_upstream

VERTEX_TOKEN = "ya-token-of-the-world"
REGION = "eu-central-1"
_PROJECT = "/v1/projects/p/locations/global/publishers/google"
_MORE = (  # id, family, further lines
    ("azure-v1", "azure", 'api_version = "v1"'),
    ("azure-dated", "azure", 'api_version = "2025-04-01-preview"'),
)
MODELS = {
    "anthropic": "claude-opus-5", "minimax": "MiniMax-M3", "gemini": "gemini-3-flash-preview",
    "vertex": "gemini-2.5-flash@001", "bedrock": "eu.amazon.nova-pro-v1:0", "deepseek": "deepseek-v4-pro",
    "zai": "glm-4.7", "kimi": "kimi-k2.6", "nvidia": "nvidia/nemotron", "ollama": "qwen3", "openai": "gpt-4o",
    "openai-responses": "gpt-4o", "azure": "our 4o", "azure-responses": "our-4o", "vllm": "llama",
}  # fmt: skip
"""By family, what its model is called there; clients call it by the provider's id."""


class EveryFamily:
    """The world: `upstream` plays, `gateway` asks it; `models` adds further ones, by name: provider and theirs."""

    def __init__(self, upstream: ScriptedUpstream, gateway: RunningGateway) -> None:
        self.upstream, self.gateway = upstream, gateway

    def play(self, body: bytes, content_type: str = "application/json", status: int = 200, piece: int = 0) -> None:
        """Answer so from now on."""
        self.upstream.play(Recording(body, content_type, status, piece=piece))


@contextmanager
def every_family(folder: Path, chip: Path, models: dict[str, tuple[str, str]] | None = None) -> Iterator[EveryFamily]:
    """An EveryFamily, running."""
    with scripted_upstream() as upstream, scripted_upstream() as tokens:
        tokens.play(Recording(json.dumps({"access_token": VERTEX_TOKEN, "expires_in": 3600}).encode(),
                              "application/json"))  # fmt: skip
        account = folder / "account.json"
        account.write_text(_account(tokens.base_url + "/token"))
        config = _config(upstream.base_url.removesuffix("/v1"), account, models or {})
        environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
        with RunningGateway(folder / "state", config=config, chip=chip, environ=environ) as gateway:
            yield EveryFamily(upstream, gateway)


def _config(origin: str, account: Path, models: dict[str, tuple[str, str]]) -> str:
    rows = []
    for name, family, more in (*((name, name, "") for name in FAMILIES if name != "mock"), *_MORE):
        rows += ["[[providers]]", f'id = "{name}"', f'family = "{family}"', more]
        rows.append(f'base_url = "{origin}{_path(family)}"')
        rows.append(f'credential_file = "{account}"' if family == "vertex" else 'credential_env = "WIRE_KEY"')
        rows += [f'region = "{REGION}"'] if family == "bedrock" else []
        rows += _model(name, name, MODELS[family])
    for name, (provider, theirs) in models.items():
        rows += _model(name, provider, theirs)
    return "\n".join(rows) + "\n"


def _path(family: str) -> str:
    if family == "vertex":
        return _PROJECT
    return "" if family in ("anthropic", "minimax", "bedrock", "ollama", "azure", "azure-responses") else "/v1"


def _model(name: str, provider: str, theirs: str) -> list[str]:
    return ["[[models]]", f'id = "{name}"', f'provider = "{provider}"', f'upstream_model = "{theirs}"']


def _account(token_uri: str) -> str:
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    members = {"type": "service_account", "client_email": "gateway@p.iam", "private_key_id": "k1"}
    return json.dumps(members | {"token_uri": token_uri, "private_key": key.decode()})
