"""Statements of every call: SQLAlchemy writes each once for a database, and the database's driver runs it as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.dml import Insert, UpdateBase

Values = dict[str, Any]


class Prepared:
    """A statement of two parameters or more, and no literals. Values are text, integers, bytes, booleans or None."""

    def __init__(self, statement: UpdateBase, *columns: str) -> None:
        """`columns` are those that an insert fills; an update names its parameters itself, other than its columns."""
        self._statement = statement
        self._columns = columns
        self._written: dict[str, tuple[str, Callable[[Values], Any]]] = {}

    def run(self, connection: Connection, values: Values) -> list[Any]:
        """Run it in the transaction that the connection has begun; the rows that it returns."""
        sql, arranged = self.written(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(sql, arranged(values))
        return list(cursor.fetchall()) if cursor.description else []

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it for each of these; how many rows of the database that has touched."""
        sql, arranged = self.written(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.executemany(sql, list(map(arranged, rows)))
        return int(cursor.rowcount)

    def written(self, dialect: Dialect) -> tuple[str, Callable[[Values], Any]]:
        """The SQL of this dialect, and what arranges values as its driver wants them: by place, or by name."""
        if dialect.name not in self._written:
            statement = self._statement.inline() if isinstance(self._statement, Insert) else self._statement
            written = statement.compile(dialect=dialect, column_keys=self._columns or None)
            arranged = itemgetter(*written.positiontup) if written.positiontup else _by_name(list(written.params))
            self._written[dialect.name] = str(written), arranged
        return self._written[dialect.name]


def _by_name(names: list[str]) -> Callable[[Values], Any]:
    return lambda values: {name: values[name] for name in names}
