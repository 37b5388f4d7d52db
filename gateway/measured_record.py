"""The record of calls, with a watch on how long its promises take and on how calls end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.call import CLIENT_LEFT, STREAM_TYPE
from gateway.draft import ReceiptDraft, Returned
from gateway.errors import InsufficientCredits
from gateway.inference import Usage
from gateway.metrics import DURABLE
from gateway.money.bill import Reservation
from gateway.record import CallRecord
from gateway.stopwatch import stopwatch
from gateway.storage.calls import Activity
from gateway.tally import Tally


class MeasuredRecord:
    """A CallRecord by way of another."""

    def __init__(self, record: CallRecord, tally: Tally) -> None:
        self._record = record
        self._tally = tally
        self.require_keyset = record.require_keyset
        self.sign_checkpoint = record.sign_checkpoint
        self.sign_answer = record.sign_answer
        self.follow = record.follow

    async def open(self, draft: ReceiptDraft, key_id: str, wanted: Reservation | None = None) -> int | None:
        """Open a call, durably. Raises GatewayError."""
        watch = stopwatch()
        watch.receipt_id = draft.receipt_id
        try:
            with self._waiting("open"):
                leaf = await self._record.open(draft, key_id, wanted)
        except InsufficientCredits:
            watch.owed = True
            raise
        watch.owed = True
        return leaf

    async def close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> None:
        """Have the receipt signed and stored, durably. Raises GatewayError."""
        _note(returned, activity)
        with self._waiting("close"):
            await self._record.close(draft, returned, chat_id, activity)

    def submit_close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> object:
        """Have the receipt signed and stored; awaits nothing."""
        _note(returned, activity)
        return self._record.submit_close(draft, returned, chat_id, activity)

    @contextmanager
    def _waiting(self, step: str) -> Iterator[None]:
        watch, began = stopwatch(), time.monotonic()
        try:
            yield
        finally:
            waited = time.monotonic() - began
            watch.waited_durable += waited
            self._tally.observe(DURABLE, (step,), waited)


def _note(returned: Returned, activity: Activity | None) -> None:
    watch = stopwatch()
    if watch.rates is not None:
        watch.rates.settle(_tokens(activity), partial=activity is None or activity.partial)
    watch.complete, watch.stream = returned.complete, returned.content_type == STREAM_TYPE
    if activity is not None:
        watch.status, watch.model, watch.provider = activity.status, activity.model or "", activity.provider or ""
        watch.broken_lines = activity.skipped
        if activity.prompt_tokens is not None:
            watch.usage = Usage(**{name: getattr(activity, name) or 0 for name in Usage.__slots__})
    watch.owed = False
    if watch.then is not None:
        watch.then()


def _tokens(activity: Activity | None) -> int | None:
    """What a call used that has ended; None if nobody knows. A refusal used nothing."""
    if activity is None:
        return None
    if activity.prompt_tokens is None:
        return 0 if 400 <= activity.status != CLIENT_LEFT else None
    return activity.prompt_tokens + (activity.completion_tokens or 0)
