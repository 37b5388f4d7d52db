"""What management endpoints share: their JSON bodies, their pages, and answers that nobody else may keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.caller import headers_of, read_body
from gateway.jsonbody import parse_json_object
from tee.errors import Malformed
from tee.log.checkpoint import parse_size

MAX_BODY = 64 << 10  # bytes: settings, never content
MAX_PAGE, USUAL_PAGE = 100, 20
CREATED = 201
T = TypeVar("T")


async def read_fields(request: Request) -> dict[str, object]:
    """The JSON object of the body; no body is an empty one. Raises InvalidRequest, BodyTooLarge, BodyStalled."""
    body = await read_body(request.scope, request.receive, headers_of(request.scope), MAX_BODY)
    return parse_json_object(body) if body else {}


def read_limit(request: Request) -> int:
    """How many rows a page may have. Raises Malformed."""
    limit = parse_size(request.query_params.get("limit", str(USUAL_PAGE)), "limit")
    if not 1 <= limit <= MAX_PAGE:
        raise Malformed("limit", str(limit), f"1 to {MAX_PAGE}")
    return limit


def page(rows: Sequence[dict[str, Any]], limit: int) -> Response:
    """A list of at most `limit` of these rows, of which one more was looked for."""
    data = rows[:limit]
    last = data[-1]["id"] if data else None
    return private({"object": "list", "data": data, "has_more": len(rows) > limit, "last_id": last})


def private(document: dict[str, Any], status: int = 200) -> Response:
    """An answer for this caller alone; one with a secret is kept by nobody."""
    return JSONResponse(document, status, {"cache-control": "no-store"})


def usd(micro: int | None) -> float | None:
    """USD of micro-USD, None for what is not known."""
    return None if micro is None else micro / 1_000_000
