"""`saferouter log new-key`, `announce`, `retire`: what a release's owner says in a log of their own (SPEC §16)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tee.canonical import parse_json, shown
from tee.client.release_log import ReleaseLog, new_release_key, open_release_log
from tee.client.witnesses import Quorum
from tee.errors import Malformed, Unavailable
from tee.keys.identity import require_members
from tee.log.checkpoint import SignedCheckpoint
from tee.log.release import ANNOUNCE, PCRS, RETIRE, retire_body
from tee.log.witnesses import NONE, WitnessPolicy, parse_witness_policy
from tee.measure.manifest import PAYLOAD_TYPE, Manifest, parse_manifest
from tee.quote import decode_base64
from tee.terminal import printable, read_file

release_app = typer.Typer()

FolderOption = Annotated[Path, typer.Option("--folder", help="The log's files, for any static server.")]
KeyOption = Annotated[Path, typer.Option("--key", help="The log's key, as `log new-key` makes it.")]
WitnessesOption = Annotated[
    Path | None, typer.Option("--policy", help="Who must cosign it before it is published: a C2SP tlog-policy file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@release_app.command("new-key")
def make_key(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    origin: Annotated[str, typer.Option(help="The log's name for ever, for example example.com/releases.")],
) -> None:
    """Make the key of a release log. Prints its verifying key, for witnesses and verifiers."""
    typer.echo(new_release_key(file, origin).encode())


@release_app.command("announce")
def announce(
    folder: FolderOption,
    key: KeyOption,
    manifest: Annotated[Path, typer.Option(help="The release's signed manifest.")],
    policy: WitnessesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in the log what a release measures to. Verifiers may ask that this was said long before it is served."""
    body = announce_body(_read_manifest(manifest))
    _say(folder, key, policy, ANNOUNCE, body, f"{body['release']} is announced", as_json)


@release_app.command("retire")
def retire(
    folder: FolderOption,
    key: KeyOption,
    measurement: Annotated[list[str], typer.Option(help="A measurement, 96 hex characters; repeat.")],
    reason: Annotated[str, typer.Option(help="Why nobody should accept it any more.")],
    policy: WitnessesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in the log that measurements are retired. Verifiers learn it from the next manifest, monitors from here."""
    body = retire_body(measurement, reason)
    _say(folder, key, policy, RETIRE, body, f"retired: {len(measurement)} measurements", as_json)


def announce_body(manifest: Manifest) -> dict[str, Any]:
    """The body of the leaf that announces this manifest's release (SPEC §16.1)."""
    measured = [{"value": it.value, "platform": it.platform, "covers": it.covers} for it in manifest.measurements]
    return {
        "release": manifest.release,
        "manifest_digest": manifest.digest,
        "build": {"source_digest": manifest.source_digest, "image_digest": manifest.image_digest},
        "measurements": measured,
        "boot_images": [dict(zip(PCRS, image, strict=True)) for image in manifest.boot_images],
    }


def _say(
    folder: Path, key: Path, policy: Path | None, kind: str, body: dict[str, Any], words: str, as_json: bool
) -> None:
    """Append the leaf unless it is there, publish it, and tell where its proof lies. Raises Unavailable, Malformed."""
    witnesses = None if policy is None else parse_witness_policy(read_file(policy), log_required=False)
    if witnesses is not None and witnesses.quorum == NONE:
        witnesses = None
    with open_release_log(folder, key) as log:
        if witnesses is None and log.is_cosigned():
            raise Malformed("--policy", "no witnesses", "those of before: a log that is cosigned stays so")
        index, signed = asyncio.run(_publish(log, witnesses, kind, body))
        proof = log.prove(index, signed, witnesses)
    if as_json:
        facts = {"origin": log.key.name, "vkey": log.key.encode(), "index": index, "size": len(log.leaves)}
        typer.echo(json.dumps(facts | {"announcement": str(proof)}))
        return
    typer.echo(printable(f"{words}: entry {index} of {len(log.leaves)} in {log.key.name}. Its proof: {proof}"))
    if witnesses is None:
        typer.echo("No --policy named witnesses: nobody but you says when.", err=True)


async def _publish(
    log: ReleaseLog, witnesses: WitnessPolicy | None, kind: str, body: dict[str, Any]
) -> tuple[int, SignedCheckpoint]:
    quorum = None if witnesses is None else Quorum(witnesses)
    try:
        if quorum is not None:
            log.require_newest(await quorum.seen(log.key))
        index = log.append(kind, body, int(time.time()))
        signed = await log.publish(quorum)
    finally:
        if quorum is not None:
            await quorum.close()
    if signed is None:
        reason = (
            "have not cosigned it. The entry is signed and not published: run the command again. Their operators need "
            f"the log's key: {log.key.encode()}"
        )
        raise Unavailable("the log's witnesses", reason, retryable=True)
    return index, signed


def _read_manifest(path: Path) -> Manifest:
    """The manifest in a signed envelope. Its signatures are for verifiers to judge, not for its owner."""
    field, document = str(path), parse_json(read_file(path), str(path))
    require_members(document, {"payload", "payloadType", "signatures"}, field, exact=True)
    if document["payloadType"] != PAYLOAD_TYPE:
        raise Malformed(f"{field}.payloadType", shown(document["payloadType"]), PAYLOAD_TYPE)
    return parse_manifest(decode_base64(document["payload"], f"{field}.payload"), field)
