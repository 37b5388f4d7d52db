"""The record as a worker has it: the keeper opens, follows and signs; this asks it, and waits until that is durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.audit import EMPTY_SHA256, PROGRESS_SECONDS
from gateway.boot_keys import BootKeys
from gateway.draft import MAX_CHAT_ID, ReceiptDraft, Returned
from gateway.errors import KEYSET_ENDED, InsufficientCredits, KeysetExpired
from gateway.money.bill import Reservation
from gateway.storage.calls import Activity, Progress
from gateway.tally import Tally
from gateway.tenancy.tenant import ApiKey
from gateway.wire import Frames, Message, decode_error, decode_key, encode_frame, encode_value
from tee.errors import Malformed
from tee.keys.httpsig import SignedAnswer

ROWS = 256  # of progress, or of counts, in one frame
COUNT_SECONDS = 1.0  # how old the keeper's counts may be, and what a death may cost of them
READ = 1 << 16


class KeeperLink:
    """The one connection to the keeper: inherited, so nobody else can have it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._number = 0

    def tell(self, do: str, **members: Any) -> None:
        """Say something that wants no answer."""
        self._writer.write(encode_frame({"do": do, **members}))

    def ask(self, do: str, **members: Any) -> asyncio.Future[Message]:
        """Ask now; the answer comes when what it says is durable. The future raises GatewayError."""
        self._number += 1
        asked = self._asked[self._number] = asyncio.get_running_loop().create_future()
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # not everybody waits for it
        self._writer.write(encode_frame({"do": do, "n": self._number, **members}))
        return asked

    async def listen(self, told: Callable[[Message], None]) -> None:
        """Hand out answers, and to `told` whatever else the keeper says, until it is gone. Raises Malformed."""
        while raw := await self._reader.read(READ):
            for message in self._frames.push(raw):
                if "n" in message:
                    self._answered(message)
                else:
                    told(message)

    @property
    def waiting(self) -> int:
        """Bytes that the keeper has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def settled(self) -> None:
        """Wait until everything that was asked is answered."""
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def find_key(self, sha256: str) -> ApiKey | None:
        """The live API key of that hash."""
        found = (await asyncio.shield(self.ask("find_key", sha256=sha256)))["key"]
        return None if found is None else decode_key(found)

    async def find_ended(self, ids: Sequence[str]) -> list[str]:
        """Which of these keys are revoked, or have ended."""
        found: list[str] = (await asyncio.shield(self.ask("find_ended", ids=list(ids))))["ids"]
        return found

    def tell_counts(self, tally: Tally) -> None:
        """Tell the keeper what was counted since the last time."""
        rows = tally.news()
        for at in range(0, len(rows), ROWS):
            self.tell("count", rows=rows[at : at + ROWS])

    async def report_counts(self, tally: Tally) -> None:
        """Background work: tell of the counts. Runs until cancelled."""
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            if not self.waiting:
                self.tell_counts(tally)

    def _answered(self, message: Message) -> None:
        asked = self._asked.pop(message["n"], None)
        if asked is None:
            raise Malformed("frame.n", message["n"], "the number of something that was asked")
        if "error" in message:
            asked.set_exception(decode_error(message["error"]))
        else:
            asked.set_result(message)


class RemoteRecord:
    """A CallRecord by way of the keeper."""

    def __init__(self, link: KeeperLink, keys: BootKeys, keyset: tuple[str, int]) -> None:
        """`keyset`: the digest of the one in force, and when it ends (seconds since 1970); the keeper tells of more."""
        self._link = link
        self._keys = keys
        self.keyset = keyset
        self._streams: dict[str, Callable[[], Progress]] = {}
        self._told: dict[str, int] = {}

    def require_keyset(self) -> str:
        """The digest of the keyset in force. Raises KeysetExpired: what begins now could get no receipt."""
        if time.time() >= self.keyset[1]:
            raise KeysetExpired(KEYSET_ENDED)
        return self.keyset[0]

    async def open(self, draft: ReceiptDraft, key_id: str, wanted: Reservation | None = None) -> int | None:
        """Open a call, durably. Raises GatewayError: InsufficientCredits where the call is open and may not go on."""
        held = None if wanted is None else encode_value(wanted)
        opening = self._link.ask("open", draft=draft.encode(), key_id=key_id, wanted=held)
        try:
            answer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The keeper opens it all the same, so its receipt is owed: nothing left.
            self.submit_close(draft, Returned(0, "", 0, EMPTY_SHA256, complete=False), None, None)
            raise
        if "unpaid" in answer:
            refusal = decode_error(answer["unpaid"])
            raise InsufficientCredits(refusal.message, code=refusal.code)
        leaf: int | None = answer["leaf"]
        return leaf

    def follow(self, draft: ReceiptDraft, progress: Callable[[], Progress]) -> None:
        """Note a stream's draft now, and its progress until it is closed."""
        self._link.tell("follow", draft=draft.encode(), progress=encode_value(progress()))
        self._streams[draft.receipt_id] = progress

    def sign_checkpoint(self, sent: Progress, keyset_digest: str) -> dict[str, Any]:
        """The signed checkpoint of a stream of which that much has left (SPEC §7.4)."""
        return self._keys.sign_checkpoint(sent, keyset_digest, int(time.time()))

    def sign_answer(self, answer: SignedAnswer) -> dict[str, str]:
        """The signature fields of a buffered answer, whose receipt is durable (SPEC §7.5)."""
        return self._keys.sign_answer(answer, int(time.time()))

    def submit_close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> asyncio.Future[Message]:
        """Have the receipt signed and stored; awaits nothing."""
        self._streams.pop(draft.receipt_id, None)
        self._told.pop(draft.receipt_id, None)
        return self._link.ask(
            "close",
            draft=draft.encode(),
            returned=encode_value(returned),
            chat_id=chat_id if chat_id is not None and len(chat_id) <= MAX_CHAT_ID else None,
            activity=None if activity is None else encode_value(activity),
        )

    async def close(
        self, draft: ReceiptDraft, returned: Returned, chat_id: str | None, activity: Activity | None
    ) -> None:
        """Have the receipt signed and stored, durably. Raises GatewayError."""
        await asyncio.shield(self.submit_close(draft, returned, chat_id, activity))

    async def report_progress(self) -> None:
        """Background work: tell the keeper how far each stream is. Runs until cancelled."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if self._link.waiting:
                continue  # the keeper is busy: what it has not read must not pile up
            rows = [progress() for progress in self._streams.values()]
            rows = [row for row in rows if row.sent_bytes != self._told.get(row.receipt_id)]
            self._told |= {row.receipt_id: row.sent_bytes for row in rows}
            for at in range(0, len(rows), ROWS):
                self._link.tell("progress", rows=[encode_value(row) for row in rows[at : at + ROWS]])
