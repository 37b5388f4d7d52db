"""Retention: after some days the texts of receipts go; their leaves stay in the log for ever (SPEC §15.15)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.storage.pruning import prune_calls
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction

LOG = logging.getLogger("saferouter")
DAY = 24 * 3600
EVERY_SECONDS = 600.0
BATCH = 200  # calls in one transaction: some milliseconds of the one writer, which every call waits for
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes what is older than `days`, by the clock that it was given (seconds since 1970)."""

    writer: GroupCommit
    days: int
    now: Callable[[], float]

    async def run(self) -> None:
        """Background work. Runs until cancelled; a batch that was begun is finished or undone whole."""
        while True:
            try:
                await self.prune()
            except NotRecorded as error:
                LOG.warning("Retention removes nothing now and tries again: %s", error.message)
            await asyncio.sleep(EVERY_SECONDS)

    async def prune(self) -> int:
        """Remove all that is due, in batches between which calls are recorded; returns how many. Raises NotRecorded."""
        removed, last = 0, BATCH
        while last == BATCH:
            last = await self.writer.durable(self._batch)
            removed += last
            await asyncio.sleep(PAUSE_SECONDS if last == BATCH else 0)
        return removed

    def _batch(self, transaction: Transaction) -> int:
        now = int(self.now())
        return prune_calls(transaction.connection, now - self.days * DAY, now, self.days, BATCH)
