"""HTTP answers that belong to no web framework: a status, and JSON or server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from gateway.jsonbody import read_json_object


@dataclass(frozen=True, slots=True)
class Json:
    """A whole body, as it is to be sent."""

    raw: bytes
    content_type = "application/json"

    @property
    def value(self) -> dict[str, Any]:
        """What it says."""
        return read_json_object(self.raw) or {}


@dataclass(frozen=True, slots=True)
class ServerSentEvents:
    """A body that comes in pieces. Whoever does not read `stream` to its end calls its `aclose`."""

    stream: AsyncGenerator[bytes, None]
    content_type = "text/event-stream"


ProtocolResponseBody = Json | ServerSentEvents


@dataclass(frozen=True, slots=True)
class ProtocolHttpResponse:
    """An answer; `retry_after` are the seconds that a header of this name should say."""

    status: int
    body: ProtocolResponseBody
    retry_after: float | None = None

    def into_parts(self) -> tuple[int, ProtocolResponseBody]:
        """The status and the body, for a framework's own response."""
        return self.status, self.body
