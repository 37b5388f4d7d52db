"""PriceList: a dated document of prices, as the gateway ships it or an operator signs it (docs/money.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config_fields import bounded, refuse_unknown, typed
from gateway.money.pricing import Price, Rates
from tee.canonical import digest, parse_json
from tee.errors import Malformed
from tee.measure.envelope import Signers, open_envelope

FORMAT = "saferouter/prices/v1"
PAYLOAD_TYPE = "application/vnd.saferouter.prices+json"
MAX_LIST_SIZE = 1 << 20  # some six thousand models
MAX_RATE = 10**12  # micro-USD per million tokens: a dollar a token
MAX_STEPS = 4
MAX_TOKENS = 1_000_000_000  # of a model's own bounds
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_RATES = Rates.__slots__
_HEAD = {"format", "version", "date", "currency", "prices"}


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by provider and by its own name of the model; a provider is a family of the catalog, or a configured id.

    `digest` is that of the document, which its version and date stand in.
    """

    version: str
    date: str
    digest: str
    prices: Mapping[tuple[str, str], Price] = field(repr=False)


NO_PRICES = PriceList("none", "1970-01-01", digest([]), {})


def parse_price_list(raw: bytes, signers: Signers | None, path: str) -> PriceList:
    """Read a list: the signed envelope where there are signers, else the document itself. Raises Malformed."""
    if signers is not None:
        raw = open_envelope(raw, signers, PAYLOAD_TYPE, path)
    if len(raw) > MAX_LIST_SIZE:
        raise Malformed(path, f"{len(raw)} bytes", f"at most {MAX_LIST_SIZE}")
    document = parse_json(raw, path)
    refuse_unknown(document, _HEAD | {"sources", "notice", "unit"}, path)
    for name, wanted in (("format", FORMAT), ("currency", "USD")):
        if document.get(name) != wanted:
            raise Malformed(f"{path}.{name}", repr(document.get(name))[:64], wanted)
    date = typed(document, "date", str, "", path)
    if not _DATE.fullmatch(date):
        raise Malformed(f"{path}.date", repr(date[:32]), "the day of these prices, such as 2026-11-21")
    version = typed(document, "version", str, "", path)
    if not version.isprintable() or not 1 <= len(version) <= 64:
        raise Malformed(f"{path}.version", repr(version[:64]), "1 to 64 printable characters")
    prices: dict[tuple[str, str], Price] = {}
    for at, row in enumerate(typed(document, "prices", list, [], path)):
        place = f"{path}.prices[{at}]"
        refuse_unknown(row, {"provider", "model", *PRICE_NAMES}, place)
        provider, model = (typed(row, each, str, "", place) for each in ("provider", "model"))
        if not provider or not model or (provider, model) in prices:
            raise Malformed(place, f"{provider[:64]} {model[:128]}", "a provider and a model, each pair once")
        prices[provider, model] = decode_price(row, place)
    return PriceList(version, date, digest(document), prices)


PRICE_NAMES = frozenset({*_RATES, "request", "above", "max_output", "context"})


def decode_price(row: Mapping[str, Any], path: str) -> Price:
    """A price from its row; names beside PRICE_NAMES are the caller's. Raises Malformed."""
    rates = _rates(row, path)
    steps, last = [], 0
    for at, step in enumerate(typed(row, "above", list, [], path)):
        place = f"{path}.above[{at}]"
        refuse_unknown(step, {"prompt_tokens", *_RATES}, place)
        last = bounded(typed(step, "prompt_tokens", int, 0, place), last + 1, MAX_TOKENS, f"{place}.prompt_tokens")
        steps.append((last, _rates(step, place)))
    bounded(len(steps), 0, MAX_STEPS, f"{path}.above")
    most, context = (
        None if name not in row else bounded(typed(row, name, int, 0, path), 1, MAX_TOKENS, f"{path}.{name}")
        for name in ("max_output", "context")
    )
    request = bounded(typed(row, "request", int, 0, path), 0, MAX_RATE, f"{path}.request")
    return Price(rates, request, tuple(steps), most, context)


def encode_price(price: Price) -> dict[str, Any]:
    """The row again, with what is known only."""
    row: dict[str, Any] = _encode_rates(price.rates)
    if price.above:
        row["above"] = [{"prompt_tokens": tokens} | _encode_rates(rates) for tokens, rates in price.above]
    row |= {name: value for name in ("request", "max_output", "context") if (value := getattr(price, name))}
    return row


def _rates(row: Mapping[str, Any], path: str) -> Rates:
    """Both `input` and `output` must stand there: a price of nothing is said, never meant."""
    for name in ("input", "output"):
        if name not in row:
            raise Malformed(f"{path}.{name}", "nothing", "micro-USD per million tokens, 0 where it is free")
    found: dict[str, int] = {
        name: bounded(typed(row, name, int, 0, path), 0, MAX_RATE, f"{path}.{name}") for name in _RATES if name in row
    }
    return Rates(**found)


def _encode_rates(rates: Rates) -> dict[str, Any]:
    return {name: value for name in _RATES if (value := getattr(rates, name)) is not None}
