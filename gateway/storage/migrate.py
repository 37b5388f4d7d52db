"""Brings the database's tables forward to those of this build, and refuses a database that this build does not know."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from gateway.storage.faults import refused
from gateway.storage.locks import wait_for_others
from gateway.storage.schema import SCHEMA

MIGRATIONS = Path(__file__).with_name("migrations")
_NO_REVISION = "made by an earlier build, which noted no revision of its tables: move it away, or run that build"


def newest_revision() -> str:
    """The revision of these tables. Each is named as its file, so that the newest is the last."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("r*.py"))


def migrate(engine: Engine) -> None:
    """Make the tables, or bring them forward: quick where nothing is to be done. Raises Unavailable, DBAPIError."""
    newest = newest_revision()
    with engine.connect() as connection:
        if _revision(connection) == newest:
            return
    with engine.begin() as connection:
        wait_for_others(connection)
        found = _revision(connection)  # another replica may have been quicker
        if found is None:
            if not SCHEMA.tables.keys().isdisjoint(inspect(connection).get_table_names()):
                raise refused(engine, _NO_REVISION)
            make_tables(connection)
        elif found != newest:
            _require_known(engine, found)
            run_migrations(connection)


def make_tables(connection: Connection) -> None:
    """Every table as this build has it, and its revision: what all migrations together make, without loading them."""
    SCHEMA.create_all(connection)
    name = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {name})"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": newest_revision()})


def run_migrations(connection: Connection) -> None:
    """Every revision that is missing, in order, in the transaction that has begun."""
    from alembic.command import upgrade  # slow to load, and nearly never needed
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """The revision that is noted in the database; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


def _require_known(engine: Engine, found: str) -> None:
    if not (MIGRATIONS / "versions" / f"{found}.py").is_file():
        reason = (
            f"of a newer version: its tables are of revision {found}, and this build knows them up to "
            f"{newest_revision()}. Run that version, or restore a backup from before it"
        )
        raise refused(engine, reason)
