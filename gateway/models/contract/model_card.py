"""ModelCard: what is known of one model, and the words that it is known by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProviderId(StrEnum):
    """Who serves a model; several may share a wire language."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GOOGLE = "google"
    GOOGLE_VERTEX = "google-vertex"
    AMAZON = "amazon"
    AZURE = "azure"
    NVIDIA = "nvidia"
    KIMI = "kimi"
    MINIMAX = "minimax"
    OLLAMA = "ollama"
    MOCK = "mock"


class ApiKind(StrEnum):
    """The wire language in which a model is asked: `tuple(ApiKind)` are all."""

    ANTHROPIC_MESSAGES = "anthropic-messages"
    OPENAI_COMPLETIONS = "openai-completions"
    OPENAI_RESPONSES = "openai-responses"
    GOOGLE_GENERATIVE = "google-generative"
    GOOGLE_VERTEX = "google-vertex"
    AMAZON_BEDROCK = "amazon-bedrock"
    AZURE_OPENAI = "azure-openai"
    NVIDIA_OPENAI_COMPATIBLE = "nvidia-openai-compatible"
    KIMI_OPENAI_COMPATIBLE = "kimi-openai-compatible"
    OLLAMA = "ollama"
    MOCK = "mock"


class Modality(StrEnum):
    """What a model takes in."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class CostSheet:
    """US dollars per million tokens. A tier of the cache that is None is not priced."""

    input_per_mtok: float
    output_per_mtok: float
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model. Costs and limits are rounded estimates, never a bill.

    `base_url` is None where the provider has a usual one; `cost` is None where nobody knows the price.
    """

    id: str
    provider: ProviderId
    api: ApiKind
    display_name: str
    context_window: int
    max_output_tokens: int
    modalities: tuple[Modality, ...]
    reasoning: bool
    cost: CostSheet | None = None
    base_url: str | None = None
