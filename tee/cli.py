"""The `saferouter` command: verify a gateway, an answer, or a bare report."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
from dataclasses import dataclass, replace
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any

import typer

from tee.canonical import Json
from tee.client.fetch import fetch_consistency, fetch_past_quote, fetch_quote, fetch_receipt, fetch_receipt_proof
from tee.client.log_cli import log_app
from tee.client.log_memory import load_log, remember_log
from tee.collateral.cli import collateral_app, offline_endorser
from tee.errors import Malformed, TeeError, Unavailable
from tee.evidence import Evidence, Verdict
from tee.log.judge import Earlier, seen_log
from tee.log.receipt import parse_receipt
from tee.log.stream import checkpoint_of
from tee.log.witnesses import parse_witness_policy
from tee.measure.cli import measure_app
from tee.measure.memory import load_seen, remember
from tee.measure.releases import Releases, judge_manifests
from tee.moment import parse_moment
from tee.origin import parse_origin
from tee.policy import BUILT_IN_POLICY, AppraisalPolicy, parse_policy
from tee.quote import BUNDLE_FORMAT, decode_quote, parse_bundle
from tee.show import describe_bulletins, describe_report
from tee.snp.bulletins import BUILT_IN, TcbData, open_tcb_data
from tee.snp.collateral import gather_endorsements
from tee.snp.report import parse_report
from tee.terminal import EXIT_REJECTED, EXIT_UNAVAILABLE, EXIT_USAGE, printable
from tee.terminal import fail as _fail
from tee.terminal import finish as _finish
from tee.terminal import read_file as _read
from tee.terminal import write_file as _write
from tee.verify import verdict_without_certificates, verify_answer, verify_quote, verify_report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
report_app = typer.Typer(no_args_is_help=True, help="Bare attestation reports.")
app.add_typer(report_app, name="report")
app.add_typer(measure_app, name="measure")
app.add_typer(log_app, name="log")
app.add_typer(collateral_app, name="collateral")

PolicyOption = Annotated[Path | None, typer.Option("--policy", help="Your AppraisalPolicy, TOML or JSON.")]
TcbOption = Annotated[
    Path | None, typer.Option("--tcb", help="Newer TCB data, signed by the keys of your policy's [releases].")
]
AtOption = Annotated[str | None, typer.Option("--at", help="Judge at this time (ISO 8601) instead of now.")]
MockOption = Annotated[bool, typer.Option("--accept-mock", help="Accept a MOCK, which proves nothing.")]
ManifestOption = Annotated[
    list[Path] | None, typer.Option("--manifest", help="A signed release manifest; repeat for a chain of them.")
]
MemoryOption = Annotated[
    Path | None, typer.Option("--memory", help="Where the highest manifest seen is remembered, against rollback.")
]
WitnessesOption = Annotated[
    Path | None, typer.Option("--witnesses", help="Whose cosignatures its log must have: a C2SP tlog-policy.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("saferouter"))
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """SafeRouter: check for yourself which measured build answered you."""


@app.command()
def verify(
    target: Annotated[str, typer.Argument(help="A gateway's URL, or a saved bundle.")],
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    memory: MemoryOption = None,
    witnesses: WitnessesOption = None,
    accept_new_log: Annotated[
        bool, typer.Option("--accept-new-log", help="Forget the log that was seen at this address before.")
    ] = False,
    tcb: TcbOption = None,
    accept_mock: MockOption = False,
    at: AtOption = None,
    save: Annotated[Path | None, typer.Option(help="Save a bundle that verifies offline.")] = None,
    receipt: Annotated[str | None, typer.Option(help="A receipt's id, or its file.")] = None,
    request: Annotated[Path | None, typer.Option(help="The exact request body that you sent.")] = None,
    response: Annotated[Path | None, typer.Option(help="The exact response body that you got.")] = None,
    headers: Annotated[Path | None, typer.Option(help="The answer's headers, as curl -D writes them.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with your API key, to fetch a receipt (or SAFEROUTER_API_KEY).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a gateway, a saved bundle, or one answer of a gateway."""
    if receipt is None and (request or response or headers):
        wanted = "the receipt's id (header X-Receipt-Id) or its file: the bodies are checked against it"
        raise Malformed("--receipt", "nothing", wanted)
    now, accepted = _moment(at), _load_policy(policy) or BUILT_IN_POLICY
    settings = {
        "policy": accepted,
        "accept_mock": accept_mock,
        "tcb": _load_tcb(tcb, accepted),
        "releases": _judge_releases(manifest or [], accepted, memory, now),
        "witnesses": parse_witness_policy(_read(witnesses)) if witnesses else None,
    }
    # Demos come and go at one address, and a mock's log proves nothing: it is remembered only if that is asked for.
    remembered = memory is not None or not accept_mock
    seen_logs = (memory.parent if memory else _state_folder()) / "checkpoints.json" if remembered else None
    judged = _judge_target(target, now, settings, seen_logs, accept_new_log)
    if at is not None:
        judged = replace(judged, verdict=_with_asserted_time(judged.verdict, now, "asserted by you"))
    # A gateway whose evidence failed is shown no API key.
    if receipt is not None and judged.verdict.outcome != "rejected":
        raw, proof = _load_receipt(receipt, judged, key_file)
        bodies = [_read(path) if path else None for path in (request, response, headers)]
        judged = _judge_answer(judged, raw, proof, *bodies)
    if save is not None:
        _write(save, json.dumps({"format": BUNDLE_FORMAT, "origin": judged.origin, "quote": judged.document}).encode())
    _finish(judged.verdict, as_json)


@report_app.command("verify")
def report_verify(
    report: Annotated[Path, typer.Argument(help="The raw report, 1184 bytes.")],
    vek: Annotated[Path | None, typer.Option(help="The VCEK or VLEK, DER or PEM.")] = None,
    chain: Annotated[
        list[Path] | None, typer.Option(help="ASK or ASVK, and ARK: DER or PEM; repeat for several files.")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="The host's certificate table, for what is not given.")] = None,
    crl: Annotated[Path | None, typer.Option(help="AMD's revocation list, DER.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of `saferouter collateral`, for what is neither given nor in the table.")
    ] = None,
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    memory: MemoryOption = None,
    tcb: TcbOption = None,
    accept_mock: MockOption = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a bare report. Without --policy: whose hardware signed it, and nothing more."""
    raw, accepted, now = _read(report), _load_policy(policy), _moment(at)
    data, releases = _load_tcb(tcb, accepted), _judge_releases(manifest or [], accepted, memory, now)
    files = [_read(path) for path in chain or ()]
    given = raw, _read(vek) if vek else None, files, _read(crl) if crl else None
    endorse = None if cache is None else offline_endorser(cache, _moment(at))
    try:
        endorsements = gather_endorsements(*given, _read(table) if table else b"", endorse)
    except Malformed as error:
        _finish(verdict_without_certificates(error, accepted), as_json)
    else:
        evidence = Evidence(raw, endorsements)
        verdict = verify_report(
            evidence, now=now, policy=accepted, accept_mock=accept_mock, tcb=data, releases=releases
        )
        _finish(verdict if at is None else _with_asserted_time(verdict, now, "asserted by you"), as_json)


@report_app.command("show")
def report_show(
    report: Annotated[Path, typer.Argument(help="The raw report, 1184 bytes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the fields as JSON.")] = False,
) -> None:
    """Print a report in words, unverified."""
    parsed = parse_report(_read(report))
    fields, bulletins = describe_report(parsed, BUILT_IN), describe_bulletins(parsed, BUILT_IN)
    if as_json:
        typer.echo(json.dumps({"fields": fields, "bulletins": bulletins}, indent=1))
        return
    typer.echo("Unverified: these are the report's own words.")
    for name, value in fields.items():
        typer.echo(f"{name:18} {value}")
    for name, value in bulletins.items():
        typer.echo(f"  {name}: {value}")


def main() -> None:
    """Run the command; an error becomes one sentence and an exit code, never a traceback."""
    for entry in entry_points(group="saferouter.commands"):
        entry.load()(app)
    try:
        app()
    except Malformed as error:
        _fail(str(error), EXIT_USAGE)
    except Unavailable as error:
        _fail(str(error), EXIT_UNAVAILABLE)
    except TeeError as error:
        _fail(str(error), EXIT_REJECTED)


def _load_policy(path: Path | None) -> AppraisalPolicy | None:
    return None if path is None else parse_policy(_read(path))


def _load_tcb(path: Path | None, policy: AppraisalPolicy | None) -> TcbData:
    if path is None:
        return BUILT_IN
    if policy is None or policy.releases is None:
        wanted = "keys and a threshold under [releases] in --policy: they say whose TCB data counts"
        raise Malformed("--tcb", "no keys to check it with", wanted)
    return open_tcb_data(_read(path), policy.releases)


def _judge_releases(
    paths: list[Path], policy: AppraisalPolicy | None, memory: Path | None, now: dt.datetime
) -> Releases | None:
    """The given manifests under the policy's release keys; the highest sequence is remembered once it is accepted."""
    if not paths:
        return None
    if policy is None or policy.releases is None:
        wanted = "a policy with a table [releases]: keys and threshold say whose manifests count"
        raise Malformed("--manifest", "no release keys", wanted)
    path = memory or _state_folder() / "manifests.json"
    signers, seen = policy.releases, load_seen(path, policy.releases)
    raws = [_read(each) for each in paths]
    releases = judge_manifests(raws, signers, now=now, minimum=policy.minimum_sequence, seen=seen)
    if releases.newest is not None:
        remember(path, signers, releases.newest.sequence)
    return releases


def _state_folder() -> Path:
    """This user's folder for what must survive (XDG Base Directory)."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "saferouter"
    except RuntimeError:
        raise Malformed("--memory", "nothing, and no home folder", "a file to remember manifests in") from None


def _moment(at: str | None) -> dt.datetime:
    return dt.datetime.now(dt.UTC) if at is None else parse_moment(at, "--at")


def _load_receipt(receipt: str, judged: _Judged, key_file: Path | None) -> tuple[bytes, bytes | None]:
    """A receipt from its file, or by its id from the live gateway, which then also shows its place in the log."""
    path = Path(receipt)
    if path.is_file():
        return _read(path), None
    if not judged.live:
        raise Malformed("--receipt", "no such file", "the receipt's file: an id needs a live gateway")
    key = _read(key_file).decode(errors="replace").strip() if key_file else os.environ.get("SAFEROUTER_API_KEY", "")
    if not key:
        raise Malformed("--key-file", "nothing", "the API key that made the call: only it may read the receipt")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Malformed("--key-file", "no single line of printable ASCII", "the API key, and nothing else")
    raw = fetch_receipt(judged.origin, receipt, key)
    logged = decode_quote(judged.document).workload.log is not None
    return raw, fetch_receipt_proof(judged.origin, receipt, key) if logged else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A quote with its verdict; `live` if it answered a nonce of ours just now."""

    origin: str
    document: Json
    live: bool
    verdict: Verdict
    settings: dict[str, Any]


def _judge_target(
    target: str, now: dt.datetime, settings: dict[str, Any], seen_logs: Path | None, accept_new_log: bool
) -> _Judged:
    """Fetch the quote of a gateway, or read a bundle, and judge it; the log of a live one is remembered."""
    live = "://" in target
    if live:
        origin, nonce = parse_origin(target), secrets.token_bytes(32)
        document = fetch_quote(origin, nonce)
    elif not Path(target).exists():
        raise Malformed(target, "no such file", "a saved bundle, or a URL that starts with http:// or https://")
    else:
        bundle = parse_bundle(_read(Path(target)))
        origin, document, nonce = bundle.origin, bundle.document, None
    # A file's own word about where it came from is no origin that we used.
    settings = settings | {"audience": origin if live else None}
    seen_logs = seen_logs if live else None
    earlier = _earlier(origin, document, seen_logs) if seen_logs and not accept_new_log else None
    verdict = verify_quote(document, now=now, nonce=nonce, earlier=earlier, **settings)
    if seen_logs and verdict.outcome != "rejected" and (seen := seen_log(decode_quote(document))):
        try:
            remember_log(seen_logs, origin, seen)
        except Unavailable as error:
            typer.echo(f"saferouter: {printable(str(error))}", err=True)
    return _Judged(origin, document, live, verdict, settings)


def _earlier(origin: str, document: Json, seen_logs: Path) -> Earlier | None:
    """What was seen of this gateway's log before, with the proof that leads from there to here, or back."""
    seen = load_log(seen_logs, origin)
    if seen is None:
        return None
    try:
        now = seen_log(decode_quote(document))
    except Malformed:
        now = None  # bind.quote or log.inclusion names the fault
    if now is None or now.vkey != seen.vkey or now.size == seen.size:
        return Earlier(seen, None)
    return Earlier(seen, fetch_consistency(origin, *sorted((seen.size, now.size))))


def _judge_answer(
    judged: _Judged,
    receipt: bytes,
    proof: bytes | None,
    request: bytes | None,
    response: bytes | None,
    headers: bytes | None,
) -> _Judged:
    """Add the receipt's checks; one of an earlier boot is judged under that boot's own evidence."""
    past = _past_quote(judged, receipt)
    if past is not None:
        document, served_at = past
        verdict = verify_quote(document, now=served_at, nonce=None, **judged.settings)
        verdict = _with_asserted_time(verdict, served_at, "as the receipt asserts")
        judged = replace(judged, document=document, verdict=verdict)
    beside: dict[str, Any] = {"earlier": _checkpoint_quote(judged, receipt), "headers": headers}
    verdict = verify_answer(judged.verdict, judged.document, receipt, request, response, proof, **beside)
    return replace(judged, verdict=verdict)


def _with_asserted_time(verdict: Verdict, moment: dt.datetime, whose: str) -> Verdict:
    """The verdict with its time among what is not proven."""
    line = f"time: judged at {moment.isoformat(timespec='seconds')}, {whose}"
    return replace(verdict, not_proven=(*verdict.not_proven, line))


def _checkpoint_quote(judged: _Judged, raw: bytes) -> tuple[Verdict, Json] | None:
    """The judged evidence of the keyset that the receipt's stream checkpoint names, where it is not this one."""
    try:
        checkpoint, keyset = checkpoint_of(parse_receipt(raw)), decode_quote(judged.document).keyset
    except Malformed:
        return None  # bind.quote, receipt.format or receipt.stream names the fault
    if checkpoint is None or not judged.live or checkpoint.keyset_digest == keyset.digest:
        return None
    document = _fetch_keyset(judged, checkpoint.keyset_digest)
    if document is None:
        return None
    signed_at = dt.datetime.fromtimestamp(checkpoint.time, dt.UTC)
    return verify_quote(document, now=signed_at, nonce=None, **judged.settings), document


def _past_quote(judged: _Judged, raw: bytes) -> tuple[Json, dt.datetime] | None:
    """The evidence of the earlier keyset that signed the receipt, and the receipt's time; None for this keyset."""
    try:
        receipt = parse_receipt(raw)
    except Malformed:
        return None  # receipt.format names the fault
    if not judged.live or receipt.keyset_digest == decode_quote(judged.document).keyset.digest:
        return None
    typer.echo(f"Signed under an earlier keyset, {receipt.keyset_digest}: fetching its evidence.", err=True)
    document = _fetch_keyset(judged, receipt.keyset_digest)
    return document and (document, dt.datetime.fromtimestamp(receipt.served_at, dt.UTC))


def _fetch_keyset(judged: _Judged, keyset_digest: str) -> Json | None:
    """The stored evidence of an earlier keyset; None if the gateway knows no such keyset. Raises Unavailable."""
    try:
        return fetch_past_quote(judged.origin, keyset_digest)
    except Unavailable as error:
        if error.retryable:
            raise
        return None  # receipt.keyset or receipt.stream says so by name
