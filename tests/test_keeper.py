"""The keeper's desk, with a worker's end of the connection in the same process: what it does, and what it refuses."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from sqlalchemy import Engine, text

from gateway.audit import AuditRecord
from gateway.boot_keys import BootKeys
from gateway.call import Sent
from gateway.draft import ReceiptDraft, new_draft
from gateway.errors import GatewayError
from gateway.keeper import WorkerDesk
from gateway.key_book import KeyBook
from gateway.metrics import new_tally
from gateway.rates import LocalRates
from gateway.remote_record import KeeperLink, RemoteRecord
from gateway.routing.identity import Identities
from gateway.sampling import Sampler
from gateway.sequencer import Sequencer
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD, LogEpoch
from gateway.storage.writer import GroupCommit
from gateway.workload import WorkloadKeys
from tee.errors import Malformed

DRAFTS = [new_draft(f"rcpt-{number}", f"route-{number}", "/v1/chat/completions", b"{}", "") for number in range(3)]
SENT = Sent(200, "application/json").followed_by(b"{}", complete=True)


@dataclass
class Keeper:
    engine: Engine
    desk: WorkerDesk
    serving: asyncio.Task[None]
    record: RemoteRecord
    link: KeeperLink
    worker: asyncio.StreamWriter

    def calls(self) -> list[tuple[str, bool | None]]:
        """Each call, and whether its receipt says complete; None while it has none."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT receipt_id, receipt FROM calls ORDER BY id")).all()
        return [(name, None if raw is None else json.loads(raw)["event_log"][-1]["complete"]) for name, raw in rows]


@asynccontextmanager
async def keeper(folder: Path, most: int = 8) -> AsyncIterator[Keeper]:
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite3'}")
    authenticate = partial(hmac.digest, bytes(32), digest="sha256")
    writer = GroupCommit(engine, Sequencer(LogEpoch(1, 1), EMPTY_HEAD, authenticate, time.time, ()))
    boot = BootKeys()
    keys = WorkloadKeys(SigningKey.generate(), boot, {"version": 1}, 3600, time.time)
    ours, theirs = socket.socketpair()
    streams = await asyncio.open_unix_connection(sock=ours)
    audit = AuditRecord(writer, keys, authenticate, Sampler(0, keys.sign_sample))
    shared = new_tally(), KeyBook(engine, writer), LocalRates(), Identities()
    desk = WorkerDesk(streams, audit, engine, most, *shared)
    reader, worker = await asyncio.open_unix_connection(sock=theirs)
    link = KeeperLink(reader, worker)
    serving = asyncio.create_task(desk.serve())
    listening = asyncio.create_task(link.listen(lambda message: None))
    try:
        record = RemoteRecord(link, boot, (keys.keyset.digest, keys.keyset.not_after))
        yield Keeper(engine, desk, serving, record, link, worker)
    finally:
        for end in (worker, streams[1]):
            end.close()
            await end.wait_closed()
        await asyncio.gather(serving, listening, return_exceptions=True)
        writer.stop()
        engine.dispose()


def routed(draft: ReceiptDraft) -> ReceiptDraft:
    return draft.with_event("route", salt="00")


def test_a_call_is_opened_and_closed_durably(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            assert await it.record.open(routed(DRAFTS[0]), "key-1") == 0
            assert await it.record.open(DRAFTS[1], "key-1") is None
            assert it.calls() == [("rcpt-0", None), ("rcpt-1", None)]
            await it.record.close(routed(DRAFTS[0]), SENT, None, None)
            assert it.calls() == [("rcpt-0", True), ("rcpt-1", None)]

    asyncio.run(one())


def test_a_call_given_up_while_it_is_opened_still_gets_its_receipt(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            opening = asyncio.create_task(it.record.open(DRAFTS[0], "key-1"))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await it.link.settled()
            assert it.calls() == [("rcpt-0", False)]

    asyncio.run(one())


def test_a_worker_has_no_more_open_than_the_gateway_may(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path, most=1) as it:
            await it.record.open(DRAFTS[0], "key-1")
            with pytest.raises(GatewayError) as refused:
                await it.record.open(DRAFTS[1], "key-1")
            assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "overloaded", 1.0)
            await it.record.close(DRAFTS[0], SENT, None, None)
            await it.record.open(DRAFTS[1], "key-1")

    asyncio.run(one())


def test_nobody_closes_a_call_that_is_not_his_or_closes_it_twice(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            await it.record.open(DRAFTS[0], "key-1")
            await it.record.close(DRAFTS[0], SENT, None, None)
            for draft in DRAFTS[:2]:
                with pytest.raises(GatewayError, match="not open"):
                    await it.record.close(draft, SENT, None, None)
            assert it.calls() == [("rcpt-0", True)]

    asyncio.run(one())


def test_a_call_that_is_opened_twice_or_cannot_be_written_is_refused(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            await it.record.open(DRAFTS[0], "key-1")
            await it.record.close(DRAFTS[0], SENT, None, None)
            with pytest.raises(GatewayError) as refused:
                await it.record.open(DRAFTS[0], "key-1")
            assert (refused.value.status, refused.value.code) == (503, "record_unavailable")
            assert await it.desk.finish() == 0

    asyncio.run(one())


@pytest.mark.parametrize(
    "said",
    [
        b"\0\0\0\2[]",
        b"\xff\xff\xff\xff",
        b'\0\0\0\x0d{"do":"sign"}',
        b'\0\0\0\x0d{"do":"open"}',
        b'\0\0\0\x1b{"do":"progress","rows":{}}',
    ],
)
def test_a_worker_that_raves_loses_its_connection_and_its_calls_get_receipts(tmp_path: Path, said: bytes) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            await it.record.open(DRAFTS[0], "key-1")
            it.record.follow(DRAFTS[0], lambda: Sent(200, "text/event-stream").progress("rcpt-0"))
            it.worker.write(said)
            with pytest.raises(Malformed):
                await asyncio.wait_for(it.serving, 10)
            assert await it.desk.finish() == 1
            assert it.calls() == [("rcpt-0", False)]

    asyncio.run(one())


def test_nobody_follows_another_ones_call(tmp_path: Path) -> None:
    async def one() -> None:
        async with keeper(tmp_path) as it:
            it.record.follow(DRAFTS[0], lambda: Sent(200, "text/event-stream").progress("rcpt-0"))
            with pytest.raises(Malformed, match="another's call"):
                await asyncio.wait_for(it.serving, 10)

    asyncio.run(one())
