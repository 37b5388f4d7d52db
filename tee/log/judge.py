"""What is in the log: the checks of a quote's checkpoint and `startup` leaf (SPEC §15.9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tee.canonical import digest, shown
from tee.errors import Malformed
from tee.evidence import Check, failed, judged, passed, skipped
from tee.keys.identity import WorkloadLog, digest_text, require_members
from tee.log.checkpoint import open_checkpoint
from tee.log.entry import LogEntry, parse_entry
from tee.log.merkle import verify_consistency
from tee.log.note import KeyType, NoteKey, parse_note_key
from tee.log.proof import LeafProof, verify_leaf
from tee.log.witnesses import NONE, WitnessPolicy
from tee.quote import LoggedStart, Quote
from tee.snp.chain import iso_seconds
from tee.snp.report import AttestationReport

CHECKS = ("log.inclusion", "log.startup", "log.witness", "log.consistency")
REQUIRED = frozenset(CHECKS[:2])  # wherever the workload names a log
INCLUSION, STARTUP, WITNESS, CONSISTENCY = CHECKS
_NAMED = {"keyset_digest", "workload_digest", "measurement", "report_digest", "audience", "build", "configuration"}


@dataclass(frozen=True, slots=True)
class SeenLog:
    """The newest checkpoint of a log that this verifier has seen: the log's vkey, the size and root of its tree."""

    vkey: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was seen before, and the proof that the smaller tree became the larger; None if the gateway gave none."""

    seen: SeenLog
    proof: tuple[bytes, ...] | None


def judge_log(
    quote: Quote, report: AttestationReport | None, witnesses: WitnessPolicy | None, earlier: Earlier | None
) -> list[Check]:
    """The `log.*` checks. A workload that names a log must show its start there, and one that names none shows none."""
    named, carried = quote.workload.log, quote.log
    if named is None and carried is None:
        return [skipped(check_id, "the workload names no transparency log") for check_id in CHECKS]
    if named is None or carried is None:
        found = "the quote shows no log" if carried is None else "the quote shows a log"
        wanted = f"{named.origin if named else 'none'}, as the workload document says"
        rest = [skipped(check_id, "quote and workload disagree") for check_id in CHECKS[1:]]
        return [failed(INCLUSION, found, wanted), *rest]
    return [
        _check_inclusion(named, carried),
        _check_startup(quote, carried, report),
        _check_witness(named, carried, witnesses),
        _check_consistency(named, carried, earlier),
    ]


def log_key(named: WorkloadLog) -> NoteKey:
    """The key of the workload's log. Raises Malformed."""
    field = "workload.log.vkey"
    key = parse_note_key(named.vkey, field)
    if key.kind is not KeyType.ED25519:
        raise Malformed(field, f"a key of type {key.kind.value}", "a log's key, of type 1")
    if key.name != named.origin:
        raise Malformed(field, f"the key of {shown(key.name)}", f"{named.origin}, the log's origin")
    return key


def _check_inclusion(named: WorkloadLog, carried: LoggedStart) -> Check:
    proof = LeafProof(carried.index, carried.proof, carried.checkpoint)
    try:
        checkpoint = verify_leaf(carried.leaf, proof, log_key(named), "quote.log")
    except Malformed as error:
        return failed(INCLUSION, f"{error.field}: {error.found}", error.wanted)
    found = f"leaf {carried.index} of {checkpoint.size}, root {checkpoint.root.hex()}"
    return passed(INCLUSION, found, f"the startup leaf in a checkpoint signed by {named.vkey}")


def _check_startup(quote: Quote, carried: LoggedStart, report: AttestationReport | None) -> Check:
    """The leaf says of this start what the quote says of itself."""
    if report is None:
        return skipped(STARTUP, "the report does not parse")
    try:
        entry = parse_entry(carried.leaf, "quote.log.startup.leaf_b64")
        said = _said(entry)
    except Malformed as error:
        return failed(STARTUP, f"{error.field}: {error.found}", error.wanted)
    workload = quote.workload
    wanted = {
        "index": str(carried.index),
        "keyset_digest": quote.keyset.digest,
        "workload_digest": workload.digest,
        "measurement": report.measurement.hex(),
        "audience": workload.audience,
        "build": digest(workload.document["build"]),
        "configuration": digest(workload.document["configuration"]),
    }
    for name, value in wanted.items():
        if said[name] != value:
            return failed(STARTUP, f"{name} {shown(said[name])} in the log", f"{value}, in the quote")
    time = iso_seconds(datetime.fromtimestamp(entry.time, UTC))
    return passed(STARTUP, f"logged at {time}, by the log's own clock", "this keyset, workload, measurement and build")


def seen_log(quote: Quote) -> SeenLog | None:
    """The log's tree as this quote shows it, for the next time; None where it shows none. Raises Malformed."""
    if quote.workload.log is None or quote.log is None:
        return None
    signed = open_checkpoint(quote.log.checkpoint, log_key(quote.workload.log), "quote.log.checkpoint")
    return SeenLog(quote.workload.log.vkey, signed.checkpoint.size, signed.checkpoint.root)


def _check_consistency(named: WorkloadLog, carried: LoggedStart, earlier: Earlier | None) -> Check:
    """The smaller of the two trees, that of the quote and the one seen before, is a beginning of the larger."""
    if earlier is None:
        return skipped(CONSISTENCY, "no earlier checkpoint of this log is known here")
    seen, proof = earlier.seen, earlier.proof
    if named.vkey != seen.vkey:
        why = "a new log may hide what the old one said; --accept-new-log accepts it"
        return failed(CONSISTENCY, f"log {named.vkey}", f"{seen.vkey}, seen before at this address", why)
    try:
        now = open_checkpoint(carried.checkpoint, log_key(named), "quote.log.checkpoint").checkpoint
        if now.size == seen.size:
            found, wanted = f"root {now.root.hex()} of {now.size} leaves", f"{seen.root.hex()}, seen before"
            why = "" if now.root == seen.root else "a split view: the log signed two trees of one size"
            return judged(CONSISTENCY, now.root == seen.root, found, wanted, why)
        sizes = f"{seen.size} leaves seen before and {now.size} now"
        if proof is None:
            return failed(CONSISTENCY, f"no proof for {sizes}", "one from the gateway")
        (old, old_root), (new, new_root) = sorted([(seen.size, seen.root), (now.size, now.root)])
        verify_consistency(old, old_root, new, new_root, proof)
    except Malformed as error:
        return failed(CONSISTENCY, f"{error.field}: {error.found}", error.wanted)
    return passed(CONSISTENCY, sizes, "one history")


def demands_witnesses(policy: WitnessPolicy | None) -> bool:
    """Whether the verifier's own policy wants a cosignature."""
    return policy is not None and policy.quorum != NONE


def _check_witness(named: WorkloadLog, carried: LoggedStart, policy: WitnessPolicy | None) -> Check:
    """The quorum of the verifier's policy cosigned the very checkpoint that the log signed."""
    if policy is None:
        return skipped(WITNESS, "no witness policy was given")
    if not demands_witnesses(policy):
        return skipped(WITNESS, "your witness policy asks for no witness")
    try:
        key = log_key(named)
    except Malformed as error:
        return failed(WITNESS, f"{error.field}: {error.found}", error.wanted)
    return check_quorum(WITNESS, carried.checkpoint, key, policy, "quote.log.checkpoint")


def check_quorum(check_id: str, note: bytes, key: NoteKey, policy: WitnessPolicy, field: str) -> Check:
    """The policy names this log, and its quorum cosigned this checkpoint of it."""
    try:
        times = policy.cosigned(open_checkpoint(note, key, field).note, field)
    except Malformed as error:
        return failed(check_id, f"{error.field}: {error.found}", error.wanted)
    if key not in policy.logs:
        return failed(check_id, f"log {key.encode()}", "a log that your witness policy names")
    rows = [f"{name} at {iso_seconds(datetime.fromtimestamp(time, UTC))}" for name, time in times.items()]
    return judged(check_id, policy.reached(set(times)), ", ".join(rows) or "no cosignature", policy.describe())


def _said(entry: LogEntry) -> dict[str, str]:
    """What a startup leaf names, each as one text. Raises Malformed."""
    field, body = "quote.log.startup.leaf_b64", entry.body
    if entry.type != "startup":
        raise Malformed(f"{field}.type", shown(entry.type), "startup")
    require_members(body, _NAMED, f"{field}.body", exact=True)
    digest_text(body["report_digest"], f"{field}.body.report_digest")
    plain = {name: body[name] for name in ("keyset_digest", "workload_digest", "measurement", "audience")}
    for name, value in plain.items():
        if not isinstance(value, str):
            raise Malformed(f"{field}.body.{name}", shown(value), "text")
    objects = {name: digest(body[name]) for name in ("build", "configuration")}
    return {"index": str(entry.index), **plain, **objects}
