"""The one writer of the record: whom it tells what, and that it goes on after a failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from gateway.sequencer import Sequencer
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD, LogEpoch, StoredTree
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction

BODY = {"commitment": "sha256:" + "0" * 64}


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(name="writer")
def _writer(engine: Engine) -> Iterator[GroupCommit]:
    writer = GroupCommit(engine, Sequencer(LogEpoch(1, 1), EMPTY_HEAD, lambda _: bytes(32), lambda: 1.0, ()))
    yield writer
    writer.stop()


def append(transaction: Transaction) -> int:
    return transaction.sequence.append("receipt", BODY)


def hold(writer: GroupCommit) -> threading.Event:
    """Keep the writer busy until the event is set: what is asked meanwhile shares a batch."""
    entered, held = threading.Event(), threading.Event()

    def holding(_: Transaction) -> None:
        entered.set()
        held.wait()

    writer.note(holding)
    entered.wait()
    return held


def leaves(engine: Engine) -> int:
    with engine.connect() as connection:
        return StoredTree(connection, LogEpoch(1, 1)).size()


def test_who_leaves_is_not_told_and_what_he_asked_for_is_done(engine: Engine, writer: GroupCommit) -> None:
    held = hold(writer)

    async def leave() -> int:
        asking = [asyncio.create_task(writer.durable(append)) for _ in range(2)]
        await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.gather(asking[0], return_exceptions=True)
        held.set()
        return int(await asking[1])

    assert asyncio.run(leave()) == 1
    assert leaves(engine) == 2


def test_what_nobody_waits_for_is_durable_before_what_comes_after_it(engine: Engine, writer: GroupCommit) -> None:
    writer.note(append)
    assert writer.submit(append).result() == 1
    assert leaves(engine) == 2


def test_a_failure_is_told_to_all_of_its_batch_and_the_next_one_is_written(engine: Engine, writer: GroupCommit) -> None:
    held = hold(writer)

    def fail(transaction: Transaction) -> None:
        transaction.connection.execute(text("INSERT INTO nothing VALUES (1)"))

    async def ask() -> None:
        told = asyncio.gather(writer.durable(append), writer.durable(fail), return_exceptions=True)
        await asyncio.sleep(0)
        also = writer.submit(append)
        held.set()
        assert [type(each) for each in await told] == [NotRecorded, NotRecorded]
        with pytest.raises(NotRecorded, match=r"OperationalError|ProgrammingError"):
            also.result()
        assert await writer.durable(append) == 0

    asyncio.run(ask())
    assert leaves(engine) == 1


def test_a_thread_that_gave_up_does_not_end_the_writer(engine: Engine, writer: GroupCommit) -> None:
    held = hold(writer)
    assert writer.submit(append).cancel()
    held.set()
    assert writer.submit(append).result() == 1
    assert leaves(engine) == 2
