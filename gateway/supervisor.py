"""The workers of a gateway: started, told, replaced when they die, and ended. The keeper is their parent."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from gateway.instance import Instance
from gateway.keeper import WorkerDesk
from gateway.pipeline import Embedded
from gateway.places import ABSENT, map_counts, new_counts
from gateway.wire import Message
from tee.errors import Malformed, Unavailable

LOG = logging.getLogger("saferouter")
BACKLOG = 1024  # a burst of callers must not wait a second for their second SYN
STEADY_SECONDS = 5.0  # a worker that lived this long is replaced at once, any other after a pause
FIRST_PAUSE, MAX_PAUSE = 0.25, 30.0
END_SECONDS = 8.0  # for a worker to leave once it was told to stop, or hung up on; then it is killed
KEYSET_SECONDS = 1.0  # how soon workers learn of a new keyset


@dataclass(slots=True)
class _Worker:
    """One process, and the desk that serves it."""

    process: asyncio.subprocess.Process
    desk: WorkerDesk
    began: float = field(default_factory=time.monotonic)
    greeted: bool = False


class Supervisor:
    """Keeps as many workers as are configured. All accept on one socket; each has a connection of its own to here.

    A worker is a new program, never a fork: a fork would have the keys in its memory.
    """

    def __init__(self, instance: Instance, listener: socket.socket, embedded: Embedded | None) -> None:
        self._instance = instance
        self._listener = listener
        self._embedded = embedded
        self._counts_handle = new_counts(instance.config.workers)
        self._open_calls, self._taken = map_counts(self._counts_handle)
        self._workers: dict[int, _Worker] = {}
        self._loaded = [asyncio.Event() for _ in range(instance.config.workers)]
        self._open = asyncio.Event()
        self._stopping = False
        instance.open_calls = lambda: sum(self._open_calls)

    async def run(self) -> None:
        """Background work. Runs until cancelled. Raises Unavailable where no process can be started."""
        slots = range(self._instance.config.workers)
        await asyncio.gather(self._tell_keyset(), *(self._keep(slot) for slot in slots))

    async def assembled(self) -> None:
        """Wait until as many workers as are configured have loaded."""
        for loaded in self._loaded:
            await loaded.wait()

    def open(self) -> None:
        """Let them serve, these and all that follow."""
        self._listener.listen(BACKLOG)
        self._open.set()

    async def finish(self, seconds: float) -> None:
        """Have the workers admit nobody, and leave once no call of theirs is open, at the latest after `seconds`."""
        self._stopping = True
        self._tell_all({"stop": seconds})
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + END_SECONDS):
                while self._workers:
                    await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Have the workers cut their calls, and wait until each is gone and its receipts are written."""
        self._stopping = True
        self._listener.close()
        self._tell_all({"stop": 0})
        deadline = time.monotonic() + END_SECONDS
        while self._workers:
            if time.monotonic() > deadline:
                for worker in self._workers.values():
                    worker.desk.hang_up()
            await asyncio.sleep(0.01)

    def _tell_all(self, message: Message) -> None:
        for worker in self._workers.values():
            worker.desk.tell(message)

    async def _keep(self, slot: int) -> None:
        """One worker after the other."""
        pause = 0.0
        while not self._stopping:
            worker = self._workers[slot] = await self._start()
            if self._stopping:
                worker.desk.hang_up()  # it came too late to be told
            try:
                cut = await self._attend(slot, worker)
            finally:
                del self._workers[slot]
            if self._stopping:
                return
            lived = time.monotonic() - worker.began
            pause = 0.0 if lived >= STEADY_SECONDS else min(MAX_PAUSE, max(FIRST_PAUSE, 2 * pause))
            LOG.error(
                "Worker process %d ended by itself (%s) after %.0f s; the %d calls that it had open have receipts that "
                "say so. Another is started%s.",
                *(worker.process.pid, _end_of(worker.process), lived, cut),
                f" in {pause:g} s" if pause else "",
            )
            await asyncio.sleep(pause)

    async def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "gateway.worker"),
                    stdin=theirs.fileno(),
                    pass_fds=(self._listener.fileno(), self._counts_handle),
                    start_new_session=True,  # Ctrl-C at a terminal is for the keeper: it tells the workers
                )
            except OSError as error:
                raise Unavailable("a worker process", f"does not start: {error.strerror}", retryable=True) from None
        streams = await asyncio.open_unix_connection(sock=ours)
        its, most = self._instance, self._instance.config.limits.open_calls
        shared = its.meters.tally, its.key_book, its.counts, its.upstream.identities
        return _Worker(process, WorkerDesk(streams, its.audit, its.engine, most, *shared))

    async def _attend(self, slot: int, worker: _Worker) -> int:
        """Serve it until it is gone; how many calls it left open, which have their receipts now."""
        greeting = asyncio.create_task(self._greet(slot, worker))
        try:
            await worker.desk.serve()
        except Malformed as error:
            LOG.error("Worker process %d is ended, since it said what no worker says: %s.", worker.process.pid, error)
        finally:
            greeting.cancel()
            await _ended(worker.process)  # without its connection it ends by itself
            self._open_calls[slot], self._taken[slot] = 0, ABSENT
        try:
            return await worker.desk.finish()
        except Unavailable as error:
            LOG.error("The next start tries again: %s.", error)
            return 0

    async def _greet(self, slot: int, worker: _Worker) -> None:
        await worker.desk.loaded.wait()
        self._loaded[slot].set()
        await self._open.wait()
        worker.desk.tell(self._hello(slot))
        worker.greeted = True

    def _hello(self, slot: int) -> Message:
        """What a worker needs to know."""
        return self._attested() | {
            "boot_keys": self._instance.keys.boot_keys.encode(),
            "embedded": None if self._embedded is None else asdict(self._embedded),
            "listener": self._listener.fileno(),
            "counts": self._counts_handle,
            "slot": slot,
        }

    def _attested(self) -> Message:
        """The keyset in force, and its configuration: a worker reads the rest of that where the keeper did, and must
        come to the same digests.
        """
        config, keyset = self._instance.config, self._instance.keys.keyset
        return {
            "document": config.document,
            "workers": config.workers,
            "configuration": keyset.workload["configuration"],
            "source_digest": keyset.workload["build"]["source_digest"],
            "keyset": [keyset.digest, keyset.not_after],
        }

    async def _tell_keyset(self) -> None:
        """Tell of every keyset, with the configuration that it names: so a worker takes on both at once."""
        told: str | None = None
        while True:
            digest = self._instance.keys.keyset.digest
            if digest != told and not self._stopping:
                told = digest
                for worker in self._workers.values():
                    if worker.greeted:
                        worker.desk.tell(self._attested())
            await asyncio.sleep(KEYSET_SECONDS)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for its end, and bring that about if it does not come."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _end_of(process: asyncio.subprocess.Process) -> str:
    code = process.returncode
    assert code is not None
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
