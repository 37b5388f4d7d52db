"""Rates as a worker has them: the keeper counts for all workers of its node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.remote_record import KeeperLink
from gateway.tenancy.rates import Standing, Taken, Want
from gateway.wire import Message, decode_value, encode_value
from tee.canonical import kind_of
from tee.errors import Malformed

MAX_WANTS = 4  # of a key and of its tenant


class RemoteRates:
    """A RateStore in the keeper."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    async def take(self, wants: Sequence[Want], more: int = 0) -> Taken:
        """Take all that is wanted, or nothing. Raises GatewayError."""
        asked = self._link.ask("take", wants=[encode_value(want) for want in wants], more=more)
        return decode_taken((await asyncio.shield(asked))["taken"])

    def correct(self, names: Sequence[str], taken: Taken, by: int) -> None:
        """Count so much more than was taken, or less."""
        self._link.tell("correct", names=list(names), second=taken.second, by=by)


def encode_taken(taken: Taken) -> Message:
    """What was taken, for the frame that says so."""
    return encode_value(taken) | {"standings": [encode_value(standing) for standing in taken.standings]}


def decode_taken(fields: Any) -> Taken:
    """It again. Raises Malformed."""
    rows = fields.get("standings") if isinstance(fields, dict) else None
    if not isinstance(rows, list):
        raise Malformed("frame.standings", kind_of(rows), "a list")
    return decode_value(Taken, fields | {"standings": tuple(decode_value(Standing, row) for row in rows)})


def decode_wants(message: Message) -> tuple[list[Want], int]:
    """What a worker asks for. Raises Malformed."""
    rows = _rows(message["wants"], "wants")
    return [decode_value(Want, row) for row in rows], _number(message["more"], "more")


def decode_correction(message: Message) -> tuple[list[str], Taken, int]:
    """What a worker's call used in truth. Raises Malformed."""
    names = [str(name) for name in _rows(message["names"], "names")]
    return names, Taken(_number(message["second"], "second"), ()), _number(message["by"], "by")


def _rows(found: Any, name: str) -> list[Any]:
    if not isinstance(found, list) or len(found) > MAX_WANTS:
        raise Malformed(f"frame.{name}", kind_of(found), f"a list of at most {MAX_WANTS}")
    return found


def _number(found: Any, name: str) -> int:
    if not isinstance(found, int):
        raise Malformed(f"frame.{name}", kind_of(found), "a number")
    return found
