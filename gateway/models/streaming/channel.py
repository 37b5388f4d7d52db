"""Channel: an answer that can be asked for again; each iteration is a new request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from gateway.models.contract.emission import DoneEmission, Emission, ErrorEmission, is_terminal
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.reply import Reply
from gateway.models.conversion.reduce import fold_reply

EmissionSource = Callable[[], AsyncGenerator[Emission, None]]
"""Begins an answer anew; nothing is sent before its first step is asked for."""


@dataclass(frozen=True, slots=True)
class Channel:
    """An async iterable of Emissions; each iteration asks again, and ends with the first Done or Error.

    Who stops earlier closes the iteration (`contextlib.aclosing`), so that the connection ends there and then.
    """

    source: EmissionSource

    async def __aiter__(self) -> AsyncGenerator[Emission, None]:
        async with aclosing(self.source()) as emissions:
            async for emission in emissions:
                yield emission
                if is_terminal(emission):
                    return


def channel_of(source: EmissionSource) -> Channel:
    """A channel over whatever begins an answer."""
    return Channel(source)


async def collect_reply(channel: Channel) -> Reply:
    """Ask, and give the whole answer: Done's as it is, else the fold of what came. Raises: GatewayError."""
    emissions: list[Emission] = []
    async with aclosing(aiter(channel)) as arriving:
        async for emission in arriving:
            if isinstance(emission, DoneEmission):
                return emission.reply
            if isinstance(emission, ErrorEmission):
                raise emission.error
            emissions.append(emission)
    if not emissions:
        raise GatewayError(GatewayErrorKind.TRANSPORT, "channel closed without emitting any data")
    return fold_reply("unknown", emissions)
