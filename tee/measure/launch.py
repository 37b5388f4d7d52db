"""Expected launch measurements from the files that a guest boots, through the library sev-snp-measure."""

from __future__ import annotations

import hashlib
import importlib
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tee.errors import Malformed, Unavailable
from tee.measure.inputs import (
    MAX_SECTIONS,
    DirectBoot,
    LaunchInputs,
    Section,
    SectionKind,
    measure_inputs,
    require_cmdline,
)
from tee.measure.pages import PAGE_SIZE, RDX_AT_RESET, Vcpus, Vmm

MAX_FIRMWARE_SIZE = 64 << 20  # OVMF is 2 to 16 MiB
MAX_BOOT_FILE_SIZE = 2 << 30  # an initrd may hold a whole system

# What the library raises for a file that is no firmware; it has no error class of its own.
_LIBRARY_ERRORS = (RuntimeError, ValueError, AssertionError, LookupError, OverflowError)


@dataclass(frozen=True, slots=True)
class LaunchFiles:
    """What a guest boots. `ovmf_hash`, 48 bytes, stands for the firmware's own pages if only its tail is at hand."""

    ovmf: Path
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    ovmf_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """The virtual machine; `vcpu_signature` is for QEMU, `rdx` overrides what the hypervisor sets today."""

    vmm: Vmm
    vcpus: int
    vcpu_signature: int | None = None
    guest_features: int = 1
    rdx: int | None = None


def measure_launch(files: LaunchFiles, machine: Machine) -> tuple[LaunchInputs, bytes]:
    """The expected measurement, 48 bytes, and everything that it depends on.

    It is calculated twice, by the library and by `measure_inputs`. A difference is refused: a library before 0.0.13
    would silently give another register state for EC2 and GCE. Raises Malformed, Unavailable.
    """
    inputs = _read_inputs(files, machine)
    today = replace(inputs, vcpus=replace(inputs.vcpus, rdx=_rdx_today(machine)))
    own, library = measure_inputs(today), _measure_by_library(files, today)
    if own != library:
        raise Malformed("measurement", f"{library.hex()} by sev-snp-measure", f"{own.hex()}, as recomputed here")
    return inputs, measure_inputs(inputs)


def measure_svsm(ovmf: Path, svsm: Path, vars_size: int, machine: Machine) -> bytes:
    """The expected measurement of a guest under COCONUT-SVSM on QEMU, 48 bytes; the library's word alone.

    `vars_size` is the size of the firmware's variable store in bytes. Raises Malformed, Unavailable.
    """
    if machine.vmm is not Vmm.QEMU or machine.guest_features != 1 or machine.rdx is not None:
        raise Malformed("--svsm", "another hypervisor, guest features or RDX", "qemu with guest features 0x1")
    signature = _rdx_today(machine)
    vcpus = Vcpus(machine.vcpus, Vmm.QEMU, signature, reset_eip=1)  # checks the ranges; SVSM has its own reset address
    firmware_size = _require_firmware(ovmf)
    if vars_size < 0 or vars_size % PAGE_SIZE or vars_size > MAX_FIRMWARE_SIZE:
        raise Malformed("--vars-size", vars_size, f"a multiple of {PAGE_SIZE}, at most {MAX_FIRMWARE_SIZE}")
    _require_firmware(svsm)
    library, mode = _library("guest"), _library("sev_mode").SevMode.SEV_SNP_SVSM
    try:
        _read_sections(_library("ovmf").SVSM(str(svsm), end_at=(4 << 30) - firmware_size - vars_size))
        measured: bytes = library.calc_launch_digest(
            mode, vcpus.count, signature, str(ovmf), "", "", "", 1, svsm_file=str(svsm), ovmf_vars_size=vars_size
        )
    except _LIBRARY_ERRORS as error:
        raise _not_firmware(svsm, error) from None
    return measured


def _rdx_today(machine: Machine) -> int:
    if machine.vmm is not Vmm.QEMU:
        return RDX_AT_RESET
    if machine.vcpu_signature is None:
        raise Malformed("--vcpu-type", "nothing", "QEMU's CPU model, for example EPYC-v4: it is part of the digest")
    return machine.vcpu_signature


def _read_inputs(files: LaunchFiles, machine: Machine) -> LaunchInputs:
    """Hash the boot files and read the firmware's tables."""
    _require_firmware(files.ovmf)
    if files.kernel is None and (files.initrd is not None or files.cmdline):
        raise Malformed("--kernel", "nothing", "the kernel: initrd and command line are measured only with it")
    rdx = _rdx_today(machine) if machine.rdx is None else machine.rdx
    try:
        firmware = _library("ovmf").OVMF(str(files.ovmf))
        sections = _read_sections(firmware)
        ovmf_hash = files.ovmf_hash or _library("guest").calc_snp_ovmf_hash(str(files.ovmf))
        reset_eip = firmware.sev_es_reset_eip()
    except _LIBRARY_ERRORS as error:
        raise _not_firmware(files.ovmf, error) from None
    vcpus = Vcpus(machine.vcpus, machine.vmm, rdx, machine.guest_features, reset_eip)
    inputs = LaunchInputs(ovmf_hash, sections, None, vcpus)
    return inputs if files.kernel is None else replace(inputs, boot=_read_boot(files, files.kernel, firmware))


def _read_boot(files: LaunchFiles, kernel: Path, firmware: Any) -> DirectBoot:
    if not firmware.has_metadata_section(_library("ovmf").SectionType.SNP_KERNEL_HASHES):
        wanted = "an SNP_KERNEL_HASHES section: without it this firmware does not check the kernel"
        raise Malformed(str(files.ovmf), "none", wanted)
    require_cmdline(files.cmdline)
    try:
        table_gpa = firmware.sev_hashes_table_gpa()
    except _LIBRARY_ERRORS as error:
        raise _not_firmware(files.ovmf, error) from None
    initrd = hashlib.sha256(b"").digest() if files.initrd is None else _hash_file(files.initrd)
    return DirectBoot(table_gpa, _hash_file(kernel), initrd, files.cmdline)


def _read_sections(firmware: Any) -> tuple[Section, ...]:
    """The metadata sections, bounded here because the library would hash whatever size they claim."""
    items = firmware.metadata_items()
    if len(items) > MAX_SECTIONS:
        raise Malformed("firmware", f"{len(items)} metadata sections", f"at most {MAX_SECTIONS}")
    if not items:
        raise Malformed("firmware", "no SEV metadata", "an OVMF that supports SEV-SNP")
    return tuple(Section(SectionKind(item.section_type().value), item.gpa, item.size) for item in items)


def _measure_by_library(files: LaunchFiles, inputs: LaunchInputs) -> bytes:
    vmms = _library("vmm_types").VMMType
    vmm = {Vmm.QEMU: vmms.QEMU, Vmm.EC2: vmms.ec2, Vmm.GCE: vmms.gce}[inputs.vcpus.vmm]
    try:
        measured: bytes = _library("guest").calc_launch_digest(
            _library("sev_mode").SevMode.SEV_SNP,
            inputs.vcpus.count,
            inputs.vcpus.rdx,
            str(files.ovmf),
            str(files.kernel) if files.kernel else "",
            str(files.initrd) if files.initrd else "",
            files.cmdline,
            inputs.vcpus.guest_features,
            snp_ovmf_hash_str=inputs.ovmf_hash.hex(),
            vmm_type=vmm,
        )
    except _LIBRARY_ERRORS as error:
        raise _not_firmware(files.ovmf, error) from None
    return measured


def _library(module: str) -> Any:
    """A module of the library, imported only when something is measured: verifying needs none of it."""
    try:
        return importlib.import_module(f"sevsnpmeasure.{module}")
    except ImportError:
        source = "sev-snp-measure"
        raise Unavailable(source, "not installed; pip install 'saferouter[measure]'", retryable=False) from None


def _require_firmware(path: Path) -> int:
    """The size of a firmware image. Raises Malformed."""
    size = require_file(path, MAX_FIRMWARE_SIZE)
    if size == 0 or size % PAGE_SIZE:
        raise Malformed(str(path), f"{size} bytes", f"a firmware image of whole pages of {PAGE_SIZE} bytes")
    return size


def require_file(path: Path, limit: int) -> int:
    """The size of a readable regular file in bytes, at most `limit`. Raises Malformed."""
    try:
        with path.open("rb"):
            status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        raise Malformed(str(path), reason or "an unreadable file", "a readable file") from None
    if not stat.S_ISREG(status.st_mode):
        raise Malformed(str(path), "no regular file", "a file")
    if status.st_size > limit:
        raise Malformed(str(path), f"{status.st_size} bytes", f"at most {limit}")
    return status.st_size


def _hash_file(path: Path) -> bytes:
    require_file(path, MAX_BOOT_FILE_SIZE)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _not_firmware(path: Path, error: Exception) -> Malformed:
    return Malformed(str(path), str(error)[:200] or "a broken image", "an OVMF image that supports SEV-SNP")
