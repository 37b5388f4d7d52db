"""What commands share that work on the gateway's own database: its configuration, a transaction, and the words."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tee.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.config import Config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The gateway's TOML file; without one, the demo with its mock provider.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
T = TypeVar("T")


def load(path: Path | None) -> Config:
    """The configuration. Imports wait until here: `saferouter verify` starts fast, and runs without the server.

    Raises Unavailable, Malformed.
    """
    try:
        from gateway.config import load_config
        from gateway.http import server  # noqa: F401
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}: install saferouter[gateway]"
        raise Unavailable("the gateway", reason, retryable=False) from None
    return load_config(path)


def in_database(path: Path | None, work: Callable[[Connection, int], T]) -> T:
    """What `work` does in one transaction, at the time that it is given; a refusal ends the command with its words."""
    os.umask(0o077)  # a first command makes the database
    config = load(path)
    from gateway.errors import GatewayError
    from gateway.state import make_state
    from gateway.storage.engine import open_database

    make_state(config.state)
    engine = open_database(config.database_url)
    try:
        with engine.begin() as connection:
            return work(connection, int(time.time()))
    except GatewayError as error:
        typer.echo(f"Error: {error.message}", err=True)
        raise typer.Exit(1) from None
    finally:
        engine.dispose()


def show_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A table for people, or JSON."""
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1))
        return
    cells = [[name.upper() for name in columns], *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_one(row: dict[str, Any], *, as_json: bool) -> None:
    """One object: a line for each member, or JSON."""
    if as_json:
        typer.echo(json.dumps(row, indent=1))
        return
    for name, value in row.items():
        typer.echo(f"{name}: {_cell(value)}")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "-" if value is None else str(value)
