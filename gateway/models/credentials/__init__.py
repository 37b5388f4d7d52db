"""Where credentials are found, and how OAuth gets some: part of the public face."""

from gateway.models.credentials.oauth import (
    AuthUrlInputs,
    OAuthConfig,
    OAuthTokens,
    build_auth_url,
    exchange_code,
    oauth_config_for,
    refresh_token,
)
from gateway.models.credentials.pkce import PKCE_METHOD, PkcePair, create_pkce_pair, derive_code_challenge
from gateway.models.credentials.secrets import (
    EnvironmentCredentialResolver,
    SecretDescriptor,
    SecretScheme,
    describe_secret,
    environment_credential_resolver,
    resolve_secret,
    secret_table,
)

__all__ = [
    "PKCE_METHOD",
    "AuthUrlInputs",
    "EnvironmentCredentialResolver",
    "OAuthConfig",
    "OAuthTokens",
    "PkcePair",
    "SecretDescriptor",
    "SecretScheme",
    "build_auth_url",
    "create_pkce_pair",
    "derive_code_challenge",
    "describe_secret",
    "environment_credential_resolver",
    "exchange_code",
    "oauth_config_for",
    "refresh_token",
    "resolve_secret",
    "secret_table",
]
