"""What a release log says: `release.announce` and `release.retire` leaves (SPEC §16.1). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tee.canonical import kind_of, shown
from tee.errors import Malformed
from tee.keys.identity import digest_text, hex_bytes, require_members, text

ANNOUNCE, RETIRE = "release.announce", "release.retire"
PCRS = ("pcr4", "pcr7", "pcr12")
COVERS = ("workload", "firmware")


@dataclass(frozen=True, slots=True)
class AnnouncedRelease:
    """What a `release.announce` leaf names: each measurement (96 hex) with what it covers, and boot images."""

    release: str
    covers: dict[str, str]
    boot_images: tuple[tuple[str, ...], ...]  # PCR 4, 7 and 12, 96 hex each


def retire_body(measurements: list[str], reason: str) -> dict[str, Any]:
    """The body that retires these measurements. Raises Malformed."""
    if not measurements:
        raise Malformed("measurements", "none", "at least one")
    named = [hex_bytes(value, 48, "measurement").hex() for value in measurements]
    return {"measurements": named, "reason": text(reason, "reason")}


def parse_announced(body: dict[str, Any], field: str) -> AnnouncedRelease:
    """The body of a `release.announce` leaf. Raises Malformed."""
    members = {"release", "manifest_digest", "build", "measurements", "boot_images"}
    require_members(body, members, field, exact=True)
    digest_text(body["manifest_digest"], f"{field}.manifest_digest")
    require_members(body["build"], {"source_digest", "image_digest"}, f"{field}.build", exact=True)
    covers = {}
    for row in _rows(body["measurements"], f"{field}.measurements"):
        require_members(row, {"value", "platform", "covers"}, f"{field}.measurements", exact=True)
        if row["covers"] not in COVERS:
            raise Malformed(f"{field}.measurements.covers", shown(row["covers"]), "workload or firmware")
        value = hex_bytes(row["value"], 48, f"{field}.measurements.value").hex()
        if value in covers:
            raise Malformed(f"{field}.measurements.value", f"{value} twice", "each measurement once")
        covers[value] = row["covers"]
    images = []
    for row in _rows(body["boot_images"], f"{field}.boot_images"):
        require_members(row, set(PCRS), f"{field}.boot_images", exact=True)
        images.append(tuple(hex_bytes(row[name], 48, f"{field}.boot_images.{name}").hex() for name in PCRS))
    return AnnouncedRelease(text(body["release"], f"{field}.release"), covers, tuple(images))


def _rows(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(field, kind_of(value), "an array")
    return value
