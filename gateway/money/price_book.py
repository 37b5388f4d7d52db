"""PriceBook: the prices in force, by public model: the operator's own, else those of the list, with the margin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.inference import InferenceRequest
from gateway.money.bill import Bill
from gateway.money.estimate import cost_at_most, hold_of
from gateway.money.price_list import NO_PRICES, PriceList, encode_price
from gateway.money.pricing import Price, Tariff
from gateway.routing.route import ModelTable, Route
from tee.canonical import digest


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What is charged for each public model at each of its providers; what stands in no `tariffs` has no known price.

    `own` are the operator's prices, of a model at one provider or (None) at all; `margin` is in basis points, `signers`
    are the keys (hex) that may sign the list.
    """

    listed: PriceList = NO_PRICES
    own: Mapping[tuple[str, str | None], Price] = field(default_factory=dict, repr=False)
    margin: int = 0
    signers: tuple[str, ...] = ()
    tariffs: Mapping[tuple[str, str], Tariff] = field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        """What the workload's digest of the prices covers (SPEC §4.3)."""
        return {
            "list": {"version": self.listed.version, "date": self.listed.date, "digest": self.listed.digest},
            "margin_basis_points": self.margin,
            "models": [
                {"id": model, "provider": provider} | encode_price(price)
                for (model, provider), price in self.own.items()
            ],
            "signers": list(self.signers),
        }

    @property
    def digest(self) -> str:
        """Of the document."""
        return digest(self.document())

    def tariff(self, route: Route) -> Tariff | None:
        """What applies on this route; None where its price is not known."""
        return self.tariffs.get((route.model.id, route.connector.id))

    def cost_at_most(self, route: Route, request: InferenceRequest) -> int | None:
        """The most that the request can cost there, in micro-USD; None where its price is not known."""
        tariff = self.tariff(route)
        return None if tariff is None else cost_at_most(tariff, request)

    def bill(self, route: Route, request: InferenceRequest, body_size: int) -> Bill | None:
        """What applies if this route answers a request of so many bytes; None where its price is not known."""
        tariff = self.tariff(route)
        return None if tariff is None else Bill(tariff, hold_of(tariff, request, body_size))

    def bills(self, routes: Sequence[Route], request: InferenceRequest, body_size: int) -> tuple[Bill | None, ...]:
        """The bill of each candidate."""
        return tuple(self.bill(route, request, body_size) for route in routes)


def new_price_book(
    listed: PriceList,
    own: Mapping[tuple[str, str | None], Price],
    margin: int,
    signers: tuple[str, ...],
    table: ModelTable,
) -> PriceBook:
    """The book for these models."""
    tariffs = {}
    for route in routes_of(table):
        model, provider = route.model.id, route.connector.id
        price = own.get((model, provider)) or own.get((model, None)) or _listed(listed, route)
        if price is not None:
            tariffs[model, provider] = Tariff(price, margin)
    return PriceBook(listed, own, margin, signers, tariffs)


def routes_of(table: ModelTable) -> Iterator[Route]:
    """Every model at each of its providers."""
    for model in table.models:
        yield from table.served_by(table.route(model.id))


def _listed(listed: PriceList, route: Route) -> Price | None:
    """The list's price, of the configured provider, else of its family."""
    names = (route.connector.id, route.connector.family)
    found = (listed.prices.get((name, route.model.upstream_model)) for name in names)
    return next((price for price in found if price is not None), None)
