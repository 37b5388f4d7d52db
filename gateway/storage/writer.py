"""The one writer of the record: a thread that commits in groups, and acknowledges only what is durable."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from gateway.errors import GatewayError
from gateway.sequencer import Sequence, Sequencer
from gateway.storage.faults import is_of_values, is_passing
from gateway.storage.ledger import lock_accounts
from gateway.storage.locks import claim_writing
from tee.errors import Unavailable

LOG = logging.getLogger("saferouter")
TRIES = 8  # of a transaction that others were in the way of: then the database itself is in trouble
MAX_BATCH = 256  # a cap, never a wait: a batch starts as soon as the last one is durable


@dataclass(frozen=True, slots=True)
class Transaction:
    """What an operation writes to: the database, and the log's next leaves."""

    connection: Connection
    sequence: Sequence


Operation = Callable[[Transaction], Any]


class NotRecorded(GatewayError):
    """The record cannot be written, so nothing may be answered."""

    status, error_type, code = 503, "server_error", "record_unavailable"


Waiter = Future[Any] | asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Operation
    done: Waiter | None  # None where nobody waits
    accounts: tuple[str, ...] = ()  # of the ledger, which it changes


class GroupCommit:
    """Runs operations in order, many to a transaction. `submit` never blocks and works from any thread."""

    def __init__(
        self, engine: Engine, sequencer: Sequencer, noted: Callable[[int, list[str]], None] = lambda _size, _kinds: None
    ) -> None:
        """`noted` learns, in the writer's thread, how many operations became durable together, and of which leaves."""
        self._noted = noted
        self._engine = engine
        self._sequencer = sequencer
        self._connection: Connection | None = None  # its thread's own
        self._doubtful: Sequence | None = None  # was it committed?
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def log(self) -> int:
        """The number of the log that it writes."""
        return self._sequencer.epoch.log

    def submit(self, operation: Operation, accounts: tuple[str, ...] = ()) -> Future[Any]:
        """Queue an operation; its future resolves to its result once durable, or raises NotRecorded.

        `accounts` are those of the ledger that it changes.
        """
        done: Future[Any] = Future()
        self._jobs.put(_Job(operation, done, accounts))
        return done

    def note(self, operation: Operation) -> None:
        """Queue an operation that nobody waits for: a failing disk shows in those that somebody does."""
        self._jobs.put(_Job(operation, None))

    async def durable(self, operation: Operation, accounts: tuple[str, ...] = ()) -> Any:
        """Submit and wait. A cancelled caller stops waiting; the operation is carried out all the same."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, done, accounts))
        return await done

    def stop(self) -> None:
        """Write everything that was submitted, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _write(self) -> None:
        running = True
        while running:
            batch = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(batch) < MAX_BATCH:
                    batch.append(self._jobs.get_nowait())
            running = None not in batch
            self._commit([job for job in batch if job is not None])
        self._hang_up()

    def _connected(self) -> Connection:
        """The connection, kept from batch to batch: the pool takes longer over one than the driver over a call.

        A new one first asks what became of the commit whose answer was lost with the last one.
        """
        if self._connection is None:
            self._connection = claim_writing(self._engine, self.log)
            if self._doubtful is not None:
                with self._connection.begin():
                    stands = self._sequencer.stands(self._doubtful, self._connection)
                if stands:
                    self._sequencer.adopt(self._doubtful)
                self._doubtful = None
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _commit(self, jobs: list[_Job], tries: int = TRIES) -> None:
        """One transaction for all; nobody is told before it is durable, and a failure is told to all.

        Two failures are not: where another replica was in the way, all is done again; where the database refuses a
        value, everybody gets a transaction of his own, so that only who said it is told.
        """
        sequence, results = None, None
        try:
            connection = self._connected()
            sequence = self._sequencer.begin()
            with connection.begin():
                lock_accounts(connection, (name for job in jobs for name in job.accounts))
                transaction = Transaction(connection, sequence)
                done = [job.operation(transaction) for job in jobs]
                self._sequencer.write(sequence, connection)
                results = done  # all that is left is the commit
        except Exception as error:  # the rim of this thread: if it died, every later call would wait for ever
            self._hang_up()  # the next batch must not meet the same broken connection
            if sequence is None or results is None or not self._is_committed(sequence):
                self._fail(jobs, error, tries)
                return
        else:
            self._sequencer.adopt(sequence)
        self._noted(len(jobs), sequence.kinds)
        _tell(jobs, results)

    def _is_committed(self, sequence: Sequence) -> bool:
        """Whether a commit whose answer was lost was carried out: else the next leaves would take the same numbers."""
        if sequence.leaves:
            self._doubtful = sequence
            with suppress(Exception):  # if it cannot be asked now, it is before the next batch
                self._connected()
        return bool(sequence.leaves) and self._sequencer.ends_with(sequence)

    def _fail(self, jobs: list[_Job], error: Exception, tries: int) -> None:
        if is_passing(error) and tries > 1:
            self._commit(jobs, tries - 1)
        elif is_of_values(error) and len(jobs) > 1:
            for job in jobs:
                self._commit([job])
        else:
            if isinstance(error, Unavailable):
                LOG.error("Nothing can be recorded: %s.", error)
            words = f"The call could not be recorded ({type(error).__name__})."
            _tell(jobs, [NotRecorded(words) for _ in jobs])


def _tell(jobs: list[_Job], outcomes: list[Any]) -> None:
    """Tell each job's waiter: threads from here, a loop from within, which is woken once for all of its own."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiter, Any]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.done is None:
            continue
        if not isinstance(job.done, Future):
            by_loop.setdefault(job.done.get_loop(), []).append((job.done, outcome))
        elif job.done.set_running_or_notify_cancel():
            _settle(job.done, outcome)
    for loop, told in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_all, told)


def _settle_all(told: list[tuple[Waiter, Any]]) -> None:
    for done, outcome in told:
        if not done.cancelled():  # its caller may have gone
            _settle(done, outcome)


def _settle(done: Waiter, outcome: Any) -> None:
    if isinstance(outcome, NotRecorded):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
