"""Where rates are counted: here, or in a Redis that several gateways share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.config_fields import bounded, typed
from tee.errors import Malformed

RATES = {"rates_url", "rates_nodes", "rates_away"}
MAX_NODES = 1024
_SCHEMES = ("redis", "rediss")
_WANTED = "redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS"


@dataclass(frozen=True, slots=True)
class RateSettings:
    """`url` is None for a gateway that counts by itself. `nodes`: how many gateways share the limits. `refuse`: what
    becomes of calls while Redis is away; else each gateway allows its part of every limit.
    """

    url: str | None = field(default=None, repr=False)  # it may hold a password
    nodes: int = 1
    refuse: bool = False

    def public(self) -> dict[str, object]:
        """What of it is attested: whoever guesses a password must not find it confirmed there."""
        place = None if self.url is None else urlsplit(self.url)
        shown = None if place is None else f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
        return {"url": shown, "nodes": self.nodes, "refuse": self.refuse}

    @property
    def while_away(self) -> str:
        """What holds while Redis is away, in words."""
        if self.refuse:
            return "calls that have a limit are refused"
        return f"this gateway counts alone, and allows 1/{self.nodes} of each limit"


def decode_rates(document: Mapping[str, Any]) -> RateSettings:
    """The members of a configuration that begin with `rates_`. Raises Malformed."""
    url = typed(document, "rates_url", str, None, "config")
    if url is None:
        if beside := sorted((RATES - {"rates_url"}) & document.keys()):
            raise Malformed(f"config.{beside[0]}", "a value, without rates_url", "the Redis that it is about")
        return RateSettings()
    away = typed(document, "rates_away", str, "count", "config")
    if away not in ("count", "refuse"):
        raise Malformed("config.rates_away", repr(away[:32]), "count or refuse")
    nodes = bounded(typed(document, "rates_nodes", int, 1, "config"), 1, MAX_NODES, "config.rates_nodes")
    return RateSettings(_checked(url), nodes, away == "refuse")


def _checked(url: str) -> str:
    """The URL, whose options are ours to choose. Raises Malformed, which does not quote it."""
    try:
        place = urlsplit(url)
        port_is_good = place.port is None or place.port > 0
    except ValueError:
        raise Malformed("config.rates_url", "no URL", _WANTED) from None
    number = place.path.removeprefix("/")
    plain = not (place.query or place.fragment) and (not number or (number.isascii() and number.isdigit()))
    if place.scheme not in _SCHEMES or not place.hostname or not port_is_good or not plain:
        raise Malformed("config.rates_url", "another form", _WANTED)
    return url
