"""The one writer of the record: whom it tells what, and that it goes on after a failure."""

from __future__ import annotations

import asyncio
import hmac
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.sequencer import Sequencer
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD, LogEpoch, StoredTree
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction
from tests.worlds.cut_line import CutLine, Side
from tests.worlds.postgres import PostgresServer

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


@pytest.fixture
def line(postgres: PostgresServer) -> Iterator[CutLine]:
    with tempfile.TemporaryDirectory(prefix="sr-line-", dir="/tmp") as folder:  # a socket's path is short
        line = CutLine(Path(folder), postgres.folder)
        yield line
        line.close()


@pytest.mark.parametrize("side", ["question", "answer"])
def test_a_commit_whose_answer_is_lost_counts_if_it_was_carried_out(
    postgres: PostgresServer, postgres_url: str, line: CutLine, side: Side
) -> None:
    engine = open_database(postgres_url.replace(str(postgres.folder), line.folder))
    code = partial(hmac.digest, b"key", digest="sha256")
    writer = GroupCommit(engine, Sequencer(LogEpoch(1, 1), EMPTY_HEAD, code, lambda: 1.0, ()))
    assert writer.submit(append).result() == 0
    line.cut(side)
    doubtful = writer.submit(append)
    if side == "answer":
        assert doubtful.result() == 1
    else:
        with pytest.raises(NotRecorded):
            doubtful.result()
    kept = 2 if side == "answer" else 1
    assert writer.submit(append).result() == kept
    assert leaves(engine) == kept + 1
    writer.stop()
    engine.dispose()


def test_who_is_in_the_way_of_another_replica_is_waited_for(database_url: str, engine: Engine) -> None:
    """Two writers that change the same two rows in opposite orders: PostgreSQL ends one of them, which tries again."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE sums (name TEXT PRIMARY KEY, amount INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO sums VALUES ('a', 0), ('b', 0)"))
    meeting = threading.Barrier(2)
    met = threading.Event()

    def add(names: str, transaction: Transaction) -> None:
        for name in names:
            transaction.connection.execute(text("UPDATE sums SET amount = amount + 1 WHERE name = :n"), {"n": name})
            if not met.is_set():
                meeting.wait()
                met.set()

    code = partial(hmac.digest, b"key", digest="sha256")
    writers = [GroupCommit(engine, Sequencer(LogEpoch(log, 1), EMPTY_HEAD, code, lambda: 1.0, ())) for log in (1, 2)]
    for done in [writers[0].submit(partial(add, "ab")), writers[1].submit(partial(add, "ba"))]:
        done.result()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT sum(amount) FROM sums")).scalar_one() == 4
    for writer in writers:
        writer.stop()


def test_a_value_that_the_database_refuses_harms_nobody_else(engine: Engine, writer: GroupCommit) -> None:
    held = hold(writer)

    def twice(transaction: Transaction) -> None:
        for _ in range(2):
            transaction.connection.execute(text("INSERT INTO alembic_version VALUES ('twice')"))

    refused, taken = writer.submit(twice), writer.submit(append)
    held.set()
    assert taken.result() == 0
    with pytest.raises(NotRecorded, match="IntegrityError"):
        refused.result()
