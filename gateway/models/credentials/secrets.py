"""The table of secrets: which variables hold the credential of each provider, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.environment import read_variable
from gateway.models.contract.model_card import ProviderId


class SecretScheme(StrEnum):
    """What a credential is: a key in a header, an identity of a cloud, or nothing."""

    API_KEY = "api-key"
    CLOUD_IAM = "cloud-iam"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SecretDescriptor:
    """One provider: the variables to look into, first to last, and words for a person who has set none."""

    provider: ProviderId
    scheme: SecretScheme
    env_vars: tuple[str, ...]
    hint: str


def _key(provider: ProviderId, *env_vars: str) -> SecretDescriptor:
    hint = f"set {' or '.join(env_vars)} to your key, or give it as api_key"
    return SecretDescriptor(provider, SecretScheme.API_KEY, env_vars, hint)


def _none(provider: ProviderId) -> SecretDescriptor:
    return SecretDescriptor(provider, SecretScheme.NONE, (), "needs no credential")


_TABLE = (
    _key(ProviderId.ANTHROPIC, "ANTHROPIC_API_KEY"),
    _key(ProviderId.OPENAI, "OPENAI_API_KEY"),
    _key(ProviderId.GOOGLE, "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    SecretDescriptor(
        ProviderId.GOOGLE_VERTEX,
        SecretScheme.CLOUD_IAM,
        ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT"),
        "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or give an access token as api_key; "
        "set GOOGLE_VERTEX_PROJECT or GOOGLE_CLOUD_PROJECT where the file names no project",
    ),
    SecretDescriptor(
        ProviderId.AMAZON,
        SecretScheme.CLOUD_IAM,
        ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
        "set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    _key(ProviderId.AZURE, "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    _key(ProviderId.NVIDIA, "NVIDIA_API_KEY"),
    _key(ProviderId.KIMI, "MOONSHOT_API_KEY", "KIMI_API_KEY"),
    _key(ProviderId.MINIMAX, "MINIMAX_API_KEY"),
    _none(ProviderId.OLLAMA),
    _none(ProviderId.MOCK),
)
_BY_PROVIDER = {row.provider: row for row in _TABLE}


def secret_table() -> tuple[SecretDescriptor, ...]:
    """One row for each provider, in order."""
    return _TABLE


def describe_secret(provider: ProviderId) -> SecretDescriptor:
    """The row of a provider."""
    return _BY_PROVIDER[provider]


def resolve_secret(provider: ProviderId, override: str | None = None) -> str | None:
    """The caller's own value if it says something, else that of the first variable that is set."""
    given = (override or "").strip()
    if given:
        return given
    values = (read_variable(name) for name in describe_secret(provider).env_vars)
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True, slots=True)
class EnvironmentCredentialResolver:
    """A CredentialResolver over `resolve_secret`."""

    async def resolve(self, provider: ProviderId, override: str | None = None) -> str | None:
        """The caller's own value, else the environment's."""
        return resolve_secret(provider, override)


def environment_credential_resolver() -> EnvironmentCredentialResolver:
    """The resolver that every connector of the registry shares."""
    return EnvironmentCredentialResolver()
