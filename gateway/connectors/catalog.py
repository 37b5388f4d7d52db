"""The catalog: what is known of each provider family. A provider is a row here, never a class."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.connectors.connector import Connector

OPENAI_CHAT = "openai_chat"
EMBEDDED_MOCK = "mock:embedded"  # the provider that the gateway runs beside itself, for trying things out

FAMILIES: dict[str, Connector] = {
    row.family: row
    for row in (
        Connector("openai", "openai", OPENAI_CHAT, "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
        Connector("deepseek", "deepseek", OPENAI_CHAT, "https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
        Connector("zai", "zai", OPENAI_CHAT, "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY", "ZHIPU_API_KEY")),
        Connector("vllm", "vllm", OPENAI_CHAT, "http://127.0.0.1:8000/v1", ("VLLM_API_KEY",), needs_credential=False),
        Connector("ollama", "ollama", OPENAI_CHAT, "http://127.0.0.1:11434/v1", (), needs_credential=False),
        Connector("mock", "mock", OPENAI_CHAT, EMBEDDED_MOCK, (), needs_credential=False),
    )
}


def normalise_base_url(url: str) -> str:
    """`url` without a trailing slash, and with `/v1` where its path is empty."""
    trimmed = url.rstrip("/")
    return trimmed if urlsplit(trimmed).path or trimmed == EMBEDDED_MOCK else f"{trimmed}/v1"
