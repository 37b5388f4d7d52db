"""What was tried for a call, as its receipt, its activity and its headers tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from gateway.attempts import Attempt
from gateway.candidates import Candidates
from gateway.draft import ReceiptDraft
from gateway.metering import Meter
from gateway.routing.route import Route

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


def metered_attempts(
    meter: Meter,
    candidates: Candidates,
    tried: Sequence[Attempt],
    answered: Route | None,
    target: int | None,
    *,
    streams: bool,
) -> Meter:
    """The same for the activity: which attempt the caller is shown, the last if none is passed on, and the others.

    `answered` is the route of candidate `target`, as it is known now.
    """
    if not tried:
        return replace(meter, attempt=0)
    at = max((at for at, attempt in enumerate(tried) if attempt.target == target), default=len(tried) - 1)
    shown = tried[at]
    route = answered or candidates.routes[shown.target]
    return replace(
        meter,
        model=route.model.id,
        provider=route.connector.id,
        tier=route.tier.word,
        attempt=at + 1,
        provider_status=shown.status,
        failure=shown.failure,
        waited_ms=_waited(tried, shown),
        first_token_ms=meter.elapsed() if streams else None,
        others=_encode_others(candidates, tried, at) if len(tried) > 1 else None,
    )


def _encode_others(candidates: Candidates, tried: Sequence[Attempt], shown: int) -> str:
    """The attempts but one, as OtherAttempt in JSON, by the names that the operator gave."""
    rows = [
        {
            "attempt": at + 1,
            "provider": candidates.routes[attempt.target].connector.id,
            "model": candidates.routes[attempt.target].model.id,
            "tier": candidates.routes[attempt.target].tier.word,
            "provider_status": attempt.status,
            "failure": attempt.failure,
            "waited_ms": _waited(tried, attempt),
            "milliseconds": attempt.milliseconds,
        }
        for at, attempt in enumerate(tried)
        if at != shown
    ]
    return json.dumps(rows, separators=(",", ":"))


def _waited(tried: Sequence[Attempt], attempt: Attempt) -> int:
    return int((attempt.began - tried[0].began) * 1000)


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
