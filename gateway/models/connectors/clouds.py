"""What the clouds ask for instead of a key: AWS a signature, Google a token that a service account buys."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import read_aws_credentials
from gateway.connectors.catalog import ANY_PROJECT
from gateway.connectors.connector import Connector
from gateway.credentials import fits_headers, read_aws_file
from gateway.dialects.fields import word
from gateway.environment import read_variable
from gateway.google_token import GoogleTokens
from gateway.jsonbody import read_json_object
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.model_card import ProviderId
from gateway.models.credentials.secrets import describe_secret
from tee.aws.sigv4 import AwsCredentials

_TOKENS = GoogleTokens()
_REGION_IN_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com", re.ASCII)
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]{4,62}", re.ASCII)
_JSON_TYPE = "application/json"


def place_bedrock(connector: Connector, base_url: str) -> Connector:
    """The connector of one region: that of the URL, else of the environment. Raises: GatewayError."""
    named = _REGION_IN_HOST.search(base_url)
    region = named[1] if named else read_variable("AWS_REGION") or read_variable("AWS_DEFAULT_REGION")
    if region is None or not re.fullmatch(r"[a-z0-9-]{1,40}", region, re.ASCII):
        raise _unsupported(ProviderId.AMAZON, "no region: set AWS_REGION, or give the card a base_url")
    return replace(connector, base_url=base_url.replace("{region}", region), region=region)


def sign_bedrock(connector: Connector, url: str, body: bytes, secret: str) -> dict[str, str]:
    """The headers for what `resolve_secret` found: a bearer token, an access key or a profile. Raises: GatewayError."""
    found: AwsCredentials | None = None
    if secret == read_variable("AWS_ACCESS_KEY_ID"):
        found = read_aws_credentials()
    elif secret == read_variable("AWS_PROFILE"):
        place = read_variable("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
        found = read_aws_file(Path(place).expanduser(), secret)
    else:
        return connector.credential_header(secret)
    if found is None or not fits_headers(found):
        raise missing_secret(ProviderId.AMAZON)
    return connector.signed_headers(found, url, _JSON_TYPE, body, datetime.now(UTC))


def place_vertex(connector: Connector, base_url: str, secret: str) -> Connector:
    """The connector of one project: of the environment, else of the key file. Raises: GatewayError."""
    if f"/{ANY_PROJECT}/" not in base_url:
        return replace(connector, base_url=base_url)
    project = read_variable("GOOGLE_VERTEX_PROJECT") or read_variable("GOOGLE_CLOUD_PROJECT")
    project = project or word(read_json_object(_key_file(secret) or "") or {}, "project_id")
    if not _PROJECT.fullmatch(project):
        raise _unsupported(ProviderId.GOOGLE_VERTEX, "no project: set GOOGLE_VERTEX_PROJECT, or give a base_url")
    return replace(connector, base_url=base_url.replace(ANY_PROJECT, project))


async def authorize_vertex(connector: Connector, secret: str) -> dict[str, str]:
    """The header with a token: one that is bought where the secret is, or names, a key file. Raises: GatewayError."""
    key_file = _key_file(secret)
    if key_file is None and secret in (read_variable("GOOGLE_VERTEX_PROJECT"), read_variable("GOOGLE_CLOUD_PROJECT")):
        raise missing_secret(ProviderId.GOOGLE_VERTEX)  # a project is found, nothing that may use it
    token = secret if key_file is None else await _TOKENS.token(ProviderId.GOOGLE_VERTEX, key_file)
    return connector.credential_header(token)


def forget_vertex() -> None:
    """The token was refused: the next call buys another."""
    _TOKENS.forget(ProviderId.GOOGLE_VERTEX)


def missing_secret(provider: ProviderId) -> GatewayError:
    """What is said where nothing was found: it names the variables."""
    words = f"no credential for {provider}: {describe_secret(provider).hint}"
    return GatewayError(GatewayErrorKind.AUTH, words, provider=provider)


def _key_file(secret: str) -> str | None:
    """The text of a service account's key file, given or named; None where the secret is a token."""
    if secret.startswith("{"):
        return secret
    if secret != read_variable("GOOGLE_APPLICATION_CREDENTIALS"):
        return None
    try:
        return Path(secret).read_text(errors="replace")
    except OSError:
        raise missing_secret(ProviderId.GOOGLE_VERTEX) from None


def _unsupported(provider: ProviderId, words: str) -> GatewayError:
    return GatewayError(GatewayErrorKind.UNSUPPORTED, f"{provider}: {words}", provider=provider)
