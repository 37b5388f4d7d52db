"""One running gateway: its parts, put together in one place."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.admission import Admission
from gateway.announcements import read_outset
from gateway.audit import AuditRecord
from gateway.boot_keys import BootKeys
from gateway.build import source_digest
from gateway.config import Config
from gateway.desk import QuoteDesk
from gateway.epochs import Epochs, load_epochs
from gateway.first_hashes import with_first_hashes
from gateway.history import History, HistoryOpener, authenticator
from gateway.key_book import KeyBook
from gateway.log_copy import copy_log
from gateway.measured_record import MeasuredRecord
from gateway.meters import CallMeters, new_meters
from gateway.metrics import BATCH, LEAVES
from gateway.pipeline import Embedded, Pipeline
from gateway.places import own_places
from gateway.publisher import Publisher
from gateway.rates import LocalRates, Rates, RateStore
from gateway.redis_rates import RedisRates, rate_store
from gateway.renewal import Renewal
from gateway.retention import Retention
from gateway.sampling import Sampler
from gateway.sealing import IDENTITY, LOG_KEY, choose_sealing, load_key, sealed_file
from gateway.startup import StartupLog
from gateway.state import lock_state, make_state
from gateway.storage.calls import find_open_calls
from gateway.storage.engine import Engine, open_database
from gateway.storage.log import LogEpoch
from gateway.storage.logs import note_continued, record_checkpoint
from gateway.storage.quotes import add_quote
from gateway.storage.tiles import TileFolder
from gateway.storage.writer import GroupCommit, Transaction
from gateway.stream_watch import StreamWatch
from gateway.tally import Tally
from gateway.upstream import Upstream
from gateway.workload import Document, Keyset, WorkloadKeys, workload_document
from tee.attest.attester import Attester, PlatformAttester
from tee.attest.detect import detect_attester
from tee.attest.mock import mock_measurement
from tee.attest.nitrotpm import detect_key_attester, detect_nitrotpm
from tee.client.witnesses import Quorum
from tee.collateral.cache import CollateralCache
from tee.collateral.endorser import CachedEndorser
from tee.collateral.kds import Kds
from tee.log.witnesses import WitnessPolicy
from tee.private_files import remove_unfinished

LOG = logging.getLogger("saferouter")
TILES = "log"  # folder of the published log, one below it for each epoch


@dataclass(slots=True)
class Instance:
    """The parts of a running gateway."""

    config: Config
    engine: Engine
    writer: GroupCommit
    keys: WorkloadKeys
    desk: QuoteDesk
    renewal: Renewal
    audit: AuditRecord
    upstream: Upstream
    pipeline: Pipeline
    publisher: Publisher
    epochs: Epochs
    attester_reason: str
    sealing_reason: str
    measurement: bytes  # of the mock: a real one is read from a report
    lock: int  # holds the state folder
    meters: CallMeters
    open_calls: Callable[[], int]
    counts: LocalRates  # of this node, its workers' too
    rates: RateStore  # of all nodes
    key_book: KeyBook
    watch: StreamWatch
    closing: bool = False
    reloading: asyncio.Lock = field(default_factory=asyncio.Lock)  # one at a time

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        log, kept = self.publisher, (self.config.receipt_days, self.config.activity_days)
        retention = Retention(self.writer, *kept, time.time)
        pruning = [retention.run()] if retention.batches() else []
        own = self.audit.record_progress(), self.renewal.run(), self.watch.run()
        work = [*own, log.run(), log.run_witnesses(), *pruning]
        if isinstance(self.rates, RedisRates):
            work.append(self.rates.watch())
        return work if self.config.log_store is None else [*work, copy_log(self.epochs, self.config.log_store)]

    def condition(self) -> tuple[str, str | None]:
        """`ready` or why not, for /readyz, and a reason or a warning for people."""
        status, words = self.renewal.condition()
        warning = self.rates.warning if isinstance(self.rates, RedisRates) else None
        return status, " ".join(filter(None, (words, warning))) or None

    async def drain(self) -> None:
        """Stop answering: cut what runs, leave a receipt for each, and hang up on the providers."""
        self.closing = True
        await self.pipeline.drain()
        await self.upstream.close()

    async def close(self) -> None:
        """Write what is owed, then let go of the database."""
        await self.rates.close()
        await asyncio.to_thread(self.writer.stop)
        await self.publisher.publish()
        await self.publisher.close()
        self.meters.close()
        self.engine.dispose()
        os.close(self.lock)


async def start_instance(config: Config, *, allow_mock: bool, embedded: Embedded | None) -> Instance:
    """Detect, attest, recover, and be ready to serve. Raises Unavailable, Malformed."""
    make_state(config.state)
    lock = lock_state(config.state)
    config = with_first_hashes(config)
    remove_unfinished(config.state)
    source = source_digest()
    measurement = mock_measurement(source)
    attester, platform, reason = _find_attesters(config, measurement, allow_mock)
    sealing = choose_sealing(config, attester.tee_type, detect_key_attester())
    identity = load_key(config.state, IDENTITY, sealing)
    engine = open_database(config.database_url)
    key_is_new = not sealed_file(config.state, LOG_KEY).exists()
    secret = load_key(config.state, LOG_KEY, sealing)
    opener = HistoryOpener(engine, config.state, config.audience, secret, time.time, key_is_new)
    history, quorum = await _open_log(opener, config.witnesses)
    boot_keys = BootKeys()
    workload = workload_document(config, source, bytes(identity.verify_key), history.signer.key, boot_keys)
    keys = WorkloadKeys(identity, boot_keys, workload, config.keyset_seconds, time.time)
    outset = read_outset(engine, history.sequencer.begin(), workload["identity_key"], workload["build"])
    meters = new_meters(config)
    writer = await _begin_writing(engine, history, meters.tally)
    tiles = TileFolder(config.state / TILES / str(history.signer.epoch.number))
    publisher = Publisher(
        engine, history.signer, tiles, history.sequencer.take_unsigned, quorum, _teller(writer, engine)
    )
    epochs = load_epochs(publisher, history.signer.key, engine, config.state, config.state / TILES)
    startup = StartupLog(writer, publisher, outset)
    sampler = Sampler(config.audit_per_million, keys.sign_sample)
    audit = AuditRecord(writer, keys, authenticator(secret, b"saferouter/calls/v1"), sampler)
    upstream = Upstream(config.limits, stock=config.stock_http)
    key_book = KeyBook(engine, writer)
    places, measured = own_places(), MeasuredRecord(audit, meters.tally)
    counts = LocalRates()
    store = rate_store(config.rates, counts)
    watch, rates = StreamWatch(key_book.find_ended), Rates(store)
    pipeline = Pipeline(config, Admission(key_book.find), measured, upstream, embedded, places, watch, rates)
    desk = QuoteDesk(attester, keys, config.limits, startup.member, platform)

    async def record(keyset: Keyset, quote: Document) -> Document:
        await startup.announce(keyset, quote, config.limits.boot_seconds)
        quote = quote | {"log": startup.member(keyset.digest)}
        await asyncio.to_thread(add_quote, engine, keyset.digest, json.dumps(quote), int(time.time()))
        return quote

    renewal = Renewal(desk, keys, record)
    await renewal.start(config.limits.boot_seconds)
    audit.finish_cut_calls(find_open_calls(engine, history.signer.epoch.log))
    parts = publisher, epochs, reason, sealing.reason, measurement, lock, meters, places.taken, counts, store
    return Instance(config, engine, writer, keys, desk, renewal, audit, upstream, pipeline, *parts, key_book, watch)


def _find_attesters(
    config: Config, measurement: bytes, allow_mock: bool
) -> tuple[Attester, PlatformAttester | None, str]:
    """The device, what vouches for the boot image where that is configured, and the words on both."""
    kds = None if config.kds_url is None else Kds(config.kds_url)
    endorser = CachedEndorser(CollateralCache(config.collateral_folder), kds, notice=LOG.warning)
    attester, reason = detect_attester(config.state, measurement, allow_mock=allow_mock, endorse=endorser)
    if not config.platform_evidence:
        return attester, None, reason
    platform, tool = detect_nitrotpm()
    return attester, platform, f"{reason}; NitroTPM documents from {tool}"


async def _open_log(opener: HistoryOpener, witnesses: WitnessPolicy | None) -> tuple[History, Quorum | None]:
    """The log where it may go on: neither behind its own last head nor beside what a witness has seen."""
    history = opener.open()
    if witnesses is None:
        return history, None
    quorum = Quorum(witnesses)
    witnessed = await quorum.seen(history.signer.key)
    return (opener.open(witnessed) if history.continues is None else history), quorum


async def _begin_writing(engine: Engine, history: History, tally: Tally) -> GroupCommit:
    """The writer; a log that follows another begins by saying so."""
    writer = GroupCommit(engine, history.sequencer, partial(_note_batch, tally))
    if history.continues is not None:
        LOG.warning("The log begins epoch %d: %s.", history.signer.epoch.number, history.continues["reason"])
        await writer.durable(partial(_continue, history.continues))
    return writer


def _note_batch(tally: Tally, size: int, kinds: list[str]) -> None:
    tally.observe(BATCH, (), size)
    for kind in kinds:
        tally.add(LEAVES, (kind,))


def _teller(writer: GroupCommit, engine: Engine) -> Callable[[LogEpoch, str], None]:
    """Stores published checkpoints where other replicas find them; SQLite has no others."""
    if engine.dialect.name == "sqlite":
        return lambda _epoch, _note: None
    return lambda epoch, note: writer.note(lambda transaction: record_checkpoint(transaction.connection, epoch, note))


def _continue(body: dict[str, Any], transaction: Transaction) -> None:
    transaction.sequence.append("log.continues", body)
    note_continued(transaction.connection, transaction.sequence.epoch.log)
