"""Open streams that end when their key does: whoever carries some asks whether their keys still live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from weakref import WeakSet

from gateway.errors import GatewayError, KeyRevoked
from tee.errors import Unavailable

LOG = logging.getLogger("saferouter")
WATCH_SECONDS = 0.5  # a second is promised


class Stoppable(Protocol):
    """A stream that can be ended before its provider ends it."""

    def stop(self, error: GatewayError) -> None:
        """End it at its next event, with this error in its client's language."""


class StreamWatch:
    """The streams of one process whose keys say `cut_streams`."""

    def __init__(self, find_ended: Callable[[Sequence[str]], Awaitable[list[str]]]) -> None:
        self._find_ended = find_ended
        self._streams: dict[str, WeakSet[Stoppable]] = {}  # weak: what has ended needs no farewell

    def attend(self, key_id: str, stream: Stoppable) -> None:
        """End this stream once that key is revoked, or ends."""
        self._streams.setdefault(key_id, WeakSet()).add(stream)

    async def run(self) -> None:
        """Background work. Runs until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._streams = {key_id: streams for key_id, streams in self._streams.items() if streams}
            if self._streams:
                await self._look()

    async def _look(self) -> None:
        try:
            ended = await self._find_ended(list(self._streams))
        except (GatewayError, Unavailable) as error:  # no call is admitted either while the record cannot be read
            LOG.warning("Whether the keys of open streams are revoked cannot be read now: %s.", error)
            return
        for key_id in ended:
            for stream in self._streams.pop(key_id, ()):
                stream.stop(KeyRevoked("The API key of this stream was revoked, or has ended."))
