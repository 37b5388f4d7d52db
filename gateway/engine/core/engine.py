"""The engine: pools, drivers and hooks, and the three things that a host asks of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from gateway.config import Limits
from gateway.engine.core.answers import chat_chunks, chat_response, responses_events, responses_response
from gateway.engine.core.attempts import Opened, Patience, first_answer, follow, open_answer
from gateway.engine.core.drivers import EmbeddingsResponse, InMemoryDriverRegistry, ProviderDriver
from gateway.engine.core.errors import DriverNotFound, EngineBuildError
from gateway.engine.core.flight import Flight, Target
from gateway.engine.core.http_drivers import HttpTransport, builtin_drivers
from gateway.engine.core.pool import Endpoint, ExecutionTarget, ProviderPool
from gateway.engine.core.pools import Pools
from gateway.engine.core.report import GatewayHooks, Outcome, RequestKind, RequestReport
from gateway.engine.core.requests import (
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    ProxyResponsesRequest,
    chat_inference,
    embeddings_inference,
    responses_inference,
)
from gateway.engine.core.session import (
    ChatResponse,
    ChatResponseChunk,
    Completed,
    ProxySession,
    ResponsesEvent,
    ResponsesResponse,
    Streaming,
)
from gateway.errors import GatewayError
from gateway.inference import InferenceRequest, StreamEvent
from gateway.routing.health import BreakerPolicy

T = TypeVar("T")
Response = TypeVar("Response")
Chunk = TypeVar("Chunk")


class UniGatewayEngine:
    """Sends requests to pools of endpoints. It needs no gateway, no configuration and no database, only an event loop,
    which is always the same one. `close` it, or use it as `async with`.
    """

    def __init__(
        self,
        drivers: Mapping[str, ProviderDriver],
        hooks: tuple[GatewayHooks, ...],
        transport: HttpTransport | None,
        limits: Limits,
        breaker: BreakerPolicy,
    ) -> None:
        """Made by `builder()`."""
        self._drivers = drivers
        self._hooks = hooks
        self._transport = transport
        self._limits = limits
        self._pools = Pools(breaker)

    @staticmethod
    def builder() -> EngineBuilder:
        """Begin an engine."""
        return EngineBuilder()

    async def upsert_pool(self, pool: ProviderPool) -> None:
        """Add a pool or replace it: the only way in. Raises: Malformed, DriverNotFound."""
        for endpoint in pool.endpoints:
            if endpoint.driver_id not in self._drivers:
                known = ", ".join(self._drivers)
                raise DriverNotFound(
                    f"endpoint {endpoint.endpoint_id}: found driver {endpoint.driver_id}, wanted one of {known}: "
                    "a driver is registered before the engine is built"
                )
        self._pools.upsert(pool)

    async def remove_pool(self, pool_id: str) -> bool:
        """Forget a pool; whether there was one. Requests that it has begun go on."""
        return self._pools.remove(pool_id)

    async def get_pool(self, pool_id: str) -> ProviderPool | None:
        """The pool, from memory: this is what a host's `pool_for_service` returns."""
        return self._pools.get(pool_id)

    async def list_pools(self) -> list[ProviderPool]:
        """All pools."""
        return self._pools.listed()

    async def proxy_chat(
        self, request: ProxyChatRequest, target: ExecutionTarget
    ) -> ProxySession[ChatResponse, ChatResponseChunk]:
        """Ask for a chat answer. Raises: GatewayError, PoolNotFound first of all."""
        asked = chat_inference(request)
        return await self._proxy(RequestKind.CHAT, asked, target, request.metadata, chat_response, chat_chunks)

    async def proxy_responses(
        self, request: ProxyResponsesRequest, target: ExecutionTarget
    ) -> ProxySession[ResponsesResponse, ResponsesEvent]:
        """Ask for an answer in the shape of OpenAI's Responses, of any provider. Raises: GatewayError."""
        asked = responses_inference(request)
        return await self._proxy(
            RequestKind.RESPONSES, asked, target, request.metadata, responses_response, responses_events
        )

    async def proxy_embeddings(
        self, request: ProxyEmbeddingsRequest, target: ExecutionTarget
    ) -> Completed[EmbeddingsResponse]:
        """Embed texts. Raises: GatewayError."""
        embeddings_inference(request)  # what no driver could be asked is refused before one is
        flight = self._flight(RequestKind.EMBEDDINGS, target, request.metadata)

        async def ask(to: Target) -> EmbeddingsResponse:
            asked = replace(request, model=_model(to.endpoint, request.model))
            found = await self._drivers[to.endpoint.driver_id].embed(to.endpoint, asked)
            flight.answered()
            flight.count(found.usage)
            return found

        response = await self._attempt(flight, target, request.model, self._patience(stream=False), ask, close=True)
        report = await flight.tell(flight.report(Outcome.SUCCEEDED))
        return Completed(response, report)

    async def close(self) -> None:
        """Drop the connections of the built-in transport."""
        if self._transport is not None:
            await self._transport.close()

    async def __aenter__(self) -> UniGatewayEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _flight(self, kind: RequestKind, target: ExecutionTarget, tags: Mapping[str, str]) -> Flight:
        return Flight(kind, self._pools.find(target.pool_id), tags, self._hooks)

    def _patience(self, *, stream: bool) -> Patience:
        """A stream must begin early; what comes whole may take all the time that there is."""
        total = float(self._limits.total_seconds)
        return Patience(self._limits.first_token_seconds if stream else total, time.monotonic() + total)

    async def _proxy(
        self,
        kind: RequestKind,
        asked: InferenceRequest,
        target: ExecutionTarget,
        tags: Mapping[str, str],
        whole: Callable[[InferenceRequest, str, list[StreamEvent]], Response],
        pieces: Callable[[InferenceRequest, str, AsyncIterator[StreamEvent]], AsyncIterator[Chunk]],
    ) -> ProxySession[Response, Chunk]:
        flight = self._flight(kind, target, tags)

        async def ask(to: Target) -> Opened:
            request = replace(asked, model=_model(to.endpoint, asked.model), include_usage=True)
            events = self._drivers[to.endpoint.driver_id].execute(to.endpoint, request)
            return await open_answer(events, flight, patience.deadline, stream=asked.stream)

        patience = self._patience(stream=asked.stream)
        opened = await self._attempt(flight, target, asked.model, patience, ask, close=not asked.stream)
        if not asked.stream:
            response = whole(asked, flight.request_id, list(opened.head))
            return Completed(response, await flight.tell(flight.report(Outcome.SUCCEEDED)))
        completion: asyncio.Future[RequestReport] = asyncio.get_running_loop().create_future()
        events = _accounted(opened, flight, completion)
        await anext(events)  # from here on its end is reported, whatever becomes of it
        return Streaming(flight.request_id, pieces(asked, flight.request_id, events), events, completion)

    async def _attempt(
        self,
        flight: Flight,
        target: ExecutionTarget,
        model: str,
        patience: Patience,
        ask: Callable[[Target], Awaitable[T]],
        *,
        close: bool,
    ) -> T:
        """The first answer; `close` ends its attempt. Whatever goes wrong is reported first, and then raised."""
        try:
            targets = self._pools.order(target, model)
            policy = self._pools.find(target.pool_id).retry_policy
            found = await first_answer(flight, targets, policy, patience, ask)
        except GatewayError as error:
            await flight.tell(flight.report(Outcome.FAILED, error))
            raise
        except BaseException as error:
            left = isinstance(error, asyncio.CancelledError)
            outcome = Outcome.ABORTED if left else Outcome.FAILED
            await flight.end(outcome, None, error)
            await flight.tell(flight.report(outcome, error))
            raise
        if close:
            await flight.end(Outcome.SUCCEEDED, True)
        return found


class EngineBuilder:
    """Collects what an engine is made of."""

    def __init__(self) -> None:
        self._builtin = False
        self._registry: InMemoryDriverRegistry | None = None
        self._hooks: list[GatewayHooks] = []
        self._limits = Limits()
        self._breaker = BreakerPolicy()

    def with_builtin_http_drivers(self) -> EngineBuilder:
        """The drivers that there are, over HTTP of the engine's own; a registry's of the same id take their place."""
        self._builtin = True
        return self

    def with_driver_registry(self, registry: InMemoryDriverRegistry) -> EngineBuilder:
        """Drivers of the host's own. Whoever made their transport closes it."""
        self._registry = registry
        return self

    def with_hooks(self, hooks: GatewayHooks) -> EngineBuilder:
        """Tell these too."""
        self._hooks.append(hooks)
        return self

    def with_limits(self, limits: Limits) -> EngineBuilder:
        """Other bounds on sizes and times than the gateway's."""
        self._limits = limits
        return self

    def with_breaker(self, policy: BreakerPolicy) -> EngineBuilder:
        """When a failing endpoint is spared."""
        self._breaker = policy
        return self

    def build(self) -> UniGatewayEngine:
        """The engine, with the drivers that are registered now. Raises: EngineBuildError without any."""
        transport = HttpTransport(limits=self._limits) if self._builtin else None
        own = builtin_drivers(transport) if transport is not None else []
        drivers: dict[str, ProviderDriver] = {driver.driver_id: driver for driver in own}
        if self._registry is not None:
            drivers |= self._registry.snapshot()
        if not drivers:
            wanted = "`with_builtin_http_drivers()`, or `with_driver_registry(...)` with some"
            raise EngineBuildError(f"drivers: found none, wanted {wanted}")
        return UniGatewayEngine(drivers, tuple(self._hooks), transport, self._limits, self._breaker)


async def _accounted(
    opened: Opened, flight: Flight, completion: asyncio.Future[RequestReport]
) -> AsyncGenerator[StreamEvent, None]:
    """The events of a stream, after one that only starts it; at its end, however it ends, the report."""
    outcome = Outcome.ABORTED
    failure: BaseException | None = None
    try:
        yield opened.head[0]
        async with aclosing(follow(opened, flight)) as events:
            async for event in events:
                yield event
        outcome = Outcome.SUCCEEDED
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        outcome, failure = Outcome.FAILED, error
        raise
    finally:
        await opened.rest.aclose()
        try:
            await flight.end(outcome, None if outcome is Outcome.ABORTED else failure is None, failure)
        finally:
            report = flight.report(outcome, failure)
            if not completion.done():
                completion.set_result(report)
            await flight.tell(report)


def _model(endpoint: Endpoint, asked: str) -> str:
    return endpoint.model_policy.resolve(asked) or asked
