"""Attestation reports by offset, signed by the test VCEK; a fault is set before the signature is made."""

from __future__ import annotations

from collections.abc import Mapping

from tests.vectors.certificates import CHIP_ID, SPLS, TURIN_SPLS
from tests.vectors.signing import ec_key, ecdsa_numbers

SIZE, SIGNED, R, S, TAIL = 0x4A0, 0x2A0, 0x2A0, 0x2E8, 0x330
# Offset and size of each field.
FIELDS = {
    "version": (0x000, 4),
    "guest_svn": (0x004, 4),
    "policy": (0x008, 8),
    "family_id": (0x010, 16),
    "image_id": (0x020, 16),
    "vmpl": (0x030, 4),
    "signature_algo": (0x034, 4),
    "current_tcb": (0x038, 8),
    "platform_info": (0x040, 8),
    "key_info": (0x048, 4),
    "report_data": (0x050, 64),
    "measurement": (0x090, 48),
    "host_data": (0x0C0, 32),
    "id_key_digest": (0x0E0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "reported_tcb": (0x180, 8),
    "cpuid": (0x188, 3),
    "chip_id": (0x1A0, 64),
    "committed_tcb": (0x1E0, 8),
    "current_firmware": (0x1E8, 3),
    "committed_firmware": (0x1EC, 3),
    "launch_tcb": (0x1F0, 8),
    "launch_mitigations": (0x1F8, 8),
    "current_mitigations": (0x200, 8),
}
POLICY_BASE = 0x30000 | 1 << 8 | 55  # SMT allowed, bit 17, ABI 1.55
PLATFORM_BASE = 0x27  # SMT, TSME, ECC, ALIAS_CHECK_COMPLETE
KEY_INFO_VLEK = 1 << 2
MEASUREMENT = bytes(range(0x80, 0xB0))
MITIGATIONS = 0b1011

Value = int | bytes


def tcb(**changes: int) -> bytes:
    """A TCB_VERSION in the layout of Milan and Genoa."""
    parts = SPLS | changes
    return bytes((parts["bootloader"], parts["tee"], 0, 0, 0, 0, parts["snp"], parts["microcode"]))


def turin_tcb(**changes: int) -> bytes:
    parts = TURIN_SPLS | changes
    return bytes((parts["fmc"], parts["bootloader"], parts["tee"], parts["snp"], 0, 0, 0, parts["microcode"]))


def all_tcbs(raw: bytes) -> dict[str, Value]:
    """The same versions everywhere: nothing provisional, nothing rolled back."""
    return {f"{name}_tcb": raw for name in ("current", "reported", "committed", "launch")}


GOOD: dict[str, Value] = {
    "version": 5,
    "guest_svn": 3,
    "policy": POLICY_BASE,
    "family_id": b"F" * 16,
    "image_id": b"I" * 16,
    "signature_algo": 1,
    "platform_info": PLATFORM_BASE,
    "report_data": bytes(range(64)),
    "measurement": MEASUREMENT,
    "host_data": b"H" * 32,
    "id_key_digest": b"K" * 48,
    "author_key_digest": b"A" * 48,
    "report_id": b"R" * 32,
    "report_id_ma": b"\xff" * 32,
    "cpuid": bytes((0x19, 0x11, 1)),
    "chip_id": CHIP_ID,
    "current_firmware": bytes((49, 55, 1)),
    "committed_firmware": bytes((49, 55, 1)),
    "launch_mitigations": MITIGATIONS,
    "current_mitigations": MITIGATIONS,
    **all_tcbs(tcb()),
}
TURIN: dict[str, Value] = {
    "cpuid": bytes((0x1A, 0x02, 1)),
    "chip_id": CHIP_ID[:8] + bytes(56),
    **all_tcbs(turin_tcb()),
}
VLEK: dict[str, Value] = {"key_info": KEY_INFO_VLEK, "chip_id": bytes(64)}
# What a version before 5 does not have.
NO_MITIGATIONS: dict[str, Value] = {"launch_mitigations": 0, "current_mitigations": 0}
VERSIONS: dict[int, dict[str, Value]] = {
    2: {"version": 2, "cpuid": bytes(3), **NO_MITIGATIONS},
    3: {"version": 3, **NO_MITIGATIONS},
    4: {"version": 4, **NO_MITIGATIONS},
    5: {"version": 5},
}
# Stepping B2: the microcode of GOOD would be revoked on B1.
MILAN: dict[str, Value] = {"cpuid": bytes((0x19, 0x01, 2))}


def unsigned(fields: Mapping[str, Value], poke: Mapping[int, bytes]) -> bytearray:
    raw = bytearray(SIZE)
    for name, value in (GOOD | dict(fields)).items():
        at, size = FIELDS[name]
        raw[at : at + size] = value.to_bytes(size, "little") if isinstance(value, int) else value
    for at, patch in poke.items():
        raw[at : at + len(patch)] = patch
    if len(raw) != SIZE:
        raise ValueError("a field of the wrong size")
    return raw


def with_signature(raw: bytes, r: int, s: int) -> bytes:
    """`raw` with these 72-byte signature components."""
    return raw[:R] + r.to_bytes(72, "little") + s.to_bytes(72, "little") + raw[TAIL:]


def report(fields: Mapping[str, Value] | None = None, poke: Mapping[int, bytes] | None = None) -> bytes:
    """A signed report: the good one with these fields, then these bytes at these offsets."""
    raw = bytes(unsigned(fields or {}, poke or {}))
    return with_signature(raw, *ecdsa_numbers(ec_key("vek"), raw[:SIGNED]))
