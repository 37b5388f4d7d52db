"""Parts of the bodies that providers are sent: cut out of what the dialects write, never written twice."""

from __future__ import annotations

from typing import Any

from gateway.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from gateway.dialects.dialect import ProviderSide
from gateway.dialects.quirks import PLAIN, Quirks
from gateway.inference import InferenceRequest
from gateway.jsonbody import parse_json_object
from gateway.models.contract import options as asked
from gateway.models.contract.conversation import Conversation, TextBlock, ToolDescriptor, UserTurn
from gateway.models.contract.model_card import ModelCard
from gateway.models.conversion.request import ORIGIN, card_quirks, conversation_messages, to_request, to_tools

Json = Any
"""What `json.loads` gives."""


def to_openai_chat_messages(conversation: Conversation) -> Json:
    """The `messages` of OpenAI chat completions."""
    return _body(openai_chat.PROVIDER, conversation)["messages"]


def to_openai_tools(tools: tuple[ToolDescriptor, ...]) -> Json:
    """The `tools` of OpenAI chat completions."""
    return _tools(openai_chat.PROVIDER, tools)


def to_openai_tool_choice(choice: asked.ToolChoice) -> str:
    """The `tool_choice` of OpenAI chat completions, which has the same three words."""
    return choice.value


def to_anthropic_request(card: ModelCard, conversation: Conversation, options: asked.StreamOptions) -> Json:
    """The whole body of Anthropic's /v1/messages: system on top, current id, thinking where the card reasons."""
    side = anthropic_messages.PROVIDER
    return parse_json_object(side.encode_request(to_request(card, conversation, options, side.name), card_quirks(card)))


def to_responses_input(conversation: Conversation) -> Json:
    """The `input` items of OpenAI Responses; the system prompt is its `instructions`, or an item of its own."""
    return _body(openai_responses.PROVIDER, conversation)["input"]


def to_responses_tools(tools: tuple[ToolDescriptor, ...]) -> Json:
    """The flat `tools` of OpenAI Responses."""
    return _tools(openai_responses.PROVIDER, tools)


def to_google_contents(conversation: Conversation) -> Json:
    """The `contents` of Gemini."""
    return _body(gemini.PROVIDER, conversation)["contents"]


def to_google_system_instruction(conversation: Conversation) -> Json:
    """The `systemInstruction` of Gemini; None without a system prompt."""
    return _body(gemini.PROVIDER, conversation).get("systemInstruction")


def to_google_tools(tools: tuple[ToolDescriptor, ...]) -> Json:
    """The `tools` of Gemini: one entry with all `functionDeclarations`."""
    return _tools(gemini.PROVIDER, tools)


def _body(side: ProviderSide, conversation: Conversation, quirks: Quirks = PLAIN) -> dict[str, Any]:
    messages = conversation_messages(conversation, side.name)
    request = InferenceRequest(ORIGIN, "model", messages, tools=to_tools(conversation.tools))
    return parse_json_object(side.encode_request(request, quirks))


def _tools(side: ProviderSide, tools: tuple[ToolDescriptor, ...]) -> Json:
    asked_nothing = Conversation((UserTurn((TextBlock("-"),)),), tools=tools)
    return _body(side, asked_nothing).get("tools", [])
