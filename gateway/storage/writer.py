"""The one writer of the record: a thread that commits in groups, and acknowledges only what is durable."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from gateway.errors import GatewayError
from gateway.sequencer import Sequence, Sequencer

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


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Operation
    done: Future[Any] | asyncio.Future[Any]


class GroupCommit:
    """Runs operations in order, many to a transaction. `submit` never blocks and works from any thread."""

    def __init__(
        self, engine: Engine, sequencer: Sequencer, noted: Callable[[int, list[str]], None] = lambda _size, _kinds: None
    ) -> None:
        """`noted` learns, in the writer's thread, how many operations became durable together, and of which leaves."""
        self._noted = noted
        self._engine = engine
        self._sequencer = sequencer
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation) -> Future[Any]:
        """Queue an operation; its future resolves to its result once durable, or raises NotRecorded."""
        done: Future[Any] = Future()
        self._jobs.put(_Job(operation, done))
        return done

    async def durable(self, operation: Operation) -> Any:
        """Submit and wait. A cancelled caller stops waiting; the operation is carried out all the same."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda it: it.cancelled() or it.exception())  # its caller may have gone
        self._jobs.put(_Job(operation, done))
        return await asyncio.shield(done)

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

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; nobody is told before it is durable, and a failure is told to all."""
        sequence = self._sequencer.begin()
        try:
            with self._engine.begin() as connection:
                transaction = Transaction(connection, sequence)
                results = [job.operation(transaction) for job in jobs]
                self._sequencer.write(sequence, connection)
        except Exception as error:  # the rim of this thread: if it died, every later call would wait for ever
            words = f"The call could not be recorded ({type(error).__name__})."
            _tell([partial(job.done.set_exception, NotRecorded(words)) for job in jobs], jobs)
            return
        self._sequencer.adopt(sequence)
        self._noted(len(jobs), sequence.kinds)
        _tell([partial(job.done.set_result, result) for job, result in zip(jobs, results, strict=True)], jobs)


def _tell(words: list[Callable[[], None]], jobs: list[_Job]) -> None:
    """Tell each job's waiter: threads from here, a loop from within, which is woken once for all of its own."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for say, job in zip(words, jobs, strict=True):
        if isinstance(job.done, Future):
            say()
        else:
            by_loop.setdefault(job.done.get_loop(), []).append(say)
    for loop, said in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_say, said)


def _say(words: list[Callable[[], None]]) -> None:
    for say in words:
        say()
