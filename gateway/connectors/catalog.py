"""The catalog: what is known of each provider family. A provider is a row here, never a class."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.connectors.connector import Connector

OPENAI_CHAT, ANTHROPIC = "openai_chat", "anthropic_messages"
RESPONSES, COMPLETIONS, EMBEDDINGS = "openai_responses", "openai_completions", "openai_embeddings"
EMBEDDED_MOCK = "mock:embedded"  # the provider that the gateway runs beside itself, for trying things out

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
        Connector("deepseek", "deepseek", OPENAI_CHAT, "https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
        Connector("zai", "zai", OPENAI_CHAT, "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY", "ZHIPU_API_KEY")),
        Connector("kimi", "kimi", OPENAI_CHAT, "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY", "KIMI_API_KEY")),
        Connector("nvidia", "nvidia", OPENAI_CHAT, "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
        Connector(
            "vllm",
            "vllm",
            OPENAI_CHAT,
            "http://127.0.0.1:8000/v1",
            ("VLLM_API_KEY",),
            needs_credential=False,
            also=frozenset({COMPLETIONS, EMBEDDINGS}),
        ),
        Connector(
            "ollama",
            "ollama",
            OPENAI_CHAT,
            "http://127.0.0.1:11434/v1",
            (),
            needs_credential=False,
            also=frozenset({EMBEDDINGS}),
        ),
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


def normalise_base_url(url: str, dialect: str) -> str:
    """`url` as the dialect's paths follow it: OpenAI's begin after `/v1`, Anthropic's with it."""
    trimmed = url.rstrip("/")
    if dialect == ANTHROPIC:
        return trimmed.removesuffix("/v1")
    return trimmed if urlsplit(trimmed).path or trimmed == EMBEDDED_MOCK else f"{trimmed}/v1"
