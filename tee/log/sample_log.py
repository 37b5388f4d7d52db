"""What a holder of audit samples can check: the identity signed each, and the log commits to each (SPEC §15.14)."""

from __future__ import annotations

from typing import Any

from tee.canonical import digest, kind_of, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, passed, skipped
from tee.keys.identity import Workload, require_members, seconds
from tee.log.judge import log_key
from tee.log.note import NoteKey
from tee.log.receipt_log import open_leaf, require_commitment
from tee.log.sample import verify_sample

SIGNATURE, LOG = CHECKS = ("sample.signature", "sample.log")
MAX_SAMPLES = 100  # what a gateway serves in one answer


def samples_of(page: Any) -> list[dict[str, Any]]:
    """The rows of `GET /v1/audit/samples`, or the one row that was given. Raises Malformed."""
    rows = page["data"] if isinstance(page, dict) and page.get("object") == "list" and "data" in page else [page]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_SAMPLES:
        raise Malformed("samples", kind_of(rows), f"a list of 1 to {MAX_SAMPLES}: what GET /v1/audit/samples answered")
    for row in rows:
        require_members(row, {"document", "leaf"}, "samples")
        require_members(row["document"], {"receipt_id", "served_at"}, "samples.document")
        seconds(row["document"]["served_at"], "samples.document.served_at")
    return rows


def judge_samples(workload: Workload, rows: list[dict[str, Any]]) -> list[Check]:
    """The checks of rows as of `samples_of`, under the workload of a verified quote. The first fault is named."""
    wanted = f"the signature of identity {workload.identity_key.hex()}"
    for row in rows:
        try:
            verify_sample(row["document"], workload.identity_key)
        except Malformed as error:
            broken = failed(SIGNATURE, f"{_name(row)}: {error.field}: {error.found}", error.wanted)
            return [broken, skipped(LOG, "a sample is not this identity's")]
    signed = passed(SIGNATURE, f"{len(rows)} of {len(rows)} samples are signed", wanted)
    return [signed, _check_log(workload, rows)]


def _check_log(workload: Workload, rows: list[dict[str, Any]]) -> Check:
    if workload.log is None:
        return skipped(LOG, "the workload names no transparency log")
    for row in rows:
        if row["leaf"] is None:
            why = "no checkpoint held it yet, or its epoch is damaged: fetch it again in a moment"
            return skipped(LOG, f"{_name(row)} came without a leaf: {why}")
        try:
            _require_leaf(log_key(workload.log), row)
        except Malformed as error:
            return failed(LOG, f"{_name(row)}: {error.field}: {error.found}", error.wanted)
    return passed(LOG, f"{len(rows)} of {len(rows)} leaves stand in {workload.log.origin} or an epoch of it", "all")


def _require_leaf(key: NoteKey, row: dict[str, Any]) -> None:
    """That the log commits to this very sample, where the row says. Raises Malformed."""
    leaf = row["leaf"]
    require_members(leaf, {"epoch", "index", "leaf_b64", "proof"}, "samples.leaf")
    place = open_leaf({name: leaf[name] for name in ("leaf_b64", "proof")}, "audit", key)
    if leaf["index"] != place.index:
        raise Malformed("samples.leaf.index", shown(leaf["index"]), f"{place.index}, by the proof")
    require_commitment(place, "audit", digest(row["document"]))


def _name(row: dict[str, Any]) -> str:
    return shown(row["document"]["receipt_id"])
