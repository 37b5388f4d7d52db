"""Route: from a public model id to the provider that serves it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gateway.connectors.connector import Connector
from gateway.errors import UnknownModel
from gateway.routing.card import UNSTATED, StatedCard

CHAT = "chat"
"""The capability of every model of which nothing else is declared."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model that clients may name, and where it is served. `fallback`: the ids of those that may stand in for it."""

    id: str
    provider: str
    upstream_model: str
    aliases: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = (CHAT,)
    card: StatedCard = UNSTATED

    def to_json(self) -> dict[str, Any]:
        """It, for the configuration's digest."""
        lists = {name: list(getattr(self, name)) for name in ("aliases", "fallback", "capabilities")}
        return asdict(self) | lists | {"card": self.card.to_json()}


@dataclass(frozen=True, slots=True)
class Route:
    """The decision for one call."""

    model: PublicModel
    connector: Connector


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The configured models and providers."""

    models: tuple[PublicModel, ...]
    connectors: dict[str, Connector]

    def route(self, name: str) -> Route:
        """The route of a model: exact id, else an alias. Raises UnknownModel."""
        for model in self.models:
            if name == model.id or name in model.aliases:
                return Route(model, self.connectors[model.provider])
        raise UnknownModel(
            f"The model `{name[:128]}` does not exist here: GET /v1/models lists those that do.", param="model"
        )

    def fallbacks(self, route: Route) -> list[Route]:
        """The routes to those that may stand in, in order."""
        return [self.route(name) for name in route.model.fallback]


def tier_observed(connector: Connector) -> str:
    """What was seen of the upstream: `hardened` if TLS named it, `quarantine` if nothing did.

    `sealed` is kept for attested upstreams, which no connector is yet.
    """
    return "hardened" if connector.authenticated else "quarantine"
