"""The audit of the ledger: whether every account holds what its entries, its open calls and its usage say."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from gateway.storage.ledger import accounts_of, tenant_account
from gateway.storage.schema import ACCOUNTS, CALLS, ENTRIES, USAGE


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """An account, what it holds of `what`, and what it should hold, in micro-USD."""

    account: str
    what: str
    found: int
    wanted: int


def check_ledger(engine: Engine) -> list[LedgerFault]:
    """Every account that does not balance, as of one moment; the gateway may run meanwhile."""
    level = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
    with engine.connect().execution_options(isolation_level=level) as connection, connection.begin():
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # its driver would begin with the first write only
        return _faults(connection)


def _faults(connection: Connection) -> list[LedgerFault]:
    balances, held, spent = _balances(connection), _held(connection), _spent(connection)
    stored = {row.name: row for row in connection.execute(select(ACCOUNTS))}
    kept = {name for name in (*balances, *held, *spent) if name.startswith(("key:", "spent:"))}
    faults = []
    for name in sorted(kept | stored.keys()):
        row = stored.get(name)
        compared = [("balance", row.balance if row else 0, balances[name])]
        compared += [("reserved", row.reserved if row else 0, held[name])]
        if name.startswith("spent:"):
            compared += [("usage", spent[name], balances[name])]
        faults += [LedgerFault(name, what, found, wanted) for what, found, wanted in compared if found != wanted]
    return faults


def _balances(connection: Connection) -> dict[str, int]:
    """What came in less what went out, by account."""
    total = func.sum(ENTRIES.c.micro_usd)
    sums: dict[str, int] = defaultdict(int)
    for name, amount in connection.execute(select(ENTRIES.c.target, total).group_by(ENTRIES.c.target)):
        sums[name] += int(amount)
    for name, amount in connection.execute(select(ENTRIES.c.source, total).group_by(ENTRIES.c.source)):
        sums[name] -= int(amount)
    return sums


def _held(connection: Connection) -> dict[str, int]:
    """What calls hold that are open, by account."""
    sums: dict[str, int] = defaultdict(int)
    query = (
        select(CALLS.c.key_id, CALLS.c.tenant, func.sum(CALLS.c.held_micro_usd))
        .where(CALLS.c.receipt.is_(None), CALLS.c.held_micro_usd.is_not(None))
        .group_by(CALLS.c.key_id, CALLS.c.tenant)
    )
    for key_id, tenant, amount in connection.execute(query):
        for name in accounts_of(key_id, tenant):
            sums[name] += int(amount)
    return sums


def _spent(connection: Connection) -> dict[str, int]:
    """What the usage of a tenant's keys came to, by its account."""
    query = select(USAGE.c.tenant, func.sum(USAGE.c.micro_usd)).group_by(USAGE.c.tenant)
    sums: dict[str, int] = defaultdict(int)
    for tenant, amount in connection.execute(query):
        sums[tenant_account(tenant)] = int(amount)
    return sums
