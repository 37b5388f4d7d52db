"""Statements that go to the driver as they are do what SQLAlchemy would have done with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway.storage.engine import open_database
from gateway.storage.prepared import Prepared
from gateway.storage.schema import ACTIVITY, CALLS, LEAVES, SAMPLES

_CALL = {
    "receipt_id": "rcpt-1",
    "key_id": "key_1",
    "log": 1,
    "draft": "{}",
    "sent_bytes": 0,
    "route_epoch": 1,
    "route_leaf": None,
}
_LEAF = {"log": 1, "epoch": 1, "number": 7, "leaf": b"\x00\xff", "hash": bytes(32)}
_ADVANCE = update(CALLS).where(CALLS.c.receipt_id == bindparam("_id")).values(draft=bindparam("_draft"))


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def _rows(connection: Connection) -> list[list[tuple[object, ...]]]:
    tables = (CALLS, ACTIVITY, LEAVES, SAMPLES)
    # Without the numbers that a database gives by itself: it gives none twice.
    told = [[column for column in table.c if column.name != "id"] for table in tables]
    return [[tuple(row) for row in connection.execute(select(*columns))] for columns in told]


def test_what_is_prepared_writes_and_returns_the_same(engine: Engine) -> None:
    returning = _ADVANCE.returning(CALLS.c.receipt_id, CALLS.c.draft)
    told = {"_id": "rcpt-1", "_draft": "longer"}
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(CALLS), _CALL)
        connection.execute(insert(LEAVES), [_LEAF, _LEAF | {"number": 8}])
        returned = [tuple(row) for row in connection.execute(returning, told)]
        plain = _rows(connection)
        connection.execute(delete(CALLS))
        connection.execute(delete(LEAVES))
        Prepared(insert(CALLS), *_CALL).run(connection, dict(reversed(_CALL.items())))
        assert Prepared(insert(LEAVES)).run_each(connection, [_LEAF, _LEAF | {"number": 8}]) == 2
        assert Prepared(returning).run(connection, told) == returned
        assert _rows(connection) == plain


def test_what_is_prepared_is_part_of_the_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        with connection.begin() as transaction:
            Prepared(insert(LEAVES)).run(connection, _LEAF)
            transaction.rollback()
        assert _rows(connection) == [[], [], [], []]
        assert Prepared(_ADVANCE).run_each(connection, [{"_id": "nobody", "_draft": "{}"}]) == 0


def test_a_value_that_is_missing_is_an_error(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(KeyError):
        Prepared(insert(CALLS), *_CALL).run(connection, {"receipt_id": "rcpt-1"})


def test_a_database_whose_driver_takes_names_gets_names() -> None:
    sql, arranged = Prepared(_ADVANCE).written(PGDialect_psycopg())  # type: ignore[no-untyped-call]
    assert "%(_draft)s" in sql
    assert arranged({"_id": "rcpt-1", "_draft": "{}"}) == {"_id": "rcpt-1", "_draft": "{}"}
