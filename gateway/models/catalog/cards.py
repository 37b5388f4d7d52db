"""The 13 curated cards.

Every number is an approximate, rounded estimate for planning on one machine: no vendor's price list, and no bill.
"""

from __future__ import annotations

from gateway.models.contract.model_card import ApiKind, CostSheet, Modality, ModelCard, ProviderId

_TEXT = (Modality.TEXT,)
_IMAGES = (Modality.TEXT, Modality.IMAGE)
_ALL = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO)
_FREE = CostSheet(0.0, 0.0)  # it runs on one's own machine

_CARDS = (
    ModelCard(
        "claude-opus-4", ProviderId.ANTHROPIC, ApiKind.ANTHROPIC_MESSAGES, "Claude Opus 4",
        200_000, 32_000, _IMAGES, True, CostSheet(15.0, 75.0, 1.5, 18.75),
    ),
    ModelCard(
        "claude-sonnet-4", ProviderId.ANTHROPIC, ApiKind.ANTHROPIC_MESSAGES, "Claude Sonnet 4",
        200_000, 64_000, _IMAGES, True, CostSheet(3.0, 15.0, 0.3, 3.75),
    ),
    ModelCard(
        "claude-haiku-3-5", ProviderId.ANTHROPIC, ApiKind.ANTHROPIC_MESSAGES, "Claude Haiku 3.5",
        200_000, 8_192, _IMAGES, False, CostSheet(0.8, 4.0, 0.08, 1.0),
    ),
    ModelCard(
        "gpt-4o", ProviderId.OPENAI, ApiKind.OPENAI_COMPLETIONS, "GPT-4o",
        128_000, 16_384, _ALL, False, CostSheet(2.5, 10.0, 1.25),
    ),
    ModelCard(
        "gpt-4o-mini", ProviderId.OPENAI, ApiKind.OPENAI_COMPLETIONS, "GPT-4o mini",
        128_000, 16_384, _IMAGES, False, CostSheet(0.15, 0.6, 0.075),
    ),
    ModelCard(
        "o3", ProviderId.OPENAI, ApiKind.OPENAI_RESPONSES, "o3",
        200_000, 100_000, _IMAGES, True, CostSheet(2.0, 8.0, 0.5),
    ),
    ModelCard(
        "o4-mini", ProviderId.OPENAI, ApiKind.OPENAI_RESPONSES, "o4-mini",
        200_000, 100_000, _IMAGES, True, CostSheet(1.1, 4.4, 0.275),
    ),
    ModelCard(
        "gemini-2.5-pro", ProviderId.GOOGLE, ApiKind.GOOGLE_GENERATIVE, "Gemini 2.5 Pro",
        1_000_000, 65_536, _ALL, True, CostSheet(1.25, 10.0, 0.125),
    ),
    ModelCard(
        "gemini-2.5-flash", ProviderId.GOOGLE, ApiKind.GOOGLE_GENERATIVE, "Gemini 2.5 Flash",
        1_000_000, 65_536, _ALL, True, CostSheet(0.3, 2.5, 0.03),
    ),
    ModelCard(
        "nvidia/llama-3.1-nemotron-70b-instruct", ProviderId.NVIDIA, ApiKind.NVIDIA_OPENAI_COMPATIBLE,
        "Llama 3.1 Nemotron 70B Instruct", 128_000, 4_096, _TEXT, False, CostSheet(0.6, 0.6),
    ),
    ModelCard(
        "kimi-k2", ProviderId.KIMI, ApiKind.KIMI_OPENAI_COMPATIBLE, "Kimi K2",
        256_000, 16_384, _TEXT, True, CostSheet(0.6, 2.5, 0.15),
    ),
    ModelCard(
        "llama3.1:8b", ProviderId.OLLAMA, ApiKind.OLLAMA, "Llama 3.1 8B",
        128_000, 4_096, _TEXT, False, _FREE,
    ),
    ModelCard(
        "mock-1", ProviderId.MOCK, ApiKind.MOCK, "Mock 1",
        32_000, 4_096, _TEXT, False, _FREE,
    ),
)  # fmt: skip


def model_cards() -> tuple[ModelCard, ...]:
    """The curated cards, in order."""
    return _CARDS
