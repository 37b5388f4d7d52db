"""The database: how it is opened, and what is said when it does not do its work."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError

from gateway.storage.schema import SCHEMA
from tee.errors import Unavailable

__all__ = ["Engine", "open_database", "unusable"]


def open_database(url: str) -> Engine:
    """Connect, and create what is missing. Raises Unavailable."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    try:
        SCHEMA.create_all(engine)
        found = inspect(engine)
        missing = [
            f"{table.name}.{column.name}"
            for table in SCHEMA.sorted_tables
            for column in table.columns
            if column.name not in {each["name"] for each in found.get_columns(table.name)}
        ]
    except DatabaseError as error:
        raise unusable(engine, error) from None
    if missing:
        place = engine.url.render_as_string(hide_password=True)
        reason = f"made by another version (it has no {missing[0]}): move it away, or run that version"
        raise Unavailable(place, reason, retryable=False)
    return engine


def unusable(engine: Engine, error: DatabaseError) -> Unavailable:
    """What to tell a person of a database that does not do its work."""
    place = engine.url.render_as_string(hide_password=True)
    reason = f"not usable as the gateway's database ({error.orig}): restore it, or move it away"
    return Unavailable(place, reason, retryable=False)


def _set_pragmas(connection: Any, _record: Any) -> None:
    """WAL lets readers pass the writer; FULL makes a commit survive a power cut, which a receipt promises."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what retention removes must not stay in free pages
