"""Who may write what, where several processes share a database: advisory locks of PostgreSQL, which name no rows."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from gateway.storage.faults import LOCK_TIMEOUT, refused, sqlstate

_LOCKS = 0x53524C47  # "SRLG": with a log's number the lock of its one writer, with 0 that of all


def wait_for_others(connection: Connection) -> None:
    """Until this transaction ends, no other process that asks the same has one. Asked first of all in it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:locks, 0)"), {"locks": _LOCKS})


def claim_writing(engine: Engine, log: int) -> Connection:
    """The connection of a log's one writer. Raises Unavailable where another process has it.

    If the last one was lost in the middle of a commit, its end is waited for: what it wrote is there, or never will be.
    With SQLite the lock of the state folder says the same.
    """
    connection = engine.connect()
    if connection.dialect.name == "sqlite":
        return connection
    connection.detach()  # closed in the end, which lets go of the lock, instead of lent to somebody else
    try:
        connection.execute(text("SELECT pg_advisory_lock(:locks, :log)"), {"locks": _LOCKS, "log": log})
        connection.commit()
    except DBAPIError as error:
        connection.close()
        if sqlstate(error) != LOCK_TIMEOUT:
            raise
        reason = "another process writes the log of this replica: each needs a state folder and a log key of its own"
        raise refused(engine, reason) from None
    return connection
