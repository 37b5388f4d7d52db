"""What an answer cost, as far as its card knows."""

from __future__ import annotations

from gateway.models.contract.model_card import ModelCard
from gateway.models.contract.reply import Usage

_MTOK = 1_000_000


def estimate_cost(card: ModelCard, usage: Usage) -> float | None:
    """US dollars; None where the card knows no price. A cache tier adds to it where it was used and has a price."""
    sheet = card.cost
    if sheet is None:
        return None
    tiers = (
        (usage.cache_read_tokens, sheet.cache_read_per_mtok),
        (usage.cache_write_tokens, sheet.cache_write_per_mtok),
    )
    cost = usage.input_tokens * sheet.input_per_mtok + usage.output_tokens * sheet.output_per_mtok
    return (cost + sum(tokens * price for tokens, price in tiers if tokens and price)) / _MTOK
