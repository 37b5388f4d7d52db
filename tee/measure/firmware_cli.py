"""`saferouter measure verify-firmware`: a firmware receipt, judged offline."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from tee.errors import Malformed
from tee.log.note import parse_note_key
from tee.measure.envelope import Signers
from tee.measure.firmware import MAX_RECEIPT_SIZE, parse_firmware_receipt, verify_firmware_receipt
from tee.measure.inputs import parse_hex
from tee.measure.launch import require_file
from tee.moment import parse_moment
from tee.terminal import EXIT_REJECTED, printable

firmware_app = typer.Typer()


@firmware_app.command("verify-firmware")
def verify_firmware(
    file: Annotated[Path, typer.Argument(help="A firmware receipt, as /supply-chain/firmware-receipt/… gives it.")],
    key: Annotated[list[str], typer.Option(help="A release key that you trust, 64 hex characters; repeat.")],
    threshold: Annotated[int, typer.Option(help="How many of them must have signed.")] = 1,
    log_key: Annotated[str | None, typer.Option(help="The verifying key of the release log that must have it.")] = None,
    build: Annotated[str | None, typer.Option(help="The build that it must be: NAME VERSION.")] = None,
    minimum_sequence: Annotated[int, typer.Option(help="The least sequence that you accept.", min=0)] = 0,
    at: Annotated[str | None, typer.Option(help="Judge at this time (ISO 8601) instead of now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a firmware receipt without any network. Exit 0: the build is signed and in force; 1: it is not."""
    signers = Signers(tuple(parse_hex(text, "--key", 32) for text in key), threshold)
    now = dt.datetime.now(dt.UTC) if at is None else parse_moment(at, "--at")
    log = None if log_key is None else parse_note_key(log_key, "--log-key")
    require_file(file, MAX_RECEIPT_SIZE)
    raw = file.read_bytes()
    try:
        proven = verify_firmware_receipt(
            parse_firmware_receipt(raw), signers, log, now=now, minimum=minimum_sequence, build=build
        )
    except Malformed as fault:
        said = {"field": fault.field, "found": fault.found, "wanted": fault.wanted}
        typer.echo(json.dumps({"verdict": "rejected", "fault": said}) if as_json else printable(f"Rejected: {fault}."))
        raise typer.Exit(EXIT_REJECTED) from None
    manifest, not_proven = proven.manifest, list(proven.not_proven)
    facts = {"build": manifest.release, "manifest": manifest.digest, "entry": proven.entry, "not_proven": not_proven}
    if as_json:
        measured = [{"value": each.value, "covers": each.covers} for each in manifest.measurements]
        typer.echo(json.dumps({"verdict": "verified", "fault": None, **facts, "measurements": measured}, indent=1))
        return
    typer.echo(printable(f"Verified: {manifest.release}, manifest {manifest.sequence}, is signed and in force."))
    for each in manifest.measurements:
        typer.echo(printable(f"  {each.covers} {each.value}"))
    if proven.entry is not None and log is not None:
        typer.echo(printable(f"Entry {proven.entry} of {log.name} announces it."))
    for line in not_proven:
        typer.echo(f"Not proven: {line}.")
