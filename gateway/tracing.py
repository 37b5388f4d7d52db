"""OpenTelemetry, where the host has installed and configured it: one span for each call, in its GenAI names."""

from __future__ import annotations

import time
from typing import Any

from gateway.stopwatch import Stopwatch

_OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}  # every other surface chats
# The names that OpenTelemetry gives to providers; by our family where they differ.
_PROVIDERS = {
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "openai-responses": "openai",
    "kimi": "moonshot_ai",
}


class CallTracer:
    """Makes the spans. Where they go is for the exporters that the host has configured."""

    def __init__(self, trace: Any) -> None:
        """`trace` is the module opentelemetry.trace."""
        self._tracer = trace.get_tracer("saferouter")
        self._kind = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)

    def record(self, watch: Stopwatch, family: str, model: str, status: int, outcome: str) -> None:
        """The span of a call that ends now: metadata only, none of its content."""
        operation = _OPERATIONS.get(watch.surface, "chat")
        ended = time.time_ns()
        began = ended - int((time.monotonic() - watch.began) * 1e9)
        facts: dict[str, str | int | float | bool] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(family, family),
            "gen_ai.request.model": model,
            "gen_ai.request.stream": watch.stream,
            "http.response.status_code": status,
            "saferouter.receipt.id": watch.receipt_id,
            "saferouter.outcome": outcome,
        }
        if watch.usage is not None:
            facts |= {
                "gen_ai.usage.input_tokens": watch.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": watch.usage.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": watch.usage.cached_tokens,
                "gen_ai.usage.cache_creation.input_tokens": watch.usage.cache_write_tokens,
                "gen_ai.usage.reasoning.output_tokens": watch.usage.reasoning_tokens,
            }
        if watch.stream and watch.to_first_byte is not None:
            facts["gen_ai.response.time_to_first_chunk"] = watch.to_first_byte
        if outcome != "complete":
            facts["error.type"] = str(status) if status >= 400 else outcome
        span = self._tracer.start_span(f"{operation} {model}", kind=self._kind, start_time=began, attributes=facts)
        if status >= 500 or outcome == "cut":
            span.set_status(self._failed)
        span.end(ended)


def find_tracer() -> CallTracer | None:
    """The tracer; None where OpenTelemetry is not installed, then nothing of it is loaded, or not configured."""
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    return None if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider) else CallTracer(trace)
