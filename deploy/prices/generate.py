"""Write gateway/money/prices.json, the price list of a build: a build step, run by hand, never in a guest.

    python -m venv /tmp/prices && /tmp/prices/bin/pip install genai-prices==0.2.3
    /tmp/prices/bin/python deploy/prices/generate.py 2026-11-21

Prices come from the price library genai-prices (MIT; its notice stands in the file) as of that day, the names of models
and their bounds also from gateway/models/catalog/models_generated.json. Every row is a name that a provider serves, in
full: nothing is guessed from how a name begins. Left out, and so unknown, are models without both prices, and those
that are also charged by what no usage tells: pictures apart from text, films, hours, characters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices.data import providers as price_lists
from genai_prices.types import ClauseEquals, ClauseOr, ModelInfo

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "gateway/money/prices.json"
CATALOG = ROOT / "gateway/models/catalog/models_generated.json"
# Each family of the gateway's, where the library keeps its prices, and where the catalog its models.
FAMILIES = {
    "anthropic": ("anthropic", "anthropic"),
    "azure": ("azure", "azure"),
    "azure-responses": ("azure", "azure"),
    "bedrock": ("aws", "amazon-bedrock"),
    "deepseek": ("deepseek", "deepseek"),
    "gemini": ("google", "google"),
    "kimi": ("moonshotai", "moonshotai"),
    "minimax": ("minimax", "minimax"),
    "openai": ("openai", "openai"),
    "openai-responses": ("openai", "openai"),
    "vertex": ("google", "google-vertex"),
    "zai": ("zai", "zai"),
}
RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
}
UNTOLD = (
    "output_image_mtok",
    "input_video_mtok",
    "output_video_mtok",
    "audio_hours",
    "input_audio_hours",
    "input_mchars",
)


def main(day: str) -> None:
    """Look up every model of every family, and write the list."""
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    catalog = json.loads(CATALOG.read_text())
    rows = []
    for family, (listed, known) in FAMILIES.items():
        library = next(each for each in price_lists if each.id == listed)
        cards = catalog["providers"][known]
        for name in sorted({*cards, *(name for model in library.models for name in _names(model))}):
            model = library.find_model(name)
            row = None if model is None else _row(model, moment, cards.get(name, {}))
            if row is not None:
                rows.append({"provider": family, "model": name} | row)
    document = {
        "format": "saferouter/prices/v1",
        "version": f"{day}/genai-prices-{version('genai-prices')}",
        "date": day,
        "currency": "USD",
        "unit": "micro-USD per million tokens; request: micro-USD for each call; what is not here is unknown",
        "sources": [f"genai-prices {version('genai-prices')} (MIT)", f"catalog of {catalog['manifest']['snapshot']}"],
        "notice": catalog["manifest"]["notice"],
    }
    head = json.dumps(document, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    TARGET.write_text(f'{head},\n "prices":[\n{lines}\n]}}\n')
    print(f"{TARGET.name}: {len(rows)} prices, {TARGET.stat().st_size} bytes")


def _names(model: ModelInfo) -> Iterator[str]:
    """The full names by which the library knows a model."""
    yield model.id
    clauses = [model.match]
    while clauses:
        clause = clauses.pop()
        if isinstance(clause, ClauseOr):
            clauses += clause.or_
        elif isinstance(clause, ClauseEquals):
            yield clause.equals


def _row(model: ModelInfo, moment: datetime, card: dict[str, Any]) -> dict[str, Any] | None:
    """The price of a model and its bounds; None where it is not known, or not by tokens alone."""
    prices = model.get_prices(moment).__dict__
    pictures = prices.get("input_image_mtok")
    if any(prices.get(name) is not None for name in UNTOLD) or prices.get("input_mtok") is None:
        return None
    if any(word in model.id for word in ("audio", "realtime")) and prices.get("input_audio_mtok") is None:
        return None  # what it hears is dearer than text, by how much is not said
    if pictures is not None and _micro(pictures) > _micro(prices["input_mtok"]):
        return None
    if prices.get("output_mtok") is None:
        if "embed" not in model.id:
            return None
        prices = prices | {"output_mtok": Decimal(0)}  # an embedding has no completion
    row: dict[str, Any] = _rates(prices, None)
    starts = sorted({tier.start for value in prices.values() for tier in getattr(value, "tiers", ())})
    if starts:
        row["above"] = [{"prompt_tokens": start} | _rates(prices, start) for start in starts]
    context = card.get("contextWindow") or model.context_window
    if context and starts and context <= starts[-1]:
        context = None  # it has a price for prompts beyond that
    bounds = {"max_output": card.get("maxTokens"), "context": context}
    return row | {name: bound for name, bound in bounds.items() if bound}


def _rates(prices: dict[str, Any], start: int | None) -> dict[str, int]:
    """The rates of prompts beyond that many tokens; None: of the short ones."""
    found = {}
    for ours, theirs in RATES.items():
        value = prices.get(theirs)
        if value is None:
            continue
        steps = [tier for tier in getattr(value, "tiers", ()) if start is not None and tier.start <= start]
        found[ours] = _micro(steps[-1].price if steps else value)
    return found


def _micro(price: Any) -> int:
    """Dollars to micro-dollars, exactly."""
    micro = Decimal(getattr(price, "base", price)) * 1_000_000
    if micro != int(micro):
        raise SystemExit(f"{price}: finer than a micro-dollar for a million tokens")
    return int(micro)


if __name__ == "__main__":
    main(sys.argv[1])
