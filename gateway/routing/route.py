"""Route: from a public model id to the provider that serves it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gateway.connectors.connector import Connector
from gateway.errors import UnknownModel
from gateway.routing.card import UNSTATED, StatedCard
from gateway.routing.tier import Tier

# Of a name that a caller chose: nothing that would lead a provider's path elsewhere.
_THEIRS = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9][A-Za-z0-9._:@-]*(/[A-Za-z0-9][A-Za-z0-9._:@-]*)*", re.ASCII)
CHAT = "chat"
"""The capability of every model of which nothing else is declared."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model that clients may name, and where it is served. `fallback`: the ids of those that may stand in for it.

    `provider` is the first of those that serve it, `others` are the rest, each with its own name of the model.
    `supplier` made it, and `content_hash` is the digest of its weights; both as the operator declares them.
    `registered_hash` and `mirror` are what the signed registry says of its weights, and of the one place that has them.
    Where there is a `prefix`, it is whatever model of the provider's a client names after that, and in no catalog.
    """

    id: str
    provider: str
    upstream_model: str
    aliases: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = (CHAT,)
    card: StatedCard = UNSTATED
    others: tuple[tuple[str, str], ...] = ()
    supplier: str | None = None
    content_hash: str | None = None
    registered_hash: str | None = None
    mirror: str | None = None
    prefix: str | None = None

    def named(self, name: str) -> PublicModel:
        """The model that a client means who names it by the prefix."""
        theirs = name[len(self.prefix or "") :]
        others = tuple((provider, theirs) for provider, _ in self.others)
        return replace(self, id=name, upstream_model=theirs, others=others)

    def meant_by(self, name: str) -> bool:
        """Whether `name` begins with the prefix, and goes on as a model's name does that may stand in a URL's path."""
        prefix = self.prefix
        return prefix is not None and name.startswith(prefix) and _THEIRS.fullmatch(name[len(prefix) :]) is not None


@dataclass(frozen=True, slots=True)
class Route:
    """One way for a call. `tier` is what a decision found; before one, nothing is known for good."""

    model: PublicModel
    connector: Connector
    tier: Tier = Tier.QUARANTINE


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The configured models and providers. `prefixes` are no models that could be listed: they stand for any."""

    models: tuple[PublicModel, ...]
    connectors: dict[str, Connector]
    prefixes: tuple[PublicModel, ...] = ()

    def route(self, name: str) -> Route:
        """The route of a model: exact id, else an alias, else the longest prefix. Raises UnknownModel."""
        for model in self.models:
            if name == model.id or name in model.aliases:
                return Route(model, self.connectors[model.provider])
        meant = [row for row in self.prefixes if row.meant_by(name)]
        if meant:
            model = max(meant, key=lambda each: len(each.prefix or ""))
            return Route(model.named(name), self.connectors[model.provider])
        raise UnknownModel(
            f"The model `{name[:128]}` does not exist here: GET /v1/models lists those that do.", param="model"
        )

    def served_by(self, route: Route) -> list[Route]:
        """The routes to the same model at each of its providers."""
        model = route.model
        others = [replace(model, provider=name, upstream_model=theirs) for name, theirs in model.others]
        return [route, *(Route(other, self.connectors[other.provider]) for other in others)]

    def fallbacks(self, route: Route) -> list[Route]:
        """The routes to those that may stand in, in order."""
        return [self.route(name) for name in route.model.fallback]
