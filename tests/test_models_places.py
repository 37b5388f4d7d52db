"""Where the connectors of `gateway.models` send, and with whose credential: vendors, clouds, guests, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.models import (
    ApiKind,
    DoneEmission,
    GatewayError,
    GatewayErrorKind,
    HttpRequest,
    HttpResponse,
    StreamOptions,
    ThinkingLevel,
    create_openai_chat_connector,
    environment_credential_resolver,
    get_card,
)
from gateway.models.connectors.live import place_card
from gateway.models.credentials import secret_table
from tests.worlds.canned import CHAT, CLAUDE, CONVERSE, GEMINI, HELLO, OLLAMA
from tests.worlds.model_calls import EVENTSTREAM, KEY, card, clear_credentials, emissions_of, failure_of
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_credentials(monkeypatch)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as server:
        server.base_url = server.base_url.removesuffix("/v1")
        yield server


def test_azure_wants_the_operators_own_resource(provider: ScriptedUpstream) -> None:
    """R239: there is no public address to fall back on; newer paths are chosen by the URL."""
    error = failure_of(card(ApiKind.AZURE_OPENAI, provider, base_url=None), StreamOptions(api_key=KEY))
    assert error.kind is GatewayErrorKind.UNSUPPORTED and "resource" in error.message
    provider.play(Recording(CHAT))
    base_url = provider.base_url + "/openai/v1"
    emissions_of(card(ApiKind.AZURE_OPENAI, provider, base_url=base_url), StreamOptions(api_key=KEY))
    assert provider.got.path == "/openai/v1/chat/completions"


def test_bedrock_signs_with_the_environments_keys_or_a_profile(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R242 and contradiction C11: it works, with a signature or a token; without a region it says so."""
    model = card(ApiKind.AMAZON_BEDROCK, provider)
    assert failure_of(model, StreamOptions(api_key=KEY)).message.startswith("amazon: no region: set AWS_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    assert failure_of(model).kind is GatewayErrorKind.AUTH  # half a key
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s\udcff")
    assert failure_of(model).kind is GatewayErrorKind.AUTH  # bytes that are no text
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session")
    provider.play(Recording(CONVERSE, EVENTSTREAM))
    assert isinstance(emissions_of(model)[-1], DoneEmission)
    signed = provider.got
    assert (signed.credential or "").startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in (signed.credential or "")
    assert signed.header("x-amz-security-token") == "the-session"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "work")
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id=NO\naws_secret_access_key=NO\n"
        "[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    provider.play(Recording(CONVERSE, EVENTSTREAM))
    emissions_of(model)
    assert (provider.got.credential or "").startswith("AWS4-HMAC-SHA256 Credential=AKIDWORK/")


def test_vertex_takes_the_project_from_the_environment_or_the_key_file(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R245: a project alone opens nothing, a file that cannot be read is a missing key."""
    model = card(ApiKind.GOOGLE_VERTEX, provider, base_url=None)
    assert "no project" in failure_of(model, StreamOptions(api_key=KEY)).message
    key_file = json.dumps({"type": "service_account", "project_id": "of-the-file"})
    assert "/projects/of-the-file/" in place_card(model, key_file).base_url
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-cloud")
    assert failure_of(model).kind is GatewayErrorKind.AUTH
    assert "/projects/of-the-cloud/" in place_card(model, KEY).base_url
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert failure_of(model).kind is GatewayErrorKind.AUTH
    (tmp_path / "absent.json").write_text(key_file)
    broken = failure_of(model)
    assert broken.kind is GatewayErrorKind.AUTH and "key file" in broken.message


def test_a_service_account_buys_one_token_for_many_calls_and_another_once_it_is_refused(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R191, R245: the key file signs for itself; its token goes to Vertex, the key nowhere."""
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with scripted_upstream() as tokens:
        account = {"type": "service_account", "client_email": "a@p.iam", "private_key_id": "k", "private_key": key}
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account | {"token_uri": tokens.base_url + "/token"}, indent=1))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        tokens.play(Recording(b'{"access_token":"ya-bought","expires_in":3600}', "application/json"))
        provider.play(Recording(GEMINI))
        model = card(ApiKind.GOOGLE_VERTEX, provider)
        assert all(isinstance(emissions_of(model)[-1], DoneEmission) for _ in range(2))
        assert [each.credential for each in provider.received] == ["Bearer ya-bought"] * 2
        assert len(tokens.received) == 1
        provider.play(Recording(b"{}", "application/json", 401))
        assert failure_of(model).kind is GatewayErrorKind.AUTH
        assert len(tokens.received) == 2  # one of the two calls above bought a new one


def test_deepseek_and_zai_are_known_by_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """R236 and contradictions C10, C12: they stay no ProviderId; their own key, and none of OpenAI's, goes there."""
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai")
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    seen: list[HttpRequest] = []

    class Tape:
        async def post(
            self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
        ) -> HttpResponse:
            seen.append(request)
            return HttpResponse(503, None)

    connector = create_openai_chat_connector(environment_credential_resolver(), Tape())
    known = get_card("gpt-4o")
    assert known is not None
    model = replace(known, id="deepseek-chat", base_url="https://api.deepseek.com", reasoning=True)
    options = StreamOptions(max_output_tokens=7, thinking=ThinkingLevel.OFF)

    def fail() -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            asyncio.run(connector.complete(model, HELLO, options))
        return caught.value

    assert "DEEPSEEK_API_KEY" in fail().message and not seen
    monkeypatch.setenv("DEEPSEEK_API_KEY", "of-deepseek")
    assert fail().upstream_status == 503
    assert seen[0].headers["authorization"] == "Bearer of-deepseek"
    body = json.loads(seen[0].body)
    assert (body["max_tokens"], body["thinking"]) == (7, {"type": "disabled"})


def test_a_key_never_goes_over_an_open_line(provider: ScriptedUpstream) -> None:
    """R232: only TLS, or this machine."""
    error = failure_of(
        card(ApiKind.OPENAI_COMPLETIONS, provider, base_url="http://provider.example/v1"), StreamOptions(api_key=KEY)
    )
    assert error.kind is GatewayErrorKind.UNSUPPORTED and KEY not in error.message


@pytest.mark.parametrize(
    "base_url", ["http://[", "ftp://x", "", "https://u:p@h/v1", "https://h/v1?a=b", "https://h/#x", "http://h:port"]
)
@pytest.mark.parametrize("api", [ApiKind.OPENAI_COMPLETIONS, ApiKind.OLLAMA, ApiKind.AMAZON_BEDROCK])
def test_an_address_that_is_none_is_refused(api: ApiKind, base_url: str, provider: ScriptedUpstream) -> None:
    """R192: in words, as the last emission; nothing else comes out of a stream."""
    error = failure_of(card(api, provider, base_url=base_url), StreamOptions(api_key=KEY))
    assert error.kind is GatewayErrorKind.UNSUPPORTED and "base_url" in error.message


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-1\r\nx-more: 1", "sk-\ud800"])
def test_a_key_that_no_header_can_carry_is_refused(key: str, provider: ScriptedUpstream) -> None:
    """R192, R232: and not repeated."""
    provider.play(Recording(CHAT))
    error = failure_of(card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=key))
    assert error.kind is GatewayErrorKind.AUTH and key not in error.message and provider.received == []


def test_the_usual_addresses_are_those_of_the_vendors() -> None:
    """R225, R234, R236, R238, R240, R241: where a card names none."""
    wanted = {
        "claude-opus-4": "https://api.anthropic.com",
        "gpt-4o": "https://api.openai.com/v1",
        "o3": "https://api.openai.com/v1",
        "gemini-2.5-pro": "https://generativelanguage.googleapis.com/v1beta",
        "nvidia/llama-3.1-nemotron-70b-instruct": "https://integrate.api.nvidia.com/v1",
        "kimi-k2": "https://api.moonshot.ai/v1",
        "llama3.1:8b": "http://127.0.0.1:11434",
        "MiniMax-M2.7": "https://api.minimax.io/anthropic",
    }
    found = {}
    for name in wanted:
        known = get_card(name)
        assert known is not None
        found[name] = place_card(known, "").base_url
    assert found == wanted


def test_the_vendor_of_a_card_says_whose_key_is_used(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R225, R234: one language, two vendors; the version of its API is named."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-anthropic")
    monkeypatch.setenv("MINIMAX_API_KEY", "of-minimax")
    minimax = get_card("MiniMax-M2.7")
    assert minimax is not None
    for model, key in ((card(ApiKind.ANTHROPIC_MESSAGES, provider), "of-anthropic"), (minimax, "of-minimax")):
        provider.play(Recording(CLAUDE.replace(b"STOP", b"end_turn")))
        emissions_of(replace(model, base_url=provider.base_url))
        assert provider.got.header("x-api-key") == key
        assert provider.got.header("anthropic-version") == "2023-06-01"


@pytest.mark.parametrize("api", [api for api in ApiKind if api not in (ApiKind.OLLAMA, ApiKind.MOCK)])
def test_a_missing_key_is_an_error_that_names_the_variable(api: ApiKind, provider: ScriptedUpstream) -> None:
    """R192, R232: AUTH, the only emission, and nothing was sent."""
    provider.play(Recording(b""))
    model = card(api, provider)
    error = failure_of(model)
    named = {row.provider: row.env_vars for row in secret_table()}[model.provider]
    assert error.kind is GatewayErrorKind.AUTH and error.provider == model.provider
    assert all(name in error.message for name in named)
    assert len(emissions_of(model)) == 1 and provider.received == []


def test_ollama_needs_no_key(provider: ScriptedUpstream) -> None:
    """R241."""
    provider.play(Recording(OLLAMA, "application/x-ndjson"))
    assert isinstance(emissions_of(card(ApiKind.OLLAMA, provider))[-1], DoneEmission)
    assert provider.got.credential is None
