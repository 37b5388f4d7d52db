"""`[prices]` of a configuration: which list, who signed it, the margin, and the operator's own prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from gateway.config_fields import bounded, refuse_unknown, texts, typed
from gateway.money.price_book import PriceBook, new_price_book, routes_of
from gateway.money.price_list import PRICE_NAMES, PriceList, decode_price, parse_price_list
from gateway.money.pricing import WHOLE, Price
from gateway.routing.route import ModelTable
from tee.errors import Malformed
from tee.measure.envelope import MAX_SIGNERS, Signers

MAX_MARGIN = 100 * WHOLE  # a hundred times the price: more is a slip of the hand
BUILT_IN = "prices.json"
_PATH = "config.prices"


def decode_prices(table: Mapping[str, Any], models: ModelTable) -> PriceBook:
    """The book of prices. Raises Malformed, also for a list that its signers did not sign."""
    refuse_unknown(table, {"file", "keys", "margin_basis_points", "models"}, _PATH)
    margin = bounded(typed(table, "margin_basis_points", int, 0, _PATH), 0, MAX_MARGIN, f"{_PATH}.margin_basis_points")
    keys = texts(table, "keys", _PATH, MAX_SIGNERS)
    file = typed(table, "file", str, None, _PATH)
    if file is None and keys:
        raise Malformed(f"{_PATH}.file", "nothing, beside keys", "the list that they signed")
    listed = built_in_list() if file is None else _read(Path(file), _signers(keys))
    own = _own(typed(table, "models", list, [], _PATH), models)
    return new_price_book(listed, own, margin, keys, models)


def _own(rows: Sequence[Any], models: ModelTable) -> dict[tuple[str, str | None], Price]:
    """The operator's own prices, each of a model that is configured, and perhaps of one of its providers."""
    places = {(route.model.id, name) for route in routes_of(models) for name in (None, route.connector.id)}
    own: dict[tuple[str, str | None], Price] = {}
    for at, row in enumerate(rows):
        place = f"{_PATH}.models[{at}]"
        refuse_unknown(row, {"id", "provider", *PRICE_NAMES}, place)
        name, provider = typed(row, "id", str, "", place), typed(row, "provider", str, None, place)
        if (name, provider) in own or (name, provider) not in places:
            found = repr(name[:128]) if provider is None else f"{name[:128]!r} at {provider[:64]!r}"
            raise Malformed(f"{place}.id", found, "a model of config.models, and a provider that serves it, each once")
        own[name, provider] = decode_price(row, place)
    return own


@cache
def built_in_list() -> PriceList:
    """The list of this build, as deploy/prices/generate.py wrote it: its source digest covers it."""
    return parse_price_list(files("gateway.money").joinpath(BUILT_IN).read_bytes(), None, BUILT_IN)


def _read(file: Path, signers: Signers | None) -> PriceList:
    place = f"{_PATH}.file"
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Malformed(place, error.strerror or "an unreadable file", "a readable file") from None
    return parse_price_list(raw, signers, place)


def _signers(keys: tuple[str, ...]) -> Signers | None:
    """Any one of these keys may sign."""
    if not keys:
        return None
    try:
        return Signers(tuple(bytes.fromhex(key) for key in keys), 1)
    except ValueError:
        raise Malformed(f"{_PATH}.keys", "no hex", "Ed25519 public keys, 64 hex digits each") from None
