"""What was tried for a call, as its receipt, its activity and its headers tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from gateway.attempts import Attempt
from gateway.candidates import Candidates
from gateway.draft import ReceiptDraft

_PLAIN = " !#$&'()*+,/:;=?@[]~"  # what a header can carry of a model's name as it is
_COME_AGAIN = (429, 503)  # statuses that a client is to retry, whatever was tried here


def with_attempts(
    draft: ReceiptDraft, candidates: Candidates, tried: Sequence[Attempt], answered: int | None
) -> ReceiptDraft:
    """The draft with the attempts (SPEC §7.1). `answered` is the candidate whose answer is passed on, if one is."""
    rows = [
        {
            "provider_id": candidates.routes[attempt.target].connector.id,
            "upstream_model": candidates.routes[attempt.target].model.upstream_model,
            "body_hash": candidates.body_hash(attempt.target),
            "status": attempt.status,
            "failure": attempt.failure,
            "milliseconds": attempt.milliseconds,
        }
        for attempt in tried
    ]
    number = max((at for at, attempt in enumerate(tried) if attempt.target == answered), default=None)
    if answered:
        draft = draft.forwarded(candidates.body_hash(answered))
    return draft.with_event("attempts", answered=number, tried=rows)


def encode_attempts(candidates: Candidates, tried: Sequence[Attempt]) -> str:
    """The same for the activity: JSON, by the names that the operator gave."""
    rows = [
        {
            "provider": candidates.routes[attempt.target].connector.id,
            "model": candidates.routes[attempt.target].model.id,
            "status": attempt.status,
            "failure": attempt.failure,
            "milliseconds": attempt.milliseconds,
        }
        for attempt in tried
    ]
    return json.dumps(rows, separators=(",", ":"))


def headers_of(candidates: Candidates, tried: Sequence[Attempt], answered: int | None, status: int) -> dict[str, str]:
    """What an answer's head says of it: who stood in for whom, and that trying again would only repeat all this."""
    headers: dict[str, str] = {}
    by = candidates.asked_for if answered is None else candidates.routes[answered].model.id
    if by != candidates.asked_for:
        asked_for, stood_in = (quote(name, safe=_PLAIN) for name in (candidates.asked_for, by))
        for family in ("x-saferouter", "x-sf"):
            headers |= {f"{family}-fallback-from": asked_for, f"{family}-fallback-to": stood_in}
    if status >= 400 and status not in _COME_AGAIN and len(tried) > 1:
        headers["x-should-retry"] = "false"
    return headers
