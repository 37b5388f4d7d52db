"""What `saferouter verify` judges: a gateway, a bundle, and an answer with all that can be fetched of it."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from tee.canonical import Json
from tee.client.answer import AnswerEvidence, decode_answer, fetch_links, fetch_place
from tee.client.fetch import fetch_announcement, fetch_consistency, fetch_past_quote, fetch_quote, fetch_receipt
from tee.client.log_memory import load_log, remember_log
from tee.errors import Malformed, Unavailable
from tee.evidence import Verdict
from tee.keys.identity import WorkloadLog
from tee.log.judge import Earlier, SeenLog, seen_log
from tee.log.receipt import parse_receipt
from tee.log.receipt_log import Surroundings
from tee.log.stream import checkpoint_of
from tee.origin import parse_origin
from tee.quote import Bundle, Quote, decode_quote, parse_bundle
from tee.terminal import printable, read_file
from tee.verify import verify_answer, verify_quote

MAX_ROUNDS = 5  # in each, another process has changed what is remembered of this very log


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gave of one answer."""

    receipt: str | None
    proof: Path | None
    request: Path | None
    response: Path | None
    headers: Path | None
    key_file: Path | None
    key_default: str = field(repr=False)  # of the environment, where no file is named

    def stored(self, bundle: Bundle | None) -> AnswerEvidence | None:
        """The answer's evidence as far as it lies in files; None where a gateway must be asked, or nothing was."""
        if self.receipt is not None:
            path = Path(self.receipt)
            return self.given(AnswerEvidence(read_file(path))) if path.is_file() else None
        if bundle is None or bundle.answer is None or not self.beside():
            return None
        return self.given(decode_answer(bundle.answer))

    def given(self, answer: AnswerEvidence) -> AnswerEvidence:
        """The same with the proof and the head that were given as files, if they were."""
        proof = answer.proof if self.proof is None else read_file(self.proof)
        headers = answer.headers if self.headers is None else read_file(self.headers)
        return replace(answer, proof=proof, headers=headers)

    def beside(self) -> bool:
        """Whether anything was given that only a receipt can vouch for."""
        return any((self.proof, self.request, self.response, self.headers))

    def require_receipt(self, stored: AnswerEvidence | None) -> None:
        """Bodies or a proof without a receipt must not look checked. Raises Malformed."""
        if self.receipt is None and stored is None and self.beside():
            wanted = "the receipt's id (header X-Receipt-Id) or its file: the rest is checked against it"
            raise Malformed("--receipt", "nothing", wanted)

    def api_key(self) -> str:
        """The key that made the call. Raises Malformed."""
        given = self.key_file
        key = read_file(given).decode(errors="replace").strip() if given else self.key_default
        if not key:
            raise Malformed("--key-file", "nothing", "the API key that made the call: only it may read the receipt")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise Malformed("--key-file", "no single line of printable ASCII", "the API key, and nothing else")
        return key

    def bodies(self) -> tuple[bytes | None, bytes | None]:
        """Request and response."""
        request, response = (read_file(path) if path else None for path in (self.request, self.response))
        return request, response


@dataclass(frozen=True, slots=True)
class Judged:
    """A quote with its verdict; `live` if it answered a nonce of ours just now."""

    origin: str
    document: Json
    live: bool
    verdict: Verdict
    settings: dict[str, Any]
    answer: AnswerEvidence | None = None


def judge(
    target: str,
    asked: Asked,
    now: dt.datetime,
    asserted: bool,
    settings: dict[str, Any],
    seen_logs: Path | None,
    accept_new_log: bool,
) -> Judged:
    """Judge a gateway by its URL or a bundle by its file, and the answer that was asked for. Raises TeeError.

    `asserted`: `now` is the user's own word. Without it, what was kept with an answer is judged at the answer's time:
    the keys of that day have ended long ago.
    """
    bundle = None if "://" in target else _load_bundle(target)
    stored = asked.stored(bundle)
    asked.require_receipt(stored)
    whose = "asserted by you" if asserted else None
    if bundle is None:
        judged = _judge_gateway(target, now, settings, seen_logs, accept_new_log)
    else:
        signed_at = None if asserted or stored is None else _time_of(stored.receipt)
        if signed_at is not None and signed_at <= now:
            now, whose = signed_at, "as the receipt asserts"
        judged = _judge_bundle(bundle, now, settings)
    if whose is not None:
        judged = replace(judged, verdict=with_asserted_time(judged.verdict, now, whose))
    # A gateway whose evidence failed is shown no API key.
    if (asked.receipt is not None or stored is not None) and judged.verdict.outcome != "rejected":
        return _judge_answer(judged, asked, stored)
    if bundle is not None and bundle.answer is not None and asked.receipt is None and stored is None:
        line = "receipt.*: the bundle holds an answer's receipt, which was not judged: give --request and --response"
        return replace(judged, verdict=replace(judged.verdict, not_proven=(*judged.verdict.not_proven, line)))
    return judged


def _load_bundle(target: str) -> Bundle:
    if not Path(target).exists():
        raise Malformed(target, "no such file", "a saved bundle, or a URL that starts with http:// or https://")
    return parse_bundle(read_file(Path(target)))


def _judge_bundle(bundle: Bundle, now: dt.datetime, settings: dict[str, Any]) -> Judged:
    """Judge a stored quote. A file's own word about where it came from is no origin that we used."""
    settings = settings | {"audience": None}
    verdict = verify_quote(bundle.document, now=now, nonce=None, **settings)
    return Judged(bundle.origin, bundle.document, False, verdict, settings)


def _judge_gateway(
    url: str, now: dt.datetime, settings: dict[str, Any], seen_logs: Path | None, accept_new_log: bool
) -> Judged:
    """Fetch the quote of a gateway and judge it; its log is remembered."""
    origin, nonce = parse_origin(url), secrets.token_bytes(32)
    document, settings = fetch_quote(origin, nonce), settings | {"audience": origin}
    if settings["announcement"] is None and settings["policy"] and settings["policy"].announcement:
        settings["announcement"] = fetch_announcement(origin)
    if seen_logs is None:
        return Judged(origin, document, True, verify_quote(document, now=now, nonce=nonce, **settings), settings)
    for _ in range(MAX_ROUNDS):
        known = load_log(seen_logs, origin)
        earlier = None if known is None or accept_new_log else _joined(origin, document, known)
        verdict = verify_quote(document, now=now, nonce=nonce, earlier=earlier, **settings)
        seen = None if verdict.outcome == "rejected" else seen_log(decode_quote(document))
        try:
            if seen is None or remember_log(seen_logs, origin, known, seen):
                break
        except Unavailable as error:
            typer.echo(f"saferouter: {printable(str(error))}", err=True)
            break
    else:
        raise Unavailable(str(seen_logs), "it changes all the time: other verifiers are at work", retryable=True)
    return Judged(origin, document, True, verdict, settings)


def _joined(origin: str, document: Json, seen: SeenLog) -> Earlier:
    """What was seen of this gateway's log, with the proof that leads from there to here, or back."""
    try:
        now = seen_log(decode_quote(document))
    except Malformed:
        now = None  # bind.quote or log.inclusion names the fault
    if now is None or now.vkey != seen.vkey or now.size == seen.size:
        return Earlier(seen, None)
    return Earlier(seen, fetch_consistency(origin, *sorted((seen.size, now.size))))


def _judge_answer(judged: Judged, asked: Asked, stored: AnswerEvidence | None) -> Judged:
    """Add the receipt's checks; one of an earlier boot is judged under that boot's own evidence."""
    answer, key = stored, ""
    if answer is None:
        if not judged.live:
            raise Malformed("--receipt", "no such file", "the receipt's file: an id needs a live gateway")
        key = asked.api_key()
        answer = asked.given(AnswerEvidence(fetch_receipt(judged.origin, asked.receipt or "", key)))
    live_log = decode_quote(judged.document).workload.log
    past = _past_quote(judged, answer.receipt)
    if past is not None:
        judged = _judge_past(judged, *past)
    witnesses = judged.settings["witnesses"]
    if judged.live:
        answer = _located(judged, asked, answer, key, live_log)
    request, response = asked.bodies()
    earlier = _checkpoint_quote(judged, answer)
    answer = replace(answer, checkpoint_quote=None if earlier is None else earlier[1])
    around = Surroundings(witnesses, answer.links)
    beside: dict[str, Any] = {"earlier": earlier, "headers": answer.headers, "around": around}
    verdict = verify_answer(judged.verdict, judged.document, answer.receipt, request, response, answer.proof, **beside)
    return replace(judged, verdict=verdict, answer=answer)


def _located(
    judged: Judged, asked: Asked, answer: AnswerEvidence, key: str, live_log: WorkloadLog | None
) -> AnswerEvidence:
    """The same with what the gateway shows of its place in the log; by a file or, with the caller's key, by asking."""
    quote = _quote_of(judged.document)
    if quote is None:
        return answer
    if asked.proof is None and key:
        witnesses = judged.settings["witnesses"]
        place = fetch_place(judged.origin, answer.receipt, asked.receipt or "", key, quote, witnesses)
        answer = replace(answer, proof=place)
    return replace(answer, links=fetch_links(judged.origin, quote, answer, live_log))


def _judge_past(judged: Judged, document: Json, served_at: dt.datetime) -> Judged:
    """An earlier keyset's stored evidence, at the receipt's time; its log must have grown into the one seen now."""
    now, then = (decode_quote(judged.document), _quote_of(document))
    seen = seen_log(now)
    same_log = seen is not None and then is not None and then.workload.log == now.workload.log
    earlier = _joined(judged.origin, document, seen) if same_log and seen is not None else None
    verdict = verify_quote(document, now=served_at, nonce=None, earlier=earlier, **judged.settings)
    return replace(judged, document=document, verdict=with_asserted_time(verdict, served_at, "as the receipt asserts"))


def _quote_of(document: Json) -> Quote | None:
    """None where it does not parse, which bind.quote will name."""
    try:
        return decode_quote(document)
    except Malformed:
        return None


def _time_of(receipt: bytes) -> dt.datetime | None:
    """When a receipt says that it was signed; None where it does not parse, which receipt.format will name."""
    try:
        return dt.datetime.fromtimestamp(parse_receipt(receipt).served_at, dt.UTC)
    except Malformed:
        return None


def with_asserted_time(verdict: Verdict, moment: dt.datetime, whose: str) -> Verdict:
    """The verdict with its time among what is not proven."""
    line = f"time: judged at {moment.isoformat(timespec='seconds')}, {whose}"
    return replace(verdict, not_proven=(*verdict.not_proven, line))


def _past_quote(judged: Judged, raw: bytes) -> tuple[Json, dt.datetime] | None:
    """The evidence of the earlier keyset that signed the receipt, and the receipt's time; None for this keyset."""
    try:
        receipt = parse_receipt(raw)
    except Malformed:
        return None  # receipt.format names the fault
    if not judged.live or receipt.keyset_digest == decode_quote(judged.document).keyset.digest:
        return None
    typer.echo(f"Signed under an earlier keyset, {receipt.keyset_digest}: fetching its evidence.", err=True)
    document = _fetch_keyset(judged, receipt.keyset_digest)
    return document and (document, dt.datetime.fromtimestamp(receipt.served_at, dt.UTC))


def _checkpoint_quote(judged: Judged, answer: AnswerEvidence) -> tuple[Verdict, Json] | None:
    """The judged evidence of the keyset that the receipt's stream checkpoint names, where it is not this one."""
    try:
        checkpoint, keyset = checkpoint_of(parse_receipt(answer.receipt)), decode_quote(judged.document).keyset
    except Malformed:
        return None  # bind.quote, receipt.format or receipt.stream names the fault
    if checkpoint is None or checkpoint.keyset_digest == keyset.digest:
        return None
    document = answer.checkpoint_quote
    if document is None and judged.live:
        document = _fetch_keyset(judged, checkpoint.keyset_digest)
    if document is None:
        return None
    signed_at = dt.datetime.fromtimestamp(checkpoint.time, dt.UTC)
    return verify_quote(document, now=signed_at, nonce=None, **judged.settings), document


def _fetch_keyset(judged: Judged, keyset_digest: str) -> Json | None:
    """The stored evidence of an earlier keyset; None if the gateway knows no such keyset. Raises Unavailable."""
    try:
        return fetch_past_quote(judged.origin, keyset_digest)
    except Unavailable as error:
        if error.retryable:
            raise
        return None  # receipt.keyset or receipt.stream says so by name
