"""The card of a model in `GET /v1/models`: what is charged here, what the operator states, what the catalog knows."""

from __future__ import annotations

from typing import Any

from gateway.models.catalog.generated import GeneratedModel, generated_models
from gateway.money.pricing import Tariff
from gateway.routing.route import PublicModel, Route

# The catalog's names of providers, where ours are others. A model of one's own machine stands in no price list.
_CATALOG = {
    "openai": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "minimax": "minimax",
    "gemini": "google",
    "vertex": "google-vertex",
    "bedrock": "amazon-bedrock",
    "deepseek": "deepseek",
    "zai": "zai",
    "kimi": "moonshotai",
    "nvidia": "nvidia",
    "azure": "azure",
    "azure-responses": "azure",
}


class ModelCards:
    """Looks cards up; the catalog is read at the first question."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], GeneratedModel] | None = None

    def card(self, route: Route, tariff: Tariff | None = None) -> dict[str, Any]:
        """`x_saferouter` of a model; null is what nobody states and no catalog knows. A `tariff` is what is charged."""
        stated, known = route.model.card, self._find(route)
        price = None if known is None else known.cost
        into, out = (None, None) if tariff is None else tariff.main_rates()
        return {
            "provider": route.connector.id,
            "family": stated.family or route.connector.family,
            "context_window": stated.context_window or (known and known.context_window),
            "max_output_tokens": stated.max_output_tokens or (known and known.max_tokens),
            "input_usd_per_million": _first(
                into,
                _first(stated.input_usd_per_million, None if price is None else price.input),
            ),
            "output_usd_per_million": _first(
                out,
                _first(stated.output_usd_per_million, None if price is None else price.output),
            ),
            "modalities": list(stated.modalities or (known.input if known else ())) or None,
            "capabilities": _capabilities(route.model, known),
            "tier": route.tier.word,
        }

    def _find(self, route: Route) -> GeneratedModel | None:
        if self._known is None:
            self._known = {(each.provider, each.id): each for each in generated_models()}
        provider = _CATALOG.get(route.connector.family)
        return None if provider is None else self._known.get((provider, route.model.upstream_model))


def _first(stated: float | None, known: float | None) -> float | None:
    return known if stated is None else stated


def _capabilities(model: PublicModel, known: GeneratedModel | None) -> list[str]:
    """What is declared, and what the catalog adds: a declaration is what fallbacks are held to, and may be short."""
    added = ["reasoning"] if known is not None and known.reasoning and "reasoning" not in model.capabilities else []
    return [*model.capabilities, *added]
