"""Rates as a worker has them: the keeper counts for all workers of its node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.remote_record import KeeperLink
from gateway.tenancy.rates import Limits, Standing, Taken
from gateway.wire import Message, decode_value, encode_value
from tee.canonical import kind_of
from tee.errors import Malformed

MAX_LIMITS = 2  # of a key and of its tenant


class RemoteRates:
    """A RateStore in the keeper."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    async def take(self, limits: Limits, amount: int, more: int = 0) -> Taken:
        """As the keeper takes it. Raises GatewayError."""
        asked = self._link.ask("take", limits=[list(limit) for limit in limits], amount=amount, more=more)
        return decode_taken((await asyncio.shield(asked))["taken"])

    def correct(self, names: Sequence[str], taken: Taken, by: int) -> None:
        """Count so much more than was taken, or less."""
        self._link.tell("correct", names=list(names), second=taken.second, by=by)

    async def close(self) -> None:
        """The link is not ours."""


def encode_taken(taken: Taken) -> Message:
    """What was taken, for the frame that says so."""
    return encode_value(taken) | {"tightest": encode_value(taken.tightest)}


def decode_taken(fields: Any) -> Taken:
    """It again. Raises Malformed."""
    if not isinstance(fields, dict):
        raise Malformed("frame.taken", kind_of(fields), "an object")
    return decode_value(Taken, fields | {"tightest": decode_value(Standing, fields.get("tightest"))})


def decode_wish(message: Message) -> tuple[Limits, int, int]:
    """What a worker asks for. Raises Malformed."""
    limits = []
    for row in _rows(message["limits"], "limits"):
        if not isinstance(row, list) or list(map(type, row)) != [str, int]:
            raise Malformed("frame.limits", kind_of(row), "a name and a number")
        limits.append((row[0], row[1]))
    return limits, _number(message["amount"], "amount"), _number(message["more"], "more")


def decode_correction(message: Message) -> tuple[list[str], Taken, int]:
    """What a worker's call used in truth. Raises Malformed."""
    names = [str(name) for name in _rows(message["names"], "names")]
    taken = Taken(_number(message["second"], "second"), Standing(0, 0, 0.0))
    return names, taken, _number(message["by"], "by")


def _rows(found: Any, name: str) -> list[Any]:
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_LIMITS:
        raise Malformed(f"frame.{name}", kind_of(found), f"a list of at most {MAX_LIMITS}")
    return found


def _number(found: Any, name: str) -> int:
    if not isinstance(found, int):
        raise Malformed(f"frame.{name}", kind_of(found), "a number")
    return found
