"""AppraisalPolicy: what its owner accepts, read strictly from TOML or JSON (SPEC §5)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tee.canonical import kind_of, parse_json, shown, step
from tee.errors import Malformed
from tee.keys.identity import text
from tee.log.announcement import AnnouncementDemand
from tee.log.note import KeyType, parse_note_key
from tee.log.witnesses import NONE, WitnessPolicy, parse_witness_policy
from tee.measure.envelope import MAX_SIGNERS, Signers
from tee.quote import encode_text
from tee.snp.bulletins import BULLETIN_ID, DEFAULT_TCB_FLOOR
from tee.snp.product import PRODUCTS, Tcb
from tee.snp.report import PLATFORM_WORDS

MAX_POLICY_SIZE = 1 << 20
MAX_HOURS = 24 * 3650  # ten years
# Words of a policy file and the bits they speak of. DEBUG and MIGRATE_MA are never acceptable and have no word.
GUEST_PERMISSIONS = {"smt": 16, "cxl": 21}
GUEST_RESTRICTIONS = {
    "single-socket": 20,
    "mem-aes-256-xts": 22,
    "rapl-dis": 23,
    "ciphertext-hiding-dram": 24,
    "page-swap-disable": 25,
}
ROOT_NAMES = (
    "measurements",
    "firmware_measurements",
    "boot_images",
    "vmpl",
    "minimum_abi",
    "minimum_guest_svn",
    "tcb_floor",
    "launch_tcb_floor",
    "tcb_status",
    "tcb_accept",
    "guest_policy",
    "platform",
    "required_mitigations",
    "allow_provisional_firmware",
    "pins",
    "revocation",
    "releases",
    "announcement",
)
# The registers that make a boot image: loader or unified kernel, Secure Boot policy, command line (SPEC §11.4).
BOOT_IMAGE_PCRS = (4, 7, 12)
# Bytes of each pin. An empty list of pins means: any value.
PIN_SIZES = {
    "chip_ids": 64,
    "id_key_digests": 48,
    "author_key_digests": 48,
    "host_data": 32,
    "family_ids": 16,
    "image_ids": 16,
}


@dataclass(frozen=True, slots=True)
class AppraisalPolicy:
    """What is acceptable. Measurements or release keys are required; every default is the strict one."""

    measurements: tuple[str, ...]  # 96 lowercase hex each; may be empty where release keys are named
    firmware_measurements: tuple[str, ...] = ()  # these cover firmware only, and demand a boot image
    boot_images: tuple[tuple[str, ...], ...] = ()  # PCR 4, 7 and 12, 96 lowercase hex each
    vmpl: int = 0
    minimum_abi: tuple[int, int] = (0, 0)
    minimum_guest_svn: int = 0
    tcb_floor: dict[str, Tcb] = field(default_factory=lambda: dict(DEFAULT_TCB_FLOOR))
    launch_tcb_floor: dict[str, Tcb] = field(default_factory=dict)
    tcb_status: str = "any-not-revoked"
    tcb_accept: frozenset[str] = frozenset()  # ids of bulletins that need not be answered
    guest_allow: frozenset[str] = frozenset({"smt"})
    guest_require: frozenset[str] = frozenset()
    platform_require: frozenset[str] = frozenset({"alias-check-complete"})
    platform_forbid: frozenset[str] = frozenset()
    required_mitigations: int = 0
    allow_provisional_firmware: bool = False
    pins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    csp_ids: tuple[str, ...] = ()
    revocation_required: bool = True
    releases: Signers | None = None  # whose signed releases and TCB data count (SPEC §12, §13)
    minimum_sequence: int = 0  # of the newest manifest
    release_required: bool = True  # False: the keys serve TCB data, and a manifest need not be given
    announcement: AnnouncementDemand | None = None  # that releases be announced before they are served (SPEC §16)


# The policy of `saferouter verify` without --policy. Release keys of ours would stand here; no release is signed yet.
BUILT_IN_POLICY: AppraisalPolicy | None = None


def policy_for_measurements(*measurements: str) -> AppraisalPolicy:
    """The strict defaults for these launch measurements (96 lowercase hex each). Raises Malformed."""
    return decode_policy({"measurements": list(measurements)})


def parse_policy(raw: bytes) -> AppraisalPolicy:
    """Read a policy file: JSON if it starts with `{`, TOML otherwise. Raises Malformed."""
    if len(raw) > MAX_POLICY_SIZE:
        raise Malformed("policy", f"{len(raw)} bytes", f"at most {MAX_POLICY_SIZE}")
    if raw.lstrip()[:1] == b"{":
        return decode_policy(parse_json(raw, "policy"))
    try:
        return decode_policy(tomllib.loads(raw.decode()))
    except UnicodeDecodeError as error:
        raise Malformed("policy", f"invalid UTF-8 at byte {error.start}", "UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Malformed("policy", str(error) or "nesting too deep", "TOML or JSON") from None


def decode_policy(document: Any) -> AppraisalPolicy:
    """A policy from its parsed document. An unknown name is refused: it may be a misspelt demand. Raises Malformed."""
    root = _Table(document, "policy", ROOT_NAMES)
    named = "releases" in document
    releases, least, required = _releases(root.take("releases", dict, None)) if named else (None, 0, True)
    firmware, images = _firmware(root)
    measurements = _measurements(root, firmware, by_release=releases is not None and required)
    guest = _Table(root.take("guest_policy", dict, {}), "policy.guest_policy", ("allow", "require"))
    platform = _Table(root.take("platform", dict, {}), "policy.platform", ("require", "forbid"))
    pins = _Table(root.take("pins", dict, {}), "policy.pins", (*PIN_SIZES, "csp_ids"))
    revocation = root.take("revocation", str, "required")
    if revocation not in ("required", "when-given"):
        raise Malformed("policy.revocation", revocation, "required or when-given")
    tcb_status = root.take("tcb_status", str, "any-not-revoked")
    if tcb_status not in ("any-not-revoked", "up-to-date"):
        raise Malformed("policy.tcb_status", shown(tcb_status), "any-not-revoked or up-to-date")
    return AppraisalPolicy(
        measurements=measurements,
        firmware_measurements=firmware,
        boot_images=images,
        vmpl=_integer(root.take("vmpl", int, 0), "policy.vmpl", 3),
        minimum_abi=_abi(root.take("minimum_abi", str, "0.0")),
        minimum_guest_svn=_integer(root.take("minimum_guest_svn", int, 0), "policy.minimum_guest_svn", 2**32 - 1),
        tcb_floor=_merged(decode_floors(root.take("tcb_floor", dict, {}), "policy.tcb_floor")),
        launch_tcb_floor=decode_floors(root.take("launch_tcb_floor", dict, {}), "policy.launch_tcb_floor"),
        tcb_status=tcb_status,
        tcb_accept=_bulletin_ids(root.take("tcb_accept", list, [])),
        guest_allow=_words(guest, "allow", GUEST_PERMISSIONS, ["smt"]),
        guest_require=_words(guest, "require", GUEST_RESTRICTIONS, []),
        platform_require=_words(platform, "require", PLATFORM_WORDS, ["alias-check-complete"]),
        platform_forbid=_words(platform, "forbid", PLATFORM_WORDS, []),
        required_mitigations=_integer(
            root.take("required_mitigations", int, 0), "policy.required_mitigations", 2**53 - 1
        ),
        allow_provisional_firmware=root.take("allow_provisional_firmware", bool, False),
        pins={
            name: tuple(_hex_list(pins.take(name, list, []), f"policy.pins.{name}", size))
            for name, size in PIN_SIZES.items()
        },
        csp_ids=tuple(_texts(pins.take("csp_ids", list, []), "policy.pins.csp_ids")),
        revocation_required=revocation == "required",
        releases=releases,
        minimum_sequence=least,
        release_required=required,
        announcement=_announcement(root.take("announcement", dict, None)) if "announcement" in document else None,
    )


def _measurements(root: _Table, firmware: tuple[str, ...], *, by_release: bool) -> tuple[str, ...]:
    """The measurements of whole workloads; there may be none where firmware or a release is accepted instead."""
    default: list[str] | None = [] if firmware or by_release else None
    measurements = tuple(_hex_list(root.take("measurements", list, default), "policy.measurements", 48))
    if not measurements and not firmware and not by_release:
        raise Malformed("policy.measurements", "an empty list", "at least one measurement")
    if both := [value for value in firmware if value in measurements]:
        raise Malformed("policy.firmware_measurements", both[0], "a measurement that `measurements` does not name too")
    return measurements


_KINDS = {list: "an array", dict: "an object", str: "text", int: "an integer", bool: "a boolean"}


class _Table:
    """A table of the document; a name that it does not know is refused at once: it may be a misspelt demand."""

    def __init__(self, value: Any, path: str, names: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise Malformed(path, kind_of(value), "a table")
        if unknown := sorted(set(value) - set(names)):
            raise Malformed(f"{path}.{step(unknown[0])}", "an unknown name", f"one of {', '.join(sorted(names))}")
        self._members, self.path = value, path

    def take(self, name: str, kind: type, default: Any) -> Any:
        if name not in self._members:
            if default is None:
                raise Malformed(f"{self.path}.{name}", "nothing", "a value: it is required")
            return default
        value = self._members[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Malformed(f"{self.path}.{name}", kind_of(value), _KINDS[kind])
        return value


def _firmware(root: _Table) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Measurements of firmware, and the boot images that they demand: one without the other demands nothing."""
    path, names = "policy.boot_images", [f"pcr{index}" for index in BOOT_IMAGE_PCRS]
    firmware = tuple(_hex_list(root.take("firmware_measurements", list, []), "policy.firmware_measurements", 48))
    images = []
    for row in root.take("boot_images", list, []):
        table = _Table(row, path, names)
        images.append(tuple(_hex_list([table.take(name, str, None) for name in names], path, 48)))
    if firmware and not images:
        raise Malformed(path, "nothing", "at least one boot image: firmware_measurements cover none")
    if images and not firmware:
        wanted = "at least one measurement: nothing else demands a boot image"
        raise Malformed("policy.firmware_measurements", "nothing", wanted)
    return firmware, tuple(images)


def _integer(value: int, path: str, maximum: int) -> int:
    if not 0 <= value <= maximum:
        raise Malformed(path, value, f"0 to {maximum}")
    return value


def _abi(value: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", value, re.ASCII):
        raise Malformed("policy.minimum_abi", value[:64], "MAJOR.MINOR, for example 1.55")
    major, minor = (_integer(int(part), "policy.minimum_abi", 255) for part in value.split("."))
    return major, minor


def _releases(value: dict[str, Any]) -> tuple[Signers, int, bool]:
    """Whose signed releases count, the least sequence of the newest, and whether one must be given."""
    path = "policy.releases"
    table = _Table(value, path, ("keys", "threshold", "minimum_sequence", "required"))
    keys = _hex_list(table.take("keys", list, None), f"{path}.keys", 32)
    threshold = _integer(table.take("threshold", int, None), f"{path}.threshold", MAX_SIGNERS)
    least = _integer(table.take("minimum_sequence", int, 0), f"{path}.minimum_sequence", 2**53 - 1)
    required = table.take("required", bool, True)
    try:
        return Signers(tuple(map(bytes.fromhex, keys)), threshold), least, required
    except Malformed as error:
        raise Malformed(f"{path}.{error.field}", error.found, error.wanted) from None


def _announcement(value: dict[str, Any]) -> AnnouncementDemand:
    """In which log releases must stand, whose cosignatures date them, and how old they must be."""
    path = "policy.announcement"
    table = _Table(value, path, ("log", "witnesses", "minimum_hours"))
    log = parse_note_key(text(table.take("log", str, None), f"{path}.log"), f"{path}.log")
    if log.kind is not KeyType.ED25519:
        raise Malformed(f"{path}.log", f"a key of type {log.kind.value}", "a log's key, of type 1")
    witnesses = _announcement_witnesses(table.take("witnesses", str, None), f"{path}.witnesses")
    if log not in witnesses.logs:
        raise Malformed(f"{path}.witnesses", "no line for the log", f"a line log {log.encode()}")
    hours = _integer(table.take("minimum_hours", int, None), f"{path}.minimum_hours", MAX_HOURS)
    return AnnouncementDemand(log, witnesses, hours)


def _announcement_witnesses(value: str, path: str) -> WitnessPolicy:
    try:
        witnesses = parse_witness_policy(encode_text(value, path))
    except Malformed as error:
        raise Malformed(error.field.replace("witness policy", path, 1), error.found, error.wanted) from None
    if witnesses.quorum == NONE:
        raise Malformed(path, "quorum none", "witnesses: only they say when a release was announced")
    return witnesses


def decode_floors(table: dict[str, Any], path: str) -> dict[str, Tcb]:
    """Least versions by product and component, 0 to 255 each. Raises Malformed."""
    floors: dict[str, Tcb] = {}
    for name, components in table.items():
        if name not in PRODUCTS:
            raise Malformed(f"{path}.{step(name)}", "an unknown product", "Milan, Genoa or Turin")
        rows = _Table(components, f"{path}.{name}", PRODUCTS[name].tcb_layout)
        parts = [part for part in PRODUCTS[name].tcb_layout if part in components]
        floors[name] = {part: _integer(rows.take(part, int, None), f"{path}.{name}.{part}", 255) for part in parts}
    return floors


def _merged(floors: dict[str, Tcb]) -> dict[str, Tcb]:
    """The default floor with this policy's components in place of its own: only a lower number lowers it."""
    return {name: default | floors.get(name, {}) for name, default in DEFAULT_TCB_FLOOR.items()}


def _bulletin_ids(values: list[Any]) -> frozenset[str]:
    for value in _texts(values, "policy.tcb_accept"):
        if not BULLETIN_ID.fullmatch(value):
            raise Malformed("policy.tcb_accept", shown(value), "ids of bulletins, for example AMD-SB-3019")
    return frozenset(values)


def _texts(values: list[Any], path: str) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            raise Malformed(path, kind_of(value), "a list of strings")
    return values


def _hex_list(values: list[Any], path: str, size: int) -> list[str]:
    for value in _texts(values, path):
        if not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value, re.ASCII):
            raise Malformed(path, shown(value), f"{2 * size} lowercase hex characters")
    return values


def _words(table: _Table, name: str, known: dict[str, Any], default: list[str]) -> frozenset[str]:
    path = f"{table.path}.{name}"
    words = _texts(table.take(name, list, default), path)
    for word in words:
        if word not in known:
            raise Malformed(path, shown(word), f"one of {', '.join(known)}")
    return frozenset(words)
