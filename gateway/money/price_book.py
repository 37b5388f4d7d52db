"""PriceBook: the prices in force, by public model: the operator's own, else those of the list, with the margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.inference import InferenceRequest
from gateway.money.bill import Bill
from gateway.money.estimate import hold_of
from gateway.money.price_list import NO_PRICES, PriceList, encode_price
from gateway.money.pricing import Price, Tariff
from gateway.routing.route import ModelTable, PublicModel, Route
from tee.canonical import digest


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What is charged for each public model; one that stands in no `tariffs` has no known price.

    `own` are the operator's prices, `margin` is in basis points, `signers` are the keys (hex) that signed the list.
    """

    listed: PriceList = NO_PRICES
    own: Mapping[str, Price] = field(default_factory=dict, repr=False)
    margin: int = 0
    signers: tuple[str, ...] = ()
    tariffs: Mapping[str, Tariff] = field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        """What the workload's digest of the prices covers (SPEC §4.3)."""
        return {
            "list": {"version": self.listed.version, "date": self.listed.date, "digest": self.listed.digest},
            "margin_basis_points": self.margin,
            "models": {name: encode_price(price) for name, price in self.own.items()},
            "signers": list(self.signers),
        }

    @property
    def digest(self) -> str:
        """Of the document."""
        return digest(self.document())

    def bill(self, route: Route, request: InferenceRequest, body_size: int) -> Bill | None:
        """What applies if this route answers a request of so many bytes; None where its price is not known."""
        tariff = self.tariffs.get(route.model.id)
        return None if tariff is None else Bill(tariff, hold_of(tariff, request, body_size))

    def bills(self, routes: Sequence[Route], request: InferenceRequest, body_size: int) -> tuple[Bill | None, ...]:
        """The bill of each candidate."""
        return tuple(self.bill(route, request, body_size) for route in routes)


def new_price_book(
    listed: PriceList, own: Mapping[str, Price], margin: int, signers: tuple[str, ...], table: ModelTable
) -> PriceBook:
    """The book for these models."""
    tariffs = {}
    for model in table.models:
        price = own.get(model.id) or _listed(listed, model, table)
        if price is not None:
            tariffs[model.id] = Tariff(price, margin)
    return PriceBook(listed, own, margin, signers, tariffs)


def _listed(listed: PriceList, model: PublicModel, table: ModelTable) -> Price | None:
    """The list's price, of the configured provider, else of its family."""
    connector = table.connectors[model.provider]
    named = (listed.prices.get((name, model.upstream_model)) for name in (connector.id, connector.family))
    return next((price for price in named if price is not None), None)
