"""A keyset attested at boot, and a new one at half its life; a failure is retried for as long as the old one holds."""

from __future__ import annotations

import asyncio
import logging
import time

from gateway.desk import QuoteDesk, Record, iso_time
from gateway.workload import Document, WorkloadKeys
from tee.errors import DeviceDead, Unavailable

LOG = logging.getLogger("saferouter")
CHECK_SECONDS, MAX_PAUSE = 30.0, 600.0  # how often to look, and the longest pause between two tries
RENEW_BELOW, WARN_BELOW = 0.5, 0.25  # of the keyset's life


class Renewal:
    """Keeps an attested keyset in force, and knows how long one will be."""

    def __init__(self, desk: QuoteDesk, keys: WorkloadKeys, record: Record) -> None:
        self._desk = desk
        self._keys = keys
        self._record = record
        self._failure: Unavailable | None = None
        self._pause = self._next_try = 0.0
        self._told = ""
        self._adopting = asyncio.Lock()  # one at a time: the older of two workloads must not come back

    async def start(self, patience: float) -> None:
        """The boot's evidence, stored before the keyset signs anything; a busy device is asked for `patience` seconds.

        Raises Unavailable.
        """
        await self._desk.adopt(self._keys.keyset, self._record, patience)

    async def change(self, workload: Document, patience: float) -> None:
        """A keyset over another workload, attested and logged before it is in force. Raises Unavailable."""
        async with self._adopting:
            await self._desk.adopt(self._keys.new_keyset(workload), self._record, patience)

    async def run(self) -> None:
        """Background work. Runs until cancelled."""
        while True:
            await asyncio.sleep(self._check_seconds)
            due = self._keys.life_left < RENEW_BELOW and time.monotonic() >= self._next_try
            if due and self._desk.dead is None:
                await self._renew()
            self._tell()

    def condition(self) -> tuple[str, str | None]:
        """`ready` or why not, for /readyz, and a reason or a warning for people."""
        _, warning = self._ending()
        if self._desk.dead is not None:
            return "attestation-dead", " ".join(filter(None, (f"{self._desk.dead}.", warning)))
        return ("keyset-expired" if self._keys.life_left <= 0 else "ready"), warning

    @property
    def _check_seconds(self) -> float:
        return min(CHECK_SECONDS, self._keys.lifetime / 20)

    async def _renew(self) -> None:
        try:
            async with self._adopting:
                await self._desk.adopt(self._keys.new_keyset(), self._record, 0.0)
        except DeviceDead:
            return  # of which the desk has told
        except Unavailable as error:
            if self._failure is None:
                LOG.warning("The keyset could not be renewed, and is tried again: %s.", error)
            self._failure = error
            self._pause = min(MAX_PAUSE, max(2 * self._pause, self._check_seconds))
            self._next_try = time.monotonic() + self._pause
        else:
            if self._failure is not None:
                LOG.warning("The keyset is renewed.")
            self._failure, self._pause, self._told = None, 0.0, ""

    def _ending(self) -> tuple[str, str | None]:
        """How near the end is, and the words for it."""
        left, ends = self._keys.life_left, iso_time(self._keys.keyset.not_after)
        why = f": {self._failure}" if self._failure is not None else ""
        if left <= 0:
            return "ended", f"The keyset ended at {ends} and no new one could be attested: calls are refused{why}."
        if left < WARN_BELOW and (self._failure is not None or self._desk.dead is not None):
            return "ending", f"The keyset ends at {ends}, and no new one could be attested: calls end then{why}."
        return "", None

    def _tell(self) -> None:
        """The operator, once of each."""
        stage, warning = self._ending()
        if stage and stage != self._told:
            self._told = stage
            LOG.error("%s", warning)
