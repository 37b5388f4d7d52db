"""ATTESTATION_REPORT, the 1184 bytes that the AMD Secure Processor signs (SPEC §2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from tee.errors import Malformed

REPORT_SIZE = 0x4A0
SIGNED_SIZE = 0x2A0  # the signature covers bytes 0x000..0x29F and nothing after them
SIGNATURE_COMPONENT_SIZE = 72
VERSIONS = (2, 3, 4, 5)  # 6 exists (ABI 1.59) and is refused until its fields are known here
HOST_REQUESTED_VMPL = 0xFFFFFFFF
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


class SigningKey(IntEnum):
    """KEY_INFO bits 4:2."""

    VCEK = 0
    VLEK = 1
    NONE = 7


class GuestPolicy(IntFlag):
    """POLICY bits above the ABI version. SMT, MIGRATE_MA, DEBUG and CXL permit; the others restrict."""

    SMT = 1 << 16
    RESERVED_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


class PlatformInfo(IntFlag):
    """PLATFORM_INFO; bits above these are informational (SPEC §2.5)."""

    SMT_EN = 1 << 0
    TSME_EN = 1 << 1
    ECC_EN = 1 << 2
    RAPL_DIS = 1 << 3
    CIPHERTEXT_HIDING_DRAM_EN = 1 << 4
    ALIAS_CHECK_COMPLETE = 1 << 5
    IOMMU_WRITE_SAFE = 1 << 6
    TIO_EN = 1 << 7


# The words for these bits in policies and TCB data.
PLATFORM_WORDS = {
    "smt": PlatformInfo.SMT_EN,
    "tsme": PlatformInfo.TSME_EN,
    "ecc": PlatformInfo.ECC_EN,
    "rapl-dis": PlatformInfo.RAPL_DIS,
    "ciphertext-hiding-dram": PlatformInfo.CIPHERTEXT_HIDING_DRAM_EN,
    "alias-check-complete": PlatformInfo.ALIAS_CHECK_COMPLETE,
    "iommu-write-safe": PlatformInfo.IOMMU_WRITE_SAFE,
    "tio": PlatformInfo.TIO_EN,
}


@dataclass(frozen=True, slots=True)
class AttestationReport:
    """The parsed report. Byte strings keep the report's own order; TCBs stay raw until the product is known."""

    version: int
    guest_svn: int
    policy: int
    family_id: bytes  # 16
    image_id: bytes  # 16
    vmpl: int
    current_tcb: bytes  # 8
    platform_info: int
    author_key_en: bool
    signing_key: SigningKey
    report_data: bytes  # 64
    measurement: bytes  # 48
    host_data: bytes  # 32
    id_key_digest: bytes  # 48
    author_key_digest: bytes  # 48
    report_id: bytes  # 32
    report_id_ma: bytes  # 32
    reported_tcb: bytes  # 8
    cpuid: tuple[int, int, int] | None  # family, model, stepping; None in version 2
    chip_id: bytes  # 64
    committed_tcb: bytes  # 8
    current_firmware: tuple[int, int, int]  # major, minor, build
    committed_firmware: tuple[int, int, int]
    launch_tcb: bytes  # 8
    launch_mitigations: int | None  # None before version 5
    current_mitigations: int | None
    signature_r: int
    signature_s: int

    @property
    def abi(self) -> tuple[int, int]:
        """The least ABI version that the guest's owner asked for: major, minor."""
        return self.policy >> 8 & 0xFF, self.policy & 0xFF


def _u(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _require_zero(raw: bytes, start: int, end: int) -> None:
    if any(raw[start:end]):
        raise Malformed(f"report[0x{start:03x}:0x{end:03x}]", "non-zero bytes", "reserved bytes zero")


def parse_report(raw: bytes) -> AttestationReport:
    """Parse 1184 bytes strictly (checks 1 to 5 of SPEC §6). Raises Malformed."""
    if len(raw) != REPORT_SIZE:  # 1
        raise Malformed("report", f"{len(raw)} bytes", f"{REPORT_SIZE} bytes")
    version = _u(raw, 0x000, 4)
    if version not in VERSIONS:  # 2
        raise Malformed("VERSION", version, "2, 3, 4 or 5")
    if (algorithm := _u(raw, 0x034, 4)) != 1:  # 2
        raise Malformed("SIGNATURE_ALGO", algorithm, "1 (ECDSA P-384 with SHA-384)")
    _require_reserved_zero(raw, version)
    signing_key = _parse_key_info(_u(raw, 0x048, 4))
    signature_r, signature_s = _parse_signature(raw)
    return AttestationReport(
        version=version,
        guest_svn=_u(raw, 0x004, 4),
        policy=_parse_policy(_u(raw, 0x008, 8)),
        family_id=raw[0x010:0x020],
        image_id=raw[0x020:0x030],
        vmpl=_u(raw, 0x030, 4),
        current_tcb=raw[0x038:0x040],
        platform_info=_u(raw, 0x040, 8),
        author_key_en=bool(_u(raw, 0x048, 4) & 1),
        signing_key=signing_key,
        report_data=raw[0x050:0x090],
        measurement=raw[0x090:0x0C0],
        host_data=raw[0x0C0:0x0E0],
        id_key_digest=raw[0x0E0:0x110],
        author_key_digest=raw[0x110:0x140],
        report_id=raw[0x140:0x160],
        report_id_ma=raw[0x160:0x180],
        reported_tcb=raw[0x180:0x188],
        cpuid=(raw[0x188], raw[0x189], raw[0x18A]) if version >= 3 else None,
        chip_id=raw[0x1A0:0x1E0],
        committed_tcb=raw[0x1E0:0x1E8],
        current_firmware=(raw[0x1EA], raw[0x1E9], raw[0x1E8]),
        committed_firmware=(raw[0x1EE], raw[0x1ED], raw[0x1EC]),
        launch_tcb=raw[0x1F0:0x1F8],
        launch_mitigations=_u(raw, 0x1F8, 8) if version >= 5 else None,
        current_mitigations=_u(raw, 0x200, 8) if version >= 5 else None,
        signature_r=signature_r,
        signature_s=signature_s,
    )


def _require_reserved_zero(raw: bytes, version: int) -> None:  # 3
    _require_zero(raw, 0x04C, 0x050)
    _require_zero(raw, 0x188 if version < 3 else 0x18B, 0x1A0)
    _require_zero(raw, 0x1EB, 0x1EC)
    _require_zero(raw, 0x1EF, 0x1F0)
    _require_zero(raw, 0x1F8 if version < 5 else 0x208, SIGNED_SIZE)
    _require_zero(raw, 0x330, REPORT_SIZE)  # not signed: anything here would be an attacker's note


def _parse_policy(policy: int) -> int:  # 4
    if not policy & GuestPolicy.RESERVED_ONE:
        raise Malformed("POLICY", f"0x{policy:016x}", "bit 17 set")
    if policy >> 26:
        raise Malformed("POLICY", f"0x{policy:016x}", "bits 63:26 zero")
    return policy


def _parse_key_info(key_info: int) -> SigningKey:  # 5
    if key_info >> 5:
        raise Malformed("KEY_INFO", f"0x{key_info:08x}", "bits 31:5 zero")
    if key_info & 2:
        raise Malformed("KEY_INFO", "MASK_CHIP_KEY set", "MASK_CHIP_KEY clear: a masked report is not signed")
    signer = key_info >> 2 & 7
    if signer not in (SigningKey.VCEK, SigningKey.VLEK):
        raise Malformed("KEY_INFO", f"SIGNING_KEY {signer}", "SIGNING_KEY 0 (VCEK) or 1 (VLEK)")
    return SigningKey(signer)


def _parse_signature(raw: bytes) -> tuple[int, int]:  # 3
    components = []
    for name, at in (("SIGNATURE.R", 0x2A0), ("SIGNATURE.S", 0x2E8)):
        value = _u(raw, at, SIGNATURE_COMPONENT_SIZE)
        # A verifier that drops the 24 high bytes accepts r + n for r.
        if not 1 <= value < P384_ORDER:
            raise Malformed(name, "a number outside the P-384 group", "1 <= value < n, high bytes zero")
        components.append(value)
    return components[0], components[1]


def encode_report(report: AttestationReport) -> bytes:
    """The 1184 bytes of `report`; the inverse of parse_report."""
    raw = bytearray(REPORT_SIZE)

    def put(at: int, value: bytes | int, size: int) -> None:
        raw[at : at + size] = value.to_bytes(size, "little") if isinstance(value, int) else value

    put(0x000, report.version, 4)
    put(0x004, report.guest_svn, 4)
    put(0x008, report.policy, 8)
    put(0x010, report.family_id, 16)
    put(0x020, report.image_id, 16)
    put(0x030, report.vmpl, 4)
    put(0x034, 1, 4)
    put(0x038, report.current_tcb, 8)
    put(0x040, report.platform_info, 8)
    put(0x048, int(report.author_key_en) | report.signing_key << 2, 4)
    put(0x050, report.report_data, 64)
    put(0x090, report.measurement, 48)
    put(0x0C0, report.host_data, 32)
    put(0x0E0, report.id_key_digest, 48)
    put(0x110, report.author_key_digest, 48)
    put(0x140, report.report_id, 32)
    put(0x160, report.report_id_ma, 32)
    put(0x180, report.reported_tcb, 8)
    put(0x188, bytes(report.cpuid or (0, 0, 0)), 3)
    put(0x1A0, report.chip_id, 64)
    put(0x1E0, report.committed_tcb, 8)
    put(0x1E8, bytes(reversed(report.current_firmware)), 3)
    put(0x1EC, bytes(reversed(report.committed_firmware)), 3)
    put(0x1F0, report.launch_tcb, 8)
    put(0x1F8, report.launch_mitigations or 0, 8)
    put(0x200, report.current_mitigations or 0, 8)
    put(0x2A0, report.signature_r, SIGNATURE_COMPONENT_SIZE)
    put(0x2E8, report.signature_s, SIGNATURE_COMPONENT_SIZE)
    return bytes(raw)
