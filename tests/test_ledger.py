"""The ledger: no race takes more than there is, nothing is charged twice, and the entries always say the balance."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from gateway.errors import InsufficientCredits
from gateway.money.bill import Reservation
from gateway.storage.calls import Activity, LoggedText, Progress, close_call, insert_call, record_progress
from gateway.storage.engine import open_database
from gateway.storage.ledger import Entry, accounts_of, reserve, settle, top_up
from gateway.storage.ledger_check import check_ledger
from gateway.storage.writer import GroupCommit, Transaction
from tests.test_history import opened

NOW = 1_795_240_000


class Book:
    """A ledger behind its one writer, and calls that go through it."""

    def __init__(self, folder: Path) -> None:
        self.engine: Engine = open_database(f"sqlite:///{folder / 'book.sqlite3'}")
        self.writer = GroupCommit(self.engine, opened(self.engine, folder).sequencer)

    def pay(self, key: str, micro_usd: int) -> None:
        paid = Entry(NOW, "topup", "funds", f"key:{key}", micro_usd)
        self.writer.submit(lambda transaction: top_up(transaction.connection, key, "t", paid), (f"key:{key}",)).result()

    def open(self, name: str, key: str, micro_usd: int | None, cap: int | None = None) -> str | None:
        """The code of a refusal."""
        wanted = Reservation("t", cap, micro_usd, 10, 100, None if micro_usd is not None else "m")

        def opening(transaction: Transaction) -> InsufficientCredits | None:
            refusal = reserve(transaction.connection, key, wanted)
            held = wanted if refusal is None else None
            insert_call(transaction.connection, name, key, "", transaction.sequence.epoch, None, held)
            return refusal

        refusal: InsufficientCredits | None = self.writer.submit(opening, accounts_of(key, "t")).result()
        return None if refusal is None else refusal.code

    def close(self, name: str, cost: int | None, *, told: bool = True, estimated: bool = False) -> bool:
        activity = Activity("t", "k", "m", "p", 200, 3, 4, NOW, 5, cost_micro_usd=cost, cost_estimated=estimated)

        def closing(transaction: Transaction) -> bool:
            held = close_call(transaction.connection, name, LoggedText("{}", 1, 0, "", NOW), activity if told else None)
            if held is None:
                return False
            settle(transaction.connection, name, held, "m", activity if told else None, NOW)
            return True

        done: bool = self.writer.submit(closing, accounts_of("k", "t")).result()
        return done

    def account(self, name: str) -> tuple[int, int]:
        with self.engine.connect() as connection:
            query = text("SELECT balance, reserved FROM ledger_accounts WHERE name = :name")
            row = connection.execute(query, {"name": name}).one()
        return row.balance, row.reserved

    def run(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path)
    yield book
    book.writer.stop()
    assert check_ledger(book.engine) == []
    book.engine.dispose()


def test_what_is_held_comes_back_and_what_was_used_does_not(book: Book) -> None:
    book.pay("k", 1000)
    assert book.open("c", "k", 600) is None
    assert book.account("key:k") == (1000, 600)
    assert book.close("c", 250)
    assert book.account("key:k") == (750, 0)
    assert book.account("spent:t") == (250, 0)


def test_a_call_is_charged_once(book: Book) -> None:
    book.pay("k", 1000)
    book.open("c", "k", 600)
    assert book.close("c", 250)
    assert not book.close("c", 250)
    assert book.account("key:k") == (750, 0)


def test_what_others_hold_cannot_be_held_again(book: Book) -> None:
    book.pay("k", 1000)
    assert book.open("a", "k", 600) is None
    assert book.open("b", "k", 600) == "credits_exhausted"
    book.close("b", 0)
    book.close("a", 0)
    assert book.open("c", "k", 1000) is None


def test_a_cap_binds_all_keys_of_a_tenant_and_gives_back_what_the_key_had_held(book: Book) -> None:
    book.pay("k", 10_000)
    assert book.open("a", "k", 600, cap=1000) is None
    assert book.open("b", "other", 600, cap=1000) == "tenant_cap_reached"
    assert book.open("c", "k", 600, cap=1000) == "tenant_cap_reached"
    assert book.account("key:k") == (10_000, 600)
    book.close("a", 1000)  # dearer than it was held to be, and owed all the same
    assert book.open("d", "k", 1, cap=1000) == "tenant_cap_reached"
    assert book.open("e", "k", 0, cap=1000) is None  # what is free costs nothing


def test_a_key_that_pays_later_is_only_counted(book: Book) -> None:
    assert book.open("a", "k", 600) is None
    book.close("a", 600)
    assert book.account("key:k") == (-600, 0)
    book.pay("k", 1000)  # from now on it pays in advance; what it used before is its tenant's to pay
    assert book.account("key:k") == (1000, 0)
    assert book.account("spent:t") == (600, 0)


def test_without_a_price_only_those_are_served_who_pay_later(book: Book) -> None:
    assert book.open("a", "k", None) is None
    assert book.open("b", "k", None, cap=1000) == "price_unknown"
    book.pay("k", 1000)
    assert book.open("c", "k", None) == "price_unknown"
    book.close("a", 40)  # another candidate answered, whose price was known
    assert book.account("key:k") == (960, 0)


def test_a_call_that_a_crash_cut_pays_for_what_had_left(book: Book) -> None:
    book.pay("k", 1000)
    for name in ("nothing", "some"):
        book.open(name, "k", 210)
    row = Progress("some", 200, "text/event-stream", 900, "0" * 64, 5, "", "c")
    book.writer.submit(lambda transaction: record_progress(transaction.connection, [row])).result()
    book.close("nothing", None, told=False)
    book.close("some", None, told=False)
    assert book.account("key:k") == (1000 - 10 - 20, 0)  # the prompt, and two tokens for each of five events
    assert not book.close("some", None, told=False)


def test_of_five_hundred_at_once_as_many_go_on_as_are_paid_for(book: Book) -> None:
    book.pay("k", 100 * 7)
    with ThreadPoolExecutor(32) as callers:
        codes = list(callers.map(lambda number: book.open(f"c{number}", "k", 7), range(500)))
        assert codes.count(None) == 100 and codes.count("credits_exhausted") == 400
        list(callers.map(lambda number: book.close(f"c{number}", 7), range(500)))
    assert book.account("key:k") == (0, 0)
    assert book.account("spent:t") == (700, 0)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE ledger_accounts SET balance = balance + 1 WHERE name = 'key:k'", "key:k"),
        ("UPDATE ledger_accounts SET reserved = 3 WHERE name = 'spent:t'", "spent:t"),
        ("UPDATE ledger_entries SET micro_usd = 9 WHERE kind = 'topup'", "key:k"),
        ("DELETE FROM ledger_entries WHERE kind = 'call'", "key:k"),
        ("DELETE FROM ledger_accounts WHERE name = 'spent:t'", "spent:t"),
        ("UPDATE usage_totals SET micro_usd = micro_usd + 1", "spent:t"),
    ],
)
def test_a_check_names_the_account_that_does_not_balance(tmp_path: Path, damage: str, named: str) -> None:
    book = Book(tmp_path)
    book.pay("k", 1000)
    book.open("a", "k", 100)
    book.close("a", 60)
    book.open("b", "k", 100)
    assert check_ledger(book.engine) == []
    book.run(damage)
    assert named in {fault.account for fault in check_ledger(book.engine)}
    book.writer.stop()
    book.engine.dispose()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pay", "open", "close", "crash"]),
        st.integers(0, 4),
        st.integers(0, 300),
        st.sampled_from([None, 500]),
    ),
    max_size=30,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_happens_the_entries_say_the_balance(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int | None]]
) -> None:
    book = Book(tmp_path_factory.mktemp("book"))
    book.pay("k", 200)  # one that pays later may owe any sum
    for number, (what, at, amount, cap) in enumerate(steps):
        if what == "pay":
            book.pay("k", amount + 1)
        elif what == "open":
            book.open(f"{number}", "k", amount, cap)
        else:
            with book.engine.connect() as connection:
                rows = connection.execute(text("SELECT receipt_id, held_micro_usd FROM calls WHERE receipt IS NULL"))
                calls = rows.all()
            if calls:
                name, held = calls[at % len(calls)]
                book.close(name, min(amount, held or 0), told=what == "close")
        balance, reserved = book.account("key:k")
        assert 0 <= reserved <= balance
    assert check_ledger(book.engine) == []
    book.writer.stop()
    book.engine.dispose()
