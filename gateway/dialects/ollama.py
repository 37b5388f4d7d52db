"""Ollama's own language (/api/chat): answers, streamed and buffered, and the dialect's one side."""

from __future__ import annotations

import re
from datetime import datetime

from gateway.dialects.dialect import CUT, ProviderSide
from gateway.dialects.fields import count, rows, table, word
from gateway.dialects.ndjson import MAX_LINE, LineSplitter
from gateway.dialects.ollama_request import encode_request
from gateway.errors import UpstreamFailed
from gateway.inference import Failure, Finish, ReasoningDelta, Start, StreamEvent, TextDelta, ToolCallDelta, Usage
from gateway.jsonbody import encode_json, read_json_object

__all__ = ["NAME", "PROVIDER", "Decoder", "decode_answer", "decode_error", "encode_request"]

NAME = "ollama"
MAX_TOOL_CALLS = 1024
"""In one answer. Honest models make a handful."""

_NOT_IN_IDS = re.compile(r"[^0-9A-Za-z]")
_MAX_TIME = 40  # characters of a time with nanoseconds and an offset


class Decoder:
    """Reads records: each is a piece of the answer, the last says `done`."""

    def __init__(self, max_frame: int = MAX_LINE) -> None:
        self._splitter = LineSplitter(max_frame)
        self._calls = 0
        self.skipped = 0
        self._started = self._ended = False

    def push(self, chunk: bytes) -> list[StreamEvent]:
        """Take the next bytes and give their events. Raises: UpstreamFailed for a line beyond the bound."""
        return [event for line in self._splitter.push(chunk) for event in self._read_line(line)]

    def finish(self) -> list[StreamEvent]:
        """The stream has ended: Failure unless a record said `done`."""
        line = self._splitter.finish()
        events = self._read_line(line) if line else []
        if self._ended:
            return events
        self._ended = True
        return [*events, CUT]

    def read(self, record: dict[str, object]) -> list[StreamEvent]:
        """Read one record. Raises: UpstreamFailed for more tool calls than can be honest."""
        if self._ended:
            return []
        if failure := _read_failure(record):
            self._ended = True
            return [failure]
        events: list[StreamEvent] = []
        if not self._started and word(record, "model"):
            events.append(Start("", word(record, "model"), _seconds(word(record, "created_at"))))
        self._started = True
        message = table(record, "message")
        if thought := word(message, "thinking"):
            events.append(ReasoningDelta(thought))
        if text := word(message, "content"):
            events.append(TextDelta(text))
        events += [self._call(call, word(record, "created_at")) for call in rows(message.get("tool_calls"))]
        return events + (self._end(record) if record.get("done") is True else [])

    def _read_line(self, line: bytes) -> list[StreamEvent]:
        record = read_json_object(line)
        if record is not None or self._ended:
            return self.read(record or {})
        self.skipped += 1
        return []

    def _call(self, call: dict[str, object], created_at: str) -> StreamEvent:
        """A call comes whole. Ollama gave none an id for long; ours must not come twice in one chat."""
        if self._calls == MAX_TOOL_CALLS:
            raise UpstreamFailed(f"tool_calls: found more than {MAX_TOOL_CALLS}, wanted at most so many")
        index, function = self._calls, table(call, "function")
        self._calls += 1
        call_id = word(call, "id") or f"call_{_NOT_IN_IDS.sub('', created_at[:_MAX_TIME])}_{index}"
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else encode_json(arguments or {}).decode()
        return ToolCallDelta(index, call_id, word(function, "name"), text)

    def _end(self, record: dict[str, object]) -> list[StreamEvent]:
        """Ollama says stop beside tool calls too."""
        self._ended = True
        said = word(record, "done_reason")
        reason = "length" if said == "length" else "tool_calls" if self._calls else "stop"
        usage = _read_usage(record)
        return [Finish(reason, said or None), *([usage] if usage else [])]


def decode_answer(body: bytes) -> list[StreamEvent]:
    """Read a buffered answer as the events that a stream would have given. Raises: UpstreamFailed if it is none."""
    answer = read_json_object(body)
    if answer is None or not ("error" in answer or isinstance(answer.get("message"), dict)):
        raise UpstreamFailed("answer: found bytes that are no answer of /api/chat, wanted an object with a message")
    return Decoder().read(answer | {"done": True})


def decode_error(body: bytes, status: int) -> Failure:
    """Read the body of a refusal."""
    failure = _read_failure(read_json_object(body) or {})
    return Failure(failure.message if failure else f"The provider refused with status {status}.", status=status)


def _read_failure(record: dict[str, object]) -> Failure | None:
    if not record.get("error"):
        return None
    message = word(record, "error") or word(table(record, "error"), "message")
    return Failure(message or "the provider reported an error without a message")


def _read_usage(record: dict[str, object]) -> Usage | None:
    """The counts of a last record; the prompt's is missing where all of it was cached."""
    prompt, completion = count(record.get("prompt_eval_count")), count(record.get("eval_count"))
    return None if prompt is None and completion is None else Usage(prompt or 0, completion or 0)


def _seconds(created_at: str) -> int:
    try:
        moment = datetime.fromisoformat(created_at[:_MAX_TIME])
        return max(0, int(moment.timestamp())) if moment.tzinfo else 0
    except (ValueError, OverflowError):
        return 0


PROVIDER = ProviderSide(
    NAME,
    "application/x-ndjson",
    lambda _model, _stream: "/api/chat",
    encode_request,
    Decoder,
    decode_answer,
    decode_error,
)
