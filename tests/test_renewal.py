"""Keysets: attested before they sign, renewed at half their life, and what is said while they cannot be."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from gateway import renewal
from gateway.audit import AuditRecord
from gateway.boot_keys import BootKeys
from gateway.config import Limits, decode_config
from gateway.desk import QuoteDesk
from gateway.errors import AttesterUnavailable, KeysetExpired
from gateway.renewal import Renewal
from gateway.sampling import Sampler
from gateway.sequencer import Sequencer
from gateway.startup import startup_body
from gateway.storage.engine import open_database
from gateway.storage.log import EMPTY_HEAD, LogEpoch
from gateway.storage.quotes import add_quote, find_quote
from gateway.storage.writer import GroupCommit
from gateway.workload import Document, Keyset, WorkloadKeys, workload_document
from tee.attest.attester import Attester
from tee.attest.mock import MockChip, load_chip_secrets
from tee.errors import DeviceDead, Unavailable
from tee.evidence import Evidence
from tee.log.entry import NO_LEAF, LogEntry
from tee.policy import policy_for_measurements
from tee.verify import verify_quote
from tests.worlds.small_log import SmallLog
from tests.worlds.transcript import b64

MEASUREMENT = bytes(range(48))
DEMO: dict[str, Any] = {
    "providers": [{"id": "mock", "family": "mock"}],
    "models": [{"id": "mock-1", "provider": "mock"}],
}
BUSY = Unavailable("the device", "busy", retryable=True)


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC).timestamp()

    def __call__(self) -> float:
        return self.now


class Moody:
    """An attester that fails with `error` while it has one."""

    tee_type = "mock"

    def __init__(self, chip: Attester) -> None:
        self._chip = chip
        self.error: Unavailable | None = None
        self.asked = 0

    def attest(self, report_data: bytes) -> Evidence:
        """A report, or the failure."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self._chip.attest(report_data)


def no_log(_keyset_digest: str) -> Document:
    """The log has tests of its own."""
    return {}


class World:
    """Keys of 600 seconds by a clock of ours, a desk, its renewal, and the store of quotes."""

    def __init__(self, chip: Attester) -> None:
        self.clock, self.attester = Clock(), Moody(chip)
        config = decode_config(DEMO, {})
        identity = SigningKey.generate()
        boot = BootKeys()
        document = workload_document(config, "sha256:" + "0" * 64, bytes(identity.verify_key), SmallLog().key, boot)
        self.keys = WorkloadKeys(identity, boot, document, 600, self.clock)
        self.desk = QuoteDesk(self.attester, self.keys, Limits(quotes_per_minute=60_000), no_log)
        self.stored: dict[str, Document] = {}
        self.store: Callable[[str, Document], None] = self.stored.__setitem__
        self.renewal = Renewal(self.desk, self.keys, self.record)

    async def record(self, keyset: Keyset, quote: Document) -> Document:
        """What the gateway does in the log and the database."""
        leaf = LogEntry(0, NO_LEAF, int(self.clock()), "startup", startup_body(keyset, quote)).encode()
        note = SmallLog(leaves=[leaf]).checkpoint().encode().decode()
        quote = quote | {"log": {"checkpoint": note, "startup": {"index": 0, "leaf_b64": b64(leaf), "proof": []}}}
        self.store(keyset.digest, quote)
        return quote

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        """The scene, after a start and beside the renewal."""

        async def run() -> None:
            await self.renewal.start(5)
            renewing = asyncio.create_task(self.renewal.run())
            await scene()
            renewing.cancel()

        asyncio.run(run())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for it, at most thirty seconds."""
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.005)


@pytest.fixture
def world(chip_file: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(renewal, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(renewal, "MAX_PAUSE", 0.02)
    return World(MockChip(load_chip_secrets(chip_file.parent), MEASUREMENT))


def test_the_boot_quote_is_stored_before_anything_is_signed(world: World) -> None:
    asyncio.run(world.renewal.start(0))
    document = world.stored[world.keys.signer("").keyset_digest]
    assert world.desk.standing.quote == document
    policy = policy_for_measurements(MEASUREMENT.hex())
    settings: Any = {"policy": policy, "audience": "http://127.0.0.1:8484", "accept_mock": True}
    now = dt.datetime.now(dt.UTC)
    assert verify_quote(document, now=now, nonce=None, **settings).outcome == "verified"
    assert verify_quote(document, now=now, nonce=bytes(32), **settings).failures() == ("bind.report-data", "bind.nonce")
    later = now + dt.timedelta(seconds=700)
    assert verify_quote(document, now=later, nonce=None, **settings).failures() == ("bind.keyset-expiry",)


def test_a_keyset_is_renewed_at_half_life_and_attested_first(world: World) -> None:
    async def scene() -> None:
        first = world.keys.signer("")
        world.clock.now += 200
        await asyncio.sleep(0.1)
        assert world.keys.signer("").keyset_digest == first.keyset_digest
        world.clock.now += 200
        await world.until(lambda: world.keys.signer("").keyset_digest != first.keyset_digest)
        assert set(world.stored) == {first.keyset_digest, world.keys.signer("").keyset_digest}
        assert world.keys.signer("").key_id == first.key_id
        assert world.desk.standing.quote["keyset"]["not_after"] == int(world.clock.now) + 600

    world.play(scene)


def _fail_at_the_device(world: World) -> None:
    world.attester.error = BUSY


def _fail_at_the_store(world: World) -> None:
    def store(_digest: str, _quote: Document) -> None:
        raise Unavailable("the database", "is full", retryable=False)

    world.store = store


@pytest.mark.parametrize("fail", [_fail_at_the_device, _fail_at_the_store])
def test_a_failed_renewal_is_tried_again_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture, fail: Callable[[World], None]
) -> None:
    async def scene() -> None:
        first, asked = world.keys.keyset.digest, world.attester.asked
        fail(world)
        world.clock.now += 301
        await world.until(lambda: world.attester.asked > asked + 4)
        assert world.keys.keyset.digest == first
        assert world.renewal.condition() == ("ready", None)
        world.clock.now += 200
        await world.until(lambda: "The keyset ends at" in caplog.text)
        status, warning = world.renewal.condition()
        assert (status, "no new one could be attested" in str(warning)) == ("ready", True)
        world.attester.error, world.store = None, world.stored.__setitem__
        await world.until(lambda: world.keys.keyset.digest != first)
        await world.until(lambda: world.renewal.condition() == ("ready", None))

    with caplog.at_level(logging.WARNING, "saferouter"):
        world.play(scene)
    assert caplog.text.count("could not be renewed") == 1
    assert caplog.text.count("The keyset ends at") == 1
    assert caplog.text.count("The keyset is renewed") == 1


def test_an_ended_keyset_refuses_calls_until_one_is_attested(world: World, caplog: pytest.LogCaptureFixture) -> None:
    writer = GroupCommit(open_database("sqlite://"), Sequencer(LogEpoch(1, 1), EMPTY_HEAD, bytes, world.clock, ()))
    audit = AuditRecord(writer, world.keys, bytes, Sampler(0, world.keys.sign_sample))

    async def scene() -> None:
        audit.require_keyset()
        world.attester.error = BUSY
        world.clock.now += 601
        with pytest.raises(KeysetExpired, match="nobody could verify the receipt"):
            audit.require_keyset()
        await world.until(lambda: "calls are refused: the device: busy" in caplog.text)
        status, reason = world.renewal.condition()
        assert (status, "calls are refused" in str(reason)) == ("keyset-expired", True)
        world.attester.error = None
        await world.until(lambda: world.renewal.condition() == ("ready", None))
        audit.require_keyset()

    world.play(scene)
    writer.stop()
    assert caplog.text.count("The keyset ended at") == 1


def test_a_dead_device_is_never_asked_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        world.attester.error = DeviceDead("the device", "dead until the guest is rebooted")
        world.clock.now += 301
        await world.until(lambda: world.desk.dead is not None)
        asked = world.attester.asked
        await asyncio.sleep(0.1)
        with pytest.raises(AttesterUnavailable, match="marked stale"):
            await world.desk.quote(bytes(32))
        assert world.attester.asked == asked
        status, reason = world.renewal.condition()
        assert (status, reason) == ("attestation-dead", "the device: dead until the guest is rebooted.")
        world.clock.now += 301
        await world.until(lambda: "The keyset ended at" in caplog.text)
        assert "calls are refused" in str(world.renewal.condition()[1])

    world.play(scene)
    assert caplog.text.count("The attestation device is dead") == 1
    assert "could not be renewed" not in caplog.text


def test_a_report_that_does_not_verify_is_never_served(world: World) -> None:
    chip = world.attester

    class Forger:
        tee_type = "mock"

        def attest(self, report_data: bytes) -> Evidence:
            evidence = chip.attest(report_data)
            return replace(evidence, report=evidence.report[:0x90] + b"\x00" * 48 + evidence.report[0xC0:])

    class Elsewhere:
        tee_type = "mock"

        def attest(self, report_data: bytes) -> Evidence:
            return chip.attest(report_data[::-1])

    for attester, words in ((Forger(), r"hw\.signature"), (Elsewhere(), "over other data than was asked")):
        desk = QuoteDesk(attester, world.keys, Limits(), no_log)
        with pytest.raises(AttesterUnavailable, match=words) as caught:
            asyncio.run(desk.quote(bytes(32)))
        assert caught.value.retry_after is None


def test_a_keyset_that_is_made_again_within_a_second_keeps_its_first_quote(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    for document in ("first", "second"):
        add_quote(engine, "sha256:" + "0" * 64, document, 1)
    assert find_quote(engine, "sha256:" + "0" * 64) == "first"
    engine.dispose()
