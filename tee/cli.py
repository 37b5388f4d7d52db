"""The `saferouter` command: verify a gateway, an answer, or a bare report."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import replace
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any

import typer

from tee.canonical import parse_json
from tee.client.answer import encode_answer
from tee.client.judging import Asked, Judged, judge, with_asserted_time
from tee.client.log_cli import log_app
from tee.client.log_memory import decode_logs, encode_logs, load_logs, merge_logs
from tee.collateral.cli import collateral_app, offline_endorser
from tee.errors import Malformed, TeeError, Unavailable
from tee.evidence import Evidence
from tee.log.sample_log import CHECKS as SAMPLE_CHECKS
from tee.log.sample_log import judge_samples, samples_of
from tee.log.witnesses import parse_witness_policy
from tee.measure.cli import measure_app
from tee.measure.memory import load_seen, remember
from tee.measure.releases import Releases, judge_manifests
from tee.moment import parse_moment
from tee.policy import BUILT_IN_POLICY, AppraisalPolicy, parse_policy
from tee.quote import BUNDLE_FORMAT, decode_quote
from tee.show import describe_bulletins, describe_report
from tee.snp.bulletins import BUILT_IN, TcbData, open_tcb_data
from tee.snp.collateral import gather_endorsements
from tee.snp.report import parse_report
from tee.terminal import EXIT_REJECTED, EXIT_UNAVAILABLE, EXIT_USAGE
from tee.terminal import fail as _fail
from tee.terminal import finish as _finish
from tee.terminal import read_file as _read
from tee.terminal import write_file as _write
from tee.terminal import write_private_file as _write_private
from tee.verify import verdict_without_certificates, verify_report

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
report_app = typer.Typer(no_args_is_help=True, help="Bare attestation reports.")
app.add_typer(report_app, name="report")
app.add_typer(measure_app, name="measure")
app.add_typer(log_app, name="log")
memory_app = typer.Typer(no_args_is_help=True, help="The checkpoints that your verifier has seen.")
log_app.add_typer(memory_app, name="memory")
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
AnnouncementOption = Annotated[
    Path | None, typer.Option("--announcement", help="The proof that the release was announced, from its owner.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")]
SAMPLE_LIMITS = (
    "sample.*: that the digests are those of your call: compare them with its receipt or its bytes",
    "sample.log: that any witness has seen the checkpoints that the proofs lead to",
)


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
    announcement: AnnouncementOption = None,
    accept_mock: MockOption = False,
    at: AtOption = None,
    save: Annotated[Path | None, typer.Option(help="Save a bundle that verifies offline.")] = None,
    receipt: Annotated[str | None, typer.Option(help="A receipt's id, or its file.")] = None,
    proof: Annotated[
        Path | None, typer.Option(help="The receipt's place in the log, as the gateway served it.")
    ] = None,
    request: Annotated[Path | None, typer.Option(help="The exact request body that you sent.")] = None,
    response: Annotated[Path | None, typer.Option(help="The exact response body that you got.")] = None,
    headers: Annotated[Path | None, typer.Option(help="The answer's headers, as curl -D writes them.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with your API key, to fetch a receipt (or SAFEROUTER_API_KEY).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a gateway, a saved bundle, or one answer of a gateway."""
    key = os.environ.get("SAFEROUTER_API_KEY", "")
    asked = Asked(receipt, proof, request, response, headers, key_file, key)
    now, accepted = _moment(at), _load_policy(policy) or BUILT_IN_POLICY
    settings = {
        "policy": accepted,
        "accept_mock": accept_mock,
        "tcb": _load_tcb(tcb, accepted),
        "releases": _judge_releases(manifest or [], accepted, memory, now),
        "witnesses": parse_witness_policy(_read(witnesses)) if witnesses else None,
        "announcement": _load_announcement(announcement, accepted),
    }
    # Demos come and go at one address, and a mock's log proves nothing: it is remembered only if that is asked for.
    remembered = memory is not None or not accept_mock
    seen_logs = _seen_logs(memory) if remembered else None
    judged = judge(target, asked, now, at is not None, settings, seen_logs, accept_new_log)
    if save is not None:
        _save(save, judged)
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
    announcement: AnnouncementOption = None,
    accept_mock: MockOption = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a bare report. Without --policy: whose hardware signed it, and nothing more."""
    raw, accepted, now = _read(report), _load_policy(policy), _moment(at)
    data, releases = _load_tcb(tcb, accepted), _judge_releases(manifest or [], accepted, memory, now)
    announced = _load_announcement(announcement, accepted)
    files = [_read(path) for path in chain or ()]
    given = raw, _read(vek) if vek else None, files, _read(crl) if crl else None
    endorse = None if cache is None else offline_endorser(cache, _moment(at))
    try:
        endorsements = gather_endorsements(*given, _read(table) if table else b"", endorse)
    except Malformed as error:
        _finish(verdict_without_certificates(error, accepted), as_json)
    else:
        evidence = Evidence(raw, endorsements)
        more: dict[str, Any] = {"tcb": data, "releases": releases, "announcement": announced}
        verdict = verify_report(evidence, now=now, policy=accepted, accept_mock=accept_mock, **more)
        _finish(verdict if at is None else with_asserted_time(verdict, now, "asserted by you"), as_json)


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


@log_app.command("verify-sample")
def verify_samples(
    samples: Annotated[Path, typer.Argument(help="What GET /v1/audit/samples answered to your key.")],
    quote: Annotated[str, typer.Option(help="Whose identity and log count: a gateway's URL, or a saved bundle.")],
    policy: PolicyOption = None,
    manifest: ManifestOption = None,
    memory: MemoryOption = None,
    tcb: TcbOption = None,
    accept_mock: MockOption = False,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify your audit samples: an attested identity signed each, and its log commits to each.

    With a bundle this is done offline, and the bundle is judged at the newest sample's own time unless --at is given.
    """
    rows, now, accepted = samples_of(parse_json(_read(samples), str(samples))), _moment(at), _load_policy(policy)
    settings = {
        "policy": accepted or BUILT_IN_POLICY,
        "accept_mock": accept_mock,
        "tcb": _load_tcb(tcb, accepted),
        "releases": _judge_releases(manifest or [], accepted, memory, now),
        "witnesses": None,
        "announcement": None,
    }
    newest = dt.datetime.fromtimestamp(max(row["document"]["served_at"] for row in rows), dt.UTC)
    asserted = at is None and "://" not in quote and newest <= now
    now = newest if asserted else now
    judged = judge(quote, Asked(None, None, None, None, None, None, ""), now, at is not None, settings, None, False)
    verdict = with_asserted_time(judged.verdict, now, "as the samples assert") if asserted else judged.verdict
    if verdict.outcome != "rejected":
        checks = (*verdict.checks, *judge_samples(decode_quote(judged.document).workload, rows))
        open_ends = (*verdict.not_proven, *SAMPLE_LIMITS)
        required = verdict.required | set(SAMPLE_CHECKS)
        verdict = replace(verdict, checks=checks, required=required, not_proven=open_ends)
    _finish(verdict, as_json)


@memory_app.command("export")
def memory_export(
    to: Annotated[Path | None, typer.Argument(help="The file to write; without one it is printed.")] = None,
    memory: MemoryOption = None,
) -> None:
    """Write down the newest checkpoint seen of each gateway's log, for another verifier of yours."""
    text = json.dumps(encode_logs(load_logs(_seen_logs(memory))), indent=1)
    if to is None:
        typer.echo(text)
    else:
        _write_private(to, text.encode() + b"\n")


@memory_app.command("import")
def memory_import(
    file: Annotated[Path, typer.Argument(help="What another verifier of yours exported, or a browser.")],
    memory: MemoryOption = None,
) -> None:
    """Add another verifier's memory to this one. What the two disagree about is refused, all of it."""
    given = decode_logs(parse_json(_read(file), str(file)), str(file))
    newer = merge_logs(_seen_logs(memory), given)
    typer.echo(f"{len(given)} logs read; of {newer} a newer checkpoint is remembered now.")


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


def _load_announcement(path: Path | None, policy: AppraisalPolicy | None) -> bytes | None:
    if path is None:
        return None
    if policy is None or policy.announcement is None:
        wanted = "a table [announcement] in --policy: it says in which log, and cosigned by whom"
        raise Malformed("--announcement", "no release log to look for it in", wanted)
    return _read(path)


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


def _seen_logs(memory: Path | None) -> Path:
    """Where checkpoints are remembered: beside the manifests."""
    return (memory.parent if memory else _state_folder()) / "checkpoints.json"


def _state_folder() -> Path:
    """This user's folder for what must survive (XDG Base Directory)."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "saferouter"
    except RuntimeError:
        raise Malformed("--memory", "nothing, and no home folder", "a file to remember manifests in") from None


def _moment(at: str | None) -> dt.datetime:
    return dt.datetime.now(dt.UTC) if at is None else parse_moment(at, "--at")


def _save(path: Path, judged: Judged) -> None:
    """A bundle; one with a receipt is private, for a receipt names the model and has the salts of its leaves."""
    document = {"format": BUNDLE_FORMAT, "origin": judged.origin, "quote": judged.document}
    if judged.answer is None:
        _write(path, json.dumps(document).encode())
    else:
        _write_private(path, json.dumps(document | {"answer": encode_answer(judged.answer)}).encode())
