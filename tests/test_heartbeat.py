"""What is held for the calls of a replica that never comes back, and for those of one that does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from gateway.heartbeat import GONE_SECONDS, Heartbeat
from gateway.storage.calls import find_open_calls
from gateway.storage.ledger_check import check_ledger
from tests.test_ledger import NOW, Book


@pytest.fixture
def two(database_url: str, tmp_path: Path) -> Iterator[tuple[Book, Book]]:
    """Two replicas, which share a ledger and were both seen at NOW."""
    books = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        books.append(Book(tmp_path / str(number), database_url, SigningKey(bytes([number]) * 32)))
    yield books[0], books[1]
    for book in books:
        book.writer.stop()
        assert check_ledger(book.engine) == []
        book.engine.dispose()


def beat(book: Book, at: int) -> int:
    return asyncio.run(Heartbeat(book.engine, book.writer, lambda: at).beat())


def test_what_a_replica_that_is_gone_held_is_released_once(two: tuple[Book, Book]) -> None:
    gone, here = two
    gone.pay("k", 1000)
    assert gone.open("cut", "k", 600) is None
    assert here.open("running", "k", 300) is None
    assert beat(here, NOW + GONE_SECONDS) == 0
    assert beat(here, NOW + GONE_SECONDS + 1) == 1
    assert beat(here, NOW + GONE_SECONDS + 2) == 0
    assert here.account("key:k") == (1000, 300)
    # It comes back: the call is still its own to close, and costs nothing.
    assert [call.receipt_id for call in find_open_calls(gone.engine, gone.writer.log)] == ["cut"]
    assert gone.close("cut", None, told=False)
    assert here.account("key:k") == (1000, 300)
    assert here.close("running", 200)
    assert here.account("key:k") == (800, 0)


def test_a_replica_that_says_that_it_runs_keeps_what_it_holds(two: tuple[Book, Book]) -> None:
    first, second = two
    first.pay("k", 1000)
    assert first.open("long", "k", 600) is None
    beat(first, NOW + GONE_SECONDS)
    assert beat(second, NOW + GONE_SECONDS + 60) == 0
    assert second.account("key:k") == (1000, 600)
    assert first.close("long", 100)
