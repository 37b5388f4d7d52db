"""Says that this replica runs, and releases what is held for the calls of one that has said nothing for hours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.storage.abandoned import HeldCall, find_abandoned, note_seen, release_abandoned
from gateway.storage.engine import Engine
from gateway.storage.faults import FAULTS
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction

LOG = logging.getLogger("saferouter")
BEAT_SECONDS = 60.0
# Far longer than a restart or a call takes, and than the clocks of two machines differ.
GONE_SECONDS = 3 * 3600


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One replica's, by the clock that it was given (seconds since 1970)."""

    engine: Engine
    writer: GroupCommit
    now: Callable[[], float]

    async def run(self) -> None:
        """Background work. Runs until cancelled."""
        while True:
            try:
                if released := await self.beat():
                    LOG.warning("%d open calls of a replica that is gone hold no money any more.", released)
            except (NotRecorded, *FAULTS) as error:
                LOG.warning("Other replicas are not told that this one runs (%s).", type(error).__name__)
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> int:
        """Say so once; for how many calls of others money was released. Raises NotRecorded, and what FAULTS names."""
        now, log = int(self.now()), self.writer.log
        await self.writer.durable(lambda transaction: note_seen(transaction.connection, log, now))
        gone = await asyncio.to_thread(find_abandoned, self.engine, log, now - GONE_SECONDS)
        for call in gone:
            await self.writer.durable(partial(_release, call), call.accounts)
        return len(gone)


def _release(call: HeldCall, transaction: Transaction) -> None:
    release_abandoned(transaction.connection, call)
