"""Which releases are in force: signed manifests, judged under the release keys of a policy (SPEC §12.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from tee.canonical import shown
from tee.errors import Malformed
from tee.evidence import Check, failed, passed
from tee.measure.envelope import Signers, open_envelope
from tee.measure.manifest import PAYLOAD_TYPE, Manifest, Measured, Retired, parse_manifest
from tee.policy import AppraisalPolicy

MAX_MANIFESTS = 64  # a chain from one's oldest release in use to the newest
CHECK = "code.release"


@dataclass(frozen=True, slots=True)
class Releases:
    """What manifests say at the time `now`: a chain, the newest last. With a `fault` it is empty: none of them counts.

    Only judge_manifests makes one; its signatures are then judged.
    """

    now: datetime
    chain: tuple[Manifest, ...] = ()
    fault: Malformed | None = None

    @property
    def newest(self) -> Manifest | None:
        """The manifest whose retirements rule over the whole chain."""
        return self.chain[-1] if self.chain else None

    def entries(self) -> Iterator[tuple[Manifest, Measured]]:
        """Every measurement of the chain with its manifest, those of the newest first."""
        return ((manifest, entry) for manifest in reversed(self.chain) for entry in manifest.measurements)

    def retirement(self, what: str) -> Retired | None:
        """The retirement of a release or measurement that is due, by the newest manifest."""
        retired = self.newest.retired if self.newest else ()
        return next((row for row in retired if row.what == what and row.since <= self.now), None)


def judge_manifests(
    raws: Sequence[bytes], signers: Signers, *, now: datetime, minimum: int = 0, seen: int | None = None
) -> Releases:
    """Open manifests (envelopes, in any order) and judge them as one chain.

    `minimum` is the policy's minimum_sequence; `seen` is the highest sequence that this verifier ever accepted from
    these signers, None if it never did.
    """
    try:
        chain = _open_chain(raws, signers)
        _require_current(chain[-1], now, minimum, seen or 0)
    except Malformed as fault:
        return Releases(now, fault=fault)
    return Releases(now, chain)


def _open_chain(raws: Sequence[bytes], signers: Signers) -> tuple[Manifest, ...]:
    if not 1 <= len(raws) <= MAX_MANIFESTS:
        raise Malformed("manifests", len(raws), f"1 to {MAX_MANIFESTS}")
    chain = []
    for index, raw in enumerate(raws):
        field = f"manifests[{index}]"
        chain.append(parse_manifest(open_envelope(raw, signers, PAYLOAD_TYPE, field), f"{field}.payload"))
    chain.sort(key=lambda manifest: manifest.sequence)
    for older, newer in pairwise(chain):
        # Two of one number, a gap or a fork: in each case somebody may be kept from a retirement.
        if newer.previous != older.digest:
            found = f"manifest {newer.sequence} after {newer.previous or 'none'}"
            raise Malformed("manifests", found, f"after {older.digest}, manifest {older.sequence}")
    _require_one_meaning(chain)
    return tuple(chain)


def _require_one_meaning(chain: Sequence[Manifest]) -> None:
    """No measurement covers a workload by one manifest and firmware by another: the laxer one would win."""
    covers: dict[str, str] = {}
    for manifest in chain:
        for entry in manifest.measurements:
            if covers.setdefault(entry.value, entry.covers) != entry.covers:
                found = f"{entry.value} as workload and as firmware"
                raise Malformed("manifests", found, "one meaning: leave out the manifests that are wrong")


def _require_current(newest: Manifest, now: datetime, minimum: int, seen: int) -> None:
    for least, whose in ((minimum, "the policy's minimum_sequence"), (seen, "seen here before")):
        if newest.sequence < least:
            raise Malformed("manifests", f"manifest {newest.sequence}", f"at least manifest {least}, {whose}")
    if newest.expires <= now:
        wanted = "a newer one, or one that has not expired"
        raise Malformed("manifests", f"manifest {newest.sequence}, expired since {_iso(newest.expires)}", wanted)


def accepting(policy: AppraisalPolicy, releases: Releases | None) -> AppraisalPolicy:
    """The policy with the reference values of the releases in force beside its own."""
    if policy.releases is None or releases is None or releases.newest is None:
        return policy
    in_force = [entry for manifest, entry in releases.entries() if _why_not(releases, manifest, entry) is None]
    values = {kind: [entry.value for entry in in_force if entry.covers == kind] for kind in ("workload", "firmware")}
    images = [
        image for manifest in releases.chain if _ended(releases, manifest) is None for image in manifest.boot_images
    ]
    demanded = releases.newest.tcb_floor
    floor = {
        # A manifest raises the policy's floor and never lowers it.
        name: own | {part: max(least, own.get(part, 0)) for part, least in demanded.get(name, {}).items()}
        for name, own in policy.tcb_floor.items()
    }
    return replace(
        policy,
        measurements=tuple(dict.fromkeys((*policy.measurements, *values["workload"]))),
        firmware_measurements=tuple(dict.fromkeys((*policy.firmware_measurements, *values["firmware"]))),
        boot_images=tuple(dict.fromkeys((*policy.boot_images, *images))),
        tcb_floor=floor,
    )


def check_release(releases: Releases, measurement: str, build: Any, image: tuple[str, ...] | None = None) -> Check:
    """Whether a signed release in force is what runs.

    `measurement` is the report's, 96 lowercase hex; `build` is the workload's, None for a bare report; `image` is the
    boot image (PCR 4, 7 and 12) of verified platform evidence, None without any.
    """
    if releases.fault is not None:
        return failed(CHECK, f"{releases.fault.field}: {releases.fault.found}", releases.fault.wanted)
    wanted = "a release of the signed manifests, in force"
    reasons = []
    for manifest, entry in releases.entries():
        if entry.value != measurement:
            continue
        reason = _why_not(releases, manifest, entry) or _difference(manifest, entry, build, image)
        if reason is None:
            found = f"{manifest.release}, by manifest {manifest.sequence} until {_iso(manifest.expires)}"
            return passed(CHECK, found, wanted)
        reasons.append(f"{manifest.release}, {reason}")
    if not reasons:
        retired = releases.retirement(measurement)
        reasons = [f"measurement {measurement}, {_retired(retired) if retired else 'in none of the manifests'}"]
    return failed(CHECK, reasons[0], wanted)


def _why_not(releases: Releases, manifest: Manifest, entry: Measured) -> str | None:
    """Why this entry of a signed manifest is not in force."""
    if ended := _ended(releases, manifest):
        return ended
    if retired := releases.retirement(entry.value):
        return f"whose measurement is {_retired(retired)}"
    if entry.valid_from is not None and entry.valid_from > releases.now:
        return f"whose measurement is valid from {_iso(entry.valid_from)} on"
    return None


def _ended(releases: Releases, manifest: Manifest) -> str | None:
    """Why this release is no longer in force."""
    if retired := releases.retirement(manifest.release):
        return f"whose release is {_retired(retired)}"
    if manifest.expires <= releases.now:
        return f"whose manifest {manifest.sequence} expired on {_iso(manifest.expires)}"
    return None


def _difference(manifest: Manifest, entry: Measured, build: Any, image: tuple[str, ...] | None) -> str | None:
    """How what runs differs from what was released."""
    if entry.covers == "firmware":
        if image is None:
            return "known by its firmware alone: no verified platform evidence says what was booted"
        if image not in manifest.boot_images:
            return "whose manifest does not list the boot image"
    if build is None:
        return None
    for name, released in (("source_digest", manifest.source_digest), ("image_digest", manifest.image_digest)):
        if build[name] != released:
            return f"but {name} {shown(build[name])} where {shown(released)} was released"
    # An installed package knows no commit and says none; its source digest names the same bytes.
    if build["repo_commit"] not in (None, manifest.repo_commit):
        return f"but repo_commit {shown(build['repo_commit'])} where {shown(manifest.repo_commit)} was released"
    return None


def _retired(retired: Retired) -> str:
    return f"retired since {_iso(retired.since)}: {retired.reason}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
