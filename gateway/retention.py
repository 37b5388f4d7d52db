"""Retention: after some days the texts of receipts go, and rows of activity; leaves stay for ever (SPEC §15.15)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.storage.pruning import prune_activity, prune_calls
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction

LOG = logging.getLogger("saferouter")
DAY = 24 * 3600
EVERY_SECONDS = 600.0
BATCH = 200  # calls or rows in one transaction: some milliseconds of the one writer, which every call waits for
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Retention:
    """Removes receipts and activity that are older than so many days, by the clock that it was given (seconds since
    1970); None: they stay.
    """

    writer: GroupCommit
    receipt_days: int | None
    activity_days: int | None
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
        removed = 0
        for batch in self.batches():
            last = BATCH
            while last == BATCH:
                last = await self.writer.durable(batch)
                removed += last
                await asyncio.sleep(PAUSE_SECONDS if last == BATCH else 0)
        return removed

    def batches(self) -> list[Callable[[Transaction], int]]:
        """What removes some, and says how many."""
        work: list[Callable[[Transaction], int]] = []
        if self.receipt_days is not None:
            work.append(partial(self._prune_calls, self.receipt_days))
        if self.activity_days is not None:
            work.append(partial(self._prune_activity, self.activity_days))
        return work

    def _prune_calls(self, days: int, transaction: Transaction) -> int:
        now = int(self.now())
        return prune_calls(transaction.connection, now - days * DAY, now, days, BATCH)

    def _prune_activity(self, days: int, transaction: Transaction) -> int:
        return prune_activity(transaction.connection, int(self.now()) - days * DAY, BATCH)
