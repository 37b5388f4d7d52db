"""Providers that fail in every way: each has its outcome and a receipt, and leaves nothing behind. `make soak-faults`.

SAFEROUTER_FAULT_REPEATS says how often each fault is met.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.faults import FAULTS, Fault, Figures, WatchedGateway, failing_provider, fault_config
from tests.worlds.gateway import Answered, chat_body
from tests.worlds.open_stream import OpenStream

REPEATS = int(os.environ.get("SAFEROUTER_FAULT_REPEATS", "12"))
WARM = max(12, REPEATS // 2)  # before anything is measured: threads, pools, caches and garbage come to their size
CLIENTS, WAITING_CLIENTS = 24, 400  # at once; the latter where nothing is done but to wait
SETTLE_SECONDS = 60.0
SOAKED = 1000  # repeats from which on memory is judged: a few calls prove nothing
GROWTH = 1.10
DATABASE = 45  # descriptors: 15 connections, each with the database, its log, and the index of that


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with failing_provider() as origin:
        yield origin


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path, provider: str) -> Iterator[WatchedGateway]:
    state = tmp_path_factory.mktemp("faults") / "state"
    with WatchedGateway(state, fault_config(provider, hasty=False), chip_file) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, chip_file: Path, provider: str) -> Iterator[WatchedGateway]:
    state = tmp_path_factory.mktemp("hasty") / "state"
    with WatchedGateway(state, fault_config(provider, hasty=True), chip_file) as running:
        yield running


def frames(body: bytes) -> list[Any]:
    """The JSON of a stream's events."""
    rows = [row.removeprefix(b"data: ") for row in body.split(b"\n") if row.startswith(b"data: {")]
    return [json.loads(row) for row in rows]


def check(fault: Fault, heard: OpenStream) -> None:
    """The outcome of one call, as its client saw it."""
    assert heard.status in ((fault.status, 502) if fault.either else (fault.status,)), f"{fault}: {heard.raw!r}"
    assert heard.whole and heard.header(b"retry-after") == fault.retry_after, f"{fault}: {heard.raw!r}"
    if heard.status != 200:
        assert json.loads(heard.body)["error"]["code"] == fault.code, f"{fault}: {heard.body!r}"
        return
    found = frames(heard.body)
    said = "".join(choice["delta"].get("content", "") for row in found for choice in row.get("choices", ()))
    failed = [row["error"]["code"] for row in found if "error" in row]
    assert failed == ([fault.code] if fault.in_band else []), f"{fault}: {heard.body!r}"
    assert (b"[DONE]" in heard.body) is not fault.in_band, fault
    whole = "aa" if fault.family == "ollama" else "aaa"
    assert said in ([whole[:size] for size in range(4)] if fault.either else [whole]), f"{fault}: {heard.body!r}"


async def meet(gateway: WatchedGateway, fault: Fault, times: int) -> list[OpenStream]:
    """So many calls, some at once; the first and the last are kept."""
    key, numbers, kept = gateway.api_key, iter(range(times)), []

    async def client() -> None:
        for number in numbers:
            heard = OpenStream(chat_body(f"call {number}", fault.name, stream=fault.stream))
            await heard.run(gateway, key)
            check(fault, heard)
            if number in (0, times - 1):
                kept.append(heard)

    await asyncio.gather(*(client() for _ in range(min(times, WAITING_CLIENTS if fault.stalls else CLIENTS))))
    return kept


def calls_of(gateway: WatchedGateway) -> tuple[int, int]:
    """How many calls it knows, and how many of them have no receipt yet."""
    with closing(sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)) as record:
        (found,) = record.execute("SELECT count(*), sum(receipt IS NULL) FROM calls").fetchall()
    return found[0], found[1] or 0


def grown(now: Figures, before: Figures) -> list[str]:
    """What it holds more of than before; a pool of connections to the database may have grown, up to its bound."""
    found = ["tasks"] if now.tasks > before.tasks else []
    found += [name for name in now.files - before.files if "gateway.sqlite3" not in name]
    return found + (["database"] if now.files.total() > before.files.total() + DATABASE else [])


def settled(gateway: WatchedGateway, before: Figures) -> Figures:
    """What it holds once its work is done: a file of the log may be open for a moment."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        now = gateway.figures()
        if not grown(now, before) or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_has_its_outcome_a_receipt_and_leaves_nothing(
    gateway: WatchedGateway, hasty: WatchedGateway, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = hasty if fault.stalls else gateway
    known = calls_of(asked)[0]
    heard = asyncio.run(meet(asked, fault, WARM))
    idle = settled(asked, asked.figures())
    heard += asyncio.run(meet(asked, fault, REPEATS))
    after = settled(asked, idle)
    assert not grown(after, idle), f"{fault.name}: {idle.files}, then {after.files}"
    if REPEATS >= SOAKED:
        assert after.memory <= idle.memory * GROWTH, f"{fault.name}: {idle}, then {after}"
        with capsys.disabled():
            print(f"\n{fault.name}: {REPEATS} calls; before {idle}; after {after}")
    assert calls_of(asked) == (known + WARM + REPEATS, 0)
    for each in heard:
        answered = Answered(each.request, each.status or 0, {"x-receipt-id": each.receipt_id or ""}, each.body)
        receipt = asked.verified(answered, complete=each.status != 200 or not fault.in_band)
        assert receipt.events["response.returned"]["status"] == each.status
