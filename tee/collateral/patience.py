"""How long to leave a key server alone after it has failed or said so."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FIRST_PAUSE = 30.0  # seconds; AMD lets through about one identical request in ten
SHORTEST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0
MAX_HEADER_SIZE = 64  # the longest HTTP date has 33 characters
_DOUBLINGS = 7  # 30 s to one hour


def pause_after(failures: int, retry_after: str | None, now: datetime, chance: float) -> timedelta:
    """The pause after so many failures in a row. `chance` in 0 to 1 spreads it, so that a fleet does not march.

    What the server asked for is kept within bounds, and never shortened by chance.
    """
    asked = None if retry_after is None else parse_retry_after(retry_after, now)
    if asked is not None:
        return timedelta(seconds=min(max(asked, SHORTEST_PAUSE), LONGEST_PAUSE) * (1 + chance / 5))
    doubled = FIRST_PAUSE * 2 ** min(failures - 1, _DOUBLINGS)
    return timedelta(seconds=min(doubled, LONGEST_PAUSE) * (0.8 + chance * 0.4))


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Seconds from now (RFC 9110 §10.2.3: a number or an HTTP date), None for what is neither."""
    value = value.strip()
    if len(value) > MAX_HEADER_SIZE:
        return None
    if re.fullmatch("[0-9]{1,10}", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # OverflowError: a time zone beyond any
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
