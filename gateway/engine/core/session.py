"""What a request gives: a whole answer, or a stream of one with a completion to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.dialects.fold import Reply
from gateway.engine.core.report import RequestReport
from gateway.inference import StreamEvent

Response = TypeVar("Response")
Chunk = TypeVar("Chunk")


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A whole chat answer. `output_text` is None if it has no words; `reply` holds everything else it has."""

    model: str
    output_text: str | None
    reply: Reply
    events: tuple[StreamEvent, ...]


@dataclass(frozen=True, slots=True)
class ChatResponseChunk:
    """One step of a chat answer: its words, if it has any, and the event as the core has it."""

    delta: str | None
    event: StreamEvent


@dataclass(frozen=True, slots=True)
class ResponsesResponse:
    """A whole answer of Responses; `raw` is the object that OpenAI's API gives."""

    output_text: str | None
    raw: dict[str, Any]
    events: tuple[StreamEvent, ...]


@dataclass(frozen=True, slots=True)
class ResponsesEvent:
    """One event of a Responses stream, as OpenAI's API sends it."""

    event_type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Completed(Generic[Response]):
    """A whole answer and its report."""

    response: Response
    report: RequestReport


class Streaming(Generic[Chunk]):
    """An answer on its way. Read `stream` to its end, then `completion` is there; or leave by one of the other ways.

    An error in the middle is raised by `stream`; `completion` still gives the report, which names it. Whoever stops
    reading early closes the session (`aclose`, or `async with`): the provider is then told to stop.
    """

    def __init__(
        self,
        request_id: str,
        stream: AsyncIterator[Chunk],
        events: AsyncGenerator[StreamEvent, None],
        completion: asyncio.Future[RequestReport],
    ) -> None:
        self.request_id = request_id
        self.stream = stream
        self.events = events  # what `stream` is made of: read the one or the other
        self.completion = completion

    async def into_completion(self) -> RequestReport:
        """Read the rest, give none of it away, and wait for the report. Raises: what the stream raises."""
        async for _ in self.stream:
            pass
        return await self.completion

    async def aclose(self) -> None:
        """Stop here: the provider's connection is let go, and the report says `aborted`."""
        await self.events.aclose()

    async def __aenter__(self) -> Streaming[Chunk]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


ProxySession = Completed[Response] | Streaming[Chunk]
"""What a request gives: `match` on the two."""
