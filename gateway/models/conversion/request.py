"""A conversation as the InferenceRequest that every dialect can write."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from gateway.connectors.catalog import FAMILIES
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects.quirks import Quirks
from gateway.inference import (
    Block,
    InferenceRequest,
    Media,
    Message,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    read_signature,
)
from gateway.jsonbody import encode_json
from gateway.models.contract import conversation as asked
from gateway.models.contract.model_card import ApiKind, ModelCard, ProviderId
from gateway.models.contract.options import StreamOptions

ORIGIN = "models"
"""The name under which these requests come: no dialect's, so nothing of theirs rides along."""

# Rows of the providers' catalog, whose address, credential and quirks an ApiKind has.
_FAMILIES = {
    ApiKind.ANTHROPIC_MESSAGES: "anthropic",
    ApiKind.OPENAI_COMPLETIONS: "openai",
    ApiKind.OPENAI_RESPONSES: "openai-responses",
    ApiKind.GOOGLE_GENERATIVE: "gemini",
    ApiKind.GOOGLE_VERTEX: "vertex",
    ApiKind.AMAZON_BEDROCK: "bedrock",
    ApiKind.AZURE_OPENAI: "azure",
    ApiKind.NVIDIA_OPENAI_COMPATIBLE: "nvidia",
    ApiKind.KIMI_OPENAI_COMPATIBLE: "kimi",
    ApiKind.OLLAMA: "ollama",
    ApiKind.MOCK: "mock",
}
# Vendors of OpenAI's language who are no ProviderId: a card of theirs is known by its host.
_GUEST_HOSTS = {urlsplit(FAMILIES[family].base_url).hostname: family for family in ("deepseek", "zai")}
# Anthropic's own ids for curated cards whose first model it no longer serves.
_WIRE_IDS = {
    "claude-opus-4": "claude-opus-4-8",
    "claude-sonnet-4": "claude-sonnet-4-6",
    "claude-haiku-3-5": "claude-haiku-4-5",
}


def family_of(card: ModelCard) -> str:
    """The row of the providers' catalog that serves a card: the language's own, but for MiniMax and guests."""
    if card.api is ApiKind.ANTHROPIC_MESSAGES and card.provider is ProviderId.MINIMAX:
        return "minimax"
    return guest_of(card) or _FAMILIES[card.api]


def guest_of(card: ModelCard) -> str | None:
    """The family of a vendor who is no ProviderId: DeepSeek and Z.AI, where the card's base_url is theirs."""
    if card.api is not ApiKind.OPENAI_COMPLETIONS or card.base_url is None:
        return None
    return _GUEST_HOSTS.get(urlsplit(card.base_url).hostname)


def wire_id(card: ModelCard) -> str:
    """The id by which its provider knows the model."""
    return _WIRE_IDS.get(card.id, card.id) if card.provider is ProviderId.ANTHROPIC else card.id


def card_quirks(card: ModelCard) -> Quirks:
    """How the model differs from its language; where a limit must be said, it is the card's."""
    return replace(quirks_of(family_of(card), wire_id(card)), default_max_tokens=card.max_output_tokens)


def to_request(
    card: ModelCard, conversation: asked.Conversation, options: StreamOptions, dialect: str
) -> InferenceRequest:
    """The request, for a stream. Only a card that reasons is told how much to.

    `dialect` is the one that it will be written in: a bare signature is taken for one of its own.
    """
    return InferenceRequest(
        dialect=ORIGIN,
        model=wire_id(card),
        messages=conversation_messages(conversation, dialect),
        tools=to_tools(conversation.tools),
        tool_choice=ToolChoice(options.tool_choice) if options.tool_choice and conversation.tools else None,
        max_tokens=options.max_output_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        stream=True,
        include_usage=True,
        reasoning=Reasoning(options.thinking) if options.thinking and card.reasoning else None,
    )


def conversation_messages(conversation: asked.Conversation, dialect: str) -> tuple[Message, ...]:
    """The system prompt and the turns."""
    system = (Message("system", (Text(conversation.system),)),) if conversation.system else ()
    names = {
        block.id: block.name
        for turn in conversation.turns
        for block in turn.blocks
        if isinstance(block, asked.ToolCallBlock)
    }
    return (*system, *(message for turn in conversation.turns for message in _messages(turn, dialect, names)))


def to_tools(tools: tuple[asked.ToolDescriptor, ...] | None) -> tuple[Tool, ...] | None:
    """The tools; None if there are none."""
    return tuple(Tool(each.name, each.description, each.parameters) for each in tools or ()) or None


def _messages(turn: asked.Turn, dialect: str, names: dict[str, str]) -> list[Message]:
    """Results go first and apart, whatever turn they stand in: every language wants them there."""
    results = tuple(_result(block, names) for block in turn.blocks if isinstance(block, asked.ToolResultBlock))
    said = [_block(block, dialect) for block in turn.blocks if not isinstance(block, asked.ToolResultBlock)]
    rest = tuple(block for block in said if block is not None)
    role = "assistant" if turn.role == "assistant" else "user"
    return [*([Message("tool", results)] if results else []), *([Message(role, rest)] if rest else [])]


def _block(block: asked.Block, dialect: str) -> Block | None:
    match block:
        case asked.TextBlock(text):
            return Text(text)
        case asked.ThinkingBlock(text, signature):
            return Thinking(text, read_signature(signature, dialect) if signature else None)
        case asked.ToolCallBlock(call_id, name, given):
            return ToolCall(call_id, name, _json_text(given))
        case asked.ImageBlock(media_type, data):
            return Media("image", media_type, data)
    return None


def _result(block: asked.ToolResultBlock, names: dict[str, str]) -> ToolResult:
    content = (Text(_json_text(block.output)),)
    return ToolResult(block.call_id, content, bool(block.is_error), names.get(block.call_id, ""))


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()
