"""The word that a release was announced before it was served: a leaf, and the witnesses' time on it (SPEC §16)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tee.canonical import parse_json, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, judged, skipped
from tee.keys.identity import require_members
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import parse_entry
from tee.log.note import Note, NoteKey
from tee.log.proof import LeafProof, parse_leaf_proof, verify_leaf
from tee.log.release import ANNOUNCE, AnnouncedRelease, parse_announced
from tee.log.witnesses import WitnessPolicy
from tee.quote import decode_base64, encode_base64, encode_text
from tee.snp.chain import iso_seconds

FORMAT = "saferouter/announcement/v1"
MAX_ANNOUNCEMENT_SIZE = 1 << 18  # a leaf of 64 KiB and a proof of 68 KiB, in JSON
CHECK = "code.announcement"
RETIREMENT = "a proof of inclusion cannot show that no retirement followed: that is for the newest manifest to say"


@dataclass(frozen=True, slots=True)
class AnnouncementDemand:
    """What a policy demands: an entry of this log that the quorum has cosigned so many hours ago."""

    log: NoteKey
    witnesses: WitnessPolicy
    minimum_hours: int


def encode_announcement(leaf: bytes, proof: LeafProof) -> bytes:
    """The file that a release's owner hands out."""
    document = {"format": FORMAT, "leaf_b64": encode_base64(leaf), "proof": proof.encode().decode()}
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_announcement(raw: bytes) -> tuple[bytes, LeafProof]:
    """The leaf, and the proof that it stands in a log; neither is verified. Raises Malformed."""
    field = "announcement"
    if len(raw) > MAX_ANNOUNCEMENT_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_ANNOUNCEMENT_SIZE}")
    document = parse_json(raw, field)
    require_members(document, {"format", "leaf_b64", "proof"}, field, exact=True)
    if document["format"] != FORMAT:
        raise Malformed(f"{field}.format", shown(document["format"]), FORMAT)
    proof = parse_leaf_proof(encode_text(document["proof"], f"{field}.proof"), f"{field}.proof")
    return decode_base64(document["leaf_b64"], f"{field}.leaf_b64"), proof


def judge_announcement(
    demand: AnnouncementDemand,
    raw: bytes | None,
    measurement: str | None,
    image: tuple[str, ...] | None,
    *,
    firmware: bool,
    now: datetime,
) -> Check:
    """`code.announcement`: this build stands in the log, and stood there early enough.

    `measurement` is the report's, 96 lowercase hex, None without a report; `image` the boot image (PCR 4, 7 and 12) of
    verified platform evidence; with `firmware` the measurement alone says nothing of what was booted.
    """
    if raw is None:
        return skipped(CHECK, "your policy demands an announcement, and none was given")
    if measurement is None:
        return skipped(CHECK, "the report does not parse")
    try:
        leaf, proof = parse_announcement(raw)
        note = _open(demand, leaf, proof)
        announced = _announced(leaf, proof)
        times = demand.witnesses.cosigned(note, "announcement.proof.checkpoint")
    except Malformed as error:
        return failed(CHECK, f"{error.field}: {error.found}", error.wanted)
    if (fault := _difference(announced, measurement, image, firmware=firmware)) is not None:
        return failed(CHECK, fault, f"an announcement of {measurement}")
    since = complete_at(demand.witnesses, times)
    if since is None:
        return failed(CHECK, f"cosigned by {', '.join(times) or 'nobody'}", demand.witnesses.describe())
    moment, hours = datetime.fromtimestamp(since, UTC), demand.minimum_hours
    found = f"{announced.release}, entry {proof.index} of {demand.log.name}, cosigned by {iso_seconds(moment)}"
    held = now - moment >= timedelta(hours=hours)
    return judged(CHECK, held, found, f"at least {hours} hours before {iso_seconds(now)}", RETIREMENT if held else "")


def complete_at(policy: WitnessPolicy, times: dict[str, int]) -> int | None:
    """The second by which the quorum was complete; None if it never was. Nobody's word but the witnesses' counts."""
    for time in sorted(times.values()):
        if policy.reached({name for name, its in times.items() if its <= time}):
            return time
    return None


def _open(demand: AnnouncementDemand, leaf: bytes, proof: LeafProof) -> Note:
    """The note of the checkpoint that holds the leaf. Raises Malformed."""
    verify_leaf(leaf, proof, demand.log, "announcement.proof")
    return open_checkpoint(proof.checkpoint, demand.log, "announcement.proof.checkpoint").note


def _announced(leaf: bytes, proof: LeafProof) -> AnnouncedRelease:
    field = "announcement.leaf_b64"
    entry = parse_entry(leaf, field)
    if entry.type != ANNOUNCE:
        raise Malformed(f"{field}.type", shown(entry.type), ANNOUNCE)
    if entry.index != proof.index:
        raise Malformed(f"{field}.index", shown(entry.index), f"{proof.index}, by the proof")
    return parse_announced(entry.body, f"{field}.body")


def _difference(
    announced: AnnouncedRelease, measurement: str, image: tuple[str, ...] | None, *, firmware: bool
) -> str | None:
    """How what runs differs from what was announced."""
    covers = announced.covers.get(measurement)
    if covers is None:
        return f"{announced.release}, without this measurement"
    if covers == "workload" and not firmware:
        return None
    if image is None:
        return f"{announced.release}, known by its firmware alone: no verified platform evidence says what was booted"
    return None if image in announced.boot_images else f"{announced.release}, without the boot image"
