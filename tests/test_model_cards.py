"""Cards of models: what the catalog knows, what the operator states, and null for what nobody does."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config import decode_config
from gateway.http.model_cards import ModelCards
from tee.errors import Malformed

PROVIDERS = [{"id": name, "family": name} for name in ("openai", "deepseek", "vllm", "mock")]


def cards(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    config = decode_config({"providers": PROVIDERS, "models": list(rows)}, {})
    return [ModelCards().card(config.models.route(row["id"])) for row in rows]


def test_the_catalog_tells_of_known_models_by_their_provider_s_own_name() -> None:
    (known,) = cards({"id": "ours", "provider": "openai", "upstream_model": "gpt-4"})
    assert known == {
        "provider": "openai",
        "family": "openai",
        "context_window": 8192,
        "max_output_tokens": 8192,
        "input_usd_per_million": 30.0,
        "output_usd_per_million": 60.0,
        "modalities": ["text"],
        "capabilities": ["chat"],
        "tier": "quarantine",
    }


def test_what_nobody_knows_is_null_and_the_same_name_elsewhere_is_another_model() -> None:
    for card in cards({"id": "gpt-4", "provider": "vllm"}, {"id": "no-such", "provider": "openai"}):
        names = ("context_window", "max_output_tokens", "input_usd_per_million", "output_usd_per_million", "modalities")
        assert {card[name] for name in names} == {None}


def test_what_the_operator_states_counts_and_free_is_not_unknown() -> None:
    stated = {"context_window": 32768, "input_usd_per_million": 0, "modalities": ["text", "image"]}
    (card,) = cards({"id": "gpt-4", "provider": "openai", "card": stated})
    assert (card["context_window"], card["max_output_tokens"]) == (32768, 8192)
    assert (card["input_usd_per_million"], card["output_usd_per_million"]) == (0.0, 60.0)
    assert card["modalities"] == ["text", "image"]


def test_a_card_is_read_strictly_and_attested() -> None:
    wrong: list[dict[str, Any]] = [
        *({"context_window": 0}, {"context_window": "big"}, {"input_usd_per_million": -1}, {"colour": "red"}),
        *({"input_usd_per_million": True}, {"modalities": ["smell"]}, {"output_usd_per_million": float("nan")}),
    ]
    for card in wrong:
        with pytest.raises(Malformed, match=r"config\.models\[0\]\.card"):
            cards({"id": "m", "provider": "mock", "card": card})
    digests = []
    for card in ({}, {"context_window": 9}):
        rows = {"providers": PROVIDERS, "models": [{"id": "m", "provider": "mock", "card": card}]}
        digests.append(decode_config(rows, {}).digests()["models"])
    assert digests[0] != digests[1]


def test_the_pages_show_configurations_that_are_taken() -> None:
    pages = Path(__file__).parent.parent / "docs"
    cards, retention, registry = (
        tomllib.loads(text.split("```")[0])
        for name in ("activity.md", "registry.md")
        for text in (pages / name).read_text().split("```toml\n")[1:]
    )
    config = decode_config(cards | retention, {})
    assert (config.models.models[0].card.context_window, config.activity_days) == (32768, 90)
    signers = decode_config(registry, {}).registry_signers
    assert signers is not None and signers.threshold == 1
