"""Release manifest: the in-toto statement that says what a release measures to, read strictly (SPEC §12.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tee.canonical import MAX_SAFE_INTEGER, digest_bytes, encode_canonical, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.keys.identity import digest_text, hex_bytes, require_members, seconds, text
from tee.policy import decode_floors
from tee.snp.product import Tcb

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:saferouter:predicate:release:v1"
MAX_SUBJECTS = 64  # firmware, kernel, initrd, root file system, wheels
MAX_MEASUREMENTS = 1024  # a release for every size of every machine type is below a hundred
MAX_BOOT_IMAGES = 64
MAX_RETIRED = 1024
MAX_VCPUS = 4096

_PREDICATE = {
    "version",
    "release",
    "sequence",
    "expires",
    "previous",
    "source",
    "build",
    "measurements",
    "boot_images",
    "tcb_floor",
    "retired",
}
_MEASUREMENT = {"value", "platform", "covers", "machine", "vcpus", "recipe", "valid_from", "note"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}", re.ASCII)
_RELEASE = re.compile(f"{_NAME.pattern} {_VERSION.pattern}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Measured:
    """An expected launch measurement (96 lowercase hex). `firmware` alone never says what a guest runs."""

    value: str
    platform: str
    covers: str  # workload or firmware
    machine: str | None
    vcpus: int | None
    recipe: dict[str, Any] | None  # the launch document of SPEC §10, not judged here
    valid_from: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Retired:
    """A release (`NAME VERSION`) or a measurement that nobody shall accept from `since` on."""

    what: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest; `digest` is that of its payload, which the next one names as `previous`."""

    release: str  # NAME VERSION
    sequence: int
    expires: datetime
    previous: str | None
    repo_url: str
    repo_commit: str
    source_digest: str
    image_digest: str | None
    measurements: tuple[Measured, ...]
    boot_images: tuple[tuple[str, ...], ...]  # PCR 4, 7 and 12 of NitroTPM, 96 lowercase hex each
    tcb_floor: dict[str, Tcb]
    retired: tuple[Retired, ...]
    subjects: dict[str, dict[str, str]]
    digest: str


def parse_manifest(payload: bytes, field: str) -> Manifest:
    """Read the payload of a manifest's envelope. Raises Malformed, which names `field`."""
    statement = parse_json(payload, field)
    if encode_canonical(statement) != payload:
        raise Malformed(field, "another spelling", "the RFC 8785 form")
    require_members(statement, {"_type", "subject", "predicateType", "predicate"}, field, exact=True)
    for name, wanted in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement[name] != wanted:
            raise Malformed(f"{field}.{name}", shown(statement[name]), wanted)
    subjects = _parse_subjects(statement["subject"], f"{field}.subject")
    return _parse_predicate(statement["predicate"], f"{field}.predicate", subjects, digest_bytes(payload))


def _parse_predicate(value: Any, path: str, subjects: dict[str, dict[str, str]], digest: str) -> Manifest:
    require_members(value, _PREDICATE, path, exact=True)
    if type(value["version"]) is not int or value["version"] != 1:
        raise Malformed(f"{path}.version", shown(value["version"]), "1")
    release, source, build = value["release"], value["source"], value["build"]
    require_members(release, {"name", "version"}, f"{path}.release", exact=True)
    require_members(source, {"repo_url", "repo_commit"}, f"{path}.source", exact=True)
    require_members(build, {"source_digest", "image_digest"}, f"{path}.build", exact=True)
    name = _pattern(release["name"], _NAME, f"{path}.release.name", "lowercase letters, digits and dashes")
    version = _pattern(release["version"], _VERSION, f"{path}.release.version", "a version, for example 1.2.0")
    return Manifest(
        release=f"{name} {version}",
        sequence=_integer(value["sequence"], f"{path}.sequence", MAX_SAFE_INTEGER),
        expires=_moment(value["expires"], f"{path}.expires"),
        previous=None if value["previous"] is None else digest_text(value["previous"], f"{path}.previous"),
        repo_url=text(source["repo_url"], f"{path}.source.repo_url"),
        repo_commit=_pattern(source["repo_commit"], _COMMIT, f"{path}.source.repo_commit", "40 or 64 lowercase hex"),
        source_digest=digest_text(build["source_digest"], f"{path}.build.source_digest"),
        image_digest=(
            None if build["image_digest"] is None else digest_text(build["image_digest"], f"{path}.build.image_digest")
        ),
        measurements=_parse_measurements(value["measurements"], f"{path}.measurements"),
        boot_images=_parse_boot_images(value["boot_images"], f"{path}.boot_images"),
        tcb_floor=_parse_floors(value["tcb_floor"], f"{path}.tcb_floor"),
        retired=_parse_retired(value["retired"], f"{path}.retired"),
        subjects=subjects,
        digest=digest,
    )


def _parse_subjects(value: Any, path: str) -> dict[str, dict[str, str]]:
    subjects: dict[str, dict[str, str]] = {}
    for place, row in _rows(value, path, 1, MAX_SUBJECTS):
        require_members(row, {"name", "digest"}, place, exact=True)
        name = text(row["name"], f"{place}.name")
        if name in subjects:
            raise Malformed(f"{place}.name", f"{shown(name)} twice", "each artefact once")
        require_members(row["digest"], {"sha256", "sha384"}, f"{place}.digest", exact=True)
        hex_bytes(row["digest"]["sha256"], 32, f"{place}.digest.sha256")
        hex_bytes(row["digest"]["sha384"], 48, f"{place}.digest.sha384")
        subjects[name] = row["digest"]
    return subjects


def _parse_measurements(value: Any, path: str) -> tuple[Measured, ...]:
    measurements: dict[str, Measured] = {}
    for place, row in _rows(value, path, 0, MAX_MEASUREMENTS):
        require_members(row, _MEASUREMENT, place, exact=True)
        measured = hex_bytes(row["value"], 48, f"{place}.value").hex()
        if measured in measurements:
            raise Malformed(f"{place}.value", f"{measured} twice", "each measurement once")
        if row["covers"] not in ("workload", "firmware"):
            raise Malformed(f"{place}.covers", shown(row["covers"]), "workload or firmware")
        if row["recipe"] is not None and not isinstance(row["recipe"], dict):
            raise Malformed(f"{place}.recipe", kind_of(row["recipe"]), "a launch document or null")
        measurements[measured] = Measured(
            value=measured,
            platform=_pattern(row["platform"], _NAME, f"{place}.platform", "qemu, ec2, gce or another lowercase name"),
            covers=row["covers"],
            machine=None if row["machine"] is None else text(row["machine"], f"{place}.machine"),
            vcpus=None if row["vcpus"] is None else _integer(row["vcpus"], f"{place}.vcpus", MAX_VCPUS),
            recipe=row["recipe"],
            valid_from=None if row["valid_from"] is None else _moment(row["valid_from"], f"{place}.valid_from"),
            note=None if row["note"] is None else text(row["note"], f"{place}.note"),
        )
    return tuple(measurements.values())


def _parse_boot_images(value: Any, path: str) -> tuple[tuple[str, ...], ...]:
    images = []
    for place, row in _rows(value, path, 0, MAX_BOOT_IMAGES):
        require_members(row, {"pcr4", "pcr7", "pcr12"}, place, exact=True)
        images.append(tuple(hex_bytes(row[f"pcr{n}"], 48, f"{place}.pcr{n}").hex() for n in (4, 7, 12)))
    return tuple(images)


def _parse_floors(value: Any, path: str) -> dict[str, Tcb]:
    if not isinstance(value, dict):
        raise Malformed(path, kind_of(value), "an object")
    return decode_floors(value, path)


def _parse_retired(value: Any, path: str) -> tuple[Retired, ...]:
    retired = []
    for place, row in _rows(value, path, 0, MAX_RETIRED):
        kind = "measurement" if isinstance(row, dict) and "measurement" in row else "release"
        require_members(row, {kind, "since", "reason"}, place, exact=True)
        if kind == "measurement":
            what = hex_bytes(row[kind], 48, f"{place}.{kind}").hex()
        else:
            what = _pattern(row[kind], _RELEASE, f"{place}.{kind}", "NAME VERSION, for example saferouter 1.2.0")
        retired.append(Retired(what, _moment(row["since"], f"{place}.since"), text(row["reason"], f"{place}.reason")))
    return tuple(retired)


def _rows(value: Any, path: str, least: int, most: int) -> list[tuple[str, Any]]:
    """The items of an array of bounded length, each with its place for a message."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        found = f"{len(value)} items" if isinstance(value, list) else kind_of(value)
        raise Malformed(path, found, f"an array of {least} to {most} items")
    return [(f"{path}[{index}]", item) for index, item in enumerate(value)]


def _integer(value: Any, path: str, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise Malformed(path, shown(value), f"an integer of 1 to {most}")
    return value


def _moment(value: Any, path: str) -> datetime:
    return datetime.fromtimestamp(seconds(value, path), UTC)


def _pattern(value: Any, pattern: re.Pattern[str], path: str, wanted: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(path, shown(value), wanted)
    return value
