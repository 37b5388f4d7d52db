"""What is told of calls as they end: to the counts, to the access log, to a tracer. Never what was said in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from gateway.access_log import AccessLog
from gateway.call import CLIENT_LEFT
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.metrics import (
    ATTEMPTS,
    BROKEN_LINES,
    CREDENTIALS,
    DURATION,
    FALLBACKS,
    FIRST_BYTE,
    OVERHEAD,
    REQUESTS,
    TOKENS,
    new_tally,
)
from gateway.routing.route import ModelTable
from gateway.stopwatch import Stopwatch, start_stopwatch
from gateway.tally import Tally
from gateway.tracing import CallTracer, find_tracer

UNKNOWN, NOBODY = "unknown", "none"  # the model that is not configured, and the provider that was not asked


class CallMeters:
    """Watches each call from its arrival to its last byte."""

    def __init__(self, tally: Tally, models: ModelTable, access_log: AccessLog | None, tracer: CallTracer | None):
        self.tally = tally
        self._access_log = access_log
        self._tracer = tracer
        self.use(models)

    def use(self, models: ModelTable) -> None:
        """From now on these are the names that may stand in labels and lines: all others are a caller's text."""
        self._ids = {name: model.id for model in models.models for name in (model.id, *model.aliases)}
        self._families = {connector.id: connector.family for connector in models.connectors.values()}

    @contextmanager
    def call(self, surface: str) -> Iterator[Stopwatch]:
        """Within it one call runs."""
        watch = start_stopwatch(surface)
        try:
            yield watch
        except GatewayError as error:
            watch.status = error.status
            raise
        except asyncio.CancelledError:
            raise
        except BaseException:  # a fault of ours, which the rim answers: no client has left
            watch.status = 500
            raise
        finally:
            self._finish(watch)

    def close(self) -> None:
        """Write what is still to be written."""
        if self._access_log is not None:
            self._access_log.close()

    def _finish(self, watch: Stopwatch) -> None:
        tell = partial(self._tell, watch, time.monotonic() - watch.began)
        if watch.owed:
            watch.then = tell  # its client has left, and its answer is read on
        else:
            tell()

    def _tell(self, watch: Stopwatch, seconds: float) -> None:
        model = self._ids.get(watch.model, UNKNOWN)
        provider = watch.provider if watch.provider in self._families else NOBODY
        status = watch.status or CLIENT_LEFT
        outcome = _outcome(status, watch)
        tally, stream = self.tally, "true" if watch.stream else "false"
        tally.add(REQUESTS, (watch.surface, provider, model, f"{status // 100}xx", outcome))
        tally.observe(DURATION, (watch.surface, provider, stream), seconds)
        if watch.to_first_byte is not None:
            tally.observe(FIRST_BYTE, (watch.surface, provider, stream), watch.to_first_byte)
            tally.observe(OVERHEAD, (watch.surface, stream), watch.overhead)
        for kind, word, number in watch.findings:
            tally.add(CREDENTIALS, (kind, word), number)
        self._count_attempts(watch, provider)
        self._count_tokens(watch, provider, model)
        if self._access_log is not None:
            self._access_log.write(_line(watch, provider, model, status, outcome, seconds))
        if self._tracer is not None:
            self._tracer.record(watch, self._families.get(provider, provider), model, status, outcome)

    def _count_attempts(self, watch: Stopwatch, provider: str) -> None:
        before: str | None = None
        for asked, outcome in watch.attempts:
            self.tally.add(ATTEMPTS, (asked, outcome))
            if before not in (None, asked):
                self.tally.add(FALLBACKS, (str(before), asked))
            before = asked
        if watch.broken_lines:
            self.tally.add(BROKEN_LINES, (provider,), watch.broken_lines)

    def _count_tokens(self, watch: Stopwatch, provider: str, model: str) -> None:
        used = watch.usage
        if used is None:
            return
        rows = (
            ("input", used.prompt_tokens),
            ("output", used.completion_tokens),
            ("cached", used.cached_tokens),
            ("cache_write", used.cache_write_tokens),
            ("reasoning", used.reasoning_tokens),
            ("audio_input", used.audio_prompt_tokens),
            ("audio_output", used.audio_completion_tokens),
        )
        for kind, number in rows:
            if number > 0:
                self.tally.add(TOKENS, (provider, model, kind), number)


def new_meters(config: Config) -> CallMeters:
    """What one process counts and tells of its calls."""
    tally = new_tally()
    log = AccessLog(tally) if config.access_log else None
    return CallMeters(tally, config.models, log, find_tracer())


def _outcome(status: int, watch: Stopwatch) -> str:
    if status == CLIENT_LEFT:
        return "client_left"
    if status < 400:
        return "complete" if watch.complete else "cut"
    return "refused" if status < 500 else "failed"


def _line(watch: Stopwatch, provider: str, model: str, status: int, outcome: str, seconds: float) -> dict[str, object]:
    first = None if watch.to_first_byte is None else round(watch.to_first_byte * 1000, 3)
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "receipt": watch.receipt_id or None,
        "surface": watch.surface,
        "model": model,
        "provider": provider,
        "stream": watch.stream,
        "status": status,
        "outcome": outcome,
        "ms": round(seconds * 1000, 3),
        "first_byte_ms": first,
        "overhead_ms": None if first is None else round(watch.overhead * 1000, 3),
        "input_tokens": watch.usage.prompt_tokens if watch.usage else None,
        "output_tokens": watch.usage.completion_tokens if watch.usage else None,
        "attempts": len(watch.attempts) or None,
    }
