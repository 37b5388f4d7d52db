"""One worker process: it accepts callers and carries their calls; what it promises them the keeper has recorded."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from dataclasses import replace
from functools import partial

from gateway.admission import Admission
from gateway.boot_keys import decode_boot_keys
from gateway.build import source_digest
from gateway.config import Config, decode_config
from gateway.http import connections
from gateway.http.pass_on import KeeperDoor, build_worker_app
from gateway.http.server import STOP_SECONDS, serve_app, settle_memory
from gateway.http.shared_listener import SharedListener, SharingLoop
from gateway.measured_record import MeasuredRecord
from gateway.meters import CallMeters, new_meters
from gateway.pipeline import Embedded, Pipeline
from gateway.places import Places, Turns, map_counts
from gateway.rates import Rates
from gateway.redis_rates import rate_store
from gateway.remote_rates import RemoteRates
from gateway.remote_record import KeeperLink, RemoteRecord
from gateway.routing.identity import Identities, Shown
from gateway.stream_watch import StreamWatch
from gateway.upstream import Upstream
from gateway.wire import Message
from tee.errors import Malformed

LOG = logging.getLogger("saferouter")
CHANNEL = 0  # the connection to the keeper stands where standard input would


async def run() -> None:
    """Serve until the keeper says stop. Raises Malformed for a worker that would not be what is attested."""
    link = KeeperLink(*await asyncio.open_unix_connection(sock=socket.socket(fileno=CHANNEL)))
    told: asyncio.Queue[Message] = asyncio.Queue()
    listening = asyncio.create_task(link.listen(told.put_nowait))
    listening.add_done_callback(_orphaned)
    link.tell("loaded")
    hello = await told.get()
    if "stop" in hello:
        return
    config = _attested_config(hello)
    if source_digest() != hello["source_digest"]:
        raise Malformed("installed code", "another than the keeper's", "what is attested: restart the gateway")
    record = RemoteRecord(link, decode_boot_keys(hello["boot_keys"]), tuple(hello["keyset"]))
    upstream, stop = Upstream(config.limits, stock=config.stock_http), asyncio.Event()
    _tell_identities(link, upstream.identities)
    embedded = None if hello["embedded"] is None else Embedded(**hello["embedded"])
    open_calls, taken = map_counts(hello["counts"])
    places, turns = Places(open_calls, hello["slot"]), Turns(taken, hello["slot"])
    meters, watch = new_meters(config), StreamWatch(link.find_ended)
    measured, rates = MeasuredRecord(record, meters.tally), Rates(rate_store(config.rates, RemoteRates(link)))
    pipeline = Pipeline(config, Admission(link.find_key), measured, upstream, embedded, places, watch, rates)
    settle_memory()
    connections.use(stock=config.stock_http)
    door, listener = KeeperDoor(config), SharedListener(hello["listener"], turns)
    server = serve_app(build_worker_app(pipeline, config, door, meters), listener, config, stop)
    beside = record.report_progress(), link.report_counts(meters.tally), watch.run()
    work = [asyncio.create_task(each) for each in beside]
    for task in (server, *work):
        task.add_done_callback(partial(_ended, stop))
    await _finish(pipeline, await _follow(told, config, pipeline, meters, record), told)
    stop.set()
    await pipeline.drain()
    await upstream.close()
    await rates.close()
    await asyncio.wait({server}, timeout=STOP_SECONDS)
    for task in work:
        task.cancel()
    link.tell_counts(meters.tally)
    meters.close()
    await link.settled()
    await door.close()


async def _follow(
    told: asyncio.Queue[Message], config: Config, pipeline: Pipeline, meters: CallMeters, record: RemoteRecord
) -> float:
    """Take on each keyset with its configuration, until the keeper says stop: how many seconds calls may still take."""
    while "stop" not in (message := await told.get()):
        if message["configuration"] != config.digests():
            config = _attested_config(message)
            pipeline.configure(config)
            meters.use(config.models)
        record.keyset = tuple(message["keyset"])
    return float(message["stop"])


async def _finish(pipeline: Pipeline, seconds: float, told: asyncio.Queue[Message]) -> None:
    """Let calls end, so long, or until the keeper's next word: that can only be to hurry."""
    hurried = asyncio.create_task(told.get())
    finishing = asyncio.create_task(pipeline.finish(seconds))
    await asyncio.wait({hurried, finishing}, return_when=asyncio.FIRST_COMPLETED)


def _tell_identities(link: KeeperLink, identities: Identities) -> None:
    """Have the keeper know who is met: it keeps the baselines, and tells the operator of a drift."""

    def tell(provider: str, shown: Shown, *, drift: bool) -> None:
        link.tell("met", provider=provider, spki=shown.spki, chain=list(shown.chain), drift=drift)

    identities.on_first, identities.on_drift = partial(tell, drift=False), partial(tell, drift=True)


def _attested_config(hello: Message) -> Config:
    """The keeper's configuration, of which files may have changed since that was attested. Raises Malformed."""
    config = replace(decode_config(hello["document"]), workers=hello["workers"])
    if config.digests() != hello["configuration"]:
        raise Malformed("configuration", "one that has changed", "what is attested: restart the gateway")
    return config


def _ended(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """A part is gone that works until the stop: another worker will do better."""
    if not stop.is_set():
        error = None if task.cancelled() else task.exception()
        LOG.error("A worker ends, since a part of it did (%s).", type(error).__name__)
        os._exit(1)


def _orphaned(listening: asyncio.Task[None]) -> None:
    """The keeper is gone or raves: end here and now, since no answer may leave without a record."""
    if not listening.cancelled():
        os._exit(1)


def main() -> None:
    """The process."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # a stop is the keeper's to order: calls are cut in its time
    try:
        with asyncio.Runner(loop_factory=SharingLoop) as runner:
            runner.run(run())
    except Malformed as error:
        LOG.error("A worker cannot start. %s.", error)
        raise SystemExit(1) from None
    os._exit(0)  # everything is said: taking the interpreter apart would only hold up the stop


if __name__ == "__main__":
    main()
