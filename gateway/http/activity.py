"""Activity: what a tenant's calls came to, entry by entry and in sum, and its newest calls with their evidence."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.errors import InvalidRequest
from gateway.pipeline import Pipeline
from gateway.storage.activity import Entry, Figures, RecentCall, Selection, Summary
from gateway.tenancy.tenant import READ, ApiKey
from tee.log.checkpoint import parse_size

PRIVATE = {"cache-control": "private, no-store"}
MAX_ENTRIES, USUAL_ENTRIES = 1000, 100  # of a page
MAX_EXPORT = 100_000  # rows of one CSV: a spreadsheet takes no more than ten times that
BATCH = 1000  # rows of a CSV that are read at once
MAX_CALLS, USUAL_CALLS = 100, 20  # each brings its receipt to be read
MAX_FILTER = 256  # characters: a model's name is no longer
DAY = 24 * 3600
USUAL_SPAN = DAY  # what a summary covers
MOST_BARS = 100  # of a series: a chart shows no more
SPANS = (60, 300, 900, 3600, 6 * 3600, DAY, 7 * DAY)
_ID = re.compile(r"act-([0-9a-f]{32})-(\d{1,2})", re.ASCII)
_STATUS = re.compile(r"[1-5](\d\d|xx)", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that a spreadsheet would calculate
COLUMNS = (
    *(
        "id",
        "call_id",
        "receipt_id",
        "attempt",
        "tenant",
        "key_id",
        "key_prefix",
        "model",
        "original_model",
        "policy",
        "tier",
    ),
    *("provider", "status", "provider_status", "failure", "started_at", "waited_ms", "milliseconds", "first_token_ms"),
    *("prompt_tokens", "completion_tokens", "cost_usd", "partial", "findings"),
)


@dataclass(frozen=True, slots=True)
class ActivityReader:
    """How the record is asked."""

    place: Callable[[str, str, int], tuple[int, int] | None]
    entries: Callable[[Selection, tuple[int, int] | None, int], list[Entry]]
    summary: Callable[[Selection, int], Summary]
    calls: Callable[[str, int], list[RecentCall]]


class ActivityEndpoints:
    """`GET /v1/activity`, `/v1/activity/summary` and `/v1/calls`: of the caller's tenant, and of nobody else."""

    def __init__(self, pipeline: Pipeline, reader: ActivityReader) -> None:
        self._pipeline = pipeline
        self._reader = reader

    async def listing(self, request: Request) -> Response:
        """Entries, newest first: a page of JSON, or a CSV of all. Raises InvalidRequest, Malformed."""
        key = await self._admit(request)
        asked = request.query_params
        chosen, after = _selection(key, asked), await self._after(key, asked.get("after"))
        form = asked.get("format", "json")
        if form == "csv":
            most = _bounded(asked, "limit", MAX_EXPORT, MAX_EXPORT)
            headers = PRIVATE | {"content-disposition": 'attachment; filename="activity.csv"'}
            return StreamingResponse(self._csv(chosen, after, most), 200, headers, "text/csv; charset=utf-8")
        if form != "json":
            raise InvalidRequest.at("format", "another", "json or csv")
        limit = _bounded(asked, "limit", USUAL_ENTRIES, MAX_ENTRIES)
        found = await asyncio.to_thread(self._reader.entries, chosen, after, limit + 1)
        data = [entry_document(each) for each in found[:limit]]
        page = {"object": "list", "data": data, "has_more": len(found) > limit}
        return JSONResponse(page | {"last_id": data[-1]["id"] if data else None}, headers=PRIVATE)

    async def summary(self, request: Request) -> Response:
        """What the entries of the last day come to, or of the time that is asked for. Raises Malformed."""
        key = await self._admit(request)
        asked, now = request.query_params, int(time.time())
        chosen = _selection(key, {"since": str(now - USUAL_SPAN), **asked})
        length = max(0, (now if chosen.until is None else chosen.until) - (chosen.since or 0))
        span = next((each for each in SPANS if each * MOST_BARS >= length), length // MOST_BARS + 1)
        found = await asyncio.to_thread(self._reader.summary, chosen, span)
        document = {
            "object": "activity.summary",
            "since": chosen.since,
            "until": chosen.until,
            **_figures(found.total),
            "by_model": [{"name": each.name, **_figures(each)} for each in found.models],
            "by_provider": [{"name": each.name, **_figures(each)} for each in found.providers],
            "series_seconds": span,
            "series": [_bar(each) for each in found.series],
        }
        return JSONResponse(document, headers=PRIVATE)

    async def calls(self, request: Request) -> Response:
        """The newest calls, each with its attestation block. Raises InvalidRequest, Malformed."""
        key = await self._admit(request)
        limit = _bounded(request.query_params, "limit", USUAL_CALLS, MAX_CALLS)
        found = await asyncio.to_thread(self._reader.calls, key.tenant.id, limit)
        return JSONResponse({"object": "list", "data": [_call_document(each) for each in found]}, headers=PRIVATE)

    async def _admit(self, request: Request) -> ApiKey:
        return await self._pipeline.admit(dict(request.headers), READ)

    async def _after(self, key: ApiKey, cursor: str | None) -> tuple[int, int] | None:
        if cursor is None:
            return None
        found, parts = None, _ID.fullmatch(cursor)
        if parts is not None:
            receipt_id, attempt = f"rcpt-{parts[1]}", int(parts[2])
            found = await asyncio.to_thread(self._reader.place, key.tenant.id, receipt_id, attempt)
        if found is None:
            raise InvalidRequest.at("after", "no entry of this tenant", "the id of one, as in last_id")
        return found

    async def _csv(self, chosen: Selection, after: tuple[int, int] | None, most: int) -> AsyncIterator[bytes]:
        """The entries as lines; never more of them in memory than BATCH."""
        yield _lines([COLUMNS])
        while most > 0:
            found = await asyncio.to_thread(self._reader.entries, chosen, after, min(most, BATCH))
            if not found:
                return
            yield _lines([_cells(entry_document(each)) for each in found])
            most, after = most - len(found), found[-1].place


def entry_document(entry: Entry) -> dict[str, Any]:
    """One attempt, as it is shown."""
    hexes = entry.receipt_id.removeprefix("rcpt-")
    return {
        "object": "activity",
        "id": f"act-{hexes}-{entry.attempt}",
        "call_id": f"call-{hexes}",
        "receipt_id": entry.receipt_id,
        "attempt": entry.attempt,
        "shown": entry.shown,
        "tenant": entry.tenant,
        "key_id": entry.key_id,
        "key_prefix": entry.key_prefix,
        "model": entry.model,
        "original_model": entry.original_model,
        "policy": entry.policy,
        "tier": entry.tier,
        "provider": entry.provider,
        "status": entry.status,
        "provider_status": entry.provider_status,
        "failure": entry.failure,
        "started_at": entry.started_at,
        "waited_ms": entry.waited_ms,
        "milliseconds": entry.milliseconds,
        "first_token_ms": entry.first_token_ms,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "cost_usd": _dollars(entry.cost_micro_usd),
        "partial": entry.partial,
        "findings": json.loads(entry.findings) if entry.findings else [],
    }


def _selection(key: ApiKey, asked: Mapping[str, str]) -> Selection:
    """What a query asks for. Raises InvalidRequest, Malformed."""
    texts: dict[str, Any] = {name: asked.get(name) for name in ("model", "provider", "policy", "key_id")}
    for name, text in texts.items():
        if text is not None and (len(text) > MAX_FILTER or not text.isprintable()):
            raise InvalidRequest.at(name, f"{len(text)} characters", f"at most {MAX_FILTER}, all printable")
    if asked.get("key") is not None:
        if asked["key"] != "self":
            raise InvalidRequest.at("key", "another word", "self, for the entries of this very key; key_id names one")
        texts["key_id"] = key.id
    times: dict[str, Any] = {name: parse_size(asked[name], name) for name in ("since", "until") if name in asked}
    return Selection(key.tenant.id, **times, **texts, **_statuses(asked.get("status")))


def _statuses(asked: str | None) -> dict[str, Any]:
    if asked is None:
        return {}
    if not _STATUS.fullmatch(asked):
        raise InvalidRequest.at("status", "another", "a status such as 200, or a class of them such as 5xx")
    return {"least_status": int(asked.replace("x", "0")), "most_status": int(asked.replace("x", "9"))}


def _bounded(asked: Mapping[str, str], name: str, usual: int, most: int) -> int:
    value = parse_size(asked.get(name, str(usual)), name)
    if not 1 <= value <= most:
        raise InvalidRequest.at(name, str(value), f"1 to {most}")
    return value


def _figures(found: Figures) -> dict[str, Any]:
    judged = found.calls - found.left
    return {
        "calls": found.calls,
        "success_rate": round(found.succeeded / judged, 4) if judged else None,
        "p50_ms": found.p50,
        "p95_ms": found.p95,
        "usd": _dollars(found.micro_usd),
    }


def _bar(found: Figures) -> dict[str, Any]:
    errors = found.calls - found.left - found.succeeded
    return {"at": found.name, "calls": found.calls, "errors": errors, "p50_ms": found.p50}


def _call_document(call: RecentCall) -> dict[str, Any]:
    """A call with the block of its answer (SPEC §7.3), without what the registry said then: that is not recorded.

    What retention has removed is null too.
    """
    events = json.loads(call.receipt)["event_log"] if call.receipt else []
    decision = next((event["decision_id"] for event in events if event["type"] == "route"), None)
    return {
        "id": call.receipt_id.replace("rcpt-", "call-"),
        "created": call.started_at,
        "tenant": call.tenant,
        "model": call.model,
        "policy": call.policy,
        "status": call.status,
        "attestation": {
            "model_content_hash": None,
            "provider_id": call.provider,
            "policy_id": call.policy,
            "route_decision_id": decision,
            "rekor_index": call.route_leaf,
            "mirror_id": None,
            "tier_observed": call.tier,
            "receipt_id": call.receipt_id,
        },
    }


def _dollars(micro: int | None) -> float | None:
    return None if micro is None else micro / 1_000_000


def _cells(document: dict[str, Any]) -> list[Any]:
    findings = " ".join(f"{each['kind']}:{each['count']}" for each in document["findings"])
    flat = document | {"findings": findings}
    return [_harmless(flat[name]) for name in COLUMNS]


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: names in it may be anybody's."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _lines(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
