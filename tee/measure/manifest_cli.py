"""`saferouter measure manifest`, `new-key`, `sign`, `show-manifest`, `verify-manifest`: manifests made and read."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import stat
from pathlib import Path
from typing import Annotated

import typer
from nacl.signing import SigningKey

from tee.canonical import Json, encode_canonical, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import require_members
from tee.measure.envelope import MAX_ENVELOPE_SIZE, MAX_SIGNERS, Signers, seal_envelope
from tee.measure.inputs import measure_inputs, parse_hex, parse_inputs
from tee.measure.launch import require_file
from tee.measure.manifest import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, Manifest, Retired, parse_manifest
from tee.measure.releases import judge_manifests
from tee.moment import parse_moment
from tee.private_files import write_private
from tee.quote import decode_base64

FIRMWARE_FORMAT = "saferouter/ec2-firmware/v1"
SEED_SIZE = 32
MAX_ARTEFACT_SIZE = 64 << 30  # a disk image; it is hashed piece by piece
EXIT_REJECTED = 1

manifest_app = typer.Typer()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@manifest_app.command("manifest")
def make_manifest(
    release: Annotated[str, typer.Option(help="NAME VERSION, for example 'saferouter 1.2.0'.")],
    artefact: Annotated[list[Path], typer.Option(help="A file of the release; repeat. It is hashed, not stored.")],
    repo_url: Annotated[str, typer.Option(help="The source's repository.")],
    repo_commit: Annotated[str, typer.Option(help="The commit, in full.")],
    source_digest: Annotated[str, typer.Option(help="The build's source_digest, sha256:…")],
    expires: Annotated[str, typer.Option(help="When it ends (ISO 8601). A newer manifest must be out before.")],
    image_digest: Annotated[str | None, typer.Option(help="The image's digest, sha256:…")] = None,
    launch: Annotated[list[Path] | None, typer.Option(help="What `measure launch --json` printed; repeat.")] = None,
    platform: Annotated[str, typer.Option(help="Platform of launches that do not say theirs.")] = "qemu",
    ec2_ladder: Annotated[Path | None, typer.Option(help="EC2's firmware, a file of measurements/.")] = None,
    boot_image: Annotated[list[str] | None, typer.Option(help="PCR4,PCR7,PCR12 of NitroTPM, in hex; repeat.")] = None,
    tcb_floor: Annotated[Path | None, typer.Option(help="JSON: least versions, by product and component.")] = None,
    previous: Annotated[Path | None, typer.Option(help="The manifest before this one, signed.")] = None,
    retire: Annotated[list[str] | None, typer.Option(help="WHAT=REASON: a release or a measurement; repeat.")] = None,
    since: Annotated[str | None, typer.Option(help="When what --retire names ends (ISO 8601); else now.")] = None,
) -> None:
    """Print an unsigned statement for these measurements; it goes on to `sign`."""
    name, _, version = release.partition(" ")
    before = None if previous is None else parse_manifest(_split(previous)[0], str(previous))
    due = dt.datetime.now(dt.UTC) if since is None else parse_moment(since, "--since")
    firmware = {"measurements": [], "retired": []} if ec2_ladder is None else _read_firmware(ec2_ladder)
    retired = [*(_encode_retired(row) for row in (before.retired if before else ())), *firmware["retired"]]
    predicate = {
        "version": 1,
        "release": {"name": name, "version": version},
        "sequence": before.sequence + 1 if before else 1,
        "expires": int(parse_moment(expires, "--expires").timestamp()),
        "previous": before.digest if before else None,
        "source": {"repo_url": repo_url, "repo_commit": repo_commit},
        "build": {"source_digest": source_digest, "image_digest": image_digest},
        "measurements": [*(_launched(path, platform) for path in launch or []), *firmware["measurements"]],
        "boot_images": [_parse_boot_image(text) for text in boot_image or []],
        "tcb_floor": {} if tcb_floor is None else parse_json(_read(tcb_floor), str(tcb_floor)),
        # The newest manifest speaks for all: what one retired must not drop out of the next.
        "retired": _unique([*retired, *(_parse_retire(text, due) for text in retire or [])]),
    }
    subjects = [{"name": path.name, "digest": _hash_artefact(path)} for path in artefact]
    statement = {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": predicate}
    payload = encode_canonical(statement)
    _require_recipes(parse_manifest(payload, "manifest"))
    typer.echo(payload, nl=False)


@manifest_app.command("new-key")
def make_key(file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")]) -> None:
    """Make a release key: a seed that only its owner may read. Prints the public key."""
    if file.exists():
        raise Malformed(str(file), "a file", "a name that is free: a key is never overwritten")
    key = SigningKey.generate()
    write_private(file, bytes(key))
    typer.echo(bytes(key.verify_key).hex())


@manifest_app.command("sign")
def sign_manifest(
    statement: Annotated[Path, typer.Argument(help="An unsigned statement, or one that others have signed.")],
    key: Annotated[list[Path], typer.Option(help="A release key's file, mode 0600; repeat.")],
    out: Annotated[Path, typer.Option(help="Where the signed manifest goes.")],
) -> None:
    """Add signatures to a statement; several people sign one after another."""
    payload, before = _split(statement)
    manifest = parse_manifest(payload, str(statement))
    _require_recipes(manifest)
    envelope = json.loads(seal_envelope(payload, PAYLOAD_TYPE, [read_key(path) for path in key]))
    mine = {row["keyid"] for row in envelope["signatures"]}
    envelope["signatures"] = [*(row for row in before if row["keyid"] not in mine), *envelope["signatures"]]
    _write(out, json.dumps(envelope, indent=1).encode() + b"\n")
    typer.echo(f"You signed {manifest.release}, manifest {manifest.sequence}. Signatures now:", err=True)
    for row in envelope["signatures"]:
        typer.echo(f"  {row['keyid']}", err=True)


@manifest_app.command("show-manifest")
def show_manifest(
    file: Annotated[Path, typer.Argument(help="A manifest, signed or not.")], as_json: JsonOption = False
) -> None:
    """Print what a manifest says, unverified."""
    payload, _ = _split(file)
    manifest = parse_manifest(payload, str(file))
    if as_json:
        typer.echo(json.dumps(json.loads(payload), indent=1))
        return
    typer.echo("UNVERIFIED: no signature was checked.")
    _print(manifest)


@manifest_app.command("verify-manifest")
def verify_manifest(
    file: Annotated[list[Path], typer.Argument(help="A signed manifest; several are judged as a chain.")],
    key: Annotated[list[str], typer.Option(help="A release key that you trust, 64 hex characters; repeat.")],
    threshold: Annotated[int, typer.Option(help="How many of them must have signed.")],
    minimum_sequence: Annotated[int, typer.Option(help="The least sequence that you accept.", min=0)] = 0,
    at: Annotated[str | None, typer.Option(help="Judge at this time (ISO 8601) instead of now.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a manifest's signatures, chain, expiry and recipes. Exit 0: it is in force; 1: it is not."""
    signers = Signers(tuple(parse_hex(text, "--key", 32) for text in key), threshold)
    now = dt.datetime.now(dt.UTC) if at is None else parse_moment(at, "--at")
    releases = judge_manifests([_read(path) for path in file], signers, now=now, minimum=minimum_sequence)
    fault = releases.fault
    try:
        for manifest in releases.chain:
            _require_recipes(manifest)
    except Malformed as error:
        fault = error
    newest = releases.newest
    if as_json:
        said = fault and {"field": fault.field, "found": fault.found, "wanted": fault.wanted}
        verdict = {"verdict": "rejected" if fault else "verified", "fault": said}
        typer.echo(json.dumps(verdict | {"newest": newest and _summary(newest)}, indent=1))
    elif fault is not None:
        typer.echo(f"Rejected: {fault}.")
    elif newest is not None:
        _print(newest)
        typer.echo(f"Verified: at least {threshold} of {len(signers.keys)} keys signed it, and it is in force.")
    if fault is not None:
        raise typer.Exit(EXIT_REJECTED)


def _summary(manifest: Manifest) -> Json:
    release, sequence = manifest.release, manifest.sequence
    return {"release": release, "sequence": sequence, "expires": int(manifest.expires.timestamp())}


def _print(manifest: Manifest) -> None:
    """A manifest as lines for a person, the whole of what it accepts."""
    rows = [
        ("release", manifest.release),
        ("sequence", f"{manifest.sequence}, after {manifest.previous or 'none'}"),
        ("expires", _iso(manifest.expires)),
        ("source", f"{manifest.repo_url} {manifest.repo_commit}"),
        ("build", f"{manifest.source_digest}, image {manifest.image_digest or 'none'}"),
        *(("artefact", f"{name} sha256:{digests['sha256']}") for name, digests in manifest.subjects.items()),
    ]
    for entry in manifest.measurements:
        facts = [entry.platform, entry.machine or "", entry.note or ""]
        facts += [f"{entry.vcpus} vCPUs"] if entry.vcpus else []
        facts += [f"valid from {_iso(entry.valid_from)}"] if entry.valid_from else []
        rows.append((entry.covers, f"{entry.value} ({', '.join(filter(None, facts))})"))
    rows += [("boot image", " ".join(image)) for image in manifest.boot_images]
    rows += [(f"floor {name}", str(floor)) for name, floor in manifest.tcb_floor.items()]
    rows += [("retired", f"{row.what} since {_iso(row.since)}: {row.reason}") for row in manifest.retired]
    for label, value in rows:
        typer.echo(f"{label:12} {value}")


def _iso(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _split(path: Path) -> tuple[bytes, list[Json]]:
    """The payload of a manifest, and the signatures beside it if it is in an envelope. Nothing is verified."""
    raw, field = _read(path), str(path)
    document = parse_json(raw, field)
    if not isinstance(document, dict) or "payload" not in document:
        return raw.rstrip(b"\n"), []
    require_members(document, {"payload", "payloadType", "signatures"}, field, exact=True)
    if document["payloadType"] != PAYLOAD_TYPE:
        raise Malformed(f"{field}.payloadType", shown(document["payloadType"]), PAYLOAD_TYPE)
    rows = document["signatures"]
    if not isinstance(rows, list) or len(rows) > MAX_SIGNERS:
        raise Malformed(f"{field}.signatures", kind_of(rows), f"an array of at most {MAX_SIGNERS}")
    for row in rows:
        require_members(row, {"keyid", "sig"}, f"{field}.signatures", exact=True)
    return decode_base64(document["payload"], f"{field}.payload"), rows


def _launched(path: Path, platform: str) -> Json:
    """A row of `measurements` from the output of `measure launch --json`."""
    document, field = parse_json(_read(path), str(path)), str(path)
    require_members(document, {"measurement", "covers", "inputs"}, field, exact=True)
    recipe = document["inputs"]
    vcpus = None if recipe is None else parse_inputs(encode_canonical(recipe)).vcpus
    return {
        "value": document["measurement"],
        "platform": platform if vcpus is None else vcpus.vmm.value,
        "covers": document["covers"],
        "machine": None,
        "vcpus": None if vcpus is None else vcpus.count,
        "recipe": recipe,
        "valid_from": None,
        "note": None,
    }


def _require_recipes(manifest: Manifest) -> None:
    """Every recipe gives its value. Raises Malformed."""
    for entry in manifest.measurements:
        if entry.recipe is None:
            continue
        inputs = parse_inputs(encode_canonical(entry.recipe))
        measured = measure_inputs(inputs).hex()
        if (measured, inputs.covers) != (entry.value, entry.covers):
            found = f"{entry.value} ({entry.covers})"
            raise Malformed("measurement", found, f"{measured} ({inputs.covers}), which its recipe gives")


def _read_firmware(path: Path) -> Json:
    document = parse_json(_read(path), str(path))
    require_members(document, {"format", "sources", "measurements", "retired"}, str(path), exact=True)
    if document["format"] != FIRMWARE_FORMAT:
        raise Malformed(f"{path}.format", shown(document["format"]), FIRMWARE_FORMAT)
    for name in ("measurements", "retired"):
        if not isinstance(document[name], list):
            raise Malformed(f"{path}.{name}", kind_of(document[name]), "an array")
    return document


def _unique(rows: list[Json]) -> list[Json]:
    return [row for index, row in enumerate(rows) if row not in rows[:index]]


def _encode_retired(row: Retired) -> Json:
    """A row of `retired` as it stood in its manifest."""
    kind = "release" if " " in row.what else "measurement"
    return {kind: row.what, "since": int(row.since.timestamp()), "reason": row.reason}


def _parse_retire(text: str, since: dt.datetime) -> Json:
    what, equals, reason = text.partition("=")
    if not equals:
        raise Malformed("--retire", shown(text), "WHAT=REASON")
    return _encode_retired(Retired(what, since, reason))


def _parse_boot_image(text: str) -> Json:
    parts = text.split(",")
    if len(parts) != 3:
        raise Malformed("--boot-image", f"{len(parts)} values", "PCR4,PCR7,PCR12 in hex")
    return dict(zip(("pcr4", "pcr7", "pcr12"), parts, strict=True))


def _hash_artefact(path: Path) -> Json:
    require_file(path, MAX_ARTEFACT_SIZE)
    digests = hashlib.sha256(), hashlib.sha384()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            for digest in digests:
                digest.update(piece)
    return {digest.name: digest.hexdigest() for digest in digests}


def read_key(path: Path) -> SigningKey:
    """The key in a file that only its owner may read. Raises Malformed."""
    if require_file(path, SEED_SIZE) != SEED_SIZE:
        raise Malformed(str(path), "a shorter file", f"a seed of {SEED_SIZE} bytes, as `measure new-key` makes it")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Malformed(str(path), "a key that others may read", "mode 0600: if others could read it, it is burnt")
    return SigningKey(path.read_bytes())


def _read(path: Path) -> bytes:
    require_file(path, MAX_ENVELOPE_SIZE)
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Malformed(str(path), error.strerror or "no file to write", "a file that can be written") from None
