"""The one request shape between dialects, and the events of one answer. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

GATEWAY_FIELDS = ("sf_policy", "sf_provider")
"""Body fields that speak to the gateway; they are stripped before a provider sees the body."""

EFFORTS = ("off", "minimal", "low", "medium", "high", "xhigh", "max")
"""How much a model shall think, least first: the union of all vendors' words."""


@dataclass(frozen=True, slots=True)
class ThoughtSignature:
    """A provider's seal on something it said: opaque, to be given back unchanged, and only to its own language.

    `origin` is the name of that dialect. `value` is all the text that the origin needs to restore it.
    """

    origin: str
    value: str

    def written_by(self, dialect: str) -> str:
        """The text for a client of `dialect`; a foreign seal names its origin, so that it finds its way back."""
        return self.value if dialect == self.origin else f"{self.origin}#{self.value}"


def read_signature(text: str, dialect: str) -> ThoughtSignature:
    """Read what `written_by(dialect)` wrote. Vendors' own signatures are base64 or hex, where no # occurs."""
    origin, mark, value = text.partition("#")
    return ThoughtSignature(origin, value) if mark and origin else ThoughtSignature(dialect, text)


@dataclass(frozen=True, slots=True)
class Text:
    """Words. Gemini may seal them."""

    text: str
    signature: ThoughtSignature | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the model said instead of an answer, where its language tells the two apart."""

    text: str


@dataclass(frozen=True, slots=True)
class Media:
    """A picture, sound, film or document. Exactly one of `data` (base64), `url` and `file_id` is not empty.

    `kind` is image, audio, video or document; `media_type` is empty where only a URL is known; `detail` is OpenAI's.
    """

    kind: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """One block of reasoning, in its place. A redacted one has no text, only the seal that hides it."""

    text: str
    signature: ThoughtSignature | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's call of one tool. `arguments` is the JSON text as written, of a `custom` tool any text."""

    id: str
    name: str
    arguments: str
    custom: bool = False
    signature: ThoughtSignature | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one tool gave back. `name` is empty where only the id of the call is known; `custom` as in its ToolCall.

    A language that has no member for `is_error` says it in words.
    """

    call_id: str
    content: tuple[Text | Media | Foreign, ...]
    is_error: bool = False
    name: str = ""
    custom: bool = False


@dataclass(frozen=True, slots=True)
class CachePoint:
    """Everything up to here may be cached; `ttl` is the vendor's word for how long (5m, 1h), empty if unsaid."""

    ttl: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something that only one language can say, as received. Any other language refuses it as content and as a choice,
    never drops it; as a tool it is left out, because only its own vendor could run it.
    """

    dialect: str
    value: dict[str, object]


Block = Text | Refusal | Media | Thinking | ToolCall | ToolResult | CachePoint | Foreign
"""One piece of a message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is system, developer, user, assistant or tool.

    A tool message holds ToolResults and CachePoints only, and no other message holds a ToolResult. A system prompt that
    stands outside the turns comes first, as a system message. `extra` belongs to the request's dialect. A language that
    has no member for `name` says it in words.
    """

    role: str
    content: tuple[Block, ...]
    name: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is JSON Schema as received, whatever stands in it.

    For a `custom` tool, whose input is plain text, it is the format of that text. None: nothing was said.
    """

    name: str
    description: str = ""
    parameters: dict[str, object] | None = None
    strict: bool | None = None
    custom: bool = False
    cache: CachePoint | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`mode` is auto, required or none. `names` restricts it to some tools; required with one name forces that."""

    mode: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form of the answer. `kind` is text, json or json_schema; only the last has the other members."""

    kind: str
    name: str = ""
    schema: dict[str, object] | None = None
    strict: bool | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much to think. `effort` is one of EFFORTS, `budget` is in tokens; either may be unsaid, not both.

    `visible` asks for a readable summary, or asks for none; None leaves it to the provider.
    """

    effort: str | None = None
    budget: int | None = None
    visible: bool | None = None


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asked for, whatever language it was asked in.

    `dialect` names that language. `extra` holds the top-level members that have no place here, unchanged: they mean
    something to that language only, and another drops them (sf_policy and sf_provider are for the gateway itself).
    Null counts as absent. `stop` is empty if absent, every other absent field is None. `choices` above 1 exist in
    OpenAI chat only: another language refuses them.
    """

    dialect: str
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool | Foreign, ...] | None = None
    tool_choice: ToolChoice | Foreign | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    reasoning: Reasoning | None = None
    output_format: OutputFormat | Foreign | None = None
    user: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """The provider's own words on its answer: comes first and at most once; what it left out is empty or 0."""

    id: str
    model: str
    created: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the answer. A signature seals the text so far, and may come with no more text."""

    text: str
    signature: ThoughtSignature | None = None


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """Some more of what the model says instead of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Some more of the model's visible reasoning, which is not part of the answer.

    A signature seals the block so far and ends it: the next delta opens another. A redacted block is a single delta
    without text.
    """

    text: str
    signature: ThoughtSignature | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Some more of one tool call. `id` stands in the first delta of an `index` only, `name` in one of the first;
    `arguments` is a piece of JSON text that concatenates with its siblings. `index` counts tool calls from 0.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    custom: bool = False
    signature: ThoughtSignature | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the whole call so far; the last one counts. Cached, written-to-cache and audio tokens are part of
    `prompt_tokens`; reasoning and spoken tokens are part of `completion_tokens`. `cache_write_1h_tokens` are those of
    `cache_write_tokens` that live for an hour and cost more.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete. `reason` is stop, length, tool_calls or content_filter; `upstream_reason` is the
    provider's own word, None if it gave none; `stop_sequence` is the one that was hit, where that is known. The final
    Usage, if there is one, comes after it.
    """

    reason: str
    upstream_reason: str | None = None
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The provider refused, or broke off in the middle of an answer: the last event. `message` is the provider's own;
    `status` is the HTTP status that it would have had, if known; `retry_after` are the seconds to wait, where its body
    says them.
    """

    message: str
    code: str | None = None
    error_type: str | None = None
    param: str | None = None
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one input; they come in the order of the inputs. Only a request for embeddings is answered so: any
    other fails.
    """

    vector: tuple[float, ...]


StreamEvent = (
    Start | TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | Media | Embedding | Usage | Finish | Failure
)
"""One step of an answer, streamed or not. Media comes whole; a language that cannot show it fails the answer."""
