"""The tables of a database: made, brought forward, or refused in words, by one process of many that start at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Inspector, inspect, text

from gateway.storage.engine import connect_to, open_database
from gateway.storage.migrate import make_tables, newest_revision, run_migrations
from gateway.storage.schema import SCHEMA
from tee.errors import Unavailable

Tables = dict[str, object]
OPEN = "import sys; from gateway.storage.engine import open_database; open_database(sys.argv[1]).dispose()"


def indexes(found: Inspector, table: str) -> list[str]:
    """Each index in words: a condition is an object of SQLAlchemy's, which is equal to nothing but itself."""
    rows = [{"dialect_options": {}, **row} for row in found.get_indexes(table)]
    return [str(row | {"dialect_options": sorted(map(str, row["dialect_options"].values()))}) for row in rows]  # type: ignore[attr-defined]


def tables(url: str, make: object) -> Tables:
    """Everything that the database says of its tables once they are made; they are gone again after that."""
    engine = connect_to(url)
    with engine.connect() as connection:
        make(connection)  # type: ignore[operator]
        found = inspect(connection)
        told: Tables = {
            name: (
                [
                    (column["name"], str(column["type"]), column["nullable"], column["default"])
                    for column in found.get_columns(name)
                ],
                found.get_pk_constraint(name),
                sorted(found.get_foreign_keys(name), key=str),
                sorted(indexes(found, name)),
                sorted(found.get_unique_constraints(name), key=str),
                sorted(found.get_check_constraints(name), key=str),
            )
            for name in found.get_table_names()
        }
        connection.rollback()
    engine.dispose()
    return told


def test_migrating_an_empty_database_gives_exactly_these_tables(database_url: str, tmp_path: Path) -> None:
    """If not: `python -m tests.migrations`."""
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}" if database_url.startswith("sqlite") else database_url
    migrated = tables(database_url, run_migrations)
    assert migrated.keys() == SCHEMA.tables.keys() | {"alembic_version"}
    assert migrated == tables(other, make_tables)


def test_opening_makes_the_tables_and_opening_again_leaves_them(database_url: str) -> None:
    for _ in range(2):
        engine = open_database(database_url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == newest_revision()
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE alembic_version SET version_num = 'r9999_later'", "of a newer version: its tables are of revision r9"),
        ("DROP TABLE alembic_version", "made by an earlier build, which noted no revision of its tables"),
    ],
    ids=["newer", "earlier"],
)
def test_the_tables_of_another_version_are_refused_in_words(database_url: str, statement: str, words: str) -> None:
    engine = open_database(database_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    with pytest.raises(Unavailable, match=words):
        open_database(database_url)


def test_of_three_that_start_at_once_one_makes_the_tables(database_url: str) -> None:
    starting = [
        subprocess.Popen([sys.executable, "-c", OPEN, database_url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for each in starting:
        _, said = each.communicate()
        assert each.returncode == 0, said
