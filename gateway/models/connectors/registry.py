"""The registry: which connector speaks which wire language. Total over ApiKind."""

from __future__ import annotations

from functools import cache

from gateway.models.connectors.http import HttpTransport
from gateway.models.connectors.live import LiveConnector
from gateway.models.connectors.mock import MockConnector
from gateway.models.connectors.network import shared_transport
from gateway.models.contract.connector import Connector, CredentialResolver
from gateway.models.contract.model_card import ApiKind
from gateway.models.credentials.secrets import environment_credential_resolver


def create_anthropic_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """Anthropic Messages: of Anthropic, and of MiniMax."""
    return LiveConnector("anthropic", ApiKind.ANTHROPIC_MESSAGES, resolver, transport)


def create_openai_chat_connector(
    resolver: CredentialResolver, transport: HttpTransport = shared_transport
) -> Connector:
    """OpenAI chat completions."""
    return LiveConnector("openai-chat", ApiKind.OPENAI_COMPLETIONS, resolver, transport)


def create_openai_responses_connector(
    resolver: CredentialResolver, transport: HttpTransport = shared_transport
) -> Connector:
    """OpenAI Responses."""
    return LiveConnector("openai-responses", ApiKind.OPENAI_RESPONSES, resolver, transport)


def create_google_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """Gemini."""
    return LiveConnector("google-generative", ApiKind.GOOGLE_GENERATIVE, resolver, transport)


def create_google_vertex_connector(
    resolver: CredentialResolver, transport: HttpTransport = shared_transport
) -> Connector:
    """Gemini on Vertex."""
    return LiveConnector("google-vertex", ApiKind.GOOGLE_VERTEX, resolver, transport)


def create_bedrock_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """Bedrock Converse."""
    return LiveConnector("bedrock", ApiKind.AMAZON_BEDROCK, resolver, transport)


def create_azure_openai_connector(
    resolver: CredentialResolver, transport: HttpTransport = shared_transport
) -> Connector:
    """Deployments of Azure OpenAI."""
    return LiveConnector("azure-openai", ApiKind.AZURE_OPENAI, resolver, transport)


def create_nvidia_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """NVIDIA NIM."""
    return LiveConnector("nvidia", ApiKind.NVIDIA_OPENAI_COMPATIBLE, resolver, transport)


def create_kimi_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """Kimi of Moonshot."""
    return LiveConnector("kimi", ApiKind.KIMI_OPENAI_COMPATIBLE, resolver, transport)


def create_ollama_connector(resolver: CredentialResolver, transport: HttpTransport = shared_transport) -> Connector:
    """Ollama."""
    return LiveConnector("ollama", ApiKind.OLLAMA, resolver, transport)


def create_mock_connector() -> Connector:
    """The mock, which needs neither."""
    return MockConnector()


@cache
def _registry() -> dict[ApiKind, Connector]:
    resolver = environment_credential_resolver()
    rows = (
        create_anthropic_connector(resolver),
        create_openai_chat_connector(resolver),
        create_openai_responses_connector(resolver),
        create_google_connector(resolver),
        create_google_vertex_connector(resolver),
        create_bedrock_connector(resolver),
        create_azure_openai_connector(resolver),
        create_nvidia_connector(resolver),
        create_kimi_connector(resolver),
        create_ollama_connector(resolver),
        create_mock_connector(),
    )
    return {row.api: row for row in rows}


def connector_for_api(api: ApiKind) -> Connector | None:
    """The connector that speaks a language; None only for one that is no ApiKind."""
    return _registry().get(api)
