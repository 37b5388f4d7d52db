"""Activity of a busy gateway: each question reads what it tells and no more, and sums are those of plain arithmetic."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Select, insert, literal
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway.retention import BATCH, DAY, Retention
from gateway.storage.activity import (
    Figures,
    Selection,
    figures,
    find_place,
    list_activity,
    listing,
    recent_attempts,
    recent_calls,
    summarise,
)
from gateway.storage.calls import PLACES
from gateway.storage.engine import open_database
from gateway.storage.schema import ACTIVITY, CALLS
from gateway.storage.writer import GroupCommit
from tests.test_history import opened

ROWS = 50_000
NOW = 1_795_240_000
TENANTS = ["acme", "globex"]


def made(number: int, chance: random.Random) -> dict[str, Any]:
    """A call of any kind; every tenth tenant's is the second's."""
    status = chance.choice([200] * 8 + [500, 499])
    return {
        "id": number * PLACES + 1,
        "call_id": number,
        "attempt": 1,
        "shown": True,
        "tenant": TENANTS[number % 10 == 0],
        "key_id": f"key-{number % 7}",
        "model": f"model-{number % 3}",
        "provider": f"provider-{number % 4}",
        "status": status,
        "provider_status": None if status == 499 else status,
        "waited_ms": 0,
        "started_at": NOW - (ROWS - number) * 20,
        "milliseconds": chance.randrange(1, 100_000),
        "cost_micro_usd": chance.randrange(1000),
        "partial": False,
        "skipped": 0,
        "cost_estimated": False,
    }


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    chance = random.Random(7)
    return [made(number, chance) for number in range(1, ROWS + 1)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("activity") / "record.sqlite3"
    engine = open_database(f"sqlite:///{path}")
    calls = [
        {
            "id": row["call_id"],
            "receipt_id": receipt_of(row),
            "key_id": row["key_id"],
            "log": "a",
            "draft": "",
            "receipt": "",
        }
        for row in rows
    ]
    with engine.begin() as connection:
        connection.execute(insert(CALLS), calls)
        connection.execute(insert(ACTIVITY), rows)
    yield engine
    engine.dispose()


def receipt_of(row: dict[str, Any]) -> str:
    return f"rcpt-{row['call_id']:032x}"


def plan(engine: Engine, query: Select[Any]) -> list[str]:
    """How SQLite goes about it."""
    text = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]


def test_pages_give_each_entry_of_the_tenant_once_in_order(engine: Engine, rows: list[dict[str, Any]]) -> None:
    chosen, place, seen = Selection("globex"), None, []
    while page := list_activity(engine, chosen, place, 999):
        seen += [entry.receipt_id for entry in page]
        place = page[-1].place
        assert place == find_place(engine, "globex", page[-1].receipt_id, 1)
    assert seen == [receipt_of(row) for row in reversed(rows) if row["tenant"] == "globex"]
    assert find_place(engine, "acme", seen[0], 1) is None


def test_a_page_is_read_from_the_index_in_its_order(engine: Engine) -> None:
    place = NOW - ROWS, ROWS * PLACES
    filtered = Selection("acme", model="model-1", provider="provider-2", key_id="key-3", least_status=200)
    for query in (listing(Selection("acme"), None, 100), listing(filtered, place, 100)):
        steps = plan(engine, query)
        assert "USING INDEX activity_of_tenant" in steps[0], steps
        assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN")], steps
    recent = plan(engine, figures(Selection("acme", since=NOW - 3600), literal("all")))
    assert any("USING INDEX activity_of_tenant (tenant=? AND started_at>?)" in step for step in recent), recent


def nearest_rank(values: list[int], percent: int) -> int | None:
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def counted(name: Any, rows: list[dict[str, Any]]) -> Figures:
    good = [row["milliseconds"] for row in rows if row["status"] == 200]
    left = sum(row["status"] == 499 for row in rows)
    spent = sum(row["cost_micro_usd"] for row in rows)
    return Figures(name, len(rows), len(good), left, spent, nearest_rank(good, 50), nearest_rank(good, 95))


def test_sums_are_those_of_plain_arithmetic(engine: Engine, rows: list[dict[str, Any]]) -> None:
    since, span = NOW - DAY, 900
    mine = [row for row in rows if row["tenant"] == "acme" and row["started_at"] >= since]
    found = summarise(engine, Selection("acme", since=since), span)
    assert found.total == counted("all", mine)
    for name, told in (("model", found.models), ("provider", found.providers)):
        expected = [counted(each, [row for row in mine if row[name] == each]) for each in {row[name] for row in mine}]
        assert told == sorted(expected, key=lambda each: (-each.calls, str(each.name)))
    starts = sorted({row["started_at"] // span * span for row in mine})
    assert found.series == [
        counted(at, [row for row in mine if row["started_at"] // span * span == at]) for at in starts
    ]


def test_recent_calls_and_attempts_are_bounded_by_what_is_asked(engine: Engine, rows: list[dict[str, Any]]) -> None:
    newest = recent_calls(engine, "acme", 5)
    assert [call.receipt_id for call in newest] == [receipt_of(row) for row in reversed(rows[-6:-1])]
    tried = recent_attempts(engine, NOW - 900, 4096)
    assert len(tried) == sum(row["started_at"] >= NOW - 900 for row in rows)
    assert len(recent_attempts(engine, 0, 4096)) == 4096
    assert tried[0].provider == rows[-1]["provider"]


def test_the_questions_can_be_put_to_postgresql() -> None:
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    for query in (listing(Selection("acme"), (1, 2), 9), figures(Selection("acme"), literal("all"))):
        assert "activity" in str(query.compile(dialect=dialect))


def test_old_rows_go_in_batches_and_younger_ones_stay(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'record.sqlite3'}")
    writer = GroupCommit(engine, opened(engine, tmp_path).sequencer)
    old, young = BATCH + 50, 7
    chance = random.Random(7)
    with engine.begin() as connection:
        for number in range(1, old + young + 1):
            at = NOW - (31 if number <= old else 29) * DAY
            connection.execute(
                insert(CALLS), {"id": number, "receipt_id": str(number), "key_id": "k", "log": 1, "draft": ""}
            )
            connection.execute(insert(ACTIVITY), made(number, chance) | {"started_at": at, "tenant": "acme"})
    retention = Retention(writer, None, 30, lambda: NOW)
    assert asyncio.run(retention.prune()) == old
    assert len(list_activity(engine, Selection("acme"), None, 1000)) == young
    assert asyncio.run(retention.prune()) == 0
    writer.stop()
    engine.dispose()
