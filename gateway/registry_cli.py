"""`saferouter registry sign`, `check`, `show`, and `saferouter bom`: what an operator hands in, made offline."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.build import build_version, source_digest
from gateway.installed import installed_packages
from gateway.registry.bom import appliance_bom
from gateway.registry.document import PAYLOAD_TYPE, Registry, parse_registry
from gateway.registry.judge import interdicted, open_registry
from gateway.registry.risk import risk_of
from gateway.stored_registry import MAX_REGISTRY
from tee.canonical import encode_canonical, parse_json
from tee.errors import Malformed
from tee.keys.identity import require_members
from tee.measure.envelope import Signers, seal_envelope
from tee.measure.inputs import parse_hex
from tee.measure.manifest_cli import read_key
from tee.moment import parse_moment
from tee.quote import decode_base64
from tee.terminal import EXIT_REJECTED, printable, read_file, write_file

registry_app = typer.Typer(no_args_is_help=True, help="The signed registry of models and their suppliers.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@registry_app.command("sign")
def sign(
    document: Annotated[Path, typer.Argument(help="A registry as JSON, in any spelling, or one that others signed.")],
    key: Annotated[list[Path], typer.Option(help="A key's file, as `measure new-key` makes it; repeat.")],
    out: Annotated[Path, typer.Option(help="Where the signed registry goes.")],
) -> None:
    """Sign a registry; several people sign one after another."""
    payload, before = _split(document)
    registry = parse_registry(payload, str(document))
    envelope = json.loads(seal_envelope(payload, PAYLOAD_TYPE, [read_key(path) for path in key]))
    mine = {row["keyid"] for row in envelope["signatures"]}
    envelope["signatures"] = [*(row for row in before if row["keyid"] not in mine), *envelope["signatures"]]
    write_file(out, json.dumps(envelope, indent=1).encode() + b"\n")
    typer.echo(f"You signed registry {registry.sequence}, {registry.digest}. Signatures now:", err=True)
    for row in envelope["signatures"]:
        typer.echo(printable(f"  {row['keyid']}"), err=True)


@registry_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A signed registry.")],
    key: Annotated[list[str], typer.Option(help="A key that you trust, 64 hex characters; repeat.")],
    threshold: Annotated[int, typer.Option(help="How many of them must have signed.")] = 1,
    after: Annotated[Path | None, typer.Option(help="The registry that it shall follow.")] = None,
    at: Annotated[str | None, typer.Option(help="Judge at this time (ISO 8601) instead of now.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a registry as a gateway would. Exit 0: it may come into force; 1: it may not."""
    signers = Signers(tuple(parse_hex(text, "--key", 32) for text in key), threshold)
    now = int(time.time()) if at is None else int(parse_moment(at, "--at").timestamp())
    before = None if after is None else parse_registry(_split(after)[0], str(after))
    seen = None if before is None else (before.sequence, before.digest)
    raw = read_file(file)
    try:
        registry = open_registry(raw, signers, now=now, seen=seen, field="registry")
    except Malformed as fault:
        said = {"field": fault.field, "found": fault.found, "wanted": fault.wanted}
        typer.echo(json.dumps({"verdict": "rejected", "fault": said}) if as_json else printable(f"Rejected: {fault}."))
        raise typer.Exit(EXIT_REJECTED) from None
    if as_json:
        typer.echo(json.dumps({"verdict": "verified", "fault": None, **_facts(registry)}, indent=1))
        return
    _print(registry)
    typer.echo(f"Verified: at least {threshold} of {len(signers.keys)} keys signed it, and it may come into force.")


@registry_app.command("show")
def show(file: Annotated[Path, typer.Argument(help="A registry, signed or not.")], as_json: JsonOption = False) -> None:
    """Print what a registry says, unverified."""
    registry = parse_registry(_split(file)[0], str(file))
    if as_json:
        typer.echo(json.dumps(_facts(registry), indent=1))
        return
    typer.echo("UNVERIFIED: no signature was checked.")
    _print(registry)


def print_bom() -> None:
    """Print the bill of materials of this very installation (CycloneDX 1.6): the same for the same packages."""
    bom = appliance_bom(build_version(), source_digest(), installed_packages())
    typer.echo(json.dumps(bom, indent=1, sort_keys=True))


def _facts(registry: Registry) -> dict[str, object]:
    banned = interdicted(registry)
    return {
        "sequence": registry.sequence,
        "digest": registry.digest,
        "issued": registry.issued,
        "expires": registry.expires,
        "artefacts": len(registry.artefacts),
        "suppliers": len(registry.suppliers),
        "interdicted": {"models": sorted(banned.models), "suppliers": sorted(banned.suppliers)},
        "files": sorted(registry.files()),
    }


def _print(registry: Registry) -> None:
    typer.echo(f"registry {registry.sequence}, {registry.digest}, until {registry.expires}")
    for one in registry.suppliers.values():
        barred = [word for word in ("revoked", "sanctioned") if getattr(one, word)]
        line = f"supplier {one.id} ({one.name}), {one.country}, tier {one.tier}, risk {one.risk}"
        typer.echo(printable(", ".join([line, *barred])))
    for each in registry.artefacts.values():
        risk = risk_of(registry, each)
        typer.echo(printable(f"{each.category} {each.id} of {each.supplier}, risk {risk.score} ({risk.band})"))
    for gone in registry.revocations.values():
        typer.echo(printable(f"revoked {gone.category} {gone.id}: {gone.reason}"))


def _split(path: Path) -> tuple[bytes, list[dict[str, str]]]:
    """The payload of a registry, and the signatures beside it if it is in an envelope. Nothing is verified."""
    raw, field = read_file(path), str(path)
    if len(raw) > MAX_REGISTRY:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_REGISTRY}")
    document = parse_json(raw, field)
    if not isinstance(document, dict) or "payload" not in document:
        return encode_canonical(document), []
    require_members(document, {"payload", "payloadType", "signatures"}, field, exact=True)
    rows = document["signatures"]
    if not isinstance(rows, list):
        raise Malformed(f"{field}.signatures", "no array", "an array of signatures")
    for row in rows:
        require_members(row, {"keyid", "sig"}, f"{field}.signatures", exact=True)
    return decode_base64(document["payload"], f"{field}.payload"), rows
