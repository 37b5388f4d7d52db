"""What a receipt says of credentials in the prompt, and that its other events say the same (SPEC §7.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tee.canonical import MAX_SAFE_INTEGER, kind_of, shown
from tee.errors import Malformed
from tee.keys.identity import require_members, text

CLEAN, REDACTED, REFUSED, OFF = OUTCOMES = ("clean", "redacted", "refused", "off")
MAX_PLACES = 16
_LOG = "receipt.event_log"


def require_leak_scan(event: dict[str, Any], path: str) -> None:
    """That an event's `leak_scan` is one. Raises Malformed."""
    scan, path = event["leak_scan"], f"{path}.leak_scan"
    require_members(scan, {"outcome", "findings"}, path, exact=True)
    outcome, rows = scan["outcome"], scan["findings"]
    if outcome not in OUTCOMES:
        raise Malformed(f"{path}.outcome", shown(outcome), f"one of {', '.join(OUTCOMES)}")
    if not isinstance(rows, list):
        raise Malformed(f"{path}.findings", kind_of(rows), "a list")
    for at, row in enumerate(rows):
        _require_finding(row, f"{path}.findings[{at}]")
    if bool(rows) != (outcome in (REDACTED, REFUSED)):
        raise Malformed(f"{path}.findings", f"{len(rows)} of them", f"what goes with the outcome {outcome}")


def require_agreement(events: Mapping[str, dict[str, Any]]) -> None:
    """That what was refused was not forwarded, and what was redacted not as it came. Raises Malformed."""
    forwarded = events.get("request.forwarded")
    if _outcome(events, "route") == REFUSED:
        raise Malformed(f"{_LOG}.route.leak_scan.outcome", REFUSED, "another one: what is refused has no route")
    if _outcome(events, "route.refused") == REFUSED and forwarded is not None:
        raise Malformed(f"{_LOG}.request.forwarded", "a request that was forwarded", "none: it was refused")
    received = events.get("request.received", {}).get("body_hash")
    if _outcome(events, "route") != REDACTED or received is None:
        return
    wanted = "another one: credentials were redacted"
    if forwarded is not None and forwarded["body_hash"] == received:
        raise Malformed(f"{_LOG}.request.forwarded.body_hash", "that of the request as received", wanted)
    tried = events.get("attempts", {}).get("tried")
    for at, row in enumerate(tried if isinstance(tried, list) else []):
        if isinstance(row, dict) and row.get("body_hash") == received:
            place = f"{_LOG}.attempts.tried[{at}].body_hash"
            raise Malformed(place, "that of the request as received", wanted)


def tell_leak_scan(events: Mapping[str, dict[str, Any]]) -> str:
    """The scan in words, where there is something to say of it."""
    scan = _scan(events, "route") or _scan(events, "route.refused")
    outcome, rows = scan.get("outcome"), scan.get("findings", [])
    if outcome == OFF:
        return "it was not scanned for credentials"
    if outcome not in (REDACTED, REFUSED):
        return ""
    kinds = ", ".join(f"{row['kind']} {row['count']}" for row in rows)
    if outcome == REFUSED:
        return f"it was refused for the credentials in it: {kinds}"
    return f"credentials in it were redacted before anybody was asked: {kinds}"


def _require_finding(row: Any, path: str) -> None:
    require_members(row, {"kind", "count", "at"}, path, exact=True)
    text(row["kind"], f"{path}.kind", 64)
    if type(row["count"]) is not int or not 1 <= row["count"] <= MAX_SAFE_INTEGER:
        raise Malformed(f"{path}.count", shown(row["count"]), "an integer from 1 on")
    if not isinstance(row["at"], list) or len(row["at"]) > MAX_PLACES:
        raise Malformed(f"{path}.at", kind_of(row["at"]), f"a list of at most {MAX_PLACES} places")
    for place in row["at"]:
        text(place, f"{path}.at", 128)


def _scan(events: Mapping[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    scan: dict[str, Any] = events.get(kind, {}).get("leak_scan", {})
    return scan


def _outcome(events: Mapping[str, dict[str, Any]], kind: str) -> Any:
    return _scan(events, kind).get("outcome")
