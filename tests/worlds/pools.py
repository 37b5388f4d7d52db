"""Pools over scripted providers, what those play, drivers that ask nobody, and hooks that remember."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from gateway.engine import (
    AttemptFinishedEvent,
    AttemptStartedEvent,
    Completed,
    EmbeddingsResponse,
    Endpoint,
    ExecutionTarget,
    Finish,
    InferenceRequest,
    InMemoryDriverRegistry,
    Limits,
    LoadBalancingStrategy,
    Message,
    MessageRole,
    ProviderKind,
    ProviderPool,
    ProxyChatRequest,
    ProxyEmbeddingsRequest,
    RequestReport,
    RetryPolicy,
    SecretString,
    StreamEvent,
    Streaming,
    TextDelta,
    UniGatewayEngine,
)
from tests.worlds.upstream import Recording, ScriptedUpstream

T = TypeVar("T")
Upstreams = tuple[ScriptedUpstream, ScriptedUpstream]
KEY = "sk-engine-5ca1ab1e"
TARGET = ExecutionTarget.pool("my-service")
ASKED = ProxyChatRequest("gpt-4o-mini", [Message(MessageRole.USER, "Hello")])
STREAMED = replace(ASKED, stream=True)
NO_PAUSE = RetryPolicy(attempts=2, base_milliseconds=1, cap_milliseconds=20)


@dataclass
class Memory:
    """Hooks that remember."""

    started: list[AttemptStartedEvent] = field(default_factory=list)
    finished: list[AttemptFinishedEvent] = field(default_factory=list)
    reports: list[RequestReport] = field(default_factory=list)

    async def on_attempt_started(self, event: AttemptStartedEvent) -> None:
        """Remember."""
        self.started.append(event)

    async def on_attempt_finished(self, event: AttemptFinishedEvent) -> None:
        """Remember."""
        self.finished.append(event)

    async def on_request_finished(self, report: RequestReport) -> None:
        """Remember."""
        self.reports.append(report)


def said(text: str, **more: Any) -> Recording:
    """A whole answer of chat completions."""
    message = {"role": "assistant", "content": text}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
    return Recording(json.dumps(answer | more).encode(), "application/json")


def streamed(*words: str, end: bool = True) -> Recording:
    """A streamed answer; without its `end` it breaks off."""
    head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if end:
        usage = {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)}
        chunks += [{**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        chunks += [{**head, "choices": [], "usage": usage}]
    frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + (["data: [DONE]\n\n"] if end else [])
    return Recording("".join(frames).encode(), ending="end" if end else "cut")


def refused(status: int, code: str | None = None, retry_after: str | None = None) -> Recording:
    """A provider's refusal."""
    body = {"error": {"message": f"refused with {status}", "type": "x", "param": None, "code": code}}
    headers = () if retry_after is None else (("retry-after", retry_after),)
    return Recording(json.dumps(body).encode(), "application/json", status, headers)


def endpoint(upstream: ScriptedUpstream, endpoint_id: str = "ep-openai-1", **more: Any) -> Endpoint:
    """An endpoint at a scripted provider."""
    members: dict[str, Any] = {
        "endpoint_id": endpoint_id,
        "provider_name": f"{endpoint_id}-name",
        "source_endpoint_id": f"{endpoint_id}-source",
        "provider_family": "openai",
        "provider_kind": ProviderKind.OPENAI_COMPATIBLE,
        "driver_id": "openai-compatible",
        "base_url": upstream.base_url,
        "api_key": SecretString(KEY),
    }
    return Endpoint(**members | more)


def pool(*endpoints: Endpoint, **more: Any) -> ProviderPool:
    """A pool that asks the first endpoint first."""
    members: dict[str, Any] = {"load_balancing": LoadBalancingStrategy.PRIORITY, "retry_policy": NO_PAUSE}
    return ProviderPool("my-service", endpoints, **members | more)


def new_engine(hooks: Memory | None = None) -> UniGatewayEngine:
    """An engine with the built-in drivers."""
    builder = UniGatewayEngine.builder().with_builtin_http_drivers()
    return (builder if hooks is None else builder.with_hooks(hooks)).build()


async def ask(engine: UniGatewayEngine, request: ProxyChatRequest = ASKED, target: ExecutionTarget = TARGET) -> str:
    """The text of a whole answer."""
    match await engine.proxy_chat(request, target):
        case Completed(response=response):
            return response.output_text or ""
        case Streaming():
            raise AssertionError("it streams")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do it, in a loop of its own."""
    return asyncio.run(work)


def sent(upstream: ScriptedUpstream) -> dict[str, Any]:
    """The body of the one request."""
    body: dict[str, Any] = json.loads(upstream.got.body)
    return body


async def started(engine: UniGatewayEngine, request: ProxyChatRequest = STREAMED) -> Streaming[Any]:
    """A stream that has begun."""
    session = await engine.proxy_chat(request, TARGET)
    assert isinstance(session, Streaming)
    return session


class Echo:
    """A driver that asks nobody."""

    driver_id = "echo"

    async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        """Say who was asked."""
        yield TextDelta(f"{endpoint.endpoint_id} {request.model}")
        yield Finish("stop")

    async def embed(self, endpoint: Endpoint, request: ProxyEmbeddingsRequest) -> EmbeddingsResponse:
        """One number for each text."""
        return EmbeddingsResponse([[1.0]] * len(request.input), request.model)


class Slow(Echo):
    """Says its head, and then nothing for ever."""

    driver_id = "slow"

    def __init__(self, *head: StreamEvent) -> None:
        self.head = head

    async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        """Say the head."""
        for event in self.head:
            yield event
        await asyncio.Event().wait()


def slow_engine(*head: StreamEvent, **limits: int) -> UniGatewayEngine:
    """An engine with the drivers `echo` and `slow`."""
    registry = InMemoryDriverRegistry()
    registry.register(Echo())
    registry.register(Slow(*head))
    return UniGatewayEngine.builder().with_driver_registry(registry).with_limits(Limits(**limits)).build()
