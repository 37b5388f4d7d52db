"""Where the log has an answer: its receipt, the decision that routed it, who saw both, and one history (SPEC §15.9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tee.canonical import digest, kind_of, parse_json, shown
from tee.errors import Malformed
from tee.evidence import Check, Outcome, failed, passed, skipped
from tee.keys.identity import hex_bytes, require_members
from tee.log.block import route_indices
from tee.log.checkpoint import Checkpoint, open_checkpoint
from tee.log.entry import parse_entry
from tee.log.history import Links, judge_history
from tee.log.judge import check_quorum, demands_witnesses, log_key
from tee.log.note import NoteKey, parse_note
from tee.log.proof import parse_leaf_proof, verify_leaf
from tee.log.receipt import Receipt, parse_receipt
from tee.log.witnesses import WitnessPolicy
from tee.quote import Quote, decode_base64, encode_text

RECEIPT, ROUTE, WITNESS, CONSISTENCY = CHECKS = (
    "receipt.log",
    "receipt.route",
    "receipt.witness",
    "receipt.consistency",
)
MAX_PROOF_SIZE = 1 << 19  # two leaves with their proofs
_EPOCH = re.compile(r"/[0-9a-f]{16}\Z")  # what follows the origin of a log from its second epoch on (SPEC §15.7)


@dataclass(frozen=True, slots=True)
class Place:
    """A leaf that was proven to stand in the log: where, in which tree, and the note with that tree's root."""

    leaf: str
    index: int
    commitment: str | None
    key: NoteKey
    checkpoint: Checkpoint
    note: bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is known: the verifier's own witnesses, and the log's consistency proofs. None: not given."""

    witnesses: WitnessPolicy | None = None
    links: Links | None = None


NOTHING_ELSE = Surroundings()


def required_of(around: Surroundings) -> frozenset[str]:
    """Own witnesses bind the receipt's checkpoint too; all else a verdict may go without."""
    return frozenset({WITNESS} if demands_witnesses(around.witnesses) else ())


def judge_receipt_log(
    quote: Quote, receipt: bytes, response: bytes | None, proof: bytes | None, around: Surroundings
) -> list[Check]:
    """The checks of `proof`, which is what the gateway serves of the receipt's place; None if it is not at hand."""
    if quote.workload.log is None:
        return _skips("the workload names no transparency log")
    if proof is None:
        return _skips("no proof from the log was given")
    try:
        parsed = parse_receipt(receipt)
        signed = digest(parsed.document)
    except Malformed:
        return _skips("the receipt does not parse")
    try:
        key, whole = log_key(quote.workload.log), _parse_proof(proof)
        place = _find_receipt(key, parsed, signed, whole)
    except Malformed as error:
        broken = failed(RECEIPT, f"{error.field}: {error.found}", error.wanted)
        return [broken, *(skipped(check_id, "the receipt's place in the log is not proven") for check_id in CHECKS[1:])]
    stands = passed(RECEIPT, f"leaf {place.index} of {place.checkpoint.size}", f"a leaf that commits to {signed}")
    route, decided = _check_route(key, parsed, whole["route"], place, response)
    places = [place] if decided is None else [place, decided]
    return [
        stands,
        route,
        _check_witness(places, around.witnesses),
        _check_consistency(quote, key, places, around.links),
    ]


def trees_of(quote: Quote, receipt: bytes, proof: bytes) -> list[Checkpoint]:
    """The trees that a history must join: those of the quote, the receipt and the route. Raises Malformed."""
    if quote.workload.log is None:
        return []
    key, parsed, whole = log_key(quote.workload.log), parse_receipt(receipt), _parse_proof(proof)
    place = _find_receipt(key, parsed, digest(parsed.document), whole)
    _, decided = _check_route(key, parsed, whole["route"], place, None)
    return _trees(quote, key, [place] if decided is None else [place, decided])


def _skips(why: str) -> list[Check]:
    return [skipped(check_id, why) for check_id in CHECKS]


def _parse_proof(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_PROOF_SIZE:
        raise Malformed("proof", f"{len(raw)} bytes", f"at most {MAX_PROOF_SIZE}")
    whole = parse_json(raw, "proof")
    require_members(whole, {"document", "receipt", "route"}, "proof")
    require_members(whole["document"], {"receipt_id", "receipt_digest", "salt"}, "proof.document", exact=True)
    return dict(whole)


def _find_receipt(key: NoteKey, receipt: Receipt, signed: str, whole: dict[str, Any]) -> Place:
    """The place of this very receipt. Raises Malformed."""
    document = whole["document"]
    for name, value in (("receipt_digest", signed), ("receipt_id", receipt.receipt_id)):
        if document[name] != value:
            raise Malformed(f"proof.document.{name}", shown(document[name]), f"{value}, this receipt")
    hex_bytes(document["salt"], 32, "proof.document.salt")
    place = open_leaf(whole["receipt"], "receipt", key)
    require_commitment(place, "receipt", digest(document))
    return place


def _check_route(
    key: NoteKey, receipt: Receipt, shown_leaf: Any, place: Place, response: bytes | None
) -> tuple[Check, Place | None]:
    """The log held the decision before it held the receipt, at the index that the answer names."""
    event = receipt.events.get("route")
    if event is None and shown_leaf is None:
        return skipped(ROUTE, "the receipt has no route: the call was refused before one was chosen"), None
    if event is None:
        return failed(ROUTE, "the proof of a route", "none: the receipt has no route"), None
    if shown_leaf is None:
        why = "an earlier epoch of the log may hold it, of which the gateway gave no proof"
        return failed(ROUTE, "no proof of the route", "one: the receipt has a route", why), None
    try:
        committed = digest(event)
        hex_bytes(event.get("salt"), 32, "receipt.event_log.route.salt")
        decided = open_leaf(shown_leaf, "route", key)
        require_commitment(decided, "route", committed)
        _require_planned(event, receipt.events)
        reason = _require_order(decided, place, route_indices(response or b""))
    except Malformed as error:
        return failed(ROUTE, f"{error.field}: {error.found}", error.wanted), None
    found = f"leaf {decided.index} of {decided.checkpoint.size}"
    return passed(ROUTE, found, f"a leaf that commits to {committed}", reason), decided


def _require_planned(route: dict[str, Any], events: Mapping[str, dict[str, Any]]) -> None:
    """That only those were asked whom the logged decision names, and that the one who answered was sent what was
    forwarded. Raises Malformed.
    """
    attempts = events.get("attempts")
    if attempts is None:
        return
    log = "receipt.event_log"
    others = _rows(route.get("fallback", []), f"{log}.route.fallback")
    planned = [_asked(row, f"{log}.route") for row in (route, *others)]
    tried = _rows(attempts.get("tried"), f"{log}.attempts.tried")
    for at, row in enumerate(tried):
        place = f"{log}.attempts.tried[{at}]"
        if _asked(row, place) not in planned:
            raise Malformed(place, "a provider or a model that the route does not name", "one that it names")
    answered, place = attempts.get("answered"), f"{log}.attempts.answered"
    if answered is None:
        return
    if isinstance(answered, bool) or answered not in range(len(tried)):
        raise Malformed(place, "another value", "the number of an attempt, or null")
    if tried[int(answered)].get("body_hash") != events.get("request.forwarded", {}).get("body_hash"):
        raise Malformed(place, "an attempt with another body", "the one whose body is that of request.forwarded")


def _rows(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(path, kind_of(value), "a list")
    return value


def _asked(row: Any, path: str) -> list[str]:
    """Whom a row names: provider and its own name of the model."""
    names = ["provider_id", "upstream_model"]
    require_members(row, set(names), path)
    for name in names:
        if not isinstance(row[name], str):
            raise Malformed(f"{path}.{name}", kind_of(row[name]), "text")
    return [row[name] for name in names]


def _require_order(decided: Place, place: Place, named: list[Any]) -> str:
    """That route comes before receipt, and where the answer says; what of that cannot be told. Raises Malformed."""
    same = decided.key == place.key
    if same and decided.index >= place.index:
        raise Malformed("proof.route", f"leaf {decided.index}", f"one before {place.index}, the receipt's leaf")
    for index in named:
        if type(index) is not int or index != decided.index:
            raise Malformed("response.rekor_index", shown(index), f"{decided.index}, the route's leaf")
    untold = [] if same else [f"it stands in another epoch, {decided.key.name}: which leaf came first cannot be told"]
    return "; ".join(untold + ([] if named else ["the response names no leaf to compare with"]))


def open_leaf(value: Any, name: str, key: NoteKey) -> Place:
    """A leaf that its proof leads to a checkpoint of this log or, but a receipt, of another epoch. Raises Malformed."""
    path = f"proof.{name}"
    require_members(value, {"leaf_b64", "proof"}, path, exact=True)
    leaf = decode_base64(value["leaf_b64"], f"{path}.leaf_b64")
    entry = parse_entry(leaf, f"{path}.leaf_b64")
    proof = parse_leaf_proof(encode_text(value["proof"], f"{path}.proof"), f"{path}.proof")
    if name != "receipt":
        key = _key_of_epoch(key, proof.checkpoint, f"{path}.proof.checkpoint")
    checkpoint = verify_leaf(leaf, proof, key, f"{path}.proof")
    if entry.index != proof.index:
        raise Malformed(path, f"leaf {entry.index} by its own word", f"{proof.index}, by the proof")
    commitment = entry.body.get("commitment") if entry.type == name else None
    return Place(name, proof.index, commitment, key, checkpoint, proof.checkpoint)


def require_commitment(place: Place, name: str, committed: str) -> None:
    """That the leaf at this place is of that type and commits to this. Raises Malformed."""
    if place.commitment != committed:
        found = f"a leaf that commits to {shown(place.commitment)}" if place.commitment else "a leaf of another type"
        raise Malformed(f"proof.{name}", found, f"one of type {name}, {committed}")


def _key_of_epoch(key: NoteKey, note: bytes, field: str) -> NoteKey:
    """The same key under the origin that this note names, where that is an epoch of this log; else the key."""
    origin = parse_note(note, field).text.partition("\n")[0]
    return replace(key, name=origin) if _EPOCH.sub("", origin) == _EPOCH.sub("", key.name) else key


def _check_witness(places: list[Place], policy: WitnessPolicy | None) -> Check:
    """The quorum of the verifier's policy cosigned every checkpoint that the proof leads to."""
    if policy is None:
        return skipped(WITNESS, "no witness policy was given")
    if not demands_witnesses(policy):
        return skipped(WITNESS, "your witness policy asks for no witness")
    checks = [check_quorum(WITNESS, at.note, at.key, policy, f"proof.{at.leaf}.proof.checkpoint") for at in places]
    for check, place in zip(checks, places, strict=True):
        if check.outcome is Outcome.FAIL:
            return replace(check, reason=f"the checkpoint of the {place.leaf}'s leaf")
    return checks[0]


def _check_consistency(quote: Quote, key: NoteKey, places: list[Place], links: Links | None) -> Check:
    """The trees of the quote, the receipt and the route are beginnings of one another."""
    try:
        trees = _trees(quote, key, places)
    except Malformed:
        return skipped(CONSISTENCY, "the quote's checkpoint does not verify")
    return judge_history(CONSISTENCY, trees, links)


def _trees(quote: Quote, key: NoteKey, places: list[Place]) -> list[Checkpoint]:
    if quote.log is None:
        raise Malformed("quote.log", "null", "the log that the workload names")
    first = open_checkpoint(quote.log.checkpoint, key, "quote.log.checkpoint").checkpoint
    return [first, *(place.checkpoint for place in places if place.key == key)]
