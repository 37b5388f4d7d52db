"""`saferouter collateral`: AMD's certificates and revocation lists on this machine's disk."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tee.collateral.cache import CollateralCache
from tee.collateral.endorser import CachedEndorser, utc_now
from tee.collateral.kds import AMD_KDS, Kds, parse_kds_url
from tee.collateral.proof import iso
from tee.collateral.shelf import keep_files, list_kept
from tee.errors import Malformed, Unavailable
from tee.snp.certs import parse_certificate, parse_crl
from tee.snp.certtable import MAX_TABLE_SIZE, certificates_of, parse_certificate_table
from tee.snp.collateral import complete_endorsements
from tee.snp.product import PRODUCTS
from tee.snp.report import REPORT_SIZE, parse_report

MAX_IMPORT_SIZE = 1 << 20  # one file; all of AMD's chains together have 50 kB

collateral_app = typer.Typer(no_args_is_help=True, help="AMD's certificates and revocation lists, kept on disk.")

CacheOption = Annotated[
    Path, typer.Option("--cache", envvar="SAFEROUTER_COLLATERAL", help="The folder; a gateway's is STATE/collateral.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CACHE = Path(".saferouter/collateral")


@collateral_app.command("import")
def collateral_import(
    files: Annotated[list[Path], typer.Argument(help="Certificates, chains and revocation lists, PEM or DER.")],
    cache: CacheOption = DEFAULT_CACHE,
    as_json: JsonOption = False,
) -> None:
    """Keep AMD's files, each proven first: all of them or, if one is refused, none."""
    blobs = {str(path): _read(path, MAX_IMPORT_SIZE) for path in files}
    kept = keep_files(CollateralCache(cache), blobs, PRODUCTS, utc_now())
    typer.echo(json.dumps({"cache": str(cache), "kept": kept}, indent=1) if as_json else "\n".join(kept))


@collateral_app.command("fetch")
def collateral_fetch(
    report: Annotated[Path, typer.Option(help="A report of the machine, 1184 bytes.")],
    table: Annotated[Path | None, typer.Option(help="The host's certificate table, which comes first.")] = None,
    cache: CacheOption = DEFAULT_CACHE,
    kds_url: Annotated[str, typer.Option("--kds-url", help="AMD's key server, or a mirror of it.")] = AMD_KDS,
    as_json: JsonOption = False,
) -> None:
    """Fetch what verifies a report, and keep it. What is kept already is not asked for again."""
    parsed = parse_report(_read(report, REPORT_SIZE))
    found = certificates_of(parse_certificate_table(_read(table, MAX_TABLE_SIZE) if table else b""))
    url = parse_kds_url(kds_url, "--kds-url")
    endorse = CachedEndorser(CollateralCache(cache), None if url is None else Kds(url), products=PRODUCTS, notice=_warn)
    ends = complete_endorsements(parsed, found, endorse, str(report))
    if ends.crl is None:
        raise Unavailable(str(report), "all its certificates are here, but no revocation list", retryable=True)
    rows = [parse_certificate(blob, "certificate") for blob in (ends.vek, ends.intermediate, ends.ark)]
    until = {row.subject_cn: iso(row.not_after) for row in rows} | {"CRL": iso(parse_crl(ends.crl).next_update)}
    if as_json:
        typer.echo(json.dumps({"cache": str(cache), "until": until}, indent=1))
        return
    for name, moment in until.items():
        typer.echo(f"{name:16} until {moment}")


@collateral_app.command("list")
def collateral_list(cache: CacheOption = DEFAULT_CACHE, as_json: JsonOption = False) -> None:
    """What is kept, until when it holds, and what is wrong with it."""
    now = utc_now()
    rows = list_kept(CollateralCache(cache), PRODUCTS, now)
    if as_json:
        typer.echo(json.dumps({"cache": str(cache), "files": [row.to_json() for row in rows]}, indent=1))
        return
    for row in rows:
        age = "" if row.written_at is None else f"kept for {max((now - row.written_at).days, 0)} days"
        until = f"until {iso(row.until)}" if row.until else ""
        typer.echo(f"{row.file}\n  {', '.join(text for text in (until, age) if text)}")
        if row.problem:
            typer.echo(f"  not used: {row.problem}")
    if not rows:
        typer.echo(f"Nothing is kept in {cache}.", err=True)


def offline_endorser(cache: Path, moment: datetime) -> CachedEndorser:
    """An endorser that asks nobody: what the cache holds that is good at `moment`."""
    return CachedEndorser(CollateralCache(cache), None, now=lambda: moment, notice=_warn)


def _warn(words: str) -> None:
    typer.echo(f"Warning: {words if words.isprintable() else ascii(words)[1:-1]}", err=True)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise Malformed(str(path), error.strerror or "an unreadable file", "a readable file") from None
    if len(raw) > limit:
        raise Malformed(str(path), "a larger file", f"at most {limit} bytes")
    return raw
