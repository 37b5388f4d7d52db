"""Step 7, receipt: every call that was opened gets one, signed, durable before its last bytes leave."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.draft import ReceiptDraft, Returned, close_draft, decode_draft
from gateway.errors import KEYSET_ENDED, InsufficientCredits, KeysetExpired
from gateway.money.bill import Reservation
from gateway.random_hex import random_hex
from gateway.sampling import Sampler
from gateway.sequencer import Authenticate
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
from gateway.storage.ledger import accounts_of, release_unreadable, reserve, settle
from gateway.storage.samples import StoredSample, insert_sample
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction
from gateway.workload import WorkloadKeys
from tee.canonical import digest, digest_bytes
from tee.errors import Malformed, Unavailable
from tee.keys.httpsig import SignedAnswer

LOG = logging.getLogger("saferouter")
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PROGRESS_SECONDS = 0.1  # how much of a stream may leave before its prefix is durable


class AuditRecord:
    """Opens, follows and closes calls. Whatever it acknowledges is durable."""

    def __init__(self, writer: GroupCommit, keys: WorkloadKeys, authenticate: Authenticate, sampler: Sampler) -> None:
        """`authenticate` makes the codes by which the next boot knows the rows of this one: 32 bytes."""
        self._writer = writer
        self._authenticate = authenticate
        self._sampler = sampler
        self._keys = keys
        self._streams: dict[str, Callable[[], Progress]] = {}
        self._payers: dict[str, tuple[str, ...]] = {}  # of calls that are open: the accounts that each will change

    @property
    def log(self) -> int:
        """The number of the log that its calls stand in."""
        return self._writer.log

    def require_keyset(self) -> str:
        """The digest of the keyset in force. Raises KeysetExpired: what begins now could get no receipt."""
        if self._keys.life_left <= 0:
            raise KeysetExpired(KEYSET_ENDED)
        return self._keys.keyset.digest

    async def open(self, draft: ReceiptDraft, key_id: str, wanted: Reservation | None = None) -> int | None:
        """Open a call, durably, with that held for it: from here on its receipt is owed. Raises NotRecorded.

        Returns the index of its `route` leaf; None for a call that goes nowhere. Raises InsufficientCredits where the
        sum cannot be held: then the call is open as `draft.unsent()`.
        """
        text, route = self._coded(draft), draft.route
        commitment = None if route is None else digest_bytes(route)

        def opening(transaction: Transaction) -> int | InsufficientCredits | None:
            sequence, connection = transaction.sequence, transaction.connection
            refusal = None if wanted is None else reserve(connection, key_id, wanted)
            if refusal is not None:
                insert_call(connection, draft.receipt_id, key_id, self._coded(draft.unsent()), sequence.epoch, None)
                return refusal
            leaf = None if commitment is None else sequence.append("route", {"commitment": commitment})
            insert_call(connection, draft.receipt_id, key_id, text, sequence.epoch, leaf, wanted)
            return leaf

        accounts = () if wanted is None else accounts_of(key_id, wanted.tenant)
        if accounts:
            self._payers[draft.receipt_id] = accounts
        try:
            leaf: int | InsufficientCredits | None = await self._writer.durable(opening, accounts)
        except asyncio.CancelledError:
            # The row is written all the same, so its receipt is owed: nothing left.
            self.submit_close(draft, Returned(0, "", 0, EMPTY_SHA256, complete=False), None, None)
            raise
        except NotRecorded:
            self._payers.pop(draft.receipt_id, None)
            raise
        if isinstance(leaf, InsufficientCredits):
            raise leaf
        return leaf

    def follow(self, draft: ReceiptDraft, progress: Callable[[], Progress]) -> None:
        """Note a stream's draft now, and its progress until it is closed."""
        text = self._coded(draft)
        self._writer.note(lambda transaction: advance_call(transaction.connection, draft.receipt_id, text))
        self._streams[draft.receipt_id] = progress

    def sign_checkpoint(self, sent: Progress, keyset_digest: str) -> dict[str, Any]:
        """The signed checkpoint of a stream of which that much has left (SPEC §7.4); durable with the next progress."""
        return self._keys.sign_checkpoint(sent, keyset_digest)

    def sign_answer(self, answer: SignedAnswer) -> dict[str, str]:
        """The signature fields of a buffered answer, whose receipt is durable (SPEC §7.5)."""
        return self._keys.sign_answer(answer)

    def submit_close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> Future[Any]:
        """Sign and store the receipt; usable while a task is being cancelled, because it awaits nothing."""
        accounts = self._payers.pop(draft.receipt_id, ())
        return self._writer.submit(self._closing(draft, returned, chat_id, activity), accounts)

    async def close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> None:
        """Sign and store the receipt, durably. Raises NotRecorded."""
        accounts = self._payers.pop(draft.receipt_id, ())
        await self._writer.durable(self._closing(draft, returned, chat_id, activity), accounts)

    async def record_progress(self) -> None:
        """Background work: note every open stream's durable prefix. Runs until cancelled."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            rows = [progress() for progress in self._streams.values()]
            rows = [replace(row, code=self._progress_code(row)) for row in rows]
            if rows:
                self._writer.note(partial(_record_progress, rows))

    def finish_cut_calls(self, cut: list[OpenCall]) -> None:
        """After a crash: sign `complete:false` for the calls it cut, up to their last durable prefix.

        A row that this gateway did not write gets none. Raises Unavailable.
        """
        written = []
        for call in cut:
            accounts = accounts_of(call.key_id, call.tenant)
            try:
                draft, returned = self._draft_of(call), self._returned_of(call)
            except Malformed as error:
                # Somebody else's word: whoever can write to the disk must not choose what the attested key signs.
                LOG.error("No receipt is signed for call %s, which the last end has cut: %s.", call.receipt_id, error)
                if call.held_micro_usd is not None:
                    freeing = partial(_release, call.receipt_id, call.held_micro_usd, accounts)
                    written.append(self._writer.submit(freeing, accounts))
                continue
            self._payers[call.receipt_id] = accounts
            written.append(self.submit_close(draft, returned, None, None))
        try:
            for done in written:
                done.result()
        except NotRecorded as error:
            reason = f"does not take the receipts of {len(cut)} calls that the last end has cut: {error.message}"
            raise Unavailable("the gateway's database", reason, retryable=False) from None

    def _coded(self, draft: ReceiptDraft) -> str:
        text = draft.encode()
        return self._authenticate(b"draft " + text.encode()).hex() + text

    def _draft_of(self, call: OpenCall) -> ReceiptDraft:
        code, text = call.draft[:64], call.draft[64:]
        if not hmac.compare_digest(code.encode(), self._authenticate(b"draft " + text.encode()).hex().encode()):
            raise Malformed("calls.draft", "another text", "what this gateway stored, under its own sealed key")
        draft = decode_draft(text)
        if draft.receipt_id != call.receipt_id:
            raise Malformed("calls.draft", f"that of {draft.receipt_id}", f"that of {call.receipt_id}")
        return draft

    def _progress_code(self, row: Progress) -> str:
        fields = [row.receipt_id, row.status, row.content_type, row.sent_bytes, row.sent_sha256]
        fields += [row.sent_events, row.checkpoint]
        return self._authenticate(b"progress " + json.dumps(fields).encode()).hex()

    def _returned_of(self, call: OpenCall) -> Returned:
        """What had left, by the last durable note of it; nothing where there is none."""
        if call.sent_code is None:
            return Returned(0, "", 0, EMPTY_SHA256, complete=False)
        row = Progress(
            call.receipt_id,
            call.status or 0,
            call.content_type or "",
            call.sent_bytes,
            call.sent_sha256 or "",
            call.sent_events or 0,
            call.checkpoint or "",
        )
        if not hmac.compare_digest(call.sent_code.encode(), self._progress_code(row).encode()):
            raise Malformed("calls.sent_bytes", "another prefix", "what this gateway stored, under its own sealed key")
        checkpoint = json.loads(row.checkpoint) if row.checkpoint else None
        sent = row.sent_bytes, row.sent_sha256, False
        return Returned(row.status, row.content_type, *sent, row.sent_events, checkpoint)

    def _closing(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> Callable[[Transaction], None]:
        self._streams.pop(draft.receipt_id, None)
        signer = self._keys.signer(draft.keyset_digest)
        signed = self._keys.sign_receipt(close_draft(draft, returned, chat_id, signer))
        text, salt, sample = signed.decode(), random_hex(32), self._sampler.draw(signed)
        commitment = digest({"receipt_id": draft.receipt_id, "receipt_digest": digest_bytes(signed), "salt": salt})

        def closing(transaction: Transaction) -> None:
            sequence = transaction.sequence
            receipt = LoggedText(text, sequence.epoch.number, sequence.size, salt, signer.served_at)
            if held := close_call(transaction.connection, draft.receipt_id, receipt, activity):
                settle(transaction.connection, draft.receipt_id, held, draft.model, activity, signer.served_at)
                sequence.append("receipt", {"commitment": commitment})
                if sample is not None:
                    at = sequence.append("audit", {"commitment": sample.commitment})
                    row = StoredSample(draft.receipt_id, sample.text, sequence.epoch.log, sequence.epoch.number, at)
                    insert_sample(transaction.connection, row)

        return closing


def _record_progress(rows: list[Progress], transaction: Transaction) -> None:
    record_progress(transaction.connection, rows)


def _release(receipt_id: str, held: int, accounts: tuple[str, ...], transaction: Transaction) -> None:
    release_unreadable(transaction.connection, receipt_id, held, accounts)
