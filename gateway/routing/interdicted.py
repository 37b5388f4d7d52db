"""Who is blocked: never routed, whatever a policy says."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.routing.route import Route


@dataclass(frozen=True, slots=True)
class Interdicted:
    """Providers and suppliers by id, models by any of their names or by their content hash."""

    providers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    suppliers: frozenset[str] = frozenset()

    def __or__(self, other: Interdicted) -> Interdicted:
        """Blocked by one or the other."""
        return Interdicted(
            self.providers | other.providers, self.models | other.models, self.suppliers | other.suppliers
        )

    def blocks(self, route: Route) -> str | None:
        """What of this route is blocked, in words."""
        model = route.model
        if route.connector.id in self.providers:
            return f"provider {route.connector.id} is interdicted"
        if not self.models.isdisjoint({model.id, model.upstream_model, *model.aliases, model.content_hash or model.id}):
            return f"model {model.id} is interdicted"
        return f"supplier {model.supplier} is interdicted" if model.supplier in self.suppliers else None

    def to_json(self) -> dict[str, list[str]]:
        """For the configuration's digest."""
        return {name: sorted(getattr(self, name)) for name in self.__slots__}
