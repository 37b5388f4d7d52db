"""The database: how it is opened, SQLite beside the keys or PostgreSQL by URL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from gateway.storage.faults import unusable
from gateway.storage.migrate import migrate
from tee.errors import Malformed, Unavailable

__all__ = ["Engine", "open_database"]

WANTED = "postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE"
POOL_SIZE, POOL_OVERFLOW = 5, 10  # SQLAlchemy's own bounds, said because the server counts connections
CONNECT_SECONDS = 10
# What a replica that hangs, or whose machine is gone, may hold up: its locks go with its connection. Transactions take
# milliseconds. A commit that is acknowledged is on disk, whatever the server's own setting is.
LOCK_SECONDS = 10
_SESSION = """
SET lock_timeout = '{seconds}s';
SET idle_in_transaction_session_timeout = '30s';
SET tcp_keepalives_idle = 15;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""


def open_database(url: str) -> Engine:
    """Connect, and bring the tables to those of this build. Raises Unavailable, Malformed."""
    engine = connect_to(url)
    try:
        migrate(engine)
    except (DBAPIError, Unavailable) as error:
        engine.dispose()
        raise error if isinstance(error, Unavailable) else unusable(engine, error) from None
    return engine


def connect_to(url: str) -> Engine:
    """The database, its tables as they are. Raises Unavailable where there is no driver, Malformed."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Malformed("database_url", "no URL", WANTED) from None  # what was found may hold a password
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed)
        event.listen(engine, "connect", _set_pragmas)
        return engine
    return _postgresql(parsed.set(drivername="postgresql+psycopg"))


def _postgresql(url: URL) -> Engine:
    arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "saferouter"}
    try:
        engine = create_engine(
            url, pool_size=POOL_SIZE, max_overflow=POOL_OVERFLOW, pool_pre_ping=True, connect_args=arguments
        )
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}: install saferouter[postgres]"
        raise Unavailable("PostgreSQL", reason, retryable=False) from None
    event.listen(engine, "connect", _set_session)
    return engine


def _set_session(connection: Any, _record: Any) -> None:
    from gateway.storage.lenient_text import LenientText

    connection.adapters.register_dumper(str, LenientText)
    connection.autocommit = True
    connection.execute(_SESSION.format(seconds=LOCK_SECONDS))
    connection.autocommit = False


def _set_pragmas(connection: Any, _record: Any) -> None:
    """WAL lets readers pass the writer; FULL makes a commit survive a power cut, which a receipt promises."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what retention removes must not stay in free pages
