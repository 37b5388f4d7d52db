"""The catalog: what is known of each provider family. A provider is a row here, never a class."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gateway.connectors.azure import RESOURCE_URL, V1
from gateway.connectors.connector import Connector
from tee.errors import Malformed

OPENAI_CHAT, ANTHROPIC, GEMINI = "openai_chat", "anthropic_messages", "gemini"
BEDROCK, OLLAMA = "bedrock_converse", "ollama"
RESPONSES, COMPLETIONS, EMBEDDINGS = "openai_responses", "openai_completions", "openai_embeddings"
EMBEDDED_MOCK = "mock:embedded"  # the provider that the gateway runs beside itself, for trying things out

_REGION = re.compile(r"[a-z]{2,3}(-[a-z]{1,16}){1,3}-\d{1,2}", re.ASCII)  # a part of a host's name
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
ANY_PROJECT = "PROJECT"  # what an operator must replace in Vertex's URL

FAMILIES: dict[str, Connector] = {
    row.family: row
    for row in (
        Connector(
            "openai",
            "openai",
            OPENAI_CHAT,
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            also=frozenset({RESPONSES, EMBEDDINGS}),
        ),
        # For its models that no longer answer chat completions, and for others' servers of Responses.
        Connector(
            "openai-responses",
            "openai-responses",
            RESPONSES,
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            also=frozenset({EMBEDDINGS}),
        ),
        Connector(
            "anthropic",
            "anthropic",
            ANTHROPIC,
            "https://api.anthropic.com",
            ("ANTHROPIC_API_KEY",),
            auth_header="x-api-key",
        ),
        # MiniMax has an OpenAI layer too, which mixes thoughts into the text.
        Connector(
            "minimax",
            "minimax",
            ANTHROPIC,
            "https://api.minimax.io/anthropic",
            ("MINIMAX_API_KEY",),
            auth_header="x-api-key",
            lacks=frozenset({"anthropic_count_tokens"}),
        ),
        Connector(
            "gemini",
            "gemini",
            GEMINI,
            "https://generativelanguage.googleapis.com/v1beta",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            auth_header="x-goog-api-key",
        ),
        Connector(
            "bedrock",
            "bedrock",
            BEDROCK,
            "https://bedrock-runtime.{region}.amazonaws.com",
            ("AWS_BEARER_TOKEN_BEDROCK",),
            aws_service="bedrock",
        ),
        Connector(
            "vertex",
            "vertex",
            GEMINI,
            f"https://aiplatform.googleapis.com/v1/projects/{ANY_PROJECT}/locations/global/publishers/google",
            ("GOOGLE_APPLICATION_CREDENTIALS",),
            service_account=True,
        ),
        Connector("deepseek", "deepseek", OPENAI_CHAT, "https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
        Connector(
            "zai",
            "zai",
            OPENAI_CHAT,
            "https://api.z.ai/api/paas/v4",
            ("ZAI_API_KEY", "ZHIPU_API_KEY"),
            also=frozenset({EMBEDDINGS}),
        ),
        Connector("kimi", "kimi", OPENAI_CHAT, "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY", "KIMI_API_KEY")),
        Connector(
            "nvidia",
            "nvidia",
            OPENAI_CHAT,
            "https://integrate.api.nvidia.com/v1",
            ("NVIDIA_API_KEY",),
            also=frozenset({EMBEDDINGS}),
        ),
        Connector(
            "azure",
            "azure",
            OPENAI_CHAT,
            RESOURCE_URL,
            ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
            auth_header="api-key",
            api_version="2024-08-01-preview",
            also=frozenset({EMBEDDINGS}),
            azure=True,
        ),
        # For its deployments that answer Responses only.
        Connector(
            "azure-responses",
            "azure-responses",
            RESPONSES,
            RESOURCE_URL,
            ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
            auth_header="api-key",
            api_version=V1,
            also=frozenset({EMBEDDINGS}),
            azure=True,
        ),
        Connector(
            "vllm",
            "vllm",
            OPENAI_CHAT,
            "http://127.0.0.1:8000/v1",
            ("VLLM_API_KEY",),
            needs_credential=False,
            also=frozenset({COMPLETIONS, EMBEDDINGS}),
        ),
        Connector("ollama", "ollama", OLLAMA, "http://127.0.0.1:11434", (), needs_credential=False),
        Connector(
            "mock",
            "mock",
            OPENAI_CHAT,
            EMBEDDED_MOCK,
            (),
            needs_credential=False,
            also=frozenset({RESPONSES, COMPLETIONS, EMBEDDINGS}),
        ),
    )
}


def check_region(family: Connector, region: str | None, path: str) -> str | None:
    """The region of a service of AWS. Raises Malformed, also where no signature would ever name it."""
    if family.aws_service is None:
        if region is not None:
            raise Malformed(path, f"a region, for {family.family}", "none: only AWS's services have one")
        return None
    if region is None or not _REGION.fullmatch(region):
        raise Malformed(path, ascii(region)[:64], "the service's region, for example eu-central-1")
    return region


def check_date(version: str | None, path: str) -> str | None:
    """The version of an API that has dates. Raises Malformed."""
    if version is not None and not _DATE.fullmatch(version):
        raise Malformed(path, repr(version[:64]), "a date, such as 2023-06-01")
    return version


def normalise_base_url(url: str, dialect: str) -> str:
    """`url` as the dialect's paths follow it: OpenAI's begin after `/v1`, Anthropic's with it, Ollama's with `/api`."""
    trimmed = url.rstrip("/")
    if dialect == ANTHROPIC:
        return trimmed.removesuffix("/v1")
    if dialect == BEDROCK:
        return trimmed
    if dialect == OLLAMA:
        return trimmed.removesuffix("/v1").removesuffix("/api")
    if dialect == GEMINI:
        return trimmed if urlsplit(trimmed).path else f"{trimmed}/v1beta"
    return trimmed if urlsplit(trimmed).path or trimmed == EMBEDDED_MOCK else f"{trimmed}/v1"
