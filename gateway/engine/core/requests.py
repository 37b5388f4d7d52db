"""What a host asks of the engine, and how that is said in the core's one request shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gateway import inference
from gateway.dialects import openai_embeddings, openai_responses
from gateway.errors import InvalidRequest
from gateway.inference import Block, InferenceRequest, Text
from gateway.jsonbody import encode_json

NEUTRAL = "engine"
"""The language of a request that was written here, which no provider speaks."""


class MessageRole(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `content` is words, or the core's blocks: `Text`, `Media`, `ToolCall`, `ToolResult`, ...

    A tool's turn holds ToolResults only, and no other turn holds one.
    """

    role: MessageRole | str
    content: str | Sequence[Block]
    name: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All words of the turn."""
        if isinstance(self.content, str):
            return self.content
        return "".join(block.text for block in self.content if isinstance(block, Text))


@dataclass(frozen=True, slots=True)
class ProxyChatRequest:
    """A chat. `metadata` are tags for the report, which no provider sees.

    `rest` is whatever else a payload asked for (tools, images, reasoning, the form of the answer), as the core holds
    it; the members beside it count where both say something.
    """

    model: str
    messages: Sequence[Message]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stream: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    rest: InferenceRequest | None = None


@dataclass(frozen=True, slots=True)
class ProxyResponsesRequest:
    """A request of OpenAI's Responses. `input` is its JSON, words or items; `extra` are further members of the body."""

    model: str = ""
    input: Any = None
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: Any = None
    stream: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProxyEmbeddingsRequest:
    """Texts to be embedded. `encoding_format` is how the provider sends the numbers; they come out as numbers. `extra`
    are further members of OpenAI's body, such as `dimensions`.
    """

    model: str
    input: Sequence[str]
    encoding_format: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def chat_inference(request: ProxyChatRequest) -> InferenceRequest:
    """The chat as the core has it. Raises: InvalidRequest for turns that no language could say."""
    if not request.messages:
        raise InvalidRequest.at("messages", "nothing", "at least one message")
    return replace(
        request.rest or InferenceRequest(NEUTRAL, "", ()),
        model=request.model,
        messages=tuple(_turn(message, number) for number, message in enumerate(request.messages)),
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        stream=request.stream,
    )


def responses_inference(request: ProxyResponsesRequest) -> InferenceRequest:
    """The request as the core has it, read by the dialect. Raises: InvalidRequest."""
    names = ("input", "instructions", "temperature", "top_p", "max_output_tokens", "tools", "tool_choice", "stream")
    fields = {name: value for name in names if (value := getattr(request, name)) is not None}
    # A model may be left to the endpoint's policy, which the dialect does not know of.
    body = {**request.extra, **fields, "model": request.model or NEUTRAL}
    return replace(openai_responses.SURFACE.decode_request(encode_plain(body)), model=request.model)


def embeddings_inference(request: ProxyEmbeddingsRequest) -> InferenceRequest:
    """The texts as the core has them, read by the dialect. Raises: InvalidRequest."""
    form = {} if request.encoding_format is None else {"encoding_format": request.encoding_format}
    body = {**request.extra, "model": request.model or NEUTRAL, "input": list(request.input), **form}
    return replace(openai_embeddings.decode_request(encode_plain(body)), model=request.model)


def encode_plain(body: Mapping[str, Any]) -> bytes:
    """A host's own JSON value as bytes. Raises: InvalidRequest for one that JSON has no form for."""
    try:
        return encode_json(dict(body))
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest.at("body", "a value that JSON has no form for", "what a JSON parser gives") from None


def _turn(message: Message, number: int) -> inference.Message:
    blocks = (Text(message.content),) if isinstance(message.content, str) else tuple(message.content)
    of_tool = [isinstance(block, inference.ToolResult | inference.CachePoint) for block in blocks]
    result = any(isinstance(block, inference.ToolResult) for block in blocks)
    if message.role not in tuple(MessageRole):
        raise InvalidRequest.at(f"messages[{number}].role", "another", "one of " + ", ".join(MessageRole))
    if result != (message.role == MessageRole.TOOL) or (result and not all(of_tool)):
        found, wanted = "tool results beside others", "ToolResults in a tool's turn, and nowhere else"
        raise InvalidRequest.at(f"messages[{number}]", found, wanted)
    return inference.Message(str(message.role), blocks, message.name, dict(message.extra))
