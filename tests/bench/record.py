"""How many leaves a second become durable on SQLite, as the product opens it."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gateway.sequencer import Sequencer
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD, LogEpoch
from gateway.storage.writer import GroupCommit, Transaction

IN_GROUPS, ALONE = 20_000, 500
BODY = {"commitment": "sha256:" + "0" * 64}


@contextmanager
def _writer(folder: Path) -> Iterator[GroupCommit]:
    authenticate = partial(hmac.digest, bytes(32), digest="sha256")
    engine = open_database(f"sqlite:///{folder / 'record.sqlite3'}")
    writer = GroupCommit(engine, Sequencer(LogEpoch(1, 1), EMPTY_HEAD, authenticate, time.time, ()))
    yield writer
    writer.stop()
    engine.dispose()


def leaves_per_second(folder: Path) -> tuple[float, float]:
    """Durable leaves a second: many at once, which share a commit, and one that waits for the other."""
    with _writer(folder) as writer:
        start = time.perf_counter()
        for done in [writer.submit(_append) for _ in range(IN_GROUPS)]:
            done.result()
        between = time.perf_counter()
        for _ in range(ALONE):
            writer.submit(_append).result()
        return IN_GROUPS / (between - start), ALONE / (time.perf_counter() - between)


def _append(transaction: Transaction) -> None:
    transaction.sequence.append("receipt", BODY)
