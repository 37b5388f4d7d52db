"""Writes the test vectors from fixed seeds; `--check` compares instead, and fails on any difference."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.vectors import (
    faults_announcement,
    faults_answer,
    faults_bundle,
    faults_chain,
    faults_cose,
    faults_guest,
    faults_head,
    faults_history,
    faults_json,
    faults_leaf,
    faults_log,
    faults_manifest,
    faults_nitro,
    faults_nitro_chain,
    faults_place,
    faults_policy,
    faults_quote,
    faults_report,
    faults_routed,
    faults_stream,
    faults_table,
    faults_tcb,
)
from tests.vectors.world import Vector, b64

FOLDER = Path(__file__).resolve().parent
STAGES = (
    "report",
    "quote",
    "answer",
    "head",
    "manifest",
    "policy",
    "json",
    "table",
    "tcb",
    "log",
    "announcement",
    "place",
)
# Each group numbers its vectors from its own hundred, so that a new one moves few names.
GROUPS: list[tuple[int, Callable[[], Iterator[Vector]]]] = [
    (0, faults_report.good),
    (100, faults_report.reserved),
    (160, faults_report.words),
    (190, faults_report.signatures),
    (220, faults_report.products),
    (240, faults_report.kinds),
    (250, faults_report.certified_versions),
    (270, faults_report.chips),
    (300, faults_guest.launch_policy),
    (320, faults_guest.permissions),
    (340, faults_guest.platform),
    (360, faults_guest.lattice),
    (380, faults_guest.floors),
    (405, faults_guest.default_floors),
    (420, faults_guest.mitigations),
    (430, faults_guest.expected_values),
    (460, faults_guest.clouds),
    (490, faults_guest.firmware_versions),
    (500, faults_leaf.extensions),
    (540, faults_leaf.authority_extensions),
    (555, faults_leaf.chip_extensions),
    (570, faults_leaf.encodings),
    (605, faults_chain.names),
    (615, faults_chain.issuers),
    (640, faults_chain.algorithms),
    (660, faults_chain.keys),
    (680, faults_chain.links),
    (690, faults_chain.validity),
    (700, faults_chain.revocation),
    (720, faults_chain.lists),
    (735, faults_chain.sizes),
    (740, faults_chain.entries),
    (750, faults_chain.roots),
    (0, faults_quote.good),
    (100, faults_quote.members),
    (160, faults_quote.spellings),
    (200, faults_quote.statements),
    (230, faults_quote.keysets),
    (240, faults_quote.keyset_members),
    (280, faults_quote.workloads),
    (320, faults_quote.identities),
    (340, faults_quote.circumstances),
    (370, faults_quote.stale),
    (400, faults_nitro.good),
    (420, faults_nitro.demands),
    (440, faults_nitro.shapes),
    (470, faults_cose.envelopes),
    (510, faults_cose.spellings),
    (550, faults_cose.fields),
    (610, faults_cose.signatures),
    (630, faults_nitro_chain.chains),
    (650, faults_nitro_chain.certificates),
    (700, faults_nitro.bindings),
    (730, faults_nitro.images),
    (760, faults_nitro.amazon),
    (800, faults_nitro.bare),
    (850, faults_log.good),
    (860, faults_log.inclusions),
    (900, faults_log.startups),
    (930, faults_log.keys),
    (950, faults_log.shapes),
    (0, faults_history.good),
    (100, faults_history.cosignatures),
    (200, faults_history.policies),
    (300, faults_history.memories),
    (0, faults_announcement.good),
    (100, faults_announcement.ages),
    (200, faults_announcement.leaves),
    (300, faults_announcement.proofs),
    (400, faults_announcement.files),
    (500, faults_announcement.firmware),
    (400, faults_announcement.policies),
    (0, faults_place.good),
    (100, faults_place.receipts),
    (120, faults_place.proofs),
    (160, faults_place.routes),
    (200, faults_place.quorums),
    (220, faults_place.histories),
    (240, faults_place.shapes),
    (280, faults_place.attempts),
    (260, faults_bundle.good),
    (265, faults_bundle.faults),
    (275, faults_bundle.shapes),
    (0, faults_answer.good),
    (100, faults_answer.bodies),
    (120, faults_answer.events_of),
    (160, faults_answer.signatures),
    (200, faults_answer.members),
    (240, faults_answer.quotes),
    (400, faults_stream.good),
    (410, faults_stream.contradictions),
    (420, faults_stream.signatures),
    (430, faults_stream.members),
    (460, faults_routed.policies),
    (500, faults_routed.scans),
    (0, faults_head.good),
    (20, faults_head.contradictions),
    (40, faults_head.signatures),
    (70, faults_head.heads),
    (0, faults_manifest.good),
    (100, faults_manifest.given),
    (120, faults_manifest.signatures),
    (160, faults_manifest.sequences),
    (200, faults_manifest.retirements),
    (240, faults_manifest.builds),
    (260, faults_manifest.images),
    (280, faults_manifest.spellings),
    (320, faults_manifest.members),
    (400, faults_manifest.rows),
    (460, faults_manifest.values),
    (0, faults_policy.good),
    (100, faults_policy.faults),
    (300, faults_policy.firmware),
    (340, faults_manifest.policies),
    (0, faults_json.good),
    (100, faults_json.unreadable),
    (200, faults_json.ambiguous),
    (0, faults_table.good),
    (100, faults_table.faults),
    (0, faults_tcb.good),
    (100, faults_tcb.bulletins),
    (200, faults_tcb.steppings),
    (220, faults_tcb.accepted),
    (300, faults_tcb.updates),
    (320, faults_tcb.envelopes),
    (340, faults_tcb.documents),
]


def _dump(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def generate() -> dict[str, str]:
    """The text of every file, by its path below this folder."""
    files: dict[str, str] = {}
    collateral: dict[str, str] = {}
    for base, group in GROUPS:
        for number, vector in enumerate(group(), base):
            path = f"{vector.stage}/{number:03d}-{vector.slug}.json"
            head = f"{vector.stage}/{number:03d}-"
            if any(name.startswith(head) for name in files):
                raise ValueError(f"{path}: its number is taken")
            files[path] = _dump(vector.body)
            for blob in vector.blobs:
                if collateral.setdefault(blob.name, b64(blob.raw)) != b64(blob.raw):
                    raise ValueError(f"{path}: two different {blob.name}")
    return files | {"collateral.json": _dump(dict(sorted(collateral.items())))}


def _written() -> set[str]:
    below = {path.relative_to(FOLDER).as_posix() for stage in STAGES for path in (FOLDER / stage).rglob("*")}
    return below | {path.name for path in FOLDER.glob("collateral.json")}


def check(files: dict[str, str]) -> list[str]:
    """What differs between these files and the ones on disk."""
    found = _written()
    faults = [f"{name}: not on disk" for name in files.keys() - found]
    faults += [f"{name}: not generated" for name in found - files.keys()]
    faults += [f"{name}: differs" for name in files.keys() & found if (FOLDER / name).read_text() != files[name]]
    return sorted(faults)


def write(files: dict[str, str]) -> None:
    for name in _written() - files.keys():
        (FOLDER / name).unlink()
    for name, text in files.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)


def main() -> int:
    files = generate()
    if "--check" not in sys.argv[1:]:
        write(files)
        print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")
        return 0
    faults = check(files)
    print("\n".join(faults) or f"{len(files)} files, as generated")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
