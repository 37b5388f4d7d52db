"""What the SEV-SNP firmware hashes at launch: one PAGE_INFO per page, and the first register state of each vCPU."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tee.errors import Malformed

PAGE_SIZE = 4096
DIGEST_SIZE = 48
MAX_VCPUS = 1024  # more than any SEV-SNP host has threads to give one guest
ZEROS = bytes(DIGEST_SIZE)

BSP_EIP = 0xFFFFFFF0  # the reset vector
VMSA_GPA = 0xFFFFFFFFF000  # where the firmware says that a VMSA page lies, wherever it lies
EC2_AP_EIP = 0x80B004  # the reset block in the firmware of every EC2 guest seen, 2025 and 2026
RDX_AT_RESET = 0x600  # EC2 and GCE since 2026; EC2 used 0 early in 2025
SNP_ACTIVE = 0x1


class PageKind(IntEnum):
    """PAGE_TYPE of PAGE_INFO."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class Vmm(StrEnum):
    """The hypervisors whose first register state is known."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"


@dataclass(frozen=True, slots=True)
class Vcpus:
    """The vCPUs of a guest at launch; `rdx` is the CPUID signature on QEMU and a constant elsewhere.

    Raises Malformed for what no SNP guest can be.
    """

    count: int
    vmm: Vmm
    rdx: int
    guest_features: int = SNP_ACTIVE
    reset_eip: int = 0

    def __post_init__(self) -> None:
        require_range("vcpus", self.count, 1, MAX_VCPUS)
        require_range("rdx", self.rdx, 0, 2**32 - 1)
        require_range("reset_eip", self.reset_eip, 0, 2**32 - 1)
        require_range("guest_features", self.guest_features, 0, 2**53 - 1)
        if not self.guest_features & SNP_ACTIVE:
            raise Malformed("guest_features", hex(self.guest_features), "bit 0 (SNPActive) set, as in 0x1 or 0x21")
        if self.count > 1 and not self.reset_eip:
            raise Malformed("reset_eip", "none", "the reset address of further vCPUs, which the firmware names")


def require_range(field: str, found: int, low: int, high: int) -> None:
    """Raises Malformed unless low <= found <= high."""
    if not low <= found <= high:
        shown = hex if high > MAX_VCPUS else str
        raise Malformed(field, shown(found), f"{shown(low)} to {shown(high)}")


def extend(digest: bytes, kind: PageKind, gpa: int, contents: bytes = ZEROS) -> bytes:
    """The launch digest after one more page: SHA-384 of its PAGE_INFO, 0x70 bytes.

    `contents` is the page's SHA-384, or zeros where the firmware itself fills the page.
    """
    # IMI page, VMPL 3, 2 and 1 permissions and a reserved byte are zero in every launch that starts a guest afresh.
    return hashlib.sha384(digest + contents + struct.pack("<HB5xQ", 0x70, kind, gpa)).digest()


def extend_range(digest: bytes, kind: PageKind, gpa: int, size: int) -> bytes:
    """`extend` for each page of a range whose contents are not hashed."""
    for offset in range(0, size, PAGE_SIZE):
        digest = extend(digest, kind, gpa + offset)
    return digest


def extend_vcpu(digest: bytes, page: bytes) -> bytes:
    """The launch digest after one more VMSA page."""
    return extend(digest, PageKind.VMSA, VMSA_GPA, hashlib.sha384(page).digest())


def extend_vcpus(digest: bytes, vcpus: Vcpus) -> bytes:
    """The launch digest after the VMSA pages of all vCPUs: the boot processor, then its equal followers."""
    digest = extend_vcpu(digest, encode_vmsa(vcpus, BSP_EIP))
    follower = encode_vmsa(vcpus, vcpus.reset_eip)
    for _ in range(vcpus.count - 1):
        digest = extend_vcpu(digest, follower)
    return digest


def climb(known: bytes, count: int, vcpus: Vcpus) -> dict[int, bytes]:
    """From the measurement of a guest with `count` vCPUs, those of the same guest with more, up to `vcpus.count`.

    Every further vCPU adds one equal page at the end, so neither firmware nor kernel need be known.
    """
    if len(known) != DIGEST_SIZE:
        raise Malformed("known", f"{len(known)} bytes", f"{DIGEST_SIZE}")
    require_range("vcpus", count, 1, MAX_VCPUS)
    if vcpus.count <= count:
        raise Malformed("to", vcpus.count, f"more than the {count} vCPUs of the known measurement")
    page, digests = encode_vmsa(vcpus, vcpus.reset_eip), {}
    for reached in range(count + 1, vcpus.count + 1):
        known = extend_vcpu(known, page)
        digests[reached] = known
    return digests


@dataclass(frozen=True, slots=True)
class _Habits:
    """What one hypervisor sets unlike the others."""

    boot_code: int
    stack: int
    task: int
    page_attributes: int
    float_control: tuple[int, int]  # MXCSR and x87 FCW


_RESET_PAT = 0x7040600070406  # AMD APM volume 2, A.3
_HABITS = {
    Vmm.QEMU: _Habits(0x9B, 0x93, 0x8B, _RESET_PAT, (0x1F80, 0x37F)),
    Vmm.EC2: _Habits(0x9A, 0x92, 0x83, _RESET_PAT, (0, 0)),
    Vmm.GCE: _Habits(0x9B, 0x93, 0x8B, 0x70106, (0, 0)),
}


def encode_vmsa(vcpus: Vcpus, eip: int) -> bytes:
    """The 4096 bytes of a vCPU's save area (AMD APM volume 2, table B-4) before its first instruction."""
    habits = _HABITS[vcpus.vmm]
    code = habits.boot_code if eip == BSP_EIP else 0x9B
    page = bytearray(PAGE_SIZE)
    segments = [0x93, code, habits.stack, 0x93, 0x93, 0x93, 0, 0x82, 0, habits.task]  # ES CS SS DS FS GS GDT LDT IDT TR
    for index, attributes in enumerate(segments):
        struct.pack_into("<HHI", page, index * 16, 0, attributes, 0xFFFF)
    struct.pack_into("<HHIQ", page, 0x10, 0xF000, code, 0xFFFF, eip & 0xFFFF0000)
    words = {
        0x0D0: 0x1000,  # EFER: SVME, which KVM sets
        0x148: 0x40,  # CR4: MCE, which KVM sets
        0x158: 0x10,  # CR0
        0x160: 0x400,  # DR7
        0x168: 0xFFFF0FF0,  # DR6
        0x170: 0x2,  # RFLAGS
        0x178: eip & 0xFFFF,  # RIP
        0x268: habits.page_attributes,
        0x310: vcpus.rdx,
        0x3B0: vcpus.guest_features,
        0x3E8: 0x1,  # XCR0
    }
    for offset, word in words.items():
        struct.pack_into("<Q", page, offset, word)
    mxcsr, fcw = habits.float_control
    struct.pack_into("<I4xH", page, 0x408, mxcsr, fcw)
    return bytes(page)
