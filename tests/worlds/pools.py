"""Pools over scripted providers, what those play, and hooks that remember what they were told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.engine import (
    AttemptFinishedEvent,
    AttemptStartedEvent,
    Completed,
    Endpoint,
    ExecutionTarget,
    LoadBalancingStrategy,
    Message,
    MessageRole,
    ProviderKind,
    ProviderPool,
    ProxyChatRequest,
    RequestReport,
    RetryPolicy,
    SecretString,
    Streaming,
    UniGatewayEngine,
)
from tests.worlds.upstream import Recording, ScriptedUpstream

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
