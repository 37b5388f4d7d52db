"""Faults of an authentic report's values: each is judged by a policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.vectors.certificates import CHIP_ID, CSP_ID, TURIN_SPLS, vek, vek_values
from tests.vectors.reports import (
    GOOD,
    MEASUREMENT,
    MILAN,
    PLATFORM_BASE,
    POLICY_BASE,
    TURIN,
    VERSIONS,
    VLEK,
    Value,
    all_tcbs,
    report,
    tcb,
    turin_tcb,
)
from tests.vectors.world import GENOA as GENOA_CHAIN
from tests.vectors.world import TURIN as TURIN_CHAIN
from tests.vectors.world import VERIFIED, Expect, Json, Vector, blob, policy, rejected, report_vector
from tests.vectors.world import VLEK as VLEK_CHAIN

RESTRICTIONS = {
    "single-socket": 20,
    "mem-aes-256-xts": 22,
    "rapl-dis": 23,
    "ciphertext-hiding-dram": 24,
    "page-swap-disable": 25,
}
PLATFORM = {
    "smt": 0,
    "tsme": 1,
    "ecc": 2,
    "rapl-dis": 3,
    "ciphertext-hiding-dram": 4,
    "alias-check-complete": 5,
    "iommu-write-safe": 6,
    "tio": 7,
}
PINS = {
    "chip_ids": "chip_id",
    "id_key_digests": "id_key_digest",
    "author_key_digests": "author_key_digest",
    "host_data": "host_data",
    "family_ids": "family_id",
    "image_ids": "image_id",
}

Row = tuple[str, str, dict[str, Value], dict[str, Json], Expect]


def _vectors(rows: list[Row]) -> Iterator[Vector]:
    for slug, about, fields, demands, expect in rows:
        yield report_vector(slug, about, report(fields), expect, policy=policy(**demands))


def launch_policy() -> Iterator[Vector]:
    migration, vmpl, abi = rejected("guest.migration"), rejected("guest.vmpl"), rejected("guest.abi")
    svn = {"minimum_guest_svn": 4}
    agent: dict[str, Value] = {"report_id_ma": b"\xff" * 31 + b"\xfe"}
    yield from _vectors(
        [
            (
                "debug",
                "The host may read the guest's memory.",
                {"policy": POLICY_BASE | 1 << 19},
                {},
                rejected("guest.debug"),
            ),
            ("migrate-ma", "A migration agent may be bound.", {"policy": POLICY_BASE | 1 << 18}, {}, migration),
            ("migration-agent", "A migration agent is bound.", agent, {}, migration),
            ("migration-agent-zero", "REPORT_ID_MA is zero, not all ones.", {"report_id_ma": bytes(32)}, {}, migration),
            ("vmpl-1", "The report was asked for at VMPL 1.", {"vmpl": 1}, {}, vmpl),
            ("vmpl-1-wanted", "VMPL 1, which the policy wants.", {"vmpl": 1}, {"vmpl": 1}, VERIFIED),
            ("vmpl-0-for-1", "VMPL 0 where the policy wants 1.", {}, {"vmpl": 1}, vmpl),
            ("vmpl-high-byte", "VMPL 0 with a high byte set.", {"vmpl": 1 << 24}, {}, vmpl),
            ("vmpl-host", "The host asked for the report, not the guest.", {"vmpl": 0xFFFFFFFF}, {}, vmpl),
            ("abi-minor-low", "ABI 1.55 where 1.56 is wanted.", {}, {"minimum_abi": "1.56"}, abi),
            ("abi-major-low", "ABI 1.55 where 2.0 is wanted.", {}, {"minimum_abi": "2.0"}, abi),
            ("abi-equal", "ABI 1.55, as wanted.", {}, {"minimum_abi": "1.55"}, VERIFIED),
            ("abi-major-high", "ABI 1.55 where 0.99 is wanted.", {}, {"minimum_abi": "0.99"}, VERIFIED),
            (
                "abi-zero",
                "ABI 0.0 and GUEST_SVN 0, where nothing is wanted.",
                {"policy": 0x30000, "guest_svn": 0},
                {},
                VERIFIED,
            ),
            ("guest-svn-low", "GUEST_SVN 3 where 4 is wanted.", {}, svn, abi),
            ("guest-svn-equal", "GUEST_SVN 4, as wanted.", {"guest_svn": 4}, svn, VERIFIED),
        ]
    )


def permissions() -> Iterator[Vector]:
    wrong = rejected("guest.policy")
    cxl: dict[str, Value] = {"policy": POLICY_BASE | 1 << 21}
    rows: list[Row] = [
        ("cxl", "CXL is allowed to the guest, not by the policy.", cxl, {}, wrong),
        ("cxl-allowed", "CXL, which the policy allows.", cxl, {"guest_policy": {"allow": ["smt", "cxl"]}}, VERIFIED),
        ("smt-not-allowed", "SMT, which the policy does not allow.", {}, {"guest_policy": {"allow": []}}, wrong),
    ]
    off: dict[str, Value] = {"policy": POLICY_BASE & ~(1 << 16)}
    rows.append(("smt-off", "SMT is off, and none is allowed.", off, {"guest_policy": {"allow": []}}, VERIFIED))
    for word, bit in RESTRICTIONS.items():
        others = sum(1 << other for other in RESTRICTIONS.values() if other != bit)
        fields: dict[str, Value] = {"policy": POLICY_BASE | others}
        about = f"The guest lacks the restriction {word}, alone of the five."
        rows.append((f"lacks-{word}", about, fields, {"guest_policy": {"require": [word]}}, wrong))
        fields = {"policy": POLICY_BASE | 1 << bit}
        about = f"The guest has the restriction {word}."
        rows.append((f"has-{word}", about, fields, {"guest_policy": {"require": [word]}}, VERIFIED))
    every = {"policy": POLICY_BASE | sum(1 << bit for bit in RESTRICTIONS.values())}
    rows.append(("restrictions-unasked", "More restrictions than asked are no fault.", dict(every), {}, VERIFIED))
    yield from _vectors(rows)


def platform() -> Iterator[Vector]:
    wrong = rejected("guest.platform")
    both = rejected("guest.tcb-status", "guest.platform")
    accepted: dict[str, Json] = {"tcb_accept": ["AMD-SB-3015"]}  # so that the platform's bits alone are judged
    waived = accepted | {"platform": {"require": []}}
    clear: dict[str, Value] = {"platform_info": PLATFORM_BASE & ~(1 << 5)}
    rows: list[Row] = [
        ("alias-check-clear", "The DRAM alias check (BadRAM) is not complete.", clear, {}, both),
        ("alias-check-accepted", "The same, where the policy accepts BadRAM only.", clear, accepted, wrong),
        ("exactly", "Exactly the required bit, and no other.", {"platform_info": 1 << 5}, {}, VERIFIED),
        ("alias-check-waived", "The same, where the policy also waives the bit.", clear, waived, VERIFIED),
    ]
    for word, bit in PLATFORM.items():
        lacking: dict[str, Value] = {"platform_info": 0xFF & ~(1 << bit)}
        required = accepted | {"platform": {"require": [word]}}
        rows.append((f"lacks-{word}", f"Platform without {word}.", lacking, required, wrong))
        only: dict[str, Value] = {"platform_info": 1 << bit}
        demands = accepted | {"platform": {"require": [], "forbid": [word]}}
        rows.append((f"forbidden-{word}", f"Platform with {word}, which is forbidden.", only, demands, wrong))
    yield from ((replace(one, slug=f"platform-{one.slug}")) for one in _vectors(rows))


def lattice() -> Iterator[Vector]:
    wrong, allow = rejected("guest.tcb-lattice"), {"allow_provisional_firmware": True}
    rows: list[Row] = []
    for part in ("bootloader", "tee", "snp", "microcode"):
        above: dict[str, Value] = {"current_tcb": tcb(**{part: 200})}
        about = f"CURRENT_TCB above COMMITTED_TCB in {part}: the host can roll it back."
        rows.append((f"provisional-{part}", about, above, {}, wrong))
        below = tcb(**{part: 1})
        about = f"COMMITTED_TCB below REPORTED_TCB in {part}."
        rows.append((f"committed-below-{part}", about, {"committed_tcb": below, "current_tcb": below}, {}, wrong))
        about = f"CURRENT_TCB below COMMITTED_TCB in {part}, with provisional firmware allowed."
        rows.append((f"current-below-{part}", about, {"current_tcb": below}, allow, wrong))
    fields: dict[str, Value] = {"current_tcb": tcb(microcode=200)}
    rows.append(("provisional-allowed", "Provisional firmware, which the policy allows.", fields, allow, VERIFIED))
    fields = {"committed_tcb": tcb(snp=31), "current_tcb": tcb(snp=31)}
    rows.append(("reported-below-committed", "REPORTED_TCB below COMMITTED_TCB is no fault.", fields, {}, VERIFIED))
    for name in ("committed", "current", "launch"):
        raw = bytearray(tcb())
        raw[4] = 1
        about = f"A reserved byte of {name.upper()}_TCB is set."
        expect = rejected("guest.tcb-lattice", missing=["guest.tcb-floor", "guest.tcb-status"])
        rows.append((f"reserved-{name}-tcb", about, {f"{name}_tcb": bytes(raw)}, {}, expect))
    raw = bytearray(tcb())
    raw[2] = 1
    expect = rejected("hw.tcb-certificate", "guest.tcb-lattice", missing=["guest.tcb-floor", "guest.tcb-status"])
    about = "A reserved byte of REPORTED_TCB is set: the certificate's versions cannot be compared either."
    rows.append(("reserved-reported-tcb", about, {"reported_tcb": bytes(raw)}, {}, expect))
    yield from _vectors(rows)


def firmware_versions() -> Iterator[Vector]:
    wrong, allow = rejected("guest.tcb-lattice"), {"allow_provisional_firmware": True}
    rows: list[Row] = []
    newer: dict[str, Value] = {"current_firmware": bytes((50, 55, 1))}
    older: dict[str, Value] = {"current_firmware": bytes((255, 54, 1))}
    about = "Firmware above the committed one, with the same TCB: the host can roll it back."
    rows.append(("provisional-firmware", about, newer, {}, wrong))
    rows.append(("provisional-firmware-allowed", "The same, which the policy allows.", newer, allow, VERIFIED))
    rows.append(("older-firmware", "Firmware below the committed one, whatever is allowed.", older, allow, wrong))
    yield from _vectors(rows)


def floors() -> Iterator[Vector]:
    wrong = rejected("guest.tcb-floor")
    rows: list[Row] = []
    for part, version in {"bootloader": 13, "tee": 4, "snp": 31, "microcode": 91}.items():
        for table, word in (("tcb_floor", "REPORTED"), ("launch_tcb_floor", "LAUNCH")):
            demands: dict[str, Json] = {table: {"Genoa": {part: version}}}
            slug = f"{table.replace('_', '-')}-{part}"
            rows.append((slug, f"{word}_TCB is one below the floor in {part}.", {}, demands, wrong))
            fits: dict[str, Json] = {table: {"Genoa": {part: version - 1}}}
            rows.append((f"{slug}-met", f"{word}_TCB is at the floor in {part}.", {}, fits, VERIFIED))
    launch: dict[str, Value] = {"launch_tcb": tcb(snp=29)}
    demands = {"launch_tcb_floor": {"Genoa": {"snp": 30}}}
    rows.append(("launched-before-update", "Launched on firmware below the launch floor.", launch, demands, wrong))
    demands = {"tcb_floor": {"Milan": {"snp": 255}, "Turin": {"snp": 255}}}
    rows.append(("floors-of-others", "Floors of other products do not count.", {}, demands, VERIFIED))
    yield from _vectors(rows)


def default_floors() -> Iterator[Vector]:
    wrong = rejected("guest.tcb-floor")
    genoa = replace(GENOA_CHAIN, vek=blob("vcek-snp-26", vek(vek_values(snp=26))))
    about = "SNP 26 is below the built-in floor of Genoa, 27."
    raw = report(all_tcbs(tcb(snp=26)))
    yield report_vector("default-floor-genoa", about, raw, wrong, chain=genoa)
    about = "SNP 26 where the policy itself sets Genoa's floor to 26."
    demands = {"tcb_floor": {"Genoa": {"snp": 26}}}
    yield report_vector("default-floor-replaced", about, raw, chain=genoa, policy=policy(**demands))
    for product, spls, expect in (
        ("Genoa", {"snp": 27}, VERIFIED),
        ("Milan", {"snp": 29}, VERIFIED),
        ("Milan", {"snp": 28}, wrong),
    ):
        slug = f"{product.lower()}-snp-{spls['snp']}"
        about = f"SNP {spls['snp']} at or below the built-in floor of {product}."
        fields = all_tcbs(tcb(**spls)) | (MILAN if product == "Milan" else {})
        chain = replace(GENOA_CHAIN, vek=blob(f"vcek-{slug}", vek(vek_values(product, **spls))))
        yield report_vector(f"default-floor-{slug}", about, report(fields), expect, chain=chain)
    chain = replace(TURIN_CHAIN, vek=blob("vcek-turin-floor", vek(vek_values("Turin", snp=4, microcode=81))))
    raw = report(TURIN | all_tcbs(turin_tcb(snp=4, microcode=81)))
    yield report_vector("default-floor-turin-met", "A Turin at its built-in floor.", raw, chain=chain)
    for part, low in {"snp": 3, "microcode": 80}.items():
        chain = replace(TURIN_CHAIN, vek=blob(f"vcek-turin-{part}-{low}", vek(vek_values("Turin", **{part: low}))))
        raw = report(TURIN | all_tcbs(turin_tcb(**{part: low})))
        about = f"{part} {low} is below the built-in floor of Turin."
        yield report_vector(f"default-floor-turin-{part}", about, raw, wrong, chain=chain)
    demands = {"tcb_floor": {"Turin": {"fmc": TURIN_SPLS["fmc"] + 1}}}
    about = "Turin's fmc is below the policy's floor."
    yield report_vector("floor-turin-fmc", about, report(TURIN), wrong, chain=TURIN_CHAIN, policy=policy(**demands))


def mitigations() -> Iterator[Vector]:
    wrong, demands = rejected("guest.mitigations"), {"required_mitigations": 0b1010}
    yield from _vectors(
        [
            ("mitigations-met", "All required mitigations were and are active.", {}, demands, VERIFIED),
            (
                "mitigations-launch",
                "A mitigation was not active at launch.",
                {"launch_mitigations": 0b1000},
                demands,
                wrong,
            ),
            ("mitigations-current", "A mitigation is not active now.", {"current_mitigations": 0b0010}, demands, wrong),
            ("mitigations-version-3", "A version 3 report shows no mitigations.", VERSIONS[3], demands, wrong),
            ("mitigations-version-4", "A version 4 report shows no mitigations.", VERSIONS[4], demands, wrong),
        ]
    )


def expected_values() -> Iterator[Vector]:
    wrong = rejected("code.measurement")
    other = bytes(48).hex()
    changed = MEASUREMENT[:-1] + b"\0"
    yield from _vectors(
        [
            ("measurement-other", "The measurement's last byte differs.", {"measurement": changed}, {}, wrong),
            ("measurement-zero", "The measurement is zero.", {"measurement": bytes(48)}, {}, wrong),
            ("measurement-second", "The second of two.", {}, {"measurements": [other, MEASUREMENT.hex()]}, VERIFIED),
        ]
    )
    pins, unpinned = rejected("guest.pins"), "ff" * 64
    for name, field in PINS.items():
        value = GOOD[field]
        assert isinstance(value, bytes)
        slug = name.replace("_", "-")
        demands = {"pins": {name: [unpinned[: 2 * len(value)]]}}
        about = f"{field.upper()} is not among the pinned ones."
        yield report_vector(f"pin-{slug}", about, report(), pins, policy=policy(**demands))
        zero = {"pins": {name: ["00" * len(value)]}}
        about = f"{field.upper()} is pinned to zero, and is not zero."
        yield report_vector(f"pin-{slug}-zero", about, report(), pins, policy=policy(**zero))
    every = {name: [unpinned[: 2 * len(GOOD[field])], GOOD[field].hex()] for name, field in PINS.items()}  # type: ignore[arg-type, union-attr]
    yield report_vector("pins-met", "Every pinned value is met.", report(), policy=policy(pins=every))
    empty = {name: [] for name in (*PINS, "csp_ids")}  # type: ignore[var-annotated]
    yield report_vector("pins-empty", "Empty lists pin nothing.", report(), policy=policy(pins=empty))
    one_wrong = every | {"host_data": ["00" * 32]}
    about = "All pins but one are met."
    yield report_vector("pins-one-wrong", about, report(), pins, policy=policy(pins=one_wrong))


def clouds() -> Iterator[Vector]:
    pins = rejected("guest.pins")
    raw = report(VLEK)
    right, other = {"csp_ids": [CSP_ID]}, {"csp_ids": ["CN=cc-test-2.example.com"]}
    about = "A VLEK of another cloud region than the pinned one."
    yield report_vector("pin-csp-id-other", about, raw, pins, chain=VLEK_CHAIN, policy=policy(pins=other))
    about = "A VLEK of the pinned cloud region."
    yield report_vector("pin-csp-id", about, raw, chain=VLEK_CHAIN, policy=policy(pins=right))
    about = "A VCEK names no cloud, where one is pinned."
    yield report_vector("pin-csp-id-on-vcek", about, report(), pins, policy=policy(pins=right))
    about = "A VCEK names no cloud, where the empty text is pinned."
    yield report_vector("pin-csp-id-empty-on-vcek", about, report(), pins, policy=policy(pins={"csp_ids": [""]}))
    about = "A chip is pinned, and a VLEK names none."
    demands = policy(pins={"chip_ids": [CHIP_ID.hex()]})
    yield report_vector("pin-chip-id-on-vlek", about, raw, pins, chain=VLEK_CHAIN, policy=demands)
