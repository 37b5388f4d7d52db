"""The catalog of models: 13 curated cards, the generated ones behind them, selections, and costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.models import (
    ApiKind,
    CardSelection,
    CostSheet,
    Modality,
    ModelCard,
    ProviderId,
    Usage,
    estimate_cost,
    get_card,
    model_cards,
    models,
)
from gateway.models.catalog.generated import (
    catalog_manifest,
    generated_model,
    generated_models,
    map_api,
    map_provider,
    synthesize_card,
)

CLAUDE, GPT = (ProviderId.ANTHROPIC, ApiKind.ANTHROPIC_MESSAGES), (ProviderId.OPENAI, ApiKind.OPENAI_COMPLETIONS)
RESPONSES, GEMINI = (ProviderId.OPENAI, ApiKind.OPENAI_RESPONSES), (ProviderId.GOOGLE, ApiKind.GOOGLE_GENERATIVE)
CURATED = [
    ("claude-opus-4", CLAUDE, True, 200_000),
    ("claude-sonnet-4", CLAUDE, True, 200_000),
    ("claude-haiku-3-5", CLAUDE, False, 200_000),
    ("gpt-4o", GPT, False, 128_000),
    ("gpt-4o-mini", GPT, False, 128_000),
    ("o3", RESPONSES, True, 200_000),
    ("o4-mini", RESPONSES, True, 200_000),
    ("gemini-2.5-pro", GEMINI, True, 1_000_000),
    ("gemini-2.5-flash", GEMINI, True, 1_000_000),
    ("nvidia/llama-3.1-nemotron-70b-instruct", (ProviderId.NVIDIA, ApiKind.NVIDIA_OPENAI_COMPATIBLE), False, 128_000),
    ("kimi-k2", (ProviderId.KIMI, ApiKind.KIMI_OPENAI_COMPATIBLE), True, 256_000),
    ("llama3.1:8b", (ProviderId.OLLAMA, ApiKind.OLLAMA), False, 128_000),
    ("mock-1", (ProviderId.MOCK, ApiKind.MOCK), False, 32_000),
]


def test_the_thirteen_cards_in_order() -> None:
    """R184, R213, R214, R215, R216, R217."""
    assert [(card.id, (card.provider, card.api), card.reasoning, card.context_window) for card in model_cards()] == (
        CURATED
    )
    assert model_cards() is model_cards()
    for card in model_cards():
        assert 0 < card.max_output_tokens <= card.context_window
        assert card.cost is not None and Modality.TEXT in card.modalities


def test_the_catalog_says_where_it_comes_from_and_counts_itself() -> None:
    """R218, R219: 24 providers and at least 708 records, as its own manifest counts them; notices of both sources."""
    manifest = catalog_manifest()
    records = generated_models()
    assert manifest["providers"] == len({record.provider for record in records}) == 24
    assert manifest["records"] == len(records) >= 708
    assert "genai-prices" in manifest["prices"] and "2026" in manifest["snapshot"]
    assert "Permission is hereby granted" in manifest["notice"] and "Pydantic" in manifest["notice"]
    assert generated_models() is records


def test_an_unknown_price_is_none_and_never_nothing() -> None:
    """R218, R219: a free model is priced 0, an unknown one not at all."""
    costs = [record.cost for record in generated_models()]
    assert any(cost.input is None for cost in costs)
    assert all(
        cost.input or record.id.endswith(":free")
        for record in generated_models()
        if (cost := record.cost).input is not None
    )
    unpriced = get_card("google/gemma-3-12b-it")
    assert unpriced is not None and unpriced.cost is None
    assert estimate_cost(unpriced, Usage(1000, 1000)) is None


def test_ids_match_exactly() -> None:
    """R219."""
    found = generated_model("claude-sonnet-4-5")
    assert found is not None and (found.provider, found.api) == ("anthropic", "anthropic-messages")
    assert generated_model("claude-sonnet-4-") is None
    assert generated_model("CLAUDE-SONNET-4-5") is None


def test_generated_models_that_can_be_reached_are_cards() -> None:
    """R220, R225: a card needs a provider and a language of ours, and what nobody can reach is honestly absent."""
    sonnet, minimax = get_card("claude-sonnet-4-5"), get_card("MiniMax-M2.7")
    assert sonnet is not None and (sonnet.provider, sonnet.api) == CLAUDE and sonnet.reasoning
    assert minimax is not None and minimax.provider is ProviderId.MINIMAX
    assert (minimax.api, minimax.base_url) == (ApiKind.ANTHROPIC_MESSAGES, "https://api.minimax.io/anthropic")
    for record in generated_models():
        card = synthesize_card(record)
        if record.provider in ("xai", "groq", "cerebras", "openrouter", "mistral", "github-copilot", "zai"):
            assert card is None
        elif card is not None:
            assert map_provider(record.provider) is card.provider
            assert map_api(card.provider, record.api) is card.api
            assert (card.id, card.context_window) == (record.id, record.context_window)
    reached = {card.provider for record in generated_models() if (card := synthesize_card(record)) is not None}
    assert reached == set(ProviderId) - {ProviderId.OLLAMA, ProviderId.MOCK}
    assert [get_card(name) for name in ("grok-4.5", "openai/gpt-oss-120b:free", "no-such-model", "")] == [None] * 4


def test_an_id_of_several_providers_goes_to_one_that_can_be_reached() -> None:
    """R220: Azure's languages of that name are not spoken here, OpenAI's are."""
    holders = {record.provider for record in generated_models() if record.id == "gpt-5"}
    assert {"azure", "openai"} <= holders
    card = get_card("gpt-5")
    assert card is not None and (card.provider, card.api) == RESPONSES


def test_the_curated_card_goes_first() -> None:
    """R185, R220."""
    card = get_card("o3")
    assert generated_model("o3") is not None
    assert card is not None and card in model_cards()


def test_selections_narrow_and_never_change() -> None:
    """R185, R221: each step is another selection, looked at only when it is asked."""
    looked: list[str] = []

    class Pool(tuple[ModelCard, ...]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            looked.append("looked")
            return super().__iter__()

    everything = CardSelection.over(Pool(model_cards()))
    claudes = everything.by_provider(ProviderId.ANTHROPIC)
    thinking, plain = claudes.reasoning(True), claudes.reasoning(False)
    assert not looked
    assert [card.id for card in thinking.all()] == ["claude-opus-4", "claude-sonnet-4"]
    assert [card.id for card in plain.all()] == ["claude-haiku-3-5"]
    assert len(claudes.all()) == 3 and len(everything.all()) == 13
    found = models().by_api(ApiKind.OPENAI_RESPONSES).find("o3")
    assert found is not None and found.id == "o3"
    assert models().by_api(ApiKind.OPENAI_RESPONSES).find("gpt-4o") is None


def test_costs_add_up_and_tiers_count_only_where_both_sides_say_so() -> None:
    """R186, R197, R222."""
    card = replace(model_cards()[0], cost=CostSheet(10.0, 20.0, 1.0, None))
    assert estimate_cost(card, Usage(1_000_000, 500_000)) == pytest.approx(20.0)
    assert estimate_cost(card, Usage(0, 0, cache_read_tokens=2_000_000)) == pytest.approx(2.0)
    assert estimate_cost(card, Usage(0, 0, cache_read_tokens=0, cache_write_tokens=9_000_000)) == 0.0
    free = replace(card, cost=CostSheet(0.0, 0.0))
    assert estimate_cost(free, Usage(5, 5)) == 0.0


def test_a_vendor_and_its_language_are_two_things() -> None:
    """R223: one vendor in two languages, one language of two vendors."""
    assert {card.api for card in models().by_provider(ProviderId.OPENAI).all()} == {GPT[1], RESPONSES[1]}
    minimax = get_card("MiniMax-M2.7")
    assert minimax is not None and minimax.api is CLAUDE[1] and minimax.provider is not CLAUDE[0]
