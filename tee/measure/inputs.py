"""A launch as hashes: all that a measurement depends on, in one small document that anyone can recompute."""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from tee.canonical import Json, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.measure.pages import (
    DIGEST_SIZE,
    PAGE_SIZE,
    PageKind,
    Vcpus,
    Vmm,
    extend,
    extend_range,
    extend_vcpus,
    require_range,
)

Kinds = type | tuple[type, ...]

INPUTS_FORMAT = "saferouter/launch/v1"
MAX_SECTIONS = 64  # firmware has about seven
MAX_SECTION_SIZE = 16 << 20  # the largest seen is 60 KiB; without a bound, one number could keep us hashing for hours
MAX_CMDLINE = 64 << 10  # Linux reads 2 KiB

_TABLE_GUID = uuid.UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
_CMDLINE_GUID = uuid.UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
_INITRD_GUID = uuid.UUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
_KERNEL_GUID = uuid.UUID("4de79437-abd2-427f-b835-d5b172d2045b")
_ENTRY_SIZE, _TABLE_SIZE, _PADDED_TABLE_SIZE = 50, 168, 176

# Family, model and stepping of QEMU's CPU models, and the suffixes under which QEMU knows each.
_VCPU_MODELS = {
    "EPYC": ((23, 1, 2), ("", "-v1", "-v2", "-IBPB", "-v3", "-v4")),
    "EPYC-Rome": ((23, 49, 0), ("", "-v1", "-v2", "-v3")),
    "EPYC-Milan": ((25, 1, 1), ("", "-v1", "-v2")),
    "EPYC-Genoa": ((25, 17, 0), ("", "-v1")),
    "EPYC-Turin": ((26, 0, 0), ("",)),
}


class SectionKind(IntEnum):
    """Section types of OVMF's SEV metadata."""

    SEC_MEM = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


@dataclass(frozen=True, slots=True)
class Section:
    """A range of guest memory that the firmware asks the hypervisor to prepare. Raises Malformed."""

    kind: SectionKind
    gpa: int
    size: int

    def __post_init__(self) -> None:
        require_range("section.gpa", self.gpa, 0, 2**32 - 1)
        require_range("section.size", self.size, 0, MAX_SECTION_SIZE)
        if self.gpa % PAGE_SIZE or self.size % PAGE_SIZE:
            raise Malformed("section", f"{self.size} bytes at {self.gpa:#x}", "whole pages of 4096 bytes")


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """The kernel, initrd (SHA-256, 32 bytes each) and command line that QEMU hands over. Raises Malformed."""

    table_gpa: int
    kernel_sha256: bytes
    initrd_sha256: bytes
    cmdline: str

    def __post_init__(self) -> None:
        require_range("hash_table_gpa", self.table_gpa, 1, 2**32 - 1)
        if self.table_gpa % PAGE_SIZE > PAGE_SIZE - _PADDED_TABLE_SIZE:
            raise Malformed("hash_table_gpa", hex(self.table_gpa), f"{_PADDED_TABLE_SIZE} bytes within one page")
        require_cmdline(self.cmdline)


@dataclass(frozen=True, slots=True)
class LaunchInputs:
    """Everything that a launch measurement depends on.

    `ovmf_hash` is the launch digest, 48 bytes, after the firmware's own pages. Raises Malformed.
    """

    ovmf_hash: bytes
    sections: tuple[Section, ...]
    boot: DirectBoot | None
    vcpus: Vcpus

    def __post_init__(self) -> None:
        require_range("sections", len(self.sections), 0, MAX_SECTIONS)
        if self.boot is None:
            return
        tables = [section.size for section in self.sections if section.kind is SectionKind.KERNEL_HASHES]
        if tables != [PAGE_SIZE]:
            found = f"{len(tables)} SNP_KERNEL_HASHES sections of {sum(tables)} bytes" if tables else "none"
            wanted = "an SNP_KERNEL_HASHES section of one page: without it this firmware does not check the kernel"
            raise Malformed("firmware", found, wanted)

    @property
    def covers(self) -> str:
        """`workload` if kernel, initrd and command line are measured, else `firmware`."""
        return "firmware" if self.boot is None else "workload"


def require_cmdline(cmdline: str) -> None:
    """Raises Malformed for a command line that cannot be handed over."""
    if "\0" in cmdline or any("\ud800" <= letter <= "\udfff" for letter in cmdline):
        raise Malformed("cmdline", "a NUL or bytes outside UTF-8", "UTF-8 text without NUL")
    if len(cmdline) > MAX_CMDLINE:
        raise Malformed("cmdline", f"{len(cmdline)} characters", f"at most {MAX_CMDLINE}")


def measure_inputs(inputs: LaunchInputs) -> bytes:
    """The launch measurement, 48 bytes: firmware, metadata sections in order, then a page for every vCPU."""
    sections = list(inputs.sections)
    if inputs.vcpus.vmm is Vmm.EC2:
        sections.sort(key=lambda section: section.kind is SectionKind.CPUID)  # EC2 adds the CPUID page last
    digest = inputs.ovmf_hash
    for section in sections:
        digest = _extend_section(digest, section, inputs)
    return extend_vcpus(digest, inputs.vcpus)


def _extend_section(digest: bytes, section: Section, inputs: LaunchInputs) -> bytes:
    if section.kind is SectionKind.KERNEL_HASHES and inputs.boot is not None:
        page = _encode_hash_page(inputs.boot)
        return extend(digest, PageKind.NORMAL, section.gpa, hashlib.sha384(page).digest())
    if section.kind is SectionKind.SECRETS:
        return extend(digest, PageKind.SECRETS, section.gpa)
    if section.kind is SectionKind.CPUID:
        return extend(digest, PageKind.CPUID, section.gpa)
    lazy = section.kind is SectionKind.SEC_MEM and inputs.vcpus.vmm is Vmm.GCE
    return extend_range(digest, PageKind.UNMEASURED if lazy else PageKind.ZERO, section.gpa, section.size)


def _encode_hash_page(boot: DirectBoot) -> bytes:
    """QEMU's page of hashes: the table at its offset, everything else zero."""
    cmdline = hashlib.sha256(boot.cmdline.encode() + b"\0").digest()
    table = _TABLE_GUID.bytes_le + struct.pack("<H", _TABLE_SIZE)
    hashes = ((_CMDLINE_GUID, cmdline), (_INITRD_GUID, boot.initrd_sha256), (_KERNEL_GUID, boot.kernel_sha256))
    for guid, sha256 in hashes:
        table += guid.bytes_le + struct.pack("<H", _ENTRY_SIZE) + sha256
    return (bytes(boot.table_gpa % PAGE_SIZE) + table).ljust(PAGE_SIZE, b"\0")


def vcpu_signature(family: int, model: int, stepping: int) -> int:
    """CPUID Fn0000_0001_EAX of a processor, as QEMU leaves it in RDX."""
    low = min(family, 0xF)
    return (family - low) << 20 | (model >> 4) << 16 | low << 8 | (model & 0xF) << 4 | stepping


def vcpu_signatures() -> dict[str, int]:
    """The signature of every CPU model of QEMU that can run SEV-SNP guests, by its name."""
    models = _VCPU_MODELS.items()
    return {name + suffix: vcpu_signature(*fms) for name, (fms, suffixes) in models for suffix in suffixes}


def encode_inputs(inputs: LaunchInputs) -> Json:
    """The JSON form, SPEC §10."""
    boot, vcpus = inputs.boot, inputs.vcpus
    direct = boot and {
        "hash_table_gpa": boot.table_gpa,
        "kernel_sha256": boot.kernel_sha256.hex(),
        "initrd_sha256": boot.initrd_sha256.hex(),
        "cmdline": boot.cmdline,
    }
    return {
        "format": INPUTS_FORMAT,
        "ovmf_hash": inputs.ovmf_hash.hex(),
        "sections": [{"kind": part.kind.name.lower(), "gpa": part.gpa, "size": part.size} for part in inputs.sections],
        "boot": direct,
        "vcpus": {
            "count": vcpus.count,
            "vmm": vcpus.vmm.value,
            "rdx": vcpus.rdx,
            "guest_features": vcpus.guest_features,
            "reset_eip": vcpus.reset_eip,
        },
    }


def parse_inputs(raw: bytes) -> LaunchInputs:
    """Read the JSON form. Raises Malformed."""
    names: dict[str, Kinds] = {
        "format": str,
        "ovmf_hash": str,
        "sections": list,
        "boot": (dict, type(None)),
        "vcpus": dict,
    }
    document = _members(parse_json(raw, "launch"), "launch", names)
    if document["format"] != INPUTS_FORMAT:
        raise Malformed("launch.format", shown(document["format"]), f'"{INPUTS_FORMAT}"')
    require_range("launch.sections", len(document["sections"]), 0, MAX_SECTIONS)
    sections = tuple(_parse_section(section) for section in document["sections"])
    boot = _parse_boot(document["boot"]) if document["boot"] else None
    if document["boot"] == {}:
        raise Malformed("launch.boot", "an empty object", "null or an object")
    return LaunchInputs(
        parse_hex(document["ovmf_hash"], "launch.ovmf_hash", DIGEST_SIZE),
        sections,
        boot,
        _parse_vcpus(document["vcpus"]),
    )


def _parse_section(value: Json) -> Section:
    section = _members(value, "launch.sections", {"kind": str, "gpa": int, "size": int})
    try:
        kind = SectionKind[section["kind"].upper()]
    except KeyError:
        kinds = ", ".join(kind.name.lower() for kind in SectionKind)
        raise Malformed("launch.sections.kind", shown(section["kind"]), kinds) from None
    return Section(kind, section["gpa"], section["size"])


def _parse_boot(value: Json) -> DirectBoot:
    names = {"hash_table_gpa": int, "kernel_sha256": str, "initrd_sha256": str, "cmdline": str}
    boot = _members(value, "launch.boot", names)
    kernel, initrd = (parse_hex(boot[name], f"launch.boot.{name}", 32) for name in ("kernel_sha256", "initrd_sha256"))
    return DirectBoot(boot["hash_table_gpa"], kernel, initrd, boot["cmdline"])


def _parse_vcpus(value: Json) -> Vcpus:
    names = {"count": int, "vmm": str, "rdx": int, "guest_features": int, "reset_eip": int}
    vcpus = _members(value, "launch.vcpus", names)
    if vcpus["vmm"] not in set(Vmm):
        raise Malformed("launch.vcpus.vmm", shown(vcpus["vmm"]), ", ".join(Vmm))
    return Vcpus(vcpus["count"], Vmm(vcpus["vmm"]), vcpus["rdx"], vcpus["guest_features"], vcpus["reset_eip"])


def _members(value: Json, field: str, names: Mapping[str, Kinds]) -> dict[str, Json]:
    """The members of an object that has exactly these names with these types."""
    if not isinstance(value, dict):
        raise Malformed(field, kind_of(value), "an object")
    if set(value) != set(names):
        odd = sorted(set(value) ^ set(names))[0]
        raise Malformed(field, f"{shown(odd)} {'unknown' if odd in value else 'missing'}", ", ".join(names))
    for name, wanted in names.items():
        if not isinstance(value[name], wanted) or isinstance(value[name], bool):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            words = " or ".join(kind_of(kind()) for kind in kinds)
            raise Malformed(f"{field}.{name}", kind_of(value[name]), words)
    return value


def parse_hex(text: str, field: str, size: int) -> bytes:
    """`size` bytes from lowercase hex. Raises Malformed."""
    if len(text) != 2 * size or set(text) - set("0123456789abcdef"):
        raise Malformed(field, f"{shown(text[:16])} of {len(text)} characters", f"{2 * size} lowercase hex characters")
    return bytes.fromhex(text)
