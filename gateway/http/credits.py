"""`/v1/credits`: what a key has, holds, spent and used; and paying in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin_token import AdminToken
from gateway.http.management import CREATED, private, read_fields, usd
from gateway.key_book import KeyBook
from gateway.money.price_book import PriceBook
from gateway.money.usd import parse_usd
from gateway.pipeline import Pipeline
from gateway.storage.credits import Credits, ModelUsage, look_up_credits
from gateway.storage.ledger import key_account
from gateway.storage.topup import TopUp, pay_in, request_key
from gateway.tenancy.tenant import BILLING, READ, ApiKey
from tee.canonical import kind_of
from tee.errors import Malformed

CREDITS, TOPUP = "/v1/credits", "/v1/credits/topup"
MAX_NOTE = 200  # characters
MAX_KEY_ID = 40  # what the database has room for
MAX_REQUEST_KEY = 255  # characters of an Idempotency-Key: what other billing APIs take


class CreditsEndpoints:
    """The money of a key and its tenant."""

    def __init__(self, pipeline: Pipeline, book: KeyBook, token: AdminToken) -> None:
        self._pipeline = pipeline
        self._book = book
        self._token = token

    def routes(self) -> list[Route]:
        """Every endpoint."""
        return [
            Route(CREDITS, self.credits, methods=["GET"]),
            Route(TOPUP, self.topup, methods=["POST"]),
        ]

    async def credits(self, request: Request) -> Response:
        """Balance and usage of the key that asks, and how its tenant stands; `?scope=tenant` counts all its keys."""
        key = await self._pipeline.admit(dict(request.headers), READ, BILLING)
        scope = request.query_params.get("scope", "key")
        if scope not in ("key", "tenant"):
            raise Malformed("scope", repr(scope[:32]), "key or tenant")
        found = await self._book.read(partial(look_up_credits, key=key, whole=scope == "tenant"))
        return private(_shown(key, found, self._pipeline.prices))

    async def topup(self, request: Request) -> Response:
        """Pay in for a key: from then on it is prepaid. The operator does it, or a key with the scope `billing`."""
        payer = (
            None if self._token.sent(request.headers) else await self._pipeline.admit(dict(request.headers), BILLING)
        )
        wanted = _read_topup(await read_fields(request), request.headers.get("idempotency-key"), payer)
        done = await self._book.change(partial(pay_in, wanted=wanted), (key_account(wanted.key_id),))
        document = {
            "object": "credits.topup",
            "key_id": wanted.key_id,
            "usd": usd(wanted.micro_usd),
            "note": wanted.note,
            "balance_usd": usd(done.balance),
            "created_at": done.at,
        }
        return private(document, CREATED)


def _shown(key: ApiKey, found: Credits, prices: PriceBook) -> dict[str, Any]:
    return {
        "object": "credits",
        "key_id": key.id,
        "balance_usd": usd(found.balance),
        "reserved_usd": usd(found.reserved),
        "spent_usd": usd(found.spent),
        "tenant": {"id": key.tenant.id, "usd_cap": usd(key.tenant.usd_cap), "usd_spent": usd(found.tenant_spent)},
        "usage": [_shown_usage(row) for row in found.usage],
        "prices": {"version": prices.listed.version, "date": prices.listed.date, "digest": prices.digest},
    }


def _shown_usage(row: ModelUsage) -> dict[str, Any]:
    """One model; `usd` is null where none of its calls had a known price."""
    return {
        "model": row.model,
        "calls": row.calls,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "usd": None if row.unpriced == row.calls else usd(row.micro_usd),
        "unpriced_calls": row.unpriced,
    }


def _read_topup(fields: Mapping[str, object], request: str | None, payer: ApiKey | None) -> TopUp:
    """What is to be paid in. Raises Malformed."""
    if unknown := fields.keys() - {"usd", "key_id", "note"}:
        raise Malformed(min(unknown)[:64], "an unknown name", "usd, key_id or note")
    amount, note = fields.get("usd"), fields.get("note")
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        raise Malformed("usd", kind_of(amount), "US dollars, for example 5.00")
    if note is not None and not (isinstance(note, str) and len(note) <= MAX_NOTE and note.isprintable()):
        raise Malformed("note", kind_of(note), f"at most {MAX_NOTE} printable characters")
    key_id = fields.get("key_id", None if payer is None else payer.id)
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID or not key_id.isprintable():
        raise Malformed("key_id", kind_of(key_id), f"the id of the key to pay in for, at most {MAX_KEY_ID} characters")
    if request is not None and not 1 <= len(request) <= MAX_REQUEST_KEY:
        raise Malformed("Idempotency-Key", f"{len(request)} characters", f"1 to {MAX_REQUEST_KEY}")
    tenant, who = (None, "operator") if payer is None else (payer.tenant.id, f"tenant:{payer.tenant.id}")
    once = None if request is None else request_key(who, request)
    return TopUp(key_id, tenant, parse_usd(str(amount), "usd"), note, once)
