"""US dollars as people write them, and the micro-USD that are counted."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from gateway.money.pricing import MILLION
from tee.errors import Malformed

MAX_USD = 1_000_000  # of one sum that a person writes: more is a slip of the hand


def usd(micro_usd: int) -> float:
    """As the API writes it: a decimal of at most six places, exact below nine thousand million dollars."""
    return micro_usd / MILLION


def usd_text(micro_usd: int) -> str:
    """As a person reads it: `$1.50`, and as many further places as it has."""
    sign, whole, parts = "-" if micro_usd < 0 else "", *divmod(abs(micro_usd), MILLION)
    places = f"{parts:06d}".rstrip("0")
    return f"{sign}${whole}.{places.ljust(2, '0')}"


def parse_usd(text: str, field: str) -> int:
    """A sum above nothing, in micro-USD. Raises Malformed."""
    wanted = f"US dollars, above 0 and at most {MAX_USD}, with at most 6 decimal places"
    try:
        value = Decimal(text) if len(text) <= 32 else Decimal("nan")
    except InvalidOperation:
        raise Malformed(field, repr(text[:32]), wanted) from None
    # Its range first: the integer of 1E999999 takes a minute to write down.
    if not value.is_finite() or not 0 < value <= MAX_USD or (micro := value * MILLION) != micro.to_integral_value():
        raise Malformed(field, repr(text[:32]), wanted)
    return int(micro)
