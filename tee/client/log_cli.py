"""`saferouter log`: verify a proof, read a log, follow one, and be a witness of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from tee.client.leaves import OpenedLog, open_log
from tee.client.log import LogReader, log_prefix
from tee.client.logbook import open_logbook
from tee.client.monitor import Look, Monitor
from tee.client.release_cli import release_app
from tee.errors import Malformed, Unavailable
from tee.evidence import Check, Scope, Verdict, judged, skipped
from tee.log.checkpoint import parse_checkpoint
from tee.log.judge import demands_witnesses
from tee.log.note import KeyType, NoteKey, parse_note_key
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.log.witnesses import WitnessPolicy, parse_witness_policy
from tee.terminal import EXIT_REJECTED, EXIT_UNAVAILABLE, finish, printable, read_file, write_file

LEAST_SECONDS = 1.0
MAX_TAIL = 10_000
UNSIGNED = "The log's key is the one that its server names: give --log VKEY to hold it against one that you trust."
NO_POLICY = "split view: no --policy demands witnesses, so others may be shown another log"

log_app = typer.Typer(no_args_is_help=True, help="Transparency logs: verify, read, follow, witness; announce releases.")
log_app.add_typer(release_app)

UrlArgument = Annotated[str, typer.Argument(help="A gateway, or the prefix of a log's tiles.")]
LogOption = Annotated[str | None, typer.Option("--log", help="The log's key, a C2SP vkey.")]
WitnessesOption = Annotated[Path | None, typer.Option("--policy", help="Your witnesses, a C2SP tlog-policy file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@log_app.command("verify")
def verify_proof(
    proof: Annotated[Path, typer.Argument(help="A tlog-proof.")],
    leaf: Annotated[Path, typer.Option(help="The leaf's exact bytes.")],
    log: LogOption = None,
    policy: WitnessesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify offline that a leaf stands in a log, and whose witnesses saw it."""
    witnesses = _load_witnesses(policy)
    keys = _keys(log, witnesses)
    if not keys:
        raise Malformed("--log", "nothing", "the log's key, or a --policy that has it")
    checks = _judge_proof(read_file(proof), read_file(leaf), keys, witnesses)
    required = {"log.inclusion"} if witnesses is None else {"log.inclusion", "log.witness"}
    not_proven = () if demands_witnesses(witnesses) else (NO_POLICY,)
    finish(Verdict(Scope.FULL, checks, frozenset(required), False, not_proven), as_json)


@log_app.command("prove")
def prove(
    url: UrlArgument,
    index: Annotated[int, typer.Argument(min=0, help="The leaf's index.")],
    save: Annotated[Path | None, typer.Option(help="Write SAVE.tlog-proof and SAVE.leaf.")] = None,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a leaf and make the proof that it stands in the log, from the log's tiles."""
    with LogReader(log_prefix(url)) as reader:
        opened = open_log(reader, _log_key(log) if log else None)
        if index >= opened.size:
            raise Malformed("INDEX", index, f"less than {opened.size}, the log's size")
        (found,) = opened.leaves(index, index + 1)
    if save is not None:
        write_file(save.with_name(save.name + ".tlog-proof"), found.proof.encode())
        write_file(save.with_name(save.name + ".leaf"), found.leaf)
    if as_json:
        typer.echo(
            json.dumps(opened.to_json() | {"index": index, "proof": found.proof.encode().decode()} | found.shown())
        )
        return
    typer.echo(printable(found.line()))
    typer.echo(f"It stands at {index} of {opened.size} leaves of {printable(opened.key.name)}.")
    _warn(opened)


@log_app.command("tail")
def tail(
    url: UrlArgument,
    number: Annotated[int, typer.Option("-n", min=1, max=MAX_TAIL, help="How many leaves.")] = 10,
    log: LogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the newest leaves, each proven to stand in the log."""
    with LogReader(log_prefix(url)) as reader:
        opened = open_log(reader, _log_key(log) if log else None)
        found = opened.leaves(max(0, opened.size - number), opened.size)
    if as_json:
        typer.echo(json.dumps(opened.to_json() | {"leaves": [each.shown() for each in found]}))
        return
    for each in found:
        typer.echo(printable(each.line()))
    _warn(opened)


@log_app.command("monitor")
def monitor(
    url: UrlArgument,
    state: Annotated[Path, typer.Option(help="The monitor's folder: what it saw, and evidence.")],
    policy: WitnessesOption = None,
    log: LogOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look once. This is also what happens without --every.")] = False,
    every: Annotated[float | None, typer.Option(min=LEAST_SECONDS, help="Look again after so many seconds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a log: every leaf, every checkpoint, and what its witnesses saw. Exit 1: it cannot be trusted."""
    if once and every is not None:
        raise Malformed("--once", "beside --every", "one of them")
    witnesses = _load_witnesses(policy)
    keys = _keys(log, witnesses)
    with LogReader(log_prefix(url)) as reader, open_logbook(state) as book:
        watching = Monitor(reader, book, keys, witnesses)
        while True:
            look = watching.look()
            _print_look(look, state, as_json)
            if look.found:
                raise typer.Exit(EXIT_REJECTED)
            if every is None:
                break
            time.sleep(every)
    if look.unseen:
        raise typer.Exit(EXIT_UNAVAILABLE)


@log_app.command("witness")
def witness(
    state: Annotated[Path, typer.Option(help="The witness's folder: its key and its memory.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")],
    log: Annotated[list[str] | None, typer.Option("--log", help="A log's vkey; repeat for several.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A C2SP tlog-policy file, for its `log` lines.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The witness's name, chosen at its first start.")] = None,
) -> None:
    """Run a witness: it cosigns what extends the tree that it cosigned last, and nothing else."""
    keys = [_log_key(text) for text in log or ()]
    keys += parse_witness_policy(read_file(policy)).logs if policy else ()
    logs = {key.name: key for key in keys}
    if not logs or len(logs) != len(set(keys)):
        raise Malformed("--log", "none, or two keys of one origin", "each log that is to be witnessed, once")
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise Malformed("--listen", ascii(listen[:64]), "HOST:PORT, for example 127.0.0.1:8585")
    try:
        from tee.witness.server import build_witness_app, run_witness
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}: install saferouter[gateway]"
        raise Unavailable("the witness", reason, retryable=False) from None
    from tee.witness.memory import open_memory

    os.umask(0o077)  # whatever is made below is for this user only
    memory = open_memory(state, name)

    def on_ready(bound: int) -> None:
        typer.echo(f"Witness {memory.key.encode()}\nlistens on {host}:{bound}, for {', '.join(logs)}.")

    asyncio.run(run_witness(build_witness_app(memory, logs), host.strip("[]"), int(port), on_ready))


def _judge_proof(raw: bytes, leaf: bytes, keys: list[NoteKey], witnesses: WitnessPolicy | None) -> tuple[Check, ...]:
    wanted = "a leaf of this log, by its proof and its signed checkpoint"
    try:
        proof = parse_leaf_proof(raw)
        signed = parse_checkpoint(proof.checkpoint, "proof.checkpoint")
        named = [key for key in keys if key.name == signed.checkpoint.origin]
        checkpoint = verify_leaf(leaf, proof, (named or keys)[0])
    except Malformed as error:
        broken = judged("log.inclusion", False, f"{error.field}: {error.found}", error.wanted)
        return broken, skipped("log.witness", "the proof does not verify")
    held = judged("log.inclusion", True, f"leaf {proof.index} of {checkpoint.size} in {checkpoint.origin}", wanted)
    if witnesses is None:
        return held, skipped("log.witness", "no --policy was given")
    quorum = witnesses.describe()
    try:
        by = sorted(witnesses.cosigned(signed.note, "proof.checkpoint"))
    except Malformed as error:
        return held, judged("log.witness", False, error.found, error.wanted)
    return held, judged("log.witness", witnesses.reached(set(by)), f"cosigned by {', '.join(by) or 'nobody'}", quorum)


def _keys(log: str | None, witnesses: WitnessPolicy | None) -> list[NoteKey]:
    """The logs that the user trusts: the one named on the command line, else those of the policy."""
    if log is not None:
        return [_log_key(log)]
    return list(witnesses.logs) if witnesses else []


def _log_key(text: str) -> NoteKey:
    key = parse_note_key(text, "--log")
    if key.kind is not KeyType.ED25519:
        raise Malformed("--log", f"a key of type {key.kind.value}", "a log's key, of type 1")
    return key


def _load_witnesses(path: Path | None) -> WitnessPolicy | None:
    return None if path is None else parse_witness_policy(read_file(path))


def _warn(opened: OpenedLog) -> None:
    if not opened.key_given:
        typer.echo(f"{UNSIGNED}\n  {printable(opened.key.encode())}", err=True)


def _print_look(look: Look, state: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(look.to_json()))
        return
    if look.key is not None:
        new = ", ".join(f"{number} {kind}" for kind, number in sorted(look.new.items())) or "nothing new"
        typer.echo(printable(f"{look.origin}: {look.size} leaves; {new}"))
        if look.pinned_now:
            typer.echo(f"  first sight: no --log was given, so this key is believed from now on: {look.key.encode()}")
    passed = [look.passed] if look.passed else []
    untold = [f"and {look.untold} more changes"] if look.untold else []
    seen_by = [f"witness {name} {words}" for name, words in look.witnesses.items()]
    lines = [*passed, *look.changes, *untold, *seen_by]
    for line in [*lines, *(f"UNAVAILABLE {words}" for words in look.unseen)]:
        typer.echo(f"  {printable(line)}")
    for words in look.found:
        typer.echo(f"  REJECTED {printable(words)}")
    if look.found:
        typer.echo(f"Do not trust this log. The evidence lies in {state / 'evidence'}; move it away to go on.")
