"""The audit sampler: which calls leave a signed sample, drawn when they end, so that nobody can know it before."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from tee.canonical import digest
from tee.errors import Malformed
from tee.log.sample import new_sample

MILLION = 1_000_000
DEFAULT_PER_MILLION = 50_000  # 5 %


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """A signed sample as JSON, and the commitment that its leaf carries."""

    text: str
    commitment: str


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws `per_million` calls of a million, and has their samples signed."""

    per_million: int
    sign: Callable[[dict[str, Any]], dict[str, Any]]

    def draw(self, receipt: bytes) -> DrawnSample | None:
        """The sample of this signed receipt, JSON; None for a call that is not drawn."""
        if secrets.randbelow(MILLION) >= self.per_million:
            return None
        signed = self.sign(new_sample(json.loads(receipt), secrets.token_hex(32)))
        return DrawnSample(json.dumps(signed), digest(signed))


def parse_rate(value: object, field: str) -> int:
    """A share of calls, 0 to 1 with up to six decimals, as calls per million. Raises Malformed."""
    try:
        share = Decimal(str(value)) * MILLION if isinstance(value, int | float | str) else Decimal("NaN")
    except InvalidOperation:
        share = Decimal("NaN")
    if isinstance(value, bool) or not share.is_finite() or not 0 <= share <= MILLION or share != int(share):
        raise Malformed(field, ascii(value)[:32], "a share of the calls, 0 to 1 with up to six decimals, such as 0.05")
    return int(share)
