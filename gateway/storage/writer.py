"""The one writer of the record: a thread that commits in groups, and acknowledges only what is durable."""

from __future__ import annotations

import asyncio
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
from gateway.storage.ledger import lock_accounts

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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

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
        """The connection, kept from batch to batch: the pool takes longer over one than the driver over a call."""
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; nobody is told before it is durable, and a failure is told to all."""
        sequence = self._sequencer.begin()
        try:
            connection = self._connected()
            with connection.begin():
                lock_accounts(connection, (name for job in jobs for name in job.accounts))
                transaction = Transaction(connection, sequence)
                results = [job.operation(transaction) for job in jobs]
                self._sequencer.write(sequence, connection)
        except Exception as error:  # the rim of this thread: if it died, every later call would wait for ever
            self._hang_up()  # the next batch must not meet the same broken connection
            words = f"The call could not be recorded ({type(error).__name__})."
            _tell(jobs, [NotRecorded(words) for _ in jobs])
            return
        self._sequencer.adopt(sequence)
        self._noted(len(jobs), sequence.kinds)
        _tell(jobs, results)


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
