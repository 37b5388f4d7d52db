"""A whole database as one file, taken while it is written to; and such a file as a database again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from gateway.storage.engine import connect_to
from gateway.storage.faults import refused, unusable
from gateway.storage.logs import note_restored
from gateway.storage.migrate import migrate
from tee.errors import Malformed, Unavailable

SQLITE_FILE, POSTGRES_FILE = "database.sqlite3", "database.dump"
MAX_WORDS = 500  # of a program's complaint


def dump_name(url: str) -> str:
    """What the file is called, which says of which kind of database it is."""
    return SQLITE_FILE if make_url(url).get_backend_name() == "sqlite" else POSTGRES_FILE


def dump_database(url: str, target: Path) -> None:
    """Write the database as it is at one moment; whoever writes to it is not held up. Raises Unavailable."""
    engine = connect_to(url)
    try:
        if engine.dialect.name == "sqlite":
            _require_file(engine)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM INTO :target"), {"target": str(target)})
        else:
            _run_client("pg_dump", engine.url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    except DBAPIError as error:
        raise unusable(engine, error) from None
    finally:
        engine.dispose()


def load_dump(url: str, source: Path, now: int) -> int:
    """Make the database of a dump; every log in it begins a new epoch when its replica starts.

    What is there already is never overwritten. Returns how many logs there are. Raises Unavailable, Malformed.
    """
    engine = connect_to(url)
    try:
        if engine.dialect.name != "sqlite":
            if inspect(engine).get_table_names():
                raise refused(engine, "holds tables already: name an empty database to restore into")
            options = "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"
            _run_client("pg_restore", engine.url, *options, str(source))
            return _marked(engine, now)
        path = Path(engine.url.database or "")
        left = [each for end in ("", "-wal", "-shm") if (each := path.with_name(path.name + end)).exists()]
        if left:
            raise refused(engine, f"is there already: move {', '.join(each.name for each in left)} away to restore it")
        logs = _checked_and_marked(source, now)
        source.replace(path)
        return logs
    except DBAPIError as error:
        raise unusable(engine, error) from None
    finally:
        engine.dispose()


def _checked_and_marked(source: Path, now: int) -> int:
    """SQLite: all of it before the file is in its place, so that no death leaves it there unmarked."""
    engine = connect_to(f"sqlite:///{source}")
    try:
        with engine.connect() as connection:
            whole = connection.execute(text("PRAGMA integrity_check")).scalar()
        if whole != "ok":
            raise Malformed(SQLITE_FILE, "a broken database", "the one that was saved")
        return _marked(engine, now)
    except DBAPIError:
        raise Malformed(SQLITE_FILE, "no database", "the one that was saved") from None
    finally:
        engine.dispose()


def _marked(engine: Engine, now: int) -> int:
    migrate(engine)
    with engine.begin() as connection:
        return note_restored(connection, now)


def _require_file(engine: Engine) -> None:
    if not Path(engine.url.database or "").is_file():
        raise refused(engine, "there is no such database: this gateway was never started")


def _run_client(program: str, url: URL, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs on that database. Raises Unavailable."""
    found = shutil.which(program)
    if found is None:
        reason = "not found on PATH: install PostgreSQL's client programs, not older than its server"
        raise Unavailable(program, reason, retryable=False)
    with _password_file(url) as place:
        arguments = f"--dbname={place.render_as_string(hide_password=False)}", *arguments
        done = subprocess.run([found, *arguments], capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        words = "; ".join(done.stderr.decode(errors="replace").split("\n")).strip("; ")
        raise Unavailable(program, f"failed: {words[:MAX_WORDS]}", retryable=False)


@contextmanager
def _password_file(url: URL) -> Iterator[URL]:
    """The database without its password, which anybody may read among a program's arguments: it is in a file."""
    plain = url._replace(drivername="postgresql", password=None)  # `set` leaves alone what is None
    if not url.password:
        yield plain
        return
    escaped = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
    with tempfile.NamedTemporaryFile("w", prefix="saferouter-") as file:  # for its owner only
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        yield plain.update_query_dict({"passfile": file.name})
