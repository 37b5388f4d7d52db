"""StreamOptions: what one call asks beyond its conversation, and the token that cancels it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class ThinkingLevel(StrEnum):
    """How much to think; each provider gets the nearest that it knows."""

    OFF = "off"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"


class ToolChoice(StrEnum):
    """Whether tools may, must or must not be called."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class CancellationToken:
    """Cancels whatever was given it, once and for good; from any thread."""

    def __init__(self) -> None:
        self._cancelled = False
        self._watchers: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel; again changes nothing."""
        self._cancelled = True
        while self._watchers:
            self._watchers.pop()()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` when it is cancelled, at once if it is; gives what ends the watch."""
        self._watchers.append(watcher)
        if self._cancelled:
            self.cancel()
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Of one call; what is None is left to the model. `cancel` is never written; `api_key` goes before the environment.

    Keep JSON of these options as secret as the key in them.
    """

    cancel: CancellationToken | None = field(default=None, metadata={"written": False}, compare=False)
    thinking: ThinkingLevel | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tool_choice: ToolChoice | None = None
    api_key: str | None = field(default=None, repr=False)
