"""What every command does at its border: reads a named file, prints a verdict, ends with an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from tee.errors import Malformed
from tee.evidence import Outcome, Verdict
from tee.private_files import write_private

EXIT_REJECTED, EXIT_USAGE, EXIT_UNAVAILABLE = 1, 2, 3
MAX_FILE_SIZE = 64 << 20  # an answer that somebody checks; evidence is far smaller
COLOURS = {"PASS": "green", "FAIL": "red", "SKIP": "yellow"}


def read_file(path: Path) -> bytes:
    """A file that the user named. Raises Malformed."""
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise Malformed(str(path), "a larger file", f"at most {MAX_FILE_SIZE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Malformed(str(path), error.strerror or "an unreadable file", "a readable file") from None


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user named. Raises Malformed."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Malformed(str(path), error.strerror or "no file to write", "a file that can be written") from None


def write_private_file(path: Path, content: bytes) -> None:
    """The same for what only its owner may read, with mode 0600. Raises Malformed."""
    try:
        write_private(path, content)
    except OSError as error:
        raise Malformed(str(path), error.strerror or "no file to write", "a file that can be written") from None


def finish(verdict: Verdict, as_json: bool) -> None:
    """Print a verdict and leave, with exit code 1 where it rejects."""
    if as_json:
        typer.echo(json.dumps(verdict.to_json(), indent=1))
    else:
        _print(verdict)
    if verdict.outcome == "rejected":
        raise typer.Exit(EXIT_REJECTED)


def _print(verdict: Verdict) -> None:
    for check in verdict.checks:
        word = check.outcome.name
        coloured = typer.style(word, fg=COLOURS[word]) if sys.stdout.isatty() else word
        detail = check.reason if check.outcome is Outcome.SKIP else check.found
        if check.outcome is Outcome.FAIL:
            detail = f"found {check.found}, wanted {check.wanted}"
        typer.echo(f"{coloured} {check.id:23} {printable(detail)}")
    typer.echo("\nNot proven:")
    for line in verdict.not_proven:
        typer.echo(f"  - {printable(line)}")
    # Last, where the eye is when a long list has gone by.
    typer.echo("")
    if verdict.mock:
        typer.echo("MOCK MOCK MOCK: a mock attester made this evidence.")
    typer.echo(printable(verdict.sentence()))


def printable(text: str) -> str:
    """Evidence is hostile: no control character of it reaches the terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def fail(message: str, code: int) -> None:
    """End with one sentence and an exit code."""
    typer.echo(f"saferouter: {printable(message)}", err=True)
    sys.exit(code)
