"""The beginning of a streamed answer: what is read of it while another attempt is still free."""

from __future__ import annotations

import re

from gateway.dialects.dialect import CUT, Decoder
from gateway.errors import UpstreamFailed
from gateway.inference import (
    Failure,
    Finish,
    Media,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from gateway.routing.retry import KEY_STATUSES
from gateway.translate import refused_key
from gateway.upstream import UpstreamAnswer

MAX_HELD = 256 << 10  # bytes of a stream in which no answer has begun; who has sent so many is not failing
STEP = 256  # bytes that are decoded at a time: of what comes in one piece, only the beginning need be
# With any of these an answer has begun.
_SEMANTIC = (TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta, Media, Finish)


async def read_to_first_event(answer: UpstreamAnswer, decoder: Decoder) -> bytes:
    """What came of a stream until the answer in it had begun. Raises UpstreamFailed if none begins."""
    held: list[bytes] = []
    size = 0
    while piece := await answer.next():
        held.append(piece)
        size += len(piece)
        if size > MAX_HELD or any(_has_begun(decoder.push(piece[at : at + STEP])) for at in range(0, len(piece), STEP)):
            return b"".join(held)
    if _has_begun(decoder.finish()):
        return b"".join(held)
    raise _failed(CUT)


def _has_begun(events: list[StreamEvent]) -> bool:
    """Whether an answer has begun with these. Raises UpstreamFailed for a failure before it has."""
    for event in events:
        if isinstance(event, _SEMANTIC):
            return True
        if isinstance(event, Failure):
            raise _failed(event)
    return False


def _failed(failure: Failure) -> UpstreamFailed:
    """What a provider said in a stream, as if it had said so at once."""
    status = _status_of(failure)
    if status in KEY_STATUSES:
        return refused_key()
    words = f"The provider failed: {failure.message}"
    error = UpstreamFailed(words, code=failure.code, retry_after=failure.retry_after)
    if status is not None:
        error.status, error.error_type = status, ""  # the kind of error follows from the status
    return error


def _status_of(failure: Failure) -> int | None:
    """The HTTP status that it would have had, if it tells."""
    if failure.status is not None and 400 <= failure.status < 600:
        return failure.status
    code = failure.code or ""
    if re.fullmatch("[45][0-9][0-9]", code):  # vLLM's own words for what it refuses once a stream is open
        return int(code)
    return 400 if failure.error_type == "invalid_request_error" else None
