"""Firmware receipt: a build's signed manifests and the proof that a log has it, verified offline (SPEC §16.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tee.canonical import kind_of, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import require_members, text
from tee.log.announcement import parse_announcement
from tee.log.entry import parse_entry
from tee.log.note import NoteKey
from tee.log.proof import verify_leaf
from tee.log.release import ANNOUNCE, parse_announced
from tee.measure.envelope import Signers
from tee.measure.manifest import Manifest
from tee.measure.releases import MAX_MANIFESTS, Releases, judge_manifests
from tee.quote import decode_base64, encode_base64, encode_text

FORMAT = "saferouter/firmware-receipt/v1"
MAX_RECEIPT_SIZE = 16 << 20  # some manifests of at most 2 MiB, in base64
FIELD = "firmware_receipt"
UNANNOUNCED = "that a log has it: the receipt holds no announcement, or you named no log's key"
UNWITNESSED = "when it was announced: a log's own key says that it is there, and no witness was asked since when"


@dataclass(frozen=True, slots=True)
class FirmwareReceipt:
    """What proves a build of an artefact. Nothing of it is verified."""

    category: str
    artifact_id: str
    build: str  # NAME VERSION, as its manifest has it
    manifests: tuple[bytes, ...]
    announcement: bytes | None


@dataclass(frozen=True, slots=True)
class ProvenBuild:
    """A build whose manifest is signed and in force; `entry` is its number in the log, None without proof of that."""

    manifest: Manifest
    entry: int | None
    not_proven: tuple[str, ...]


def encode_firmware_receipt(receipt: FirmwareReceipt) -> dict[str, object]:
    """It as a JSON document."""
    return {
        "format": FORMAT,
        "category": receipt.category,
        "artifact_id": receipt.artifact_id,
        "build": receipt.build,
        "manifests_b64": [encode_base64(raw) for raw in receipt.manifests],
        "announcement": None if receipt.announcement is None else receipt.announcement.decode(),
    }


def parse_firmware_receipt(raw: bytes) -> FirmwareReceipt:
    """Read it. Raises Malformed."""
    if len(raw) > MAX_RECEIPT_SIZE:
        raise Malformed(FIELD, f"{len(raw)} bytes", f"at most {MAX_RECEIPT_SIZE}")
    document = parse_json(raw, FIELD)
    members = {"format", "category", "artifact_id", "build", "manifests_b64", "announcement"}
    require_members(document, members, FIELD, exact=True)
    if document["format"] != FORMAT:
        raise Malformed(f"{FIELD}.format", shown(document["format"]), FORMAT)
    rows, announcement = document["manifests_b64"], document["announcement"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MANIFESTS:
        found = f"{len(rows)} items" if isinstance(rows, list) else kind_of(rows)
        raise Malformed(f"{FIELD}.manifests_b64", found, f"an array of 1 to {MAX_MANIFESTS}")
    return FirmwareReceipt(
        category=text(document["category"], f"{FIELD}.category"),
        artifact_id=text(document["artifact_id"], f"{FIELD}.artifact_id"),
        build=text(document["build"], f"{FIELD}.build"),
        manifests=tuple(decode_base64(row, f"{FIELD}.manifests_b64[{at}]") for at, row in enumerate(rows)),
        announcement=None if announcement is None else encode_text(announcement, f"{FIELD}.announcement"),
    )


def verify_firmware_receipt(
    receipt: FirmwareReceipt,
    signers: Signers,
    log_key: NoteKey | None,
    *,
    now: datetime,
    minimum: int = 0,
    build: str | None = None,
) -> ProvenBuild:
    """The build that it proves, in force at `now`. Raises Malformed for whatever does not hold.

    With a `log_key` the announcement must be there, and stand in that log. `build` is the one that is wanted.
    """
    if build is not None and build != receipt.build:
        raise Malformed(f"{FIELD}.build", shown(receipt.build), build)
    releases = judge_manifests(receipt.manifests, signers, now=now, minimum=minimum)
    if releases.fault is not None:
        raise releases.fault
    manifest = _in_force(releases, receipt.build)
    if log_key is None:
        return ProvenBuild(manifest, None, (UNANNOUNCED,))
    if receipt.announcement is None:
        raise Malformed(f"{FIELD}.announcement", "none", f"the proof that {log_key.name} has the build")
    return ProvenBuild(manifest, _logged(receipt.announcement, log_key, manifest), (UNWITNESSED,))


def builds_of(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """The manifests by the builds that they release; of two of one build the last counts."""
    return {manifest.release: manifest for manifest in manifests}


def _in_force(releases: Releases, build: str) -> Manifest:
    """The manifest of that build, unless it has ended."""
    found = builds_of(releases.chain).get(build)
    if found is None:
        raise Malformed(f"{FIELD}.build", shown(build), f"one of {', '.join(builds_of(releases.chain))}")
    if found.expires <= releases.now:
        raise Malformed(
            f"{FIELD}.build", f"{build}, whose manifest expired on {found.expires.isoformat()}", "one in force"
        )
    ended = [row for row in (releases.retirement(what) for what in _named(found)) if row is not None]
    if ended:
        raise Malformed(f"{FIELD}.build", f"{build}, retired: {ended[0].reason}", "one that is not retired")
    return found


def _named(manifest: Manifest) -> list[str]:
    return [manifest.release, *(each.value for each in manifest.measurements)]


def _logged(raw: bytes, log_key: NoteKey, manifest: Manifest) -> int:
    """The number of the entry that announces this manifest in that log."""
    leaf, proof = parse_announcement(raw)
    verify_leaf(leaf, proof, log_key, f"{FIELD}.announcement.proof")
    field = f"{FIELD}.announcement.leaf_b64"
    entry = parse_entry(leaf, field)
    if entry.type != ANNOUNCE:
        raise Malformed(f"{field}.type", shown(entry.type), ANNOUNCE)
    announced = parse_announced(entry.body, f"{field}.body")
    if entry.body["manifest_digest"] != manifest.digest:
        found = f"that of {announced.release}, manifest {entry.body['manifest_digest']}"
        raise Malformed(f"{field}.body.manifest_digest", found, f"{manifest.digest}, of {manifest.release}")
    return proof.index
