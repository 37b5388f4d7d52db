"""Paying in: once for each request that names itself, into a key that is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.errors import Conflict, UnknownKey
from gateway.storage.credits import find_balance
from gateway.storage.ledger import FUNDS, Entry, key_account, top_up
from gateway.storage.schema import API_KEYS, ENTRIES


@dataclass(frozen=True, slots=True)
class TopUp:
    """What is to be paid in for a key. `tenant`: whose key it must be, None: anybody's. `request` names the request."""

    key_id: str
    tenant: str | None
    micro_usd: int
    note: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class PaidIn:
    """When it was paid in, and what the key has left now, in micro-USD."""

    at: int
    balance: int | None


def request_key(who: str, name: str) -> str:
    """A request's own name among those of this payer, 64 hex: what it is called is nobody else's business."""
    return hashlib.sha256(f"{who}\n{name}".encode()).hexdigest()


def pay_in(connection: Connection, now: int, *, wanted: TopUp) -> PaidIn:
    """Pay in, unless that request has done so before. Raises UnknownKey, Conflict."""
    row = connection.execute(select(API_KEYS.c.tenant, API_KEYS.c.revoked_at).where(API_KEYS.c.id == wanted.key_id))
    key = row.one_or_none()
    if key is None or wanted.tenant not in (None, key.tenant):
        raise UnknownKey(f"There is no key `{wanted.key_id[:64]}` here.")
    account = key_account(wanted.key_id)
    if wanted.request is not None:
        known = select(ENTRIES).where(ENTRIES.c.reference == wanted.request)
        if (before := connection.execute(known).one_or_none()) is not None:
            if (before.target, before.micro_usd) != (account, wanted.micro_usd):
                raise Conflict(
                    "This Idempotency-Key was used for another top-up: send another one.", code="idempotency_conflict"
                )
            return PaidIn(before.at, find_balance(connection, wanted.key_id)[0])
    if key.revoked_at is not None:
        raise Conflict("This key is revoked: pay in for one that is used.", code="key_revoked")
    entry = Entry(now, "topup", FUNDS, account, wanted.micro_usd, reference=wanted.request, note=wanted.note)
    top_up(connection, wanted.key_id, key.tenant, entry)
    return PaidIn(now, find_balance(connection, wanted.key_id)[0])
