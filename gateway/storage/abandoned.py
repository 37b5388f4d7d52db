"""What is held for calls of a replica that is gone: nobody but that replica can sign their receipts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update

from gateway.storage.ledger import accounts_of, release_unreadable
from gateway.storage.schema import CALLS, LOGS

MOST = 1000  # at a time


@dataclass(frozen=True, slots=True)
class HeldCall:
    """An open call, and the sum that is held for it."""

    receipt_id: str
    key_id: str
    tenant: str | None
    held_micro_usd: int

    @property
    def accounts(self) -> tuple[str, ...]:
        """Those that hold it."""
        return accounts_of(self.key_id, self.tenant)


def note_seen(connection: Connection, log: int, now: int) -> None:
    """The replica of this log runs."""
    connection.execute(update(LOGS).where(LOGS.c.id == log).values(seen_at=now))


def find_abandoned(engine: Engine, own: int, seen_before: int) -> list[HeldCall]:
    """Open calls for which a sum is held, of other replicas that nobody has seen since then."""
    columns = [CALLS.c[name] for name in HeldCall.__slots__]
    gone = select(LOGS.c.id).where(LOGS.c.id != own, LOGS.c.seen_at < seen_before)
    open_calls = CALLS.c.receipt.is_(None), CALLS.c.held_micro_usd.is_not(None), CALLS.c.log.in_(gone)
    with engine.connect() as connection:
        return [HeldCall(*row) for row in connection.execute(select(*columns).where(*open_calls).limit(MOST))]


def release_abandoned(connection: Connection, call: HeldCall) -> None:
    """Release the sum, once. The call stays open: should its replica come back, it signs, and charges nothing."""
    release_unreadable(connection, call.receipt_id, call.held_micro_usd, call.accounts)
