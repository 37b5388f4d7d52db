"""OpenAI chat completions of anybody who serves them: the streamer that the four OpenAI languages share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from gateway.dialects import openai_chat
from gateway.jsonbody import encode_json, parse_json_object
from gateway.models.connectors.http import HttpRequest, HttpTransport
from gateway.models.connectors.issue import Prepared, issue
from gateway.models.connectors.network import shared_transport
from gateway.models.contract.conversation import Conversation, JsonSchema
from gateway.models.contract.emission import Emission
from gateway.models.contract.model_card import ModelCard
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import Reply
from gateway.models.conversion.request import card_quirks, to_request
from gateway.models.streaming.channel import Channel, channel_of, collect_reply


@dataclass(frozen=True, slots=True)
class OpenAICompatibleConfig:
    """Where to post, with which headers, and members that go over those of the body."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body_extra: JsonSchema | None = None


def stream_openai_compatible_chat(
    config: OpenAICompatibleConfig,
    model: ModelCard,
    conversation: Conversation,
    options: StreamOptions | None = None,
    transport: HttpTransport = shared_transport,
) -> Channel:
    """The answer in pieces; a last chunk with the usage is asked for."""
    chosen = options or StreamOptions()

    async def prepare() -> Prepared:
        side = openai_chat.PROVIDER
        body = side.encode_request(to_request(model, conversation, chosen, side.name), card_quirks(model))
        if config.body_extra:
            body = encode_json(parse_json_object(body) | config.body_extra)
        return Prepared(side, HttpRequest(config.url, config.headers, body, chosen.cancel))

    def ask() -> AsyncGenerator[Emission, None]:
        return issue(model, chosen.cancel, transport, prepare)

    return channel_of(ask)


async def complete_openai_compatible_chat(
    config: OpenAICompatibleConfig,
    model: ModelCard,
    conversation: Conversation,
    options: StreamOptions | None = None,
    transport: HttpTransport = shared_transport,
) -> Reply:
    """The answer whole. Raises: GatewayError."""
    return await collect_reply(stream_openai_compatible_chat(config, model, conversation, options, transport))
