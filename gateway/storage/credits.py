"""What keys and tenants have, hold, spent and used, as the ledger says it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.storage.ledger import key_account, tenant_account
from gateway.storage.schema import ACCOUNTS, USAGE
from gateway.tenancy.tenant import ApiKey


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What was used of one model, in calls, tokens and micro-USD; `unpriced` of the calls had no known price."""

    model: str
    calls: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    micro_usd: int


@dataclass(frozen=True, slots=True)
class Credits:
    """A key's money, in micro-USD. `reserved` of its balance is held for calls that run; a balance of None: it pays
    later, by way of its tenant. `usage` is its own, or that of all keys of its tenant.
    """

    balance: int | None
    reserved: int
    spent: int
    tenant_spent: int
    usage: tuple[ModelUsage, ...]


_SUMS = [func.sum(USAGE.c[name]) for name in ModelUsage.__slots__[1:]]


def look_up_credits(connection: Connection, key: ApiKey, *, whole: bool = False) -> Credits:
    """The money of a key; `whole`: with the usage of all keys of its tenant."""
    balance, reserved = find_balance(connection, key.id)
    mine = USAGE.c.tenant == key.tenant.id if whole else USAGE.c.key_id == key.id
    query = select(USAGE.c.model, *_SUMS).where(mine).group_by(USAGE.c.model).order_by(USAGE.c.model)
    usage = tuple(ModelUsage(name, *map(int, sums)) for name, *sums in connection.execute(query))
    spent = keys_spent(connection, [key.id])[key.id]
    return Credits(balance, reserved, spent, tenants_spent(connection, [key.tenant.id])[key.tenant.id], usage)


def find_balance(connection: Connection, key_id: str) -> tuple[int | None, int]:
    """The balance of a key, None where it is not prepaid, and what is held."""
    row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == key_account(key_id))).one_or_none()
    return (None, 0) if row is None else (row.balance if row.prepaid else None, row.reserved)


def tenants_spent(connection: Connection, tenants: Sequence[str]) -> dict[str, int]:
    """What each of these tenants has spent, in micro-USD."""
    names = {tenant_account(tenant): tenant for tenant in tenants}
    query = select(ACCOUNTS.c.name, ACCOUNTS.c.balance).where(ACCOUNTS.c.name.in_(names))
    return dict.fromkeys(tenants, 0) | {names[row.name]: row.balance for row in connection.execute(query)}


def keys_spent(connection: Connection, key_ids: Sequence[str]) -> dict[str, int]:
    """What each of these keys has spent, in micro-USD."""
    query = select(USAGE.c.key_id, func.sum(USAGE.c.micro_usd)).where(USAGE.c.key_id.in_(key_ids))
    rows = connection.execute(query.group_by(USAGE.c.key_id))
    return dict.fromkeys(key_ids, 0) | {key_id: int(amount) for key_id, amount in rows}
