"""A time that a person typed."""

from __future__ import annotations

from datetime import UTC, datetime

from tee.errors import Malformed


def parse_moment(text: str, field: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(field, text[:64], "a time in ISO 8601, for example 2026-11-21T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
