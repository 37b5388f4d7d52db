"""TCB status: every bulletin just below and just met, by stepping; and signed updates of the data with one fault."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.vectors.certificates import DAY, NOW, vek, vek_values
from tests.vectors.documents import jcs
from tests.vectors.reports import VERSIONS, Value, all_tcbs, report, tcb, turin_tcb
from tests.vectors.signing import ed25519_public, ed25519_sign
from tests.vectors.world import GENOA as GENOA_CHAIN
from tests.vectors.world import VERIFIED, Expect, Json, Vector, blob, policy, rejected, report_vector

Parts = dict[str, Any]
IDS = [f"AMD-SB-{number}" for number in (3015, 3016, 3019, 3020, 3027, 3030, 3034, 3045)]
SMT, ALIAS, IOMMU = 1 << 0, 1 << 5, 1 << 6
PATCHED_PLATFORM = 0x67  # SMT, TSME, ECC, ALIAS_CHECK_COMPLETE, IOMMU_WRITE_SAFE
PATCHED_MITIGATIONS = 0b10110
WRONG = rejected("guest.tcb-status")
NO_FLOOR = {product: {"snp": 0} for product in ("Milan", "Genoa")} | {"Turin": {"snp": 0, "microcode": 0}}
MILAN_NOTE = (
    "AMD-SB-3045 MilanLaunchy and BadFuse: software on a Milan host could read the seed of the chip's signing keys; "
    "no update takes back a seed that was read, and whoever holds it signs any report, of any version"
)


@dataclass(frozen=True)
class Machine:
    """A CPU with its firmware, by default one that answers every bulletin."""

    product: str
    cpuid: tuple[int, int, int]
    versions: dict[str, int]
    platform: int = PATCHED_PLATFORM
    launch: int = PATCHED_MITIGATIONS
    current: int = PATCHED_MITIGATIONS
    fields: dict[str, Value] = field(default_factory=dict)

    def running(self, **versions: int) -> Machine:
        return replace(self, versions=self.versions | versions)

    def report(self) -> bytes:
        turin = self.product == "Turin"
        fields: dict[str, Value] = {
            "cpuid": bytes(self.cpuid),
            "platform_info": self.platform,
            "launch_mitigations": self.launch,
            "current_mitigations": self.current,
            **all_tcbs(turin_tcb(**self.versions) if turin else tcb(**self.versions)),
        }
        if turin:
            fields["chip_id"] = bytes(range(0x40, 0x48)) + bytes(56)
        return report(fields | self.fields)


MILAN_B1 = Machine("Milan", (0x19, 0x01, 1), {"snp": 29, "microcode": 222})
MILAN_B2 = Machine("Milan", (0x19, 0x01, 2), {"snp": 29, "microcode": 71})
GENOA_B1 = Machine("Genoa", (0x19, 0x11, 1), {"snp": 27, "microcode": 86})
GENOA_X = Machine("Genoa", (0x19, 0x11, 2), {"snp": 27, "microcode": 81})
TURIN = Machine("Turin", (0x1A, 0x02, 1), {"snp": 4, "microcode": 81})

# What each bulletin asks: name, machine, versions, platform bits, mitigation bits, and where microcode counts.
ASKED: list[tuple[str, Machine, dict[str, int], int, int, str]] = [
    ("3015 BadRAM", MILAN_B1, {"snp": 23}, ALIAS, 0, ""),
    ("3015 BadRAM", GENOA_B1, {"snp": 22}, ALIAS, 0, ""),
    ("3019 EntrySign", MILAN_B1, {"snp": 24, "microcode": 219}, 0, 0, "Milan B1"),
    ("3019 EntrySign", GENOA_B1, {"snp": 23, "microcode": 84}, 0, 0, "Genoa B1"),
    ("3019 EntrySign", GENOA_X, {"snp": 23, "microcode": 79}, 0, 0, "Genoa-X"),
    ("3020 RMPocalypse", MILAN_B1, {}, 0, 1 << 1, ""),
    ("3020 RMPocalypse", GENOA_B1, {"snp": 27, "microcode": 86}, 0, 0, "Genoa B1"),
    ("3020 RMPocalypse", GENOA_X, {"snp": 27, "microcode": 81}, 0, 0, "Genoa-X"),
    ("3020 RMPocalypse", TURIN, {"snp": 4, "microcode": 80}, 0, 0, "Turin"),
    ("3027 StackWarp", MILAN_B1, {"microcode": 222}, 0, 0, "Milan B1"),
    ("3027 StackWarp", MILAN_B2, {"microcode": 71}, 0, 0, "Milan B2"),
    ("3027 StackWarp", GENOA_B1, {"microcode": 86}, 0, 0, "Genoa B1"),
    ("3027 StackWarp", GENOA_X, {"microcode": 81}, 0, 0, "Genoa-X"),
    ("3027 StackWarp", TURIN, {"microcode": 81}, 0, 0, "Turin"),
    ("3016 IOMMU writes", MILAN_B1, {"snp": 27}, IOMMU, 1 << 2, ""),
    ("3016 IOMMU writes", GENOA_B1, {"snp": 27}, IOMMU, 0, ""),
    ("3030 BreakFAST", MILAN_B1, {"snp": 29}, 0, 1 << 4, ""),
]
WORDS = {ALIAS: "alias-check-complete", IOMMU: "iommu-write-safe"}
NAMES = {(0x19, 1, 1): "milan-b1", (0x19, 1, 2): "milan-b2", (0x19, 17, 1): "genoa-b1", (0x19, 17, 2): "genoa-x"}


def _vector(
    slug: str,
    about: str,
    machine: Machine,
    status: str,
    expect: Expect = VERIFIED,
    *,
    envelope: bytes | None = None,
    not_proven: tuple[str, ...] = (),
    malformed: str | None = None,
    **demands: Any,
) -> Vector:
    """`status`: what guest.tcb-status found, but for what the policy accepts."""
    parts = "-".join(map(str, machine.versions.values()))
    chain = replace(
        GENOA_CHAIN,
        vek=blob(
            f"vcek-{machine.product.lower()}-running-{parts}", vek(vek_values(machine.product, **machine.versions))
        ),
    )
    settings = policy(**({"tcb_floor": NO_FLOOR} | demands))
    made = report_vector(slug, about, machine.report(), expect, chain=chain, policy=settings)
    lines = ([MILAN_NOTE] if machine.product == "Milan" else []) + list(not_proven)
    if status.startswith("needs update: ") and "tcb_status" not in demands:
        names = ", ".join(part.split(":")[0] for part in status.removeprefix("needs update: ").split("; "))
        lines.append(f"guest.tcb-status: the firmware needs an update, which your policy does not demand: {names}")
    found = expect.to_json() | {"status": status, "not_proven": lines}
    body = made.body | {
        "stage": "tcb",
        "envelope": None if envelope is None else envelope.decode(),
        "expect": found if malformed is None else {"malformed": malformed},
    }
    return Vector("tcb", slug, body, made.blobs)


def good() -> Iterator[Vector]:
    about = "A machine that answers every bulletin."
    yield _vector("good", about, GENOA_B1, "up to date", tcb_status="up-to-date")
    for machine in (MILAN_B1, GENOA_X, TURIN):
        slug = f"current-{NAMES.get(machine.cpuid, 'turin')}"
        yield _vector(slug, about, machine, "up to date", tcb_status="up-to-date")
    about = "A Genoa below a value that AMD has withdrawn."
    yield _vector("withdrawn", about, GENOA_B1.running(snp=27), "up to date", tcb_status="up-to-date")


def bulletins() -> Iterator[Vector]:
    """Each bulletin alone: the policy accepts all others."""
    for name, machine, versions, platform, mitigations, where in ASKED:
        bulletin = f"AMD-SB-{name}"
        status = "revoked" if name[:4] in ("3015", "3019") else "needs update"
        demands: Parts = {"tcb_status": "up-to-date", "tcb_accept": [one for one in IDS if one != bulletin[:11]]}
        met = replace(machine.running(**versions), platform=SMT | platform, launch=mitigations, current=mitigations)
        slug = f"{name[:4]}-{NAMES.get(machine.cpuid, 'turin')}"
        yield from _one(f"{slug}-met", f"{bulletin} is just met.", met, "up to date", VERIFIED, demands)
        for part, least in versions.items():
            place = where if part == "microcode" else machine.product
            gap = f"{status}: {bulletin}: {part} {least - 1}, wanted at least {least} on {place}"
            low = met.running(**{part: least - 1})
            yield from _one(f"{slug}-{part}", f"{bulletin}: {part} is one below.", low, gap, WRONG, demands)
        if platform:
            gap = f"{status}: {bulletin}: {WORDS[platform]} off, wanted on"
            off = replace(met, platform=SMT)
            yield from _one(f"{slug}-platform", f"{bulletin}: a platform bit is off.", off, gap, WRONG, demands)
        if mitigations:
            bit = mitigations.bit_length() - 1
            gap = f"{status}: {bulletin}: mitigation bit {bit} off at launch or now, wanted on"
            for when, off in (("launch", replace(met, launch=0)), ("current", replace(met, current=0))):
                about = f"{bulletin}: the mitigation was not active ({when})."
                yield from _one(f"{slug}-{when}", about, off, gap, WRONG, demands)
            gap = f"needs update: {bulletin}: mitigation bit {bit} not shown by a version 4 report, wanted on"
            hidden = replace(met, fields=VERSIONS[4])
            about = f"{bulletin}: a version 4 report shows no mitigations."
            yield from _one(f"{slug}-version-4", about, hidden, gap, WRONG, demands)


def _one(slug: str, about: str, machine: Machine, status: str, expect: Expect, demands: Json) -> Iterator[Vector]:
    """The vector without its lines of what is accepted: `accepted` tests those."""
    made = _vector(slug, about, machine, status, expect, platform={"require": []}, **demands)
    expected = {name: value for name, value in made.body["expect"].items() if name != "not_proven"}
    yield replace(made, body=made.body | {"expect": expected})


def steppings() -> Iterator[Vector]:
    current: Parts = {"tcb_status": "up-to-date"}
    gap = "needs update: AMD-SB-3019 EntrySign: no floor is known here for Milan B2"
    about = "Milan B2, for whose microcode EntrySign has no number here."
    yield _vector("milan-b2", about, MILAN_B2, gap)
    yield _vector("milan-b2-current", about, MILAN_B2, gap, WRONG, **current)
    bergamo = replace(GENOA_B1, cpuid=(0x19, 0xA0, 2))
    where = "no floor is known here for Genoa model a0h stepping 2"
    gap = f"needs update: AMD-SB-3019 EntrySign: {where}; AMD-SB-3020 RMPocalypse: {where}; "
    gap += f"AMD-SB-3027 StackWarp: {where}"
    about = "A stepping without microcode floors here."
    yield _vector("bergamo", about, bergamo, gap)
    yield _vector("bergamo-current", about, bergamo, gap, WRONG, **current)
    low = bergamo.running(snp=22)
    gap = f"revoked: AMD-SB-3019 EntrySign: snp 22, wanted at least 23 on Genoa, and {where}; "
    gap += f"AMD-SB-3020 RMPocalypse: snp 22, wanted at least 27 on Genoa, and {where}; "
    gap += f"AMD-SB-3027 StackWarp: {where}; AMD-SB-3016 IOMMU writes: snp 22, wanted at least 27 on Genoa"
    yield _vector("bergamo-revoked", "The same with firmware that is revoked whatever the stepping.", low, gap, WRONG)
    named = replace(GENOA_B1, fields=VERSIONS[2])
    where = "a version 2 report names no stepping, wanted one: the floor depends on it"
    gap = f"needs update: AMD-SB-3019 EntrySign: {where}; AMD-SB-3020 RMPocalypse: {where}; "
    gap += f"AMD-SB-3027 StackWarp: {where}"
    yield _vector("version-2", "A version 2 report names no stepping.", named, gap)
    yield _vector("version-2-current", "The same, where it must be up to date.", named, gap, WRONG, **current)
    about = "StackWarp is answered by SMT being off, RMPocalypse is not."
    gap = "needs update: AMD-SB-3020 RMPocalypse: microcode 85, wanted at least 86 on Genoa B1"
    off = replace(GENOA_B1.running(microcode=85), platform=PATCHED_PLATFORM & ~SMT)
    yield _vector("smt-off", about, off, gap)


def accepted() -> Iterator[Vector]:
    low = GENOA_B1.running(microcode=83)
    why = "microcode 83, wanted at least 84 on Genoa B1"
    rest = "; ".join(
        f"AMD-SB-{name}: microcode 83, wanted at least 86 on Genoa B1"
        for name in ("3020 RMPocalypse", "3027 StackWarp")
    )
    gap = f"revoked: AMD-SB-3019 EntrySign: {why}; {rest}"
    yield _vector("revoked", "EntrySign is not answered.", low, gap, WRONG)
    line = f"guest.tcb-status: AMD-SB-3019 EntrySign is accepted by your policy: {why}"
    yield _vector(
        "accepted",
        "The same, where the policy accepts it by name.",
        low,
        f"needs update: {rest}",
        not_proven=(line,),
        tcb_accept=["AMD-SB-3019"],
    )
    about = "The same, where the policy accepts another."
    yield _vector("accepted-another", about, low, gap, WRONG, tcb_accept=["AMD-SB-3015", "AMD-SB-30190"])
    about = "Accepted by name, and nothing else may be lacking."
    yield _vector(
        "accepted-current",
        about,
        low,
        f"needs update: {rest}",
        WRONG,
        not_proven=(line,),
        tcb_accept=["AMD-SB-3019"],
        tcb_status="up-to-date",
    )
    about = "What is accepted is named only where it is lacking."
    yield _vector("accepted-in-vain", about, GENOA_B1, "up to date", tcb_accept=IDS, tcb_status="up-to-date")


BULLETIN: dict[str, Json] = {
    "id": "AMD-SB-3999",
    "title": "Test",
    "published": "2026-06-01",
    "status_below": "revoked",
    "smt_off_answers": False,
    "requirements": [
        {
            "product": "Genoa",
            "stepping": "Genoa B1",
            "floor": {"snp": 28, "bootloader": 1},
            "platform": ["ecc"],
            "mitigation_bits": [63],
            "withdrawn": None,
        }
    ],
    "not_proven": {"Genoa": "a test"},
    "note": None,
}
STEPPING: dict[str, Json] = {"name": "Genoa B1", "product": "Genoa", "model": 17, "stepping": 1}
DATA: dict[str, Json] = {
    "format": "saferouter/tcb/v1",
    "sequence": 7,
    "issued": int((NOW - 9 * DAY).timestamp()),
    "expires": int((NOW + DAY).timestamp()),
    "steppings": [STEPPING],
    "bulletins": [BULLETIN],
}
TYPE = "application/vnd.saferouter.tcb+json"
RELEASES = {"keys": [ed25519_public(label) for label in ("tcb-1", "tcb-2", "tcb-3")], "threshold": 2, "required": False}
TEST_LINE = "AMD-SB-3999 Test: a test"


def sealed(payload: bytes, *labels: str, kind: str = TYPE) -> bytes:
    """A DSSE envelope."""
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    rows = [
        {
            "keyid": ed25519_public(label),
            "sig": base64.b64encode(bytes.fromhex(ed25519_sign(label, message))).decode(),
        }
        for label in labels
    ]
    payload_b64 = base64.b64encode(payload).decode()
    return json.dumps({"payload": payload_b64, "payloadType": kind, "signatures": rows}).encode()


def _update(slug: str, about: str, status: str, expect: Expect = VERIFIED, **parts: Any) -> Vector:
    machine = parts.pop("machine", GENOA_B1)
    envelope = parts.pop("envelope", None) or sealed(jcs(parts.pop("data", DATA)), "tcb-1", "tcb-3")
    return _vector(slug, about, machine, status, expect, envelope=envelope, releases=RELEASES, **parts)


def updates() -> Iterator[Vector]:
    gap = (
        "revoked: AMD-SB-3999 Test: snp 27, wanted at least 28 on Genoa B1, and mitigation bit 63 off at launch or now"
    )
    gap += ", wanted on"
    yield _update("update", "A signed update with a new bulletin.", gap, WRONG, not_proven=(TEST_LINE,))
    met = replace(GENOA_B1.running(snp=28), launch=1 << 63, current=1 << 63)
    known: Parts = {"not_proven": (TEST_LINE,), "machine": met}
    yield _update("update-met", "The same, answered.", "up to date", tcb_status="up-to-date", **known)
    old = DATA | {"expires": int(NOW.timestamp())}
    late = "guest.tcb-status: TCB data 7 expired on 2026-06-15: bulletins since 2026-06-06 are not known here"
    expired: Parts = {"data": old, "machine": met, "not_proven": (TEST_LINE, late)}
    yield _update("expired", "Data that expires now, by default.", "up to date", **expired)
    words = "up to date, by data that expired on 2026-06-15"
    about = "Data that expires now, where it must be up to date."
    yield _update("expired-current", about, words, WRONG, tcb_status="up-to-date", **expired)
    soon: Parts = {"data": DATA | {"expires": int(NOW.timestamp()) + 1}, "machine": met, "not_proven": (TEST_LINE,)}
    yield _update("expires-soon", "Data in its last second.", "up to date", tcb_status="up-to-date", **soon)
    same: Parts = {"data": DATA | {"sequence": 1, "bulletins": []}}
    yield _update("same-sequence", "As new as the built-in data.", "up to date", tcb_status="up-to-date", **same)
    about = "An update without bulletins leaves the policy's default floor where it was."
    low: Parts = {"data": DATA | {"bulletins": []}, "machine": GENOA_B1.running(snp=26), "tcb_floor": {}}
    yield _update("floor-stays", about, "up to date", rejected("guest.tcb-floor"), **low)
    row = BULLETIN["requirements"][0]
    withdrawn = DATA | {"bulletins": [BULLETIN | {"requirements": [row | {"withdrawn": "2026-06-02"}]}]}
    about = "A requirement that was withdrawn is not asked."
    yield _update("update-withdrawn", about, "up to date", data=withdrawn, not_proven=(TEST_LINE,))
    off = DATA | {"bulletins": [BULLETIN | {"smt_off_answers": True}]}
    about = "SMT is off, which answers the bulletin."
    quiet = replace(GENOA_B1, platform=PATCHED_PLATFORM & ~SMT)
    yield _update("update-smt-off", about, "up to date", data=off, machine=quiet, not_proven=(TEST_LINE,))


def envelopes() -> Iterator[Vector]:
    good = jcs(DATA)
    rows = [
        (
            "rolled-back",
            "Older than the built-in data.",
            sealed(jcs(DATA | {"sequence": 0}), "tcb-1", "tcb-2"),
            "tcb.sequence",
        ),
        ("one-signature", "One of two signatures.", sealed(good, "tcb-1"), "tcb.signatures"),
        ("stranger", "One signer and a stranger.", sealed(good, "tcb-1", "other"), "tcb.signatures"),
        (
            "other-type",
            "Signed as something else.",
            sealed(good, "tcb-1", "tcb-2", kind="text/plain"),
            "tcb.payloadType",
        ),
        ("not-json", "A payload that is no JSON.", sealed(b"{", "tcb-1", "tcb-2"), "tcb.payload"),
        ("spelling", "Not in its canonical form.", sealed(json.dumps(DATA).encode(), "tcb-1", "tcb-2"), "tcb.payload"),
    ]
    broken = json.loads(sealed(good, "tcb-1", "tcb-2"))
    broken["signatures"][1]["sig"] = broken["signatures"][0]["sig"]
    rows.append(("bad-signature", "A wrong signature.", json.dumps(broken).encode(), "tcb.signatures[1]"))
    for slug, about, envelope, malformed in rows:
        yield _update(slug, about, "", envelope=envelope, malformed=malformed)


def documents() -> Iterator[Vector]:
    row = BULLETIN["requirements"][0]

    def with_row(**changes: Json) -> dict[str, Json]:
        return DATA | {"bulletins": [BULLETIN | {"requirements": [row | changes]}]}

    def with_bulletin(**changes: Json) -> dict[str, Json]:
        return DATA | {"bulletins": [BULLETIN | changes]}

    def with_stepping(**changes: Json) -> dict[str, Json]:
        return DATA | {"steppings": [STEPPING | changes]}

    asked = "tcb.bulletins[0].requirements[0]"
    faults: list[tuple[str, Json, str]] = [
        ("list", [], "tcb"),
        ("unknown-member", DATA | {"extra": 1}, "tcb.extra"),
        ("no-bulletins", {name: value for name, value in DATA.items() if name != "bulletins"}, "tcb.bulletins"),
        ("format", DATA | {"format": "saferouter/tcb/v2"}, "tcb.format"),
        ("sequence", DATA | {"sequence": "7"}, "tcb.sequence"),
        ("issued", DATA | {"issued": -1}, "tcb.issued"),
        ("expires", DATA | {"expires": DATA["issued"]}, "tcb.expires"),
        ("steppings", DATA | {"steppings": {}}, "tcb.steppings"),
        ("many-steppings", DATA | {"steppings": [STEPPING] * 257}, "tcb.steppings"),
        ("stepping-twice", DATA | {"steppings": [STEPPING] * 2}, "tcb.steppings"),
        ("stepping-name", with_stepping(name=""), "tcb.steppings[0].name"),
        ("stepping-product", with_stepping(product="Venice"), "tcb.steppings[0].product"),
        ("stepping-model", with_stepping(model=256), "tcb.steppings[0].model"),
        ("stepping-number", with_stepping(stepping=None), "tcb.steppings[0].stepping"),
        ("bulletin-twice", DATA | {"bulletins": [BULLETIN] * 2}, "tcb.bulletins"),
        ("bulletin-id", with_bulletin(id="AMD-SB-39x9"), "tcb.bulletins[0].id"),
        ("bulletin-title", with_bulletin(title="T\u00e9st"), "tcb.bulletins[0].title"),
        ("bulletin-published", with_bulletin(published="June"), "tcb.bulletins[0].published"),
        ("bulletin-status", with_bulletin(status_below="fine"), "tcb.bulletins[0].status_below"),
        ("bulletin-smt", with_bulletin(smt_off_answers=0), "tcb.bulletins[0].smt_off_answers"),
        ("bulletin-note", with_bulletin(note=""), "tcb.bulletins[0].note"),
        ("bulletin-not-proven", with_bulletin(not_proven={"Rome": "x"}), "tcb.bulletins[0].not_proven"),
        ("bulletin-sentence", with_bulletin(not_proven={"Genoa": 1}), "tcb.bulletins[0].not_proven.Genoa"),
        ("bulletin-requirements", with_bulletin(requirements=None), "tcb.bulletins[0].requirements"),
        ("row-unknown", with_row(extra=1), f"{asked}.extra"),
        ("row-product", with_row(product="toString"), f"{asked}.product"),
        ("row-stepping", with_row(stepping="Milan B1"), f"{asked}.stepping"),
        ("row-floor", with_row(floor={"fmc": 1}), f"{asked}.floor.fmc"),
        ("row-version", with_row(floor={"snp": 256}), f"{asked}.floor.snp"),
        ("row-platform", with_row(platform=["ecc", "constructor"]), f"{asked}.platform"),
        ("row-mitigation", with_row(mitigation_bits=[64]), f"{asked}.mitigation_bits"),
        ("row-withdrawn", with_row(withdrawn="2026-06-01 "), f"{asked}.withdrawn"),
    ]
    for slug, document, malformed in faults:
        envelope = sealed(jcs(document), "tcb-1", "tcb-2")
        yield _update(f"data-{slug}", f"TCB data with one fault: {slug}.", "", envelope=envelope, malformed=malformed)
