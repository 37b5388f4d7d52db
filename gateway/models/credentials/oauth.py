"""OAuth 2.0 (RFC 6749): authorization code with PKCE, and refresh."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gateway.dialects.fields import count, word
from gateway.jsonbody import read_json_object
from gateway.models.connectors.http import HttpRequest, HttpTransport
from gateway.models.connectors.network import shared_transport
from gateway.models.contract.errors import GatewayError, GatewayErrorKind, status_kind
from gateway.models.contract.model_card import ProviderId
from gateway.models.credentials.pkce import PKCE_METHOD

_FORM = "application/x-www-form-urlencoded"
_MAX_SECONDS = 10 * 365 * 86400  # a token that lives longer is one that never ends


@dataclass(frozen=True, slots=True)
class OAuthConfig:
    """Where a provider authorizes. `client_id` is empty until a deployment fills it with its own."""

    provider: ProviderId
    authorize_url: str
    token_url: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OAuthTokens:
    """What a provider gave. `expires_at` is in seconds since 1970, None if it did not say."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class AuthUrlInputs:
    """What one login adds to the URL: a fresh `state`, and the challenge of a fresh PKCE pair."""

    state: str
    challenge: str


_CONFIGS = {
    ProviderId.ANTHROPIC: OAuthConfig(
        ProviderId.ANTHROPIC,
        "https://claude.ai/oauth/authorize",
        "https://console.anthropic.com/v1/oauth/token",
        "",
        "https://console.anthropic.com/oauth/code/callback",
        ("org:create_api_key", "user:profile", "user:inference"),
    ),
    ProviderId.OPENAI: OAuthConfig(
        ProviderId.OPENAI,
        "https://auth.openai.com/oauth/authorize",
        "https://auth.openai.com/oauth/token",
        "",
        "http://localhost:1455/auth/callback",
        ("openid", "profile", "email", "offline_access"),
    ),
}


def oauth_config_for(provider: ProviderId) -> OAuthConfig | None:
    """Where to log in; None for every provider but Anthropic and OpenAI."""
    return _CONFIGS.get(provider)


def build_auth_url(config: OAuthConfig, inputs: AuthUrlInputs) -> str:
    """The URL that the user opens (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
    _require_client(config)
    query = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": config.redirect_uri,
        "scope": " ".join(config.scopes),
        "state": inputs.state,
        "code_challenge": inputs.challenge,
        "code_challenge_method": PKCE_METHOD,
    }
    return f"{config.authorize_url}?{urlencode(query)}"


async def exchange_code(
    config: OAuthConfig,
    code: str,
    verifier: str,
    transport: HttpTransport = shared_transport,
    clock: Callable[[], float] = time.time,
) -> OAuthTokens:
    """Tokens for the code that came back (§4.1.3). Raises: GatewayError."""
    form = {"code": code, "redirect_uri": config.redirect_uri, "code_verifier": verifier}
    return await _ask(config, {"grant_type": "authorization_code", **form}, transport, clock)


async def refresh_token(
    config: OAuthConfig,
    refresh: str,
    transport: HttpTransport = shared_transport,
    clock: Callable[[], float] = time.time,
) -> OAuthTokens:
    """Fresh tokens for an old one (§6); the refresh token stays if no other came. Raises: GatewayError."""
    tokens = await _ask(config, {"grant_type": "refresh_token", "refresh_token": refresh}, transport, clock)
    return OAuthTokens(tokens.access_token, tokens.refresh_token or refresh, tokens.expires_at)


async def _ask(
    config: OAuthConfig, form: dict[str, str], transport: HttpTransport, clock: Callable[[], float]
) -> OAuthTokens:
    """No message repeats a word of what was sent or answered, but the error's own name (§5.2)."""
    _require_client(config)
    body = urlencode({**form, "client_id": config.client_id}).encode()
    headers = {"content-type": _FORM, "accept": "application/json"}
    request = HttpRequest(config.token_url, headers, body)
    response = await transport.post(
        request,
        config.provider,
        "the token endpoint could not be reached",
        "cancelled while the token endpoint was waited for",
    )
    fields = read_json_object(await response.read()) or {}
    if not response.ok:
        reason = word(fields, "error")
        told = f" ({reason})" if reason.isascii() and reason.isidentifier() and len(reason) <= 64 else ""
        words = f"the token endpoint answered with status {response.status}{told}"
        raise GatewayError(status_kind(response.status), words, status=response.status, provider=config.provider)
    access, seconds = word(fields, "access_token"), count(fields.get("expires_in"))
    if not access:
        words = "the token endpoint's answer holds no access_token"
        raise GatewayError(GatewayErrorKind.PARSE, words, provider=config.provider)
    ends = None if seconds is None else int(clock()) + min(seconds, _MAX_SECONDS)
    return OAuthTokens(access, word(fields, "refresh_token") or None, ends)


def _require_client(config: OAuthConfig) -> None:
    if not config.client_id:
        words = f"OAuth of {config.provider}: client_id is empty, wanted the id of your own client"
        raise GatewayError(GatewayErrorKind.UNSUPPORTED, words, provider=config.provider)
