"""Where credentials are found, PKCE, and OAuth against a token endpoint on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.environment import read_variable
from gateway.models import (
    AuthUrlInputs,
    GatewayError,
    GatewayErrorKind,
    OAuthConfig,
    ProviderId,
    SecretScheme,
    build_auth_url,
    create_pkce_pair,
    derive_code_challenge,
    environment_credential_resolver,
    exchange_code,
    oauth_config_for,
    refresh_token,
    resolve_secret,
)
from gateway.models.credentials import PKCE_METHOD, describe_secret, secret_table
from tests.worlds.model_calls import clear_credentials
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

TABLE = [
    ("anthropic", "api-key", ["ANTHROPIC_API_KEY"]),
    ("openai", "api-key", ["OPENAI_API_KEY"]),
    ("google", "api-key", ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    (
        "google-vertex",
        "cloud-iam",
        ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT"],
    ),
    ("amazon", "cloud-iam", ["AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"]),
    ("azure", "api-key", ["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"]),
    ("nvidia", "api-key", ["NVIDIA_API_KEY"]),
    ("kimi", "api-key", ["MOONSHOT_API_KEY", "KIMI_API_KEY"]),
    ("minimax", "api-key", ["MINIMAX_API_KEY"]),
    ("ollama", "none", []),
    ("mock", "none", []),
]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_credentials(monkeypatch)


@pytest.fixture
def endpoint() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as server:
        yield server


def client(endpoint: ScriptedUpstream) -> OAuthConfig:
    config = oauth_config_for(ProviderId.ANTHROPIC)
    assert config is not None
    return replace(config, client_id="our-client", token_url=f"{endpoint.base_url}/token")


def test_the_table_has_a_row_for_each_provider_in_order() -> None:
    """R244, R245."""
    assert [(row.provider.value, row.scheme.value, list(row.env_vars)) for row in secret_table()] == TABLE
    assert [row.provider for row in secret_table()] == list(ProviderId)
    for row in secret_table():
        assert describe_secret(row.provider) is row
        assert all(name in row.hint for name in row.env_vars)
    assert len(SecretScheme) == 3


@pytest.mark.parametrize(("provider", "names"), [(row[0], row[2]) for row in TABLE if row[2]])
def test_variables_are_asked_in_order_and_empty_ones_are_absent(
    provider: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R244, R245."""
    assert resolve_secret(ProviderId(provider)) is None
    for name in reversed(names):
        monkeypatch.setenv(name, f" value-of-{name} ")
        assert resolve_secret(ProviderId(provider)) == f"value-of-{name}"
    monkeypatch.setenv(names[0], "  ")
    assert resolve_secret(ProviderId(provider)) == (f"value-of-{names[1]}" if len(names) > 1 else None)


def test_the_callers_own_goes_first_where_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """R208, R244."""
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert resolve_secret(ProviderId.OPENAI, "  given ") == "given"
    assert resolve_secret(ProviderId.OPENAI, "   ") == "from-environment"
    assert resolve_secret(ProviderId.MOCK) is None


def test_the_resolver_is_the_same_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """R210, R247."""
    monkeypatch.setenv("KIMI_API_KEY", "second")
    resolver = environment_credential_resolver()
    assert asyncio.run(resolver.resolve(ProviderId.KIMI)) == "second"
    assert asyncio.run(resolver.resolve(ProviderId.KIMI, "mine")) == "mine"
    assert asyncio.run(resolver.resolve(ProviderId.OLLAMA)) is None


def test_a_variable_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """R263: one place reads the environment for all of these."""
    monkeypatch.setenv("NVIDIA_API_KEY", "one")
    assert read_variable("NVIDIA_API_KEY") == "one"
    monkeypatch.delenv("NVIDIA_API_KEY")
    assert read_variable("NVIDIA_API_KEY") is None


def test_the_challenge_is_that_of_the_standard() -> None:
    """R248: RFC 7636 Appendix B."""
    assert derive_code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize(("wanted", "got"), [(-1, 43), (0, 43), (43, 43), (64, 64), (128, 128), (4096, 128)])
def test_a_verifier_has_the_lengths_of_the_standard(wanted: int, got: int) -> None:
    """R248: unreserved characters, never the same twice, never shown."""
    pair, other = create_pkce_pair(wanted), create_pkce_pair(wanted)
    assert (len(pair.verifier), pair.method, PKCE_METHOD) == (got, "S256", "S256")
    assert set(pair.verifier) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
    assert pair.challenge == derive_code_challenge(pair.verifier)
    assert pair.verifier != other.verifier and pair.verifier not in repr(pair)


def test_two_providers_have_oauth_and_a_deployment_brings_its_own_client() -> None:
    """R249."""
    assert [provider for provider in ProviderId if oauth_config_for(provider)] == [
        ProviderId.ANTHROPIC, ProviderId.OPENAI
    ]  # fmt: skip
    config = oauth_config_for(ProviderId.OPENAI)
    assert config is not None and config.client_id == ""
    with pytest.raises(GatewayError, match="client_id is empty"):
        build_auth_url(config, AuthUrlInputs("s", "c"))
    with pytest.raises(GatewayError, match="client_id is empty"):
        asyncio.run(refresh_token(config, "r"))


def test_the_url_to_open_holds_the_challenge_and_no_secret() -> None:
    """R249: RFC 6749 §4.1.1, RFC 7636 §4.3."""
    config = oauth_config_for(ProviderId.OPENAI)
    assert config is not None
    pair = create_pkce_pair()
    url = build_auth_url(replace(config, client_id="our client"), AuthUrlInputs("state&1", pair.challenge))
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith("https://auth.openai.com/oauth/authorize?")
    assert query == {
        "response_type": "code", "client_id": "our client", "redirect_uri": config.redirect_uri,
        "scope": "openid profile email offline_access", "state": "state&1", "code_challenge": pair.challenge,
        "code_challenge_method": "S256",
    }  # fmt: skip


def test_a_code_becomes_tokens(endpoint: ScriptedUpstream) -> None:
    """R249: the form of RFC 6749 §4.1.3, and when the token ends."""
    answer = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 3600}
    endpoint.play(Recording(json.dumps(answer).encode(), "application/json"))
    tokens = asyncio.run(exchange_code(client(endpoint), "the-code", "the-verifier", clock=lambda: 1000.5))
    assert (tokens.access_token, tokens.refresh_token, tokens.expires_at) == ("at-1", "rt-1", 4600)
    assert "at-1" not in repr(tokens)
    assert endpoint.got.header("content-type") == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(endpoint.got.body.decode()).items()}
    assert form == {
        "grant_type": "authorization_code", "code": "the-code", "code_verifier": "the-verifier",
        "client_id": "our-client", "redirect_uri": client(endpoint).redirect_uri,
    }  # fmt: skip


def test_a_refresh_keeps_the_old_token_where_no_other_comes(endpoint: ScriptedUpstream) -> None:
    """R249: RFC 6749 §6."""
    endpoint.play(Recording(b'{"access_token":"at-2"}', "application/json"))
    tokens = asyncio.run(refresh_token(client(endpoint), "rt-old"))
    assert (tokens.access_token, tokens.refresh_token, tokens.expires_at) == ("at-2", "rt-old", None)
    form = {name: values[0] for name, values in parse_qs(endpoint.got.body.decode()).items()}
    assert form == {"grant_type": "refresh_token", "refresh_token": "rt-old", "client_id": "our-client"}


@pytest.mark.parametrize(
    ("recording", "kind", "words"),
    [
        (Recording(b'{"error":"invalid_grant","error_description":"rt-secret"}', "application/json", 400),
         GatewayErrorKind.HTTP, "status 400 (invalid_grant)"),
        (Recording(b"rt-secret", "text/plain", 401), GatewayErrorKind.AUTH, "status 401"),
        (Recording(b"{}", "application/json"), GatewayErrorKind.PARSE, "no access_token"),
        (Recording(b"", "application/json", ending="cut"), GatewayErrorKind.TRANSPORT, "broke off"),
    ],
)  # fmt: skip
def test_a_refused_token_repeats_nothing_but_the_errors_name(
    endpoint: ScriptedUpstream, recording: Recording, kind: GatewayErrorKind, words: str
) -> None:
    """R249."""
    endpoint.play(recording)
    with pytest.raises(GatewayError) as caught:
        asyncio.run(refresh_token(client(endpoint), "rt-secret"))
    assert caught.value.kind is kind and words in caught.value.message
    assert "rt-secret" not in caught.value.message
