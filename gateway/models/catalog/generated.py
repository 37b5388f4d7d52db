"""The generated catalog: what deploy/catalog/generate.py wrote, read once, and which of it can be reached."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from gateway.models.contract.model_card import ApiKind, CostSheet, Modality, ModelCard, ProviderId

_FILE = "models_generated.json"

# Names of the catalog's, where ours are others. What stands in neither table cannot be reached.
_PROVIDERS = {
    "anthropic": ProviderId.ANTHROPIC,
    "openai": ProviderId.OPENAI,
    "google": ProviderId.GOOGLE,
    "google-vertex": ProviderId.GOOGLE_VERTEX,
    "amazon-bedrock": ProviderId.AMAZON,
    "azure": ProviderId.AZURE,
    "nvidia": ProviderId.NVIDIA,
    "moonshotai": ProviderId.KIMI,
    "minimax": ProviderId.MINIMAX,
}
_APIS = {
    "anthropic-messages": ApiKind.ANTHROPIC_MESSAGES,
    "openai-completions": ApiKind.OPENAI_COMPLETIONS,
    "openai-responses": ApiKind.OPENAI_RESPONSES,
    "google-generative-ai": ApiKind.GOOGLE_GENERATIVE,
    "google-vertex": ApiKind.GOOGLE_VERTEX,
    "bedrock-converse-stream": ApiKind.AMAZON_BEDROCK,
}
# Vendors whose OpenAI language has a connector of its own.
_OWN_CHAT = {
    ProviderId.AZURE: ApiKind.AZURE_OPENAI,
    ProviderId.NVIDIA: ApiKind.NVIDIA_OPENAI_COMPATIBLE,
    ProviderId.KIMI: ApiKind.KIMI_OPENAI_COMPATIBLE,
}


@dataclass(frozen=True, slots=True)
class GeneratedCost:
    """US dollars per million tokens; None where the source knows no price."""

    input: float | None
    output: float | None
    cache_read: float | None
    cache_write: float | None


@dataclass(frozen=True, slots=True)
class GeneratedModel:
    """One record, in the words of its source."""

    id: str
    name: str
    provider: str
    api: str
    base_url: str
    reasoning: bool
    input: tuple[str, ...]
    context_window: int
    max_tokens: int
    cost: GeneratedCost


def generated_models() -> tuple[GeneratedModel, ...]:
    """All records, by provider and id."""
    return _records()


def generated_model(model_id: str) -> GeneratedModel | None:
    """The record with exactly this id: of a provider that can be reached, if one has it."""
    found = _by_id().get(model_id, ())
    return next((each for each in found if synthesize_card(each) is not None), found[0] if found else None)


def catalog_manifest() -> dict[str, Any]:
    """Where the catalog comes from: sources with version and licence, date, and its own counts."""
    manifest: dict[str, Any] = _document()["manifest"]
    return manifest


def map_provider(name: str) -> ProviderId | None:
    """Ours, if the gateway can reach it."""
    return _PROVIDERS.get(name)


def map_api(provider: ProviderId, name: str) -> ApiKind | None:
    """The wire language, if the gateway speaks it with that provider."""
    api = _APIS.get(name)
    return _OWN_CHAT.get(provider, api) if api is ApiKind.OPENAI_COMPLETIONS else api


def synthesize_card(record: GeneratedModel) -> ModelCard | None:
    """The record as a card; None where its provider or its language cannot be reached."""
    provider = map_provider(record.provider)
    api = map_api(provider, record.api) if provider is not None else None
    if provider is None or api is None:
        return None
    cost = record.cost
    sheet = None
    if cost.input is not None and cost.output is not None:
        sheet = CostSheet(cost.input, cost.output, cost.cache_read, cost.cache_write)
    # Clouds have an address for each region or project, which no catalog knows.
    own_place = provider in (ProviderId.AMAZON, ProviderId.GOOGLE_VERTEX, ProviderId.AZURE)
    return ModelCard(
        id=record.id,
        provider=provider,
        api=api,
        display_name=record.name,
        context_window=record.context_window,
        max_output_tokens=record.max_tokens,
        modalities=tuple(each for each in Modality if each in record.input),
        reasoning=record.reasoning,
        cost=sheet,
        base_url=None if own_place else record.base_url or None,
    )


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files("gateway.models.catalog").joinpath(_FILE).read_bytes())
    return document


@cache
def _records() -> tuple[GeneratedModel, ...]:
    providers: dict[str, dict[str, dict[str, Any]]] = _document()["providers"]
    return tuple(
        GeneratedModel(
            id=model_id,
            name=row["name"],
            provider=provider,
            api=row["api"],
            base_url=row.get("baseUrl", ""),
            reasoning=row["reasoning"],
            input=tuple(row["input"]),
            context_window=row["contextWindow"],
            max_tokens=row["maxTokens"],
            cost=GeneratedCost(*(row["cost"].get(name) for name in ("input", "output", "cacheRead", "cacheWrite"))),
        )
        for provider, rows in sorted(providers.items())
        for model_id, row in sorted(rows.items())
    )


@cache
def _by_id() -> dict[str, tuple[GeneratedModel, ...]]:
    found: dict[str, tuple[GeneratedModel, ...]] = {}
    for record in _records():
        found[record.id] = (*found.get(record.id, ()), record)
    return found
