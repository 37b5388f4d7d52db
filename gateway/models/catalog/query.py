"""Questions to the catalog: one card by its id, or a selection that narrows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.models.catalog.cards import model_cards
from gateway.models.catalog.generated import generated_model, synthesize_card
from gateway.models.contract.model_card import ApiKind, ModelCard, ProviderId

Predicate = Callable[[ModelCard], bool]


def get_card(model_id: str) -> ModelCard | None:
    """The curated card, else one made from the generated catalog; None where no provider can be reached."""
    curated = models().find(model_id)
    if curated is not None:
        return curated
    record = generated_model(model_id)
    return None if record is None else synthesize_card(record)


def models() -> CardSelection:
    """All curated cards, to be narrowed."""
    return CardSelection.over(model_cards())


@dataclass(frozen=True, slots=True)
class CardSelection:
    """Cards that meet every demand so far. It looks at none before it is asked; narrowing makes another selection."""

    _pool: Sequence[ModelCard]
    _demands: tuple[Predicate, ...] = ()

    @classmethod
    def over(cls, pool: Sequence[ModelCard]) -> CardSelection:
        """A selection of all of these."""
        return cls(pool)

    def by_provider(self, provider: ProviderId) -> CardSelection:
        """Those of one provider."""
        return self._narrow(lambda card: card.provider is provider)

    def by_api(self, api: ApiKind) -> CardSelection:
        """Those of one wire language."""
        return self._narrow(lambda card: card.api is api)

    def reasoning(self, wanted: bool) -> CardSelection:
        """Those that reason, or that do not."""
        return self._narrow(lambda card: card.reasoning is wanted)

    def all(self) -> tuple[ModelCard, ...]:
        """The cards, in the order of the pool."""
        return tuple(card for card in self._pool if all(demand(card) for demand in self._demands))

    def find(self, model_id: str) -> ModelCard | None:
        """The selected card with that id."""
        return next((card for card in self.all() if card.id == model_id), None)

    def _narrow(self, demand: Predicate) -> CardSelection:
        return replace(self, _demands=(*self._demands, demand))
