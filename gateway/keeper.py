"""The keeper's side of one worker: what it asks of the record, and the receipts of its calls should it die."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine

from gateway.audit import AuditRecord
from gateway.draft import Returned, decode_draft
from gateway.errors import GatewayError, InsufficientCredits, InvalidRequest, NoRoute
from gateway.key_book import KeyBook
from gateway.money.bill import Reservation
from gateway.rates import RateStore
from gateway.remote_rates import decode_correction, decode_wish, encode_taken
from gateway.routing.identity import Identities, Shown
from gateway.storage.calls import Activity, Progress, find_open_calls
from gateway.tally import Tally
from gateway.tenancy.rates import Limits
from gateway.wire import Frames, Message, decode_value, encode_error, encode_frame, encode_key
from tee.canonical import kind_of
from tee.errors import Malformed
from tee.keys.identity import hex_bytes

LOG = logging.getLogger("saferouter")
READ = 1 << 16
MAX_CHAIN = 16  # certificates that a TLS library follows
_FULL = NoRoute("The gateway is at its limit of open calls.", code="overloaded", retry_after=1.0)
_NOT_OPEN = InvalidRequest("This call is not open.")


@dataclass(slots=True)
class _Held:
    """A call that this worker has open: its opening, and how far its stream is."""

    opening: asyncio.Task[Message]
    progress: Progress | None = None


class WorkerDesk:
    """Serves one worker. It can open calls, and follow and close those that it opened itself: nothing else."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        audit: AuditRecord,
        engine: Engine,
        most: int,
        tally: Tally,
        key_book: KeyBook,
        rates: RateStore,
        identities: Identities,
    ) -> None:
        """`most`: how many calls it may have open, which bounds what waits here for the disk. `tally`: all counts.
        `rates`: those of this node. `identities`: what all have met of the providers.
        """
        self._identities = identities
        self._tally = tally
        self._key_book = key_book
        self._rates = rates
        self._reader, self._writer = streams
        self._audit = audit
        self._engine = engine
        self._most = most
        self._calls: dict[str, _Held] = {}
        self._tasks: set[asyncio.Task[Message]] = set()
        self.loaded = asyncio.Event()

    def tell(self, message: Message) -> None:
        """Say something that the worker did not ask for."""
        if not self._writer.is_closing():
            self._writer.write(encode_frame(message))

    def hang_up(self) -> None:
        """Drop the connection: a worker ends where it has none."""
        self._writer.transport.abort()

    async def serve(self) -> None:
        """Do what the worker asks until its connection ends. Raises Malformed."""
        frames = Frames()
        try:
            while raw := await self._reader.read(READ):
                for message in frames.push(raw):
                    self._do(message)
        except ConnectionError:
            pass  # a death like any other
        finally:
            self._writer.close()

    async def finish(self) -> int:
        """Sign `complete:false` for what a dead worker had open, up to its last durable prefix; how many there were.

        Raises Unavailable.
        """
        left = self._calls.keys()
        # Once these are durable, so is everything that was said before them: there is one writer.
        await asyncio.gather(*(held.opening for held in self._calls.values()), return_exceptions=True)
        found = await asyncio.to_thread(find_open_calls, self._engine, self._audit.log)
        cut = [call for call in found if call.receipt_id in left]
        self._audit.finish_cut_calls(cut)
        self._calls.clear()
        return len(cut)

    def _do(self, message: Message) -> None:
        """One message; what a worker of this build never says ends its connection. Raises Malformed."""
        try:
            match message["do"]:
                case "open":
                    self._open(message["n"], message["draft"], message["key_id"], message["wanted"])
                case "follow":
                    self._follow(message["draft"], message["progress"])
                case "progress":
                    self._progress(message["rows"])
                case "close":
                    self._close(message)
                case "find_key":
                    self._start(message["n"], self._key(message["sha256"]))
                case "find_ended":
                    self._start(message["n"], self._ended(message["ids"]))
                case "take":
                    self._start(message["n"], self._take(*decode_wish(message)))
                case "correct":
                    self._rates.correct(*decode_correction(message))
                case "count":
                    self._tally.merge(message["rows"])
                case "met":
                    self._met(message["provider"], message["spki"], message["chain"], message["drift"])
                case "loaded":
                    self.loaded.set()
                case other:
                    raise Malformed("frame.do", repr(other)[:64], "a request of a worker")
        except KeyError as error:
            raise Malformed("frame", f"no {error.args[0]}", "every member of a request") from None

    def _met(self, provider: Any, spki: Any, chain: Any, drift: Any) -> None:
        """A provider has shown this worker who it is, for the first time or as another."""
        if not isinstance(provider, str) or not isinstance(chain, list) or not 0 < len(chain) <= MAX_CHAIN:
            raise Malformed("frame.chain", kind_of(chain), f"1 to {MAX_CHAIN} certificates of a provider")
        for each in (spki, *chain):
            hex_bytes(each, 32, "frame.chain")
        shown = Shown(spki, tuple(chain))
        if self._identities.watches(provider):
            tell = self._identities.note_drift if drift else self._identities.on_first
            tell(provider, shown)

    def _open(self, number: int, text: str, key_id: str, held: Any) -> None:
        draft = decode_draft(text)
        wanted = None if held is None else decode_value(Reservation, held)
        if len(self._calls) >= self._most or draft.receipt_id in self._calls:
            self._refuse(number, _FULL)
            return

        async def opening() -> Message:
            try:
                return {"leaf": await self._audit.open(draft, key_id, wanted)}
            except InsufficientCredits as error:  # it is open all the same, for its receipt
                return {"unpaid": encode_error(error)}
            except GatewayError:
                del self._calls[draft.receipt_id]
                raise

        self._calls[draft.receipt_id] = _Held(self._start(number, opening()))

    def _follow(self, text: str, progress: Any) -> None:
        draft = decode_draft(text)
        held = self._calls.get(draft.receipt_id)
        if held is None:
            raise Malformed("frame.draft", "another's call", "one that this worker opened")
        held.progress = first = decode_value(Progress, progress)
        self._audit.follow(draft, lambda: held.progress or first)

    def _progress(self, rows: Any) -> None:
        if not isinstance(rows, list):
            raise Malformed("frame.rows", kind_of(rows), "a list")
        for row in (decode_value(Progress, each) for each in rows):
            if held := self._calls.get(row.receipt_id):  # else it was closed meanwhile
                held.progress = row

    def _close(self, message: Message) -> None:
        number, draft, chat_id = message["n"], decode_draft(message["draft"]), message["chat_id"]
        returned, activity = decode_value(Returned, message["returned"]), message["activity"]
        used = None if activity is None else decode_value(Activity, activity)
        if not isinstance(chat_id, str | None):
            raise Malformed("frame.chat_id", kind_of(chat_id), "text or null")

        def closing(_: object = None) -> None:
            if self._calls.pop(draft.receipt_id, None) is None:
                self._refuse(number, _NOT_OPEN)
                return
            self._start(number, _recorded(self._audit.submit_close(draft, returned, chat_id, used)))

        held = self._calls.get(draft.receipt_id)
        if held is None or held.opening.done():
            closing()
        else:  # given up by its caller, and still on its way to the disk: the row must be there before it is closed
            held.opening.add_done_callback(closing)

    async def _key(self, sha256: str) -> Message:
        found = await self._key_book.find(sha256)
        return {"key": None if found is None else encode_key(found)}

    async def _ended(self, ids: Any) -> Message:
        return {"ids": await self._key_book.find_ended(ids)}

    async def _take(self, limits: Limits, amount: int, more: int) -> Message:
        return {"taken": encode_taken(await self._rates.take(limits, amount, more))}

    def _start(self, number: int, work: Coroutine[Any, Any, Message]) -> asyncio.Task[Message]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._answer, number))
        return task

    def _answer(self, number: int, task: asyncio.Task[Message]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, GatewayError):
            self._refuse(number, error)
        elif error is not None:  # as at the rim of a request: the kind, never the message
            LOG.error("unexpected %s in the keeper", type(error).__name__)
            self._refuse(number, GatewayError("The gateway failed. Nothing about your request was logged."))
        elif not task.cancelled():
            self.tell({"n": number, **task.result()})

    def _refuse(self, number: int, error: GatewayError) -> None:
        self.tell({"n": number, "error": encode_error(error)})


async def _recorded(done: Future[Any]) -> Message:
    await asyncio.wrap_future(done)
    return {}
