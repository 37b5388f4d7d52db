"""Fetching evidence and receipts from a gateway, bounded; only Unavailable and Malformed escape."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx2

from tee.canonical import Json, parse_json, shown
from tee.errors import Malformed, TeeError, Unavailable
from tee.log.announcement import MAX_ANNOUNCEMENT_SIZE
from tee.log.history import parse_link
from tee.log.listing import MAX_PAGE_SIZE, parse_epochs
from tee.log.note import NoteKey
from tee.log.receipt import MAX_RECEIPT_SIZE
from tee.log.receipt_log import MAX_PROOF_SIZE
from tee.origin import is_private_channel
from tee.quote import MAX_QUOTE_SIZE

TIMEOUT_SECONDS = 30.0  # a busy device may hold a report back for a while
MAX_CONSISTENCY_SIZE = 1 << 14  # at most some hundred hashes
PROOF_PAUSES = (0.0, 0.5, 0.5, 1.0, 1.0)  # seconds before each attempt: a log signs about once in a second
QUORUM_PAUSES = (2.0, 2.0, 2.0, 2.0, 2.0, 2.0)  # after them: witnesses follow within some seconds


def fetch_quote(origin: str, nonce: bytes) -> Json:
    """A fresh quote over a 32-byte nonce, unverified. Raises Unavailable, Malformed."""
    body = _fetch("POST", f"{origin}/attestation/quote", MAX_QUOTE_SIZE, json={"nonce": nonce.hex()})
    return parse_json(body, "quote")


def fetch_past_quote(origin: str, keyset_digest: str) -> Json:
    """The stored quote of an earlier keyset, unverified. Raises Unavailable, Malformed."""
    body = _fetch("GET", f"{origin}/attestation/keysets/{quote(keyset_digest, safe=':')}", MAX_QUOTE_SIZE)
    return parse_json(body, "quote")


def fetch_receipt(origin: str, receipt_id: str, api_key: str) -> bytes:
    """A receipt as served, unverified. Raises Unavailable, and Malformed for a wrong key or id."""
    if not is_private_channel(origin):
        raise Malformed("URL", f"{origin}, in clear", "https://: the API key would travel readable")
    url = f"{origin}/v1/aci/receipts/{quote(receipt_id, safe='')}"
    refusals = {
        401: Malformed("--key-file", "a key that the gateway does not know (401)", "the key that made the call"),
        404: Malformed("--receipt", "no receipt of that id under this key (404)", "the X-Receipt-Id of an ended call"),
    }
    return _fetch("GET", url, MAX_RECEIPT_SIZE, headers={"authorization": f"Bearer {api_key}"}, refusals=refusals)


def fetch_receipt_proof(origin: str, receipt_id: str, api_key: str, seen: Callable[[bytes], bool]) -> bytes | None:
    """Where the log has a receipt that was fetched already, unverified; None while no checkpoint holds it.

    A checkpoint follows within seconds, and the witnesses that `seen` misses soon after: so long this waits. Raises
    Unavailable.
    """
    url = f"{origin}/v1/aci/receipts/{quote(receipt_id, safe='')}/proof"
    headers, proof = {"authorization": f"Bearer {api_key}"}, None
    for number, pause in enumerate((*PROOF_PAUSES, *QUORUM_PAUSES)):
        if proof is None and number >= len(PROOF_PAUSES):
            return None
        time.sleep(pause)
        try:
            proof = _fetch("GET", url, MAX_PROOF_SIZE, headers=headers, refusals={404: _NotYet(url)})
        except _NotYet:
            continue
        if seen(proof):
            return proof
    return proof


def fetch_epoch(origin: str, key: NoteKey) -> int | None:
    """Which passed epoch of its log a gateway lists under this key; None: none. Raises Unavailable, Malformed."""
    url = f"{origin}/attestation/transparency"
    try:
        page = parse_json(_fetch("GET", url, MAX_PAGE_SIZE, refusals={404: _NotYet(url)}), "log")
    except _NotYet:
        return None
    return next((number for number, listed in parse_epochs(page) if listed == key), None)


def fetch_consistency(origin: str, old: int, new: int, epoch: int | None = None) -> tuple[bytes, ...] | None:
    """The hashes that should show one tree of the log to extend another; None where the gateway gives none.

    `epoch` is the number of a passed one, None for the live one. Raises Unavailable, Malformed.
    """
    place = "" if epoch is None else f"/epochs/{epoch}"
    url = f"{origin}/attestation/transparency{place}/consistency?from={old}&to={new}"
    try:
        body = _fetch("GET", url, MAX_CONSISTENCY_SIZE, refusals={404: _NotYet(url)})
    except _NotYet:
        return None
    sizes, proof = parse_link(parse_json(body, "consistency"), "consistency")
    if sizes != (old, new):
        raise Malformed("consistency", f"a proof from {sizes[0]} to {sizes[1]}", f"one from {old} to {new}")
    return proof


def fetch_announcement(origin: str) -> bytes | None:
    """What the gateway shows of its release's announcement, unverified; None if it shows none. Raises Unavailable."""
    url = f"{origin}/attestation/announcement"
    try:
        return _fetch("GET", url, MAX_ANNOUNCEMENT_SIZE, refusals={404: _NotYet(url)})
    except _NotYet:
        return None


class _NotYet(TeeError):
    """Nothing there, which may change within seconds."""


def _fetch(
    method: str,
    url: str,
    limit: int,
    json: Json = None,
    headers: dict[str, str] | None = None,
    refusals: Mapping[int, TeeError] | None = None,
) -> bytes:
    """One request, no redirects, at most `limit` bytes of answer."""
    try:
        with (
            httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream(method, url, json=json, headers=headers) as response,
        ):
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > limit:
                    raise Unavailable(url, f"answered more than {limit} bytes", retryable=False)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        # A protocol error may quote a header, and with it the key: only a connection's own words are shown.
        words = error if isinstance(error, httpx2.ConnectError) else type(error).__name__
        raise Unavailable(url, f"no answer, is it running? ({words})", retryable=True) from None
    if refusals and response.status_code in refusals:
        raise refusals[response.status_code]
    if response.status_code != 200:
        retryable = response.status_code in (429, 503)
        raise Unavailable(url, f"answered with status {response.status_code}{_words(body)}", retryable=retryable)
    return body


def _words(body: bytes) -> str:
    """What the server says of its refusal, if it is an error of OpenAI's shape: as text, and cut."""
    try:
        document = parse_json(body, "error")
    except Malformed:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return f", saying {shown(message)}" if isinstance(message, str) else ""
