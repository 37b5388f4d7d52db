"""The evidence of one answer: its receipt, its place in the log, and what joins that log's trees; fetched or stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tee.canonical import Json, kind_of
from tee.client.fetch import fetch_consistency, fetch_epoch, fetch_receipt_proof
from tee.errors import Malformed
from tee.evidence import Outcome
from tee.keys.identity import WorkloadLog, require_members
from tee.log.history import Links, encode_links, gaps, parse_links
from tee.log.judge import log_key
from tee.log.receipt_log import WITNESS, Surroundings, judge_receipt_log, trees_of
from tee.log.witnesses import WitnessPolicy
from tee.quote import Quote, decode_base64, encode_base64


@dataclass(frozen=True, slots=True)
class AnswerEvidence:
    """A receipt as served, what the log shows of it, and the rest that it is judged by; None: not at hand.

    `headers` are the answer's own, `checkpoint_quote` that of the keyset which the receipt's stream checkpoint names.
    """

    receipt: bytes
    proof: bytes | None = None
    links: Links | None = None
    headers: bytes | None = None
    checkpoint_quote: Json = None


def encode_answer(answer: AnswerEvidence) -> dict[str, Json]:
    """The member `answer` of a bundle (SPEC §4.6)."""
    return {
        "receipt_b64": encode_base64(answer.receipt),
        "proof_b64": None if answer.proof is None else encode_base64(answer.proof),
        "consistency": None if answer.links is None else encode_links(answer.links),
        "headers_b64": None if answer.headers is None else encode_base64(answer.headers),
        "checkpoint_quote": answer.checkpoint_quote,
    }


def decode_answer(value: Any) -> AnswerEvidence:
    """An answer's evidence from a bundle. Raises Malformed."""
    path = "bundle.answer"
    require_members(value, {"receipt_b64", "proof_b64", "consistency", "headers_b64", "checkpoint_quote"}, path)
    proof, links, headers = value["proof_b64"], value["consistency"], value["headers_b64"]
    quote = value["checkpoint_quote"]
    if not isinstance(quote, dict | None):
        raise Malformed(f"{path}.checkpoint_quote", kind_of(quote), "a quote or null")
    return AnswerEvidence(
        decode_base64(value["receipt_b64"], f"{path}.receipt_b64"),
        None if proof is None else decode_base64(proof, f"{path}.proof_b64"),
        None if links is None else parse_links(links, f"{path}.consistency"),
        None if headers is None else decode_base64(headers, f"{path}.headers_b64"),
        quote,
    )


def fetch_place(
    origin: str, receipt: bytes, receipt_id: str, api_key: str, quote: Quote, witnesses: WitnessPolicy | None
) -> bytes | None:
    """What the log shows of this receipt, once no witness is missing who may still come. Raises Unavailable."""

    def seen(proof: bytes) -> bool:
        checks = judge_receipt_log(quote, receipt, None, proof, Surroundings(witnesses))
        return all(check.id != WITNESS or check.outcome is not Outcome.FAIL for check in checks)

    return None if quote.workload.log is None else fetch_receipt_proof(origin, receipt_id, api_key, seen)


def fetch_links(origin: str, quote: Quote, answer: AnswerEvidence, live_log: WorkloadLog | None) -> Links | None:
    """The proofs that join the trees of quote, receipt and route; what is there already where none can be asked for.

    A log that is not the live one may be a passed epoch, which the gateway lists. Raises Unavailable, Malformed.
    """
    log = quote.workload.log
    if answer.proof is None or log is None:
        return answer.links
    try:
        steps, key = gaps(trees_of(quote, answer.receipt, answer.proof)), log_key(log)
    except Malformed:
        return answer.links  # receipt.log or log.inclusion names the fault
    epoch = None if log == live_log or not steps else fetch_epoch(origin, key)
    if steps and epoch is None and log != live_log:
        return answer.links
    return {step: fetch_consistency(origin, *step, epoch) for step in steps}
