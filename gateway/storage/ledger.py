"""The ledger: what is held for calls that run, what they were charged, and what was paid in.

An account is `key:ID`, which pays for the calls of a key, or `spent:TENANT`, which their price goes to. Paid-in money
comes from `funds`, and from `due:TENANT` what a key used before it was prepaid. Every function here is part of a
transaction that somebody else commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, or_, select, text, update

from gateway.errors import InsufficientCredits
from gateway.money.bill import Charge, Reservation
from gateway.money.estimate import EVENT_TOKENS, Hold
from gateway.money.usd import usd_text
from gateway.storage.calls import Activity, Held
from gateway.storage.prepared import Prepared
from gateway.storage.schema import ACCOUNTS, CALLS, ENTRIES, USAGE

FUNDS = "funds"
NO_CAP = 1 << 62  # more than all the money of the world, in micro-USD
_NAMED = ACCOUNTS.c.name == bindparam("_name")
_HOLD = {"reserved": ACCOUNTS.c.reserved + bindparam("_amount")}
# The one place where a race for the last of the money is decided: the database looks and takes in one statement.
_HOLD_OF_KEY = Prepared(
    update(ACCOUNTS)
    .where(_NAMED, or_(ACCOUNTS.c.prepaid.is_(False), ACCOUNTS.c.balance - ACCOUNTS.c.reserved >= bindparam("_amount")))
    .values(_HOLD)
)
_HOLD_OF_TENANT = Prepared(
    update(ACCOUNTS)
    .where(_NAMED, ACCOUNTS.c.balance + ACCOUNTS.c.reserved + bindparam("_amount") <= bindparam("_cap"))
    .values(_HOLD)
)
_MOVE = Prepared(
    update(ACCOUNTS)
    .where(_NAMED)
    .values(balance=ACCOUNTS.c.balance + bindparam("_change"), reserved=ACCOUNTS.c.reserved - bindparam("_released"))
)
_ENTRY_COLUMNS = ("at", "kind", "source", "target", "micro_usd", "reference", "estimated", "note")
_ENTRY = Prepared(insert(ENTRIES), *_ENTRY_COLUMNS)
_COUNTS = ("calls", "unpriced", "prompt_tokens", "completion_tokens", "micro_usd")
_USED = Prepared(
    update(USAGE)
    .where(USAGE.c.key_id == bindparam("_key_id"), USAGE.c.model == bindparam("_model"))
    .values({name: USAGE.c[name] + bindparam(f"_{name}") for name in _COUNTS})
)
_FIRST_USED = Prepared(insert(USAGE), "key_id", "model", "tenant", *_COUNTS)
_MAKE = text(
    "INSERT INTO ledger_accounts (name, balance, reserved, prepaid) VALUES (:name, 0, 0, :prepaid) "
    "ON CONFLICT (name) DO UPDATE SET name = excluded.name"
)  # as SQLite and PostgreSQL both say it; the row is locked where another has just made it


@dataclass(frozen=True, slots=True)
class Entry:
    """A sum that goes from one account to another. `reference` is the receipt of the call that it pays, which is paid
    once, or the request of a top-up.
    """

    at: int
    kind: str
    source: str
    target: str
    micro_usd: int
    reference: str | None = None
    estimated: bool = False
    note: str | None = None


def key_account(key_id: str) -> str:
    """Who pays for the calls of a key."""
    return f"key:{key_id}"


def tenant_account(tenant: str) -> str:
    """What a tenant has spent."""
    return f"spent:{tenant}"


def accounts_of(key_id: str, tenant: str | None) -> tuple[str, ...]:
    """The accounts that a call of this key changes."""
    return () if tenant is None else (key_account(key_id), tenant_account(tenant))


def lock_accounts(connection: Connection, names: Iterable[str]) -> None:
    """Lock what a transaction will change, in one order for all, so that two gateways never wait for each other.

    Where the database has one writer at a time there is nothing to lock.
    """
    wanted = sorted(set(names))
    if not wanted or connection.dialect.name == "sqlite":
        return
    query = select(ACCOUNTS.c.name).where(ACCOUNTS.c.name.in_(wanted)).order_by(ACCOUNTS.c.name).with_for_update()
    found = set(connection.execute(query).scalars())
    for name in wanted:
        if name not in found:
            _make(connection, name)


def reserve(connection: Connection, key_id: str, wanted: Reservation) -> InsufficientCredits | None:
    """Hold it; or say why not, and hold nothing."""
    amount, cap = wanted.micro_usd, wanted.tenant_cap
    if amount is None:
        return _unpriced(connection, key_id, wanted)
    key, tenant = accounts_of(key_id, wanted.tenant)
    if not _held(connection, _HOLD_OF_KEY, {"_name": key, "_amount": amount}):
        return _exhausted(connection, key, amount)
    most = NO_CAP if cap is None else cap
    if not _held(connection, _HOLD_OF_TENANT, {"_name": tenant, "_amount": amount, "_cap": most}):
        _MOVE.run(connection, {"_name": key, "_change": 0, "_released": amount})
        return _capped(connection, tenant, amount, most)
    return None


def settle(
    connection: Connection, receipt_id: str, held: Held, model: str | None, activity: Activity | None, at: int
) -> None:
    """A call was closed: charge it, and release what was held. To be called where `close_call` gave what was held."""
    if held.tenant is None:
        return
    charge = _cut_by_a_crash(held) if activity is None else Charge(activity.cost_micro_usd, activity.cost_estimated)
    cost, release = charge.micro_usd or 0, held.held_micro_usd or 0
    key, tenant = accounts_of(held.key_id, held.tenant)
    if cost or release:
        _move(connection, key, -cost, release)
        _move(connection, tenant, cost, release)
    if cost:
        write_entry(connection, Entry(at, "call", key, tenant, cost, receipt_id, estimated=charge.estimated))
    if activity is None and not cost:
        return
    values = {
        "calls": 1,
        "unpriced": int(charge.micro_usd is None),
        "prompt_tokens": 0 if activity is None else activity.prompt_tokens or 0,
        "completion_tokens": 0 if activity is None else activity.completion_tokens or 0,
        "micro_usd": cost,
    }
    place = {"_key_id": held.key_id, "_model": model or ""}
    if not _USED.run_each(connection, [place | {f"_{name}": value for name, value in values.items()}]):
        _FIRST_USED.run(connection, {"key_id": held.key_id, "model": model or "", "tenant": held.tenant} | values)


def release_unreadable(connection: Connection, receipt_id: str, held: int, accounts: tuple[str, ...]) -> None:
    """Release, once, what is held for a call that no receipt will close."""
    freed = connection.execute(
        update(CALLS)
        .where(CALLS.c.receipt_id == receipt_id, CALLS.c.receipt.is_(None), CALLS.c.held_micro_usd == held)
        .values(held_micro_usd=None)
    )
    for name in accounts if freed.rowcount else ():
        _move(connection, name, 0, held)


def top_up(connection: Connection, key_id: str, tenant: str, paid: Entry) -> None:
    """Pay in: from now on the key is prepaid.

    What the key owed until then is its tenant's to pay, so that the balance is what was paid in.
    """
    key = key_account(key_id)
    _make(connection, key)
    row = connection.execute(select(ACCOUNTS.c.balance, ACCOUNTS.c.prepaid).where(ACCOUNTS.c.name == key)).one()
    owed = 0 if row.prepaid else -row.balance
    if owed > 0:
        write_entry(connection, Entry(paid.at, "owed", f"due:{tenant}", key, owed))
    write_entry(connection, paid)
    connection.execute(
        update(ACCOUNTS)
        .where(ACCOUNTS.c.name == key)
        .values(balance=ACCOUNTS.c.balance + owed + paid.micro_usd, prepaid=True)
    )


def write_entry(connection: Connection, entry: Entry) -> None:
    """Append it to the ledger. Its accounts are to be changed in the same transaction."""
    _ENTRY.run(connection, {name: getattr(entry, name) for name in _ENTRY_COLUMNS})


def _cut_by_a_crash(held: Held) -> Charge:
    """What durably left is paid, by an estimate; a call of which nothing had left is free."""
    if not held.sent_events or held.held_micro_usd is None:
        return Charge(0)
    hold = Hold(held.held_micro_usd, held.held_input_micro_usd or 0, held.held_output_tokens or 0)
    return Charge(hold.cost_of_cut(held.sent_events * EVENT_TOKENS), estimated=True)


def _held(connection: Connection, statement: Prepared, values: dict[str, str | int]) -> bool:
    """Whether the sum could be held; an account that nobody has used yet is made first."""
    if statement.run_each(connection, [values]):
        return True
    if connection.execute(select(ACCOUNTS.c.name).where(ACCOUNTS.c.name == values["_name"])).first():
        return False
    _make(connection, str(values["_name"]))
    return bool(statement.run_each(connection, [values]))


def _move(connection: Connection, name: str, change: int, released: int) -> None:
    values = {"_name": name, "_change": change, "_released": released}
    if not _MOVE.run_each(connection, [values]):
        _make(connection, name)  # its calls had no known price until now
        _MOVE.run_each(connection, [values])


def _make(connection: Connection, name: str) -> None:
    connection.execute(_MAKE, {"name": name, "prepaid": False})


def _left(connection: Connection, name: str) -> tuple[int, int]:
    row = connection.execute(select(ACCOUNTS.c.balance, ACCOUNTS.c.reserved).where(ACCOUNTS.c.name == name)).one()
    return row.balance, row.reserved


def _exhausted(connection: Connection, key: str, amount: int) -> InsufficientCredits:
    balance, reserved = _left(connection, key)
    held = f", {usd_text(reserved)} of it held for calls that run" if reserved else ""
    return InsufficientCredits(
        f"This call may cost up to {usd_text(amount)}, and the balance of its key is {usd_text(balance)}{held}: "
        "top it up (POST /v1/credits/topup), or ask for fewer max_tokens."
    )


def _capped(connection: Connection, tenant: str, amount: int, cap: int) -> InsufficientCredits:
    spent, reserved = _left(connection, tenant)
    return InsufficientCredits(
        f"This call may cost up to {usd_text(amount)}; its tenant has spent {usd_text(spent)}, holds "
        f"{usd_text(reserved)} for calls that run, and may spend {usd_text(cap)}: ask its operator for a higher cap, "
        "or ask for fewer max_tokens.",
        code="tenant_cap_reached",
    )


def is_prepaid(connection: Connection, key_id: str) -> bool:
    """Whether the key spends only what was paid in for it."""
    return bool(connection.execute(select(ACCOUNTS.c.prepaid).where(ACCOUNTS.c.name == key_account(key_id))).scalar())


def open_prepaid(connection: Connection, key_id: str) -> None:
    """An account of a new key, for which nothing was paid in yet."""
    connection.execute(_MAKE, {"name": key_account(key_id), "prepaid": True})


def _unpriced(connection: Connection, key_id: str, wanted: Reservation) -> InsufficientCredits | None:
    """Who pays in advance, or has a cap, is not sent where nobody knows the price."""
    if wanted.tenant_cap is None and not is_prepaid(connection, key_id):
        return None
    return InsufficientCredits(
        f"The price of model {wanted.unpriced} is not known here, and its caller has a balance or a cap to keep: the "
        "operator gives it one ([[prices.models]] in the configuration), or name a model that has one.",
        code="price_unknown",
    )
