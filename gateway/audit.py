"""Step 7, receipt: every call that was opened gets one, signed, durable before its last bytes leave."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from gateway.draft import ReceiptDraft, Returned, close_draft, decode_draft
from gateway.errors import KeysetExpired
from gateway.storage.calls import (
    Activity,
    LoggedText,
    OpenCall,
    Progress,
    advance_call,
    close_call,
    insert_call,
    record_progress,
)
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction
from gateway.workload import WorkloadKeys
from tee.canonical import digest
from tee.errors import Unavailable

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PROGRESS_SECONDS = 0.1  # how much of a stream may leave before its prefix is durable


class AuditRecord:
    """Opens, follows and closes calls. Whatever it acknowledges is durable."""

    def __init__(self, writer: GroupCommit, keys: WorkloadKeys) -> None:
        self._writer = writer
        self._keys = keys
        self._streams: dict[str, Callable[[], Progress]] = {}

    def require_keyset(self) -> None:
        """Refuse what could get no receipt that verifies. Raises KeysetExpired."""
        if self._keys.life_left <= 0:
            raise KeysetExpired(
                "The gateway's attested keyset has ended and no new one could be attested, so nobody could verify the "
                "receipt of this call: it was not sent on. The operator finds the reason at /readyz."
            )

    async def open(self, draft: ReceiptDraft, key_id: str) -> int | None:
        """Open a call, durably: from here on its receipt is owed. Raises NotRecorded.

        Returns the index of its `route` leaf; None for a call that goes nowhere.
        """
        text, route = draft.encode(), draft.route
        commitment = None if route is None else digest(route)

        def opening(transaction: Transaction) -> int | None:
            sequence = transaction.sequence
            leaf = None if commitment is None else sequence.append("route", {"commitment": commitment})
            insert_call(transaction.connection, draft.receipt_id, key_id, text, sequence.epoch, leaf)
            return leaf

        try:
            leaf: int | None = await self._writer.durable(opening)
        except asyncio.CancelledError:
            # The row is written all the same, so its receipt is owed: nothing left.
            self.submit_close(draft, Returned(0, "", 0, EMPTY_SHA256, complete=False), None, None)
            raise
        return leaf

    def follow(self, draft: ReceiptDraft, progress: Callable[[], Progress]) -> None:
        """Note a stream's draft now, and its progress until it is closed."""
        text = draft.encode()
        self._writer.submit(lambda transaction: advance_call(transaction.connection, draft.receipt_id, text))
        self._streams[draft.receipt_id] = progress

    def submit_close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> Future[Any]:
        """Sign and store the receipt; usable while a task is being cancelled, because it awaits nothing."""
        return self._writer.submit(self._closing(draft, returned, chat_id, activity))

    async def close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> None:
        """Sign and store the receipt, durably. Raises NotRecorded."""
        await self._writer.durable(self._closing(draft, returned, chat_id, activity))

    async def record_progress(self) -> None:
        """Background work: note every open stream's durable prefix. Runs until cancelled."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            rows = [progress() for progress in self._streams.values()]
            if rows:
                # Not awaited: a failing disk shows where a call is opened or closed.
                self._writer.submit(partial(_record_progress, rows))

    def finish_cut_calls(self, cut: list[OpenCall]) -> None:
        """After a crash: sign `complete:false` for the calls it cut, up to their last durable prefix.

        Raises Unavailable, Malformed.
        """
        written = []
        for call in cut:
            returned = Returned(
                status=call.status or 0,
                content_type=call.content_type or "",
                size=call.sent_bytes,
                sha256=call.sent_sha256 or EMPTY_SHA256,
                complete=False,
            )
            written.append(self.submit_close(decode_draft(call.draft), returned, None, None))
        try:
            for done in written:
                done.result()
        except NotRecorded as error:
            reason = f"does not take the receipts of {len(cut)} calls that the last end has cut: {error.message}"
            raise Unavailable("the gateway's database", reason, retryable=False) from None

    def _closing(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> Callable[[Transaction], None]:
        self._streams.pop(draft.receipt_id, None)
        signed = self._keys.sign_receipt(close_draft(draft, returned, chat_id, self._keys.signer()))
        text, salt = json.dumps(signed), secrets.token_hex(32)
        commitment = digest({"receipt_id": draft.receipt_id, "receipt_digest": digest(signed), "salt": salt})

        def closing(transaction: Transaction) -> None:
            sequence = transaction.sequence
            receipt = LoggedText(text, sequence.epoch, sequence.size, salt)
            if close_call(transaction.connection, draft.receipt_id, receipt, activity):
                sequence.append("receipt", {"commitment": commitment})

        return closing


def _record_progress(rows: list[Progress], transaction: Transaction) -> None:
    record_progress(transaction.connection, rows)
