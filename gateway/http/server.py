"""Serving with hypercorn: sockets, bounds, and a stop that loses no receipt."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config as ServerConfig
from hypercorn.config import Sockets
from hypercorn.utils import wrap_app

from gateway.config import Config
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.http import connections
from gateway.http.app import build_app
from gateway.http.mock_provider import mock_provider_app
from gateway.http.pass_on import open_door
from gateway.http.stopping import Stop
from gateway.instance import Instance, start_instance
from gateway.pipeline import Embedded
from gateway.reload import reload_when_asked
from gateway.rerouting import Rerouting
from gateway.supervisor import BACKLOG, Supervisor
from tee.errors import Unavailable

STOP_SECONDS = 0.3  # for connections to close by themselves once every call is cut


async def run(
    config: Config,
    *,
    allow_mock: bool,
    on_ready: Callable[[Instance], Awaitable[None]],
    reread: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; at SIGHUP `reread` gives the configuration anew. Raises Unavailable, Malformed."""
    stop, shut = Stop(), asyncio.Event()
    stop.listen()
    connections.use(stock=config.stock_http)
    listener = _listen(config.host, config.port)
    servers: list[asyncio.Task[None]] = []
    embedded, provider = _listen_for_mock(config)
    # Before any server: one that a failed start leaves behind would end in a traceback.
    instance = await _unless_stopped(start_instance(config, allow_mock=allow_mock, embedded=embedded), stop.asked)
    if instance is None:
        return
    settle_memory()
    rerouting = Rerouting(instance)
    work = [asyncio.create_task(each) for each in (*instance.background(), rerouting.run())]
    if reread is not None:
        work.append(asyncio.create_task(_reload_at_hangup(instance, reread)))
    ending = asyncio.create_task(stop.asked.wait())
    workers = Supervisor(instance, listener, embedded) if config.workers > 1 else None
    try:
        if embedded is not None and provider is not None:
            servers.append(serve_app(mock_provider_app(embedded.api_key), provider, config, shut))
        if workers is None:
            servers.append(serve_app(build_app(instance, rerouting), listener, config, shut))
        else:
            servers.append(serve_app(build_app(instance, rerouting), open_door(config.state), config, shut))
            work.append(asyncio.create_task(workers.run()))
            await _first_end([asyncio.create_task(workers.assembled()), *work, ending])
        await on_ready(instance)
        if workers is not None:
            workers.open()
        await _first_end([*servers, *work, ending])
        instance.closing = True
        await stop.while_patient(_finish_calls(instance, workers))
    finally:
        if workers is not None:
            await workers.stop()
        shut.set()
        await instance.drain()
        await asyncio.wait(servers, timeout=STOP_SECONDS)
        for task in (*servers, *work):
            task.cancel()
        await asyncio.gather(*servers, *work, return_exceptions=True)
        await instance.close()


async def _finish_calls(instance: Instance, workers: Supervisor | None) -> None:
    """Admit nobody more, and let the calls that are open end, for as long as is configured."""
    seconds = float(instance.config.limits.stop_seconds)
    await (instance.pipeline if workers is None else workers).finish(seconds)


async def _reload_at_hangup(instance: Instance, reread: Callable[[], Config]) -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    await reload_when_asked(instance, reread, asked)


async def _unless_stopped(start: Coroutine[Any, Any, Instance], stop: asyncio.Event) -> Instance | None:
    """What was started; None if a stop came first: a busy host can keep the first report waiting for minutes."""
    starting, stopping = asyncio.create_task(start), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return starting.result()
    starting.cancel()
    return None


async def _first_end(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for the stop, or for a part that should never end: its error must not pass unseen."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def serve_app(app: Any, listener: socket.socket, config: Config, stop: asyncio.Event) -> asyncio.Task[None]:
    """Serve on a bound socket until `stop`."""
    settings = ServerConfig()
    settings.h11_max_incomplete_size = config.limits.header
    settings.include_server_header = False
    settings.backlog = BACKLOG
    settings.keep_alive_timeout = 75
    settings.keep_alive_max_requests = 1 << 30
    settings.graceful_timeout = STOP_SECONDS
    # Neither log: an access log names receipts, and a traceback may quote a prompt. Errors have their own line.
    settings.accesslog = None
    settings.errorlog = None
    listener.setblocking(False)
    wrapped, sockets = wrap_app(app, settings.wsgi_max_body_size, "asgi"), Sockets([], [listener], [])

    async def stopped() -> None:
        await stop.wait()

    async def serving() -> None:
        # hypercorn cancels what outlives its grace, and reports that as a cancellation of its own.
        with suppress(asyncio.CancelledError):
            await worker_serve(wrapped, settings, sockets=sockets, shutdown_trigger=stopped)

    return asyncio.create_task(serving())


def settle_memory() -> None:
    """What lives as long as the process is never looked at again; what a call leaves behind is, in larger batches.

    A connection that ends leaves some fifty objects in a circle, 10 KB. One that lived long has come to the oldest
    generation, which is looked at after the product of these numbers: after some thousands of connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 4)


def _listen_for_mock(config: Config) -> tuple[Embedded | None, socket.socket | None]:
    """Where the embedded mock provider will listen, if it is configured."""
    if not any(row.base_url == EMBEDDED_MOCK for row in config.models.connectors.values()):
        return None, None
    listener = _listen("127.0.0.1", 0)
    return Embedded(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", secrets.token_hex(16)), listener


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = f"{error.strerror}: stop what listens there, or set PORT to another port"
        raise Unavailable(f"{host}:{port}", reason, retryable=False) from None
    return listener
