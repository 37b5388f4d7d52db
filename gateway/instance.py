"""One running gateway: its parts, put together in one place."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.admission import Admission
from gateway.audit import AuditRecord
from gateway.build import source_digest
from gateway.config import Config
from gateway.desk import QuoteDesk
from gateway.pipeline import Embedded, Pipeline
from gateway.renewal import Renewal
from gateway.state import lock_state, make_state
from gateway.storage.api_keys import find_api_key
from gateway.storage.calls import find_open_calls
from gateway.storage.engine import Engine, open_database
from gateway.storage.quotes import add_quote
from gateway.storage.writer import GroupCommit
from gateway.upstream import Upstream
from gateway.workload import Document, WorkloadKeys, load_identity, workload_document
from tee.attest.detect import detect_attester
from tee.attest.mock import mock_measurement


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
    attester_reason: str
    measurement: bytes  # of the mock: a real one is read from a report
    lock: int  # holds the state folder
    closing: bool = False

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        return [self.audit.record_progress(), self.renewal.run()]

    async def drain(self) -> None:
        """Stop answering: cut what runs, leave a receipt for each, and hang up on the providers."""
        self.closing = True
        await self.pipeline.drain()
        await self.upstream.close()

    async def close(self) -> None:
        """Write what is owed, then let go of the database."""
        await asyncio.to_thread(self.writer.stop)
        self.engine.dispose()
        os.close(self.lock)


async def start_instance(config: Config, *, allow_mock: bool, embedded: Embedded | None) -> Instance:
    """Detect, attest, recover, and be ready to serve. Raises Unavailable, Malformed."""
    make_state(config.state)
    lock = lock_state(config.state)
    source = source_digest()
    measurement = mock_measurement(source)
    attester, reason = detect_attester(config.state, measurement, allow_mock=allow_mock)
    identity = load_identity(config.state)
    workload = workload_document(config, source, bytes(identity.verify_key))
    keys = WorkloadKeys(identity, workload, config.keyset_seconds, time.time)
    engine = open_database(config.database_url)
    writer = GroupCommit(engine)
    audit = AuditRecord(writer, keys)
    upstream = Upstream(config.limits)
    pipeline = Pipeline(config, Admission(partial(find_api_key, engine)), audit, upstream, embedded)
    desk = QuoteDesk(attester, keys, config.limits)
    renewal = Renewal(desk, keys, partial(_store_quote, engine))
    await renewal.start(config.limits.boot_seconds)
    audit.finish_cut_calls(find_open_calls(engine))
    return Instance(config, engine, writer, keys, desk, renewal, audit, upstream, pipeline, reason, measurement, lock)


def _store_quote(engine: Engine, digest: str, document: Document) -> None:
    add_quote(engine, digest, json.dumps(document), int(time.time()))
