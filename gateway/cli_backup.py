"""`saferouter backup` and `saferouter restore`."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli_database import ConfigOption, load


def backup(file: Annotated[Path, typer.Argument(help="Where to write it.")], config: ConfigOption = None) -> None:
    """Write the database, and what of the state folder is of use elsewhere, into one file; the gateway may run."""
    os.umask(0o077)
    loaded = load(config)
    from gateway.backup import save_backup
    from gateway.build import build_version

    save_backup(loaded, file, build_version(), int(time.time()))
    typer.echo(f"Saved as {file}. Not in it: provider credentials, the configuration, and keys that are not sealed.")


def restore(file: Annotated[Path, typer.Argument(help="A backup.")], config: ConfigOption = None) -> None:
    """Put a backup back, where no gateway runs and no database is; the log goes on as a new epoch that says so."""
    os.umask(0o077)
    loaded = load(config)
    from gateway.backup import restore_backup
    from gateway.state import lock_state, make_state

    make_state(loaded.state)
    lock = lock_state(loaded.state)
    done = restore_backup(loaded, file, int(time.time()))
    os.close(lock)
    moment = dt.datetime.fromtimestamp(done.made_at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    typer.echo(f"Restored what was saved at {moment}. What was recorded after that is lost:")
    typer.echo(f"each of its {done.logs} logs begins a new epoch with its next start, whose first leaf says so.")
    if done.kept:
        typer.echo(f"Left as they were: {', '.join(done.kept)}.")
    sealed = [name for name in done.files if name.endswith(".sealed")]
    if sealed:
        typer.echo(
            f"{', '.join(sealed)} open only where they were sealed: on the same chip under the same measurement, or by "
            "the same KMS key. Where they do not, the start says so: delete them, and the gateway makes new keys, with "
            "a new identity and a log of another origin."
        )
