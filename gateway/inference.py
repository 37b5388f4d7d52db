"""The one request shape between dialects, and the events of one answer. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

GATEWAY_FIELDS = ("sf_policy", "sf_provider")
"""Body fields that speak to the gateway; they are stripped before a provider sees the body."""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asked for, whatever language it was asked in.

    `messages` and `tools` keep the shape of OpenAI chat, objects as received. `stop` is empty if absent, every other
    absent or null field is None. `extra` holds the fields that have no place here, unchanged.
    """

    model: str
    messages: tuple[dict[str, object], ...]
    tools: tuple[dict[str, object], ...] | None = None
    tool_choice: object = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    reasoning_effort: str | None = None
    response_format: dict[str, object] | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Some more of the model's visible reasoning, which is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Some more of one tool call. `id` stands in the first delta of an `index` only, `name` in one of the first;
    `arguments` is a piece of JSON text that concatenates with its siblings.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the whole call so far. Cached and written-to-cache tokens are part of `prompt_tokens`, reasoning tokens
    are part of `completion_tokens`.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete. `reason` is stop, length, tool_calls or content_filter; `upstream_reason` is the
    provider's own word, None if it gave none. The final Usage, if there is one, comes after it.
    """

    reason: str
    upstream_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The provider broke off in the middle of an answer. It is the last event. `message` is the provider's own."""

    message: str
    code: str | None = None
    error_type: str | None = None


StreamEvent = TextDelta | ReasoningDelta | ToolCallDelta | Usage | Finish | Failure
"""One step of an answer, streamed or not."""
