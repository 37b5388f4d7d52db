"""The shared SNP vectors as cases: evidence, time and expected verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tee.evidence import Endorsements, Evidence

# Words of the manifest's reasons, and the check that must say so.
REASON_CHECKS = {
    "POLICY.DEBUG set": "guest.debug",
    "ALIAS_CHECK_COMPLETE not set": "guest.platform",
    "REPORTED_TCB below": "guest.tcb-floor",
    "VMPL 1 != 0": "guest.vmpl",
    "note: CURRENT_TCB != COMMITTED_TCB": "guest.tcb-lattice",
}
# The real reports whose firmware answers BadRAM and EntrySign; the TCB status of all others is `revoked`.
NOT_REVOKED = {"genoa-v3-vcek-microsoft", "genoa-v3-vcek-veraison-tsm", "turin-v5-vcek-microsoft"}
# The check that must name the fault of each derived case.
DERIVED_FAILS = {
    "cross-product-vcek": "hw.product",
    "key-info-says-vlek": "hw.certificate",
    "len-0x2a0": "hw.report",
    "len-1183": "hw.report",
    "measurement-byte-flip": "hw.signature",
    "report-data-byte-flip": "hw.signature",
    "sig-algo-0": "hw.report",
    "sig-big-endian-48": "hw.signature",
    "sig-r-plus-n": "hw.report",
    "vcek-report-with-vlek": "hw.certificate",
    "vcek-tampered-spl": "hw.chain",
    "version-1": "hw.report",
    "version-max": "hw.report",
    "with-msg-report-rsp-header": "hw.report",
}


@dataclass(frozen=True)
class Case:
    """One vector. `files` are paths below the vectors folder: report, vek, intermediate, root."""

    id: str
    files: dict[str, str]
    at: datetime
    record: dict[str, Any]

    def evidence(self, folder: Path) -> Evidence:
        read = {name: (folder / path).read_bytes() for name, path in self.files.items()}
        return Evidence(read["report"], Endorsements(read["vek"], read["intermediate"], read["root"]))

    @property
    def expected(self) -> dict[str, Any]:
        verdict: dict[str, Any] = self.record["expected_verdict"]
        return verdict


def all_cases(manifest: dict[str, Any]) -> list[Case]:
    """Every report and derived case; a derived one inherits its original's certificates and time."""
    reports = {row["id"]: row for row in manifest["reports"]}
    cases = [
        Case(row["id"], row["files"], datetime.fromisoformat(row["verification_time"]), row) for row in reports.values()
    ]
    for row in manifest["derived"]:
        # milan-v3-vcek-microsoft itself is not among the files; its time lies in its certificate's validity.
        origin = reports.get(row["derived_from"], reports["genoa-v3-vcek-microsoft"])
        line = row["derived_from"].split("-")[0]
        files = row["files"] | {"intermediate": f"roots/ask-{line}.der", "root": f"roots/ark-{line}.der"}
        cases.append(Case(row["id"], files, datetime.fromisoformat(origin["verification_time"]), row))
    return cases
