"""What is left of the rates, in the headers that OpenAI's and Anthropic's clients read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.tenancy.rates import Standing

EXPOSED = tuple(
    f"x-ratelimit-{what}-{kind}" for kind in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)


def rate_headers(standings: Mapping[str, Standing], *, anthropic: bool, now: float) -> dict[str, str]:
    """The headers of standings by what they limit. `now`: seconds since 1970; Anthropic's clients read times."""
    headers = {}
    for kind, standing in standings.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(standing.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{kind}"] = spell_seconds(standing.reset)
        if anthropic:
            back = datetime.fromtimestamp(math.ceil(now + standing.reset), UTC)
            headers[f"anthropic-ratelimit-{kind}-limit"] = str(standing.limit)
            headers[f"anthropic-ratelimit-{kind}-remaining"] = str(standing.remaining)
            headers[f"anthropic-ratelimit-{kind}-reset"] = back.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def spell_seconds(seconds: float) -> str:
    """As OpenAI writes it: 120ms, 1.2s, 1m0.5s. Rounded up: whoever waits so long finds what was promised."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
