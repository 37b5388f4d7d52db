"""Retention: old texts go, in small steps and for good; leaves, open calls and everybody's younger receipts stay."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.config import decode_config
from gateway.retention import BATCH, DAY, Retention
from gateway.storage.calls import LoggedText, close_call, find_open_calls, find_receipt, insert_call
from gateway.storage.engine import open_database
from gateway.storage.samples import StoredSample, insert_sample, list_samples
from gateway.storage.writer import GroupCommit, Transaction
from tee.errors import Malformed
from tee.quote import decode_base64
from tests.test_history import check, opened
from tests.test_transparency import proof_of
from tests.worlds.gateway import RunningGateway

NOW = 1_795_240_000
KEY = "key-1"


class Record:
    """A record with a writer, and calls of any age."""

    def __init__(self, folder: Path) -> None:
        self.engine: Engine = open_database(f"sqlite:///{folder / 'record.sqlite3'}")
        self.writer = GroupCommit(self.engine, opened(self.engine, folder).sequencer)

    def add(self, name: str, days: float | None) -> None:
        """A call that was closed so many days ago; None for one that is open."""

        def write(transaction: Transaction) -> None:
            sequence = transaction.sequence
            route = sequence.append("route", {"commitment": "sha256:" + "0" * 64})
            insert_call(transaction.connection, name, KEY, f"draft of {name}", sequence.epoch, route)
            if days is None:
                return
            leaf = sequence.append("receipt", {"commitment": "sha256:" + "0" * 64})
            text = LoggedText(f"text of {name}", sequence.epoch.number, leaf, "5" * 64, int(NOW - days * DAY))
            assert close_call(transaction.connection, name, text, None)
            at = sequence.append("audit", {"commitment": "sha256:" + "0" * 64})
            insert_sample(transaction.connection, StoredSample(name, f"sample of {name}", 1, sequence.epoch.number, at))

        self.writer.submit(write).result()

    def prune(self, days: int, now: float = NOW) -> int:
        return asyncio.run(Retention(self.writer, days, None, lambda: now).prune())

    def texts(self) -> set[str]:
        """The receipts that are still there."""
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT receipt_id FROM calls WHERE receipt != ''")
            return {str(name) for (name,) in rows}


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(tmp_path)
    yield made
    made.writer.stop()
    made.engine.dispose()


def test_only_what_is_older_than_the_policy_goes(record: Record) -> None:
    for name, days in (("old", 31), ("on the day", 30), ("young", 1)):
        record.add(name, days)
    record.add("open", None)
    assert record.prune(30) == 1
    assert record.texts() == {"on the day", "young"}
    assert [call.receipt_id for call in find_open_calls(record.engine, 1)] == ["open"]
    found = find_receipt(record.engine, "old", KEY)
    assert found is not None
    assert (found.receipt, found.receipt_salt, found.pruned_at, found.pruned_days) == ("", "", NOW, 30)
    assert (found.route_leaf, found.receipt_leaf, found.receipt_epoch) == (0, 1, 1)
    samples = list_samples(record.engine, KEY, None, 10)
    assert samples is not None
    assert [each.receipt_id for each in samples] == ["young", "on the day"]
    assert check(record.engine, 1) == 10  # every leaf, chained and provable
    assert record.prune(30) == 0


def test_an_open_call_is_never_pruned_however_old(record: Record) -> None:
    record.add("open", None)
    assert record.prune(1, NOW + 1000 * DAY) == 0
    (call,) = find_open_calls(record.engine, 1)
    assert call.draft == "draft of open"


def test_a_restart_in_the_middle_harms_nothing(record: Record, tmp_path: Path) -> None:
    for number in range(BATCH + 50):
        record.add(f"call {number}", 40)
    record.add("young", 1)

    async def cut() -> None:
        pruning = asyncio.create_task(Retention(record.writer, 30, None, lambda: NOW).prune())
        await asyncio.to_thread(lambda: until(lambda: len(record.texts()) == 51))
        pruning.cancel()

    asyncio.run(cut())
    record.writer.stop()
    record.writer = GroupCommit(record.engine, opened(record.engine, tmp_path, new=False).sequencer)
    assert len(record.texts()) == 51
    assert record.prune(30) == 50
    assert record.texts() == {"young"}


def test_calls_are_recorded_between_the_batches(record: Record) -> None:
    for number in range(2 * BATCH):
        record.add(f"call {number}", 40)

    async def interleaved() -> int:
        pruning = asyncio.create_task(Retention(record.writer, 30, None, lambda: NOW).prune())
        await asyncio.to_thread(lambda: until(lambda: len(record.texts()) < 2 * BATCH))
        await asyncio.to_thread(record.add, "meanwhile", 0)
        left = len(record.texts())
        await pruning
        return left

    assert asyncio.run(interleaved()) == BATCH + 1
    assert record.texts() == {"meanwhile"}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


CONFIG = """
providers = [{id = "mock", family = "mock"}]
models = [{id = "mock-1", provider = "mock"}]
[retention]
receipt_days = 30
"""


def edited(gateway: RunningGateway, statement: str) -> None:
    with closing(sqlite3.connect(gateway.state / "gateway.sqlite3")) as record:
        record.executescript(statement)


def test_a_pruned_receipt_is_gone_in_words_and_on_the_disk(tmp_path: Path, chip_file: Path) -> None:
    environ = {"SAFEROUTER_AUDIT_RATE": "1"}
    with RunningGateway(tmp_path / "state", config=CONFIG, chip=chip_file, environ=environ) as gateway:
        old, young = gateway.ask("long ago"), gateway.ask("just now")
        receipt, proof = gateway.fetch_receipt(old.receipt_id), proof_of(gateway, old.receipt_id)
        decision = json.loads(receipt)["event_log"][1]["decision_id"].encode()
        gateway.stop()
        database = gateway.state / "gateway.sqlite3"
        assert decision in database.read_bytes()
        edited(gateway, f"UPDATE calls SET closed_at = closed_at - 31 * 86400 WHERE receipt_id = '{old.receipt_id}'")
        gateway.start()
        with gateway.client(gateway.api_key) as client:

            def status(path: str) -> int:
                return client.get(f"/v1/aci/receipts/{old.receipt_id}{path}").status_code

            until(lambda: status("") == 410)
            for path in ("", "/proof"):
                error: dict[str, Any] = client.get(f"/v1/aci/receipts/{old.receipt_id}{path}").json()["error"]
                assert error["code"] == "receipt_pruned"
                assert "retention.receipt_days = 30" in error["message"]
                assert f"Leaf {json.loads(leaf_of(proof))['index']} in epoch 1" in error["message"]
                assert time.strftime("This receipt was removed on %Y-%m-", time.gmtime()) in error["message"]
            samples = client.get("/v1/audit/samples").json()["data"]
            assert [row["receipt_id"] for row in samples] == [young.receipt_id]
            assert client.get("/attestation/audit/head").json()["entries"] == 2
        gateway.verified(young)
        assert gateway.judge(receipt, old.request, old.raw).failures() == ()
        gateway.restart()
        assert b"No receipt is signed" not in gateway.log.read_bytes()
        gateway.stop()
        assert decision not in database.read_bytes()


def leaf_of(proof: Any) -> bytes:
    return decode_base64(proof["receipt"]["leaf_b64"], "leaf")


DEMO = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "mock-1", "provider": "mock"}]}


def test_the_policy_is_configured_and_attested_and_keeps_by_default() -> None:
    assert decode_config(DEMO, {}).receipt_days is None
    chosen = decode_config(DEMO | {"retention": {"receipt_days": 30}}, {})
    assert chosen.receipt_days == 30
    assert chosen.digests()["settings"] != decode_config(DEMO, {}).digests()["settings"]
    wrong: list[dict[str, Any]] = [{"receipt_days": 0}, {"receipt_days": 40000}, {"receipt_days": True}, {"days": 3}]
    for table in wrong:
        with pytest.raises(Malformed, match=r"config\.retention"):
            decode_config(DEMO | {"retention": table}, {})
