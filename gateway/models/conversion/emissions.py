"""The gateway's StreamEvents as Emissions, and its errors as this vocabulary's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway import errors
from gateway.dialects.dialect import CUT
from gateway.inference import (
    Failure,
    Finish,
    Media,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.models.contract import reply
from gateway.models.contract.conversation import ThinkingBlock
from gateway.models.contract.emission import (
    DoneEmission,
    Emission,
    ErrorEmission,
    StopEmission,
    TextEmission,
    ThinkingEmission,
    ToolCallDeltaEmission,
    ToolCallStartEmission,
    UsageEmission,
)
from gateway.models.contract.errors import GatewayError, GatewayErrorKind, status_kind
from gateway.models.conversion.reduce import fold_reply

STOPS = {
    "stop": reply.StopReason.COMPLETE,
    "length": reply.StopReason.MAX_OUTPUT,
    "tool_calls": reply.StopReason.TOOL_CALLS,
    "content_filter": reply.StopReason.REFUSAL,
}
"""By the core's word."""
# Where a failure in the midst of an answer has no status: what its code says.
_KINDS = {
    CUT.code: GatewayErrorKind.TRANSPORT,
    "upstream_malformed": GatewayErrorKind.PARSE,
    "upstream_frame_too_long": GatewayErrorKind.PARSE,
    "cancelled": GatewayErrorKind.ABORTED,
    "rate_limit_error": GatewayErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": GatewayErrorKind.RATE_LIMIT,
    "authentication_error": GatewayErrorKind.AUTH,
}


@dataclass(slots=True)
class _Call:
    """A tool call that has begun; what came before its name waits."""

    id: str
    started: bool = False
    waiting: str = ""


@dataclass(slots=True)
class Projection:
    """One answer of `provider` for the card `model`: events in, emissions out, and its end once nothing more comes."""

    model: str
    provider: str
    _emissions: list[Emission] = field(default_factory=list, init=False)
    _thoughts: list[ThinkingBlock] = field(default_factory=list, init=False)
    _calls: dict[int, _Call] = field(default_factory=dict, init=False)
    _error: GatewayError | None = field(default=None, init=False)

    def push(self, events: Iterable[StreamEvent]) -> list[Emission]:
        """The emissions of some more events; after a failure there are none."""
        emissions: list[Emission] = []
        for event in events:
            if self._error is None:
                emissions += self._project(event)
        self._emissions += emissions
        return emissions

    def end(self) -> DoneEmission | ErrorEmission:
        """The last emission. Signed thoughts stand in its reply one by one, since a seal holds for one."""
        if self._error is not None:
            return ErrorEmission(self._error)
        whole = fold_reply(self.model, self._emissions)
        if any(thought.signature for thought in self._thoughts):
            rest = (block for block in whole.blocks if not isinstance(block, ThinkingBlock))
            whole = replace(whole, blocks=(*self._thoughts, *rest))
        return DoneEmission(whole)

    def _project(self, event: StreamEvent) -> list[Emission]:
        match event:
            case TextDelta(text) | RefusalDelta(text):
                return [TextEmission(text)] if text else []
            case ReasoningDelta():
                return self._think(event)
            case ToolCallDelta():
                return self._call(event)
            case Usage():
                return [UsageEmission(to_usage(event))]
            case Finish(reason):
                return [StopEmission(STOPS[reason])]
            case Failure():
                self._error = failure_error(event, self.provider)
                cancelled = self._error.kind is GatewayErrorKind.ABORTED
                return [StopEmission(reply.StopReason.ABORTED if cancelled else reply.StopReason.ERROR)]
            case Media(kind):
                words = f"the answer holds {kind} content, which no emission can show"
                self._error = GatewayError(GatewayErrorKind.UNSUPPORTED, words, provider=self.provider)
        return []

    def _think(self, event: ReasoningDelta) -> list[Emission]:
        if event.redacted:
            return []  # a thought that nobody may read, and no block has a place for
        last = self._thoughts[-1] if self._thoughts and self._thoughts[-1].signature is None else None
        seal = event.signature
        # With its origin before it: the next turn may go to another provider, which would refuse a foreign seal.
        signature = f"{seal.origin}#{seal.value}" if seal else None
        thought = ThinkingBlock((last.text if last else "") + event.text, signature)
        self._thoughts = [*(self._thoughts[:-1] if last else self._thoughts), thought]
        return [ThinkingEmission(event.text)] if event.text else []

    def _call(self, event: ToolCallDelta) -> list[Emission]:
        call = self._calls.get(event.index)
        if call is None:
            taken = {each.id for each in self._calls.values()}
            wanted = event.id or f"call_{event.index}"
            call = self._calls[event.index] = _Call(f"{wanted}_{event.index}" if wanted in taken else wanted)
        call.waiting += event.arguments
        emissions: list[Emission] = []
        if not call.started and event.name:
            call.started = True
            emissions.append(ToolCallStartEmission(call.id, event.name))
        if call.started and call.waiting:
            emissions.append(ToolCallDeltaEmission(call.id, call.waiting))
            call.waiting = ""
        return emissions


def to_usage(usage: Usage) -> reply.Usage:
    """What was counted, with the cache's tokens apart from the others."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    fresh = max(0, usage.prompt_tokens - cached - written)
    return reply.Usage(fresh, usage.completion_tokens, cached or None, written or None)


def failure_error(failure: Failure, provider: str) -> GatewayError:
    """A provider's failure as an error: by its status, else by its code."""
    if failure.status is not None:
        kind = status_kind(failure.status)
    else:
        kind = _KINDS.get(failure.code, _KINDS.get(failure.error_type, GatewayErrorKind.HTTP))
    error = GatewayError(kind, failure.message, status=failure.status, provider=provider)
    error.code, error.retry_after = failure.code or error.code, failure.retry_after
    return error


def gateway_failure(error: errors.GatewayError, provider: str) -> GatewayError:
    """An error of the gateway's core in this vocabulary; one that already is stays as it is."""
    if isinstance(error, GatewayError):
        return error
    kind = GatewayErrorKind.TRANSPORT
    if isinstance(error, errors.InvalidRequest):
        kind = GatewayErrorKind.UNSUPPORTED
    elif isinstance(error, errors.UpstreamFailed):
        kind = GatewayErrorKind.PARSE
    elif isinstance(error, errors.NoRoute):
        kind = GatewayErrorKind.AUTH
    return GatewayError(kind, error.message, provider=provider, cause=error)
