"""stream and complete: from a model id and a conversation to an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from gateway.models.catalog.query import get_card
from gateway.models.connectors.registry import connector_for_api
from gateway.models.contract.conversation import Conversation
from gateway.models.contract.emission import Emission, ErrorEmission
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.model_card import ModelCard
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import Reply
from gateway.models.streaming.channel import Channel, channel_of


def stream(model_id: str, conversation: Conversation, options: StreamOptions | None = None) -> Channel:
    """The answer in pieces. Nothing is sent before the channel is iterated, and each iteration sends anew.

    Raises: GatewayError(UNSUPPORTED) for an id that no card has; every later failure is the last Emission.
    """
    return stream_with_card(_card(model_id), conversation, options)


async def complete(model_id: str, conversation: Conversation, options: StreamOptions | None = None) -> Reply:
    """The answer whole. Raises: GatewayError."""
    return await complete_with_card(_card(model_id), conversation, options)


def stream_with_card(card: ModelCard, conversation: Conversation, options: StreamOptions | None = None) -> Channel:
    """As `stream`, for a card that need not stand in any catalog."""
    connector = connector_for_api(card.api)
    if connector is None:
        error = _no_connector(card)

        async def refuse() -> AsyncGenerator[Emission, None]:
            yield ErrorEmission(error)

        return channel_of(refuse)
    return connector.stream(card, conversation, options or StreamOptions())


async def complete_with_card(
    card: ModelCard, conversation: Conversation, options: StreamOptions | None = None
) -> Reply:
    """As `complete`, for a card that need not stand in any catalog. Raises: GatewayError."""
    connector = connector_for_api(card.api)
    if connector is None:
        raise _no_connector(card)
    return await connector.complete(card, conversation, options or StreamOptions())


def _card(model_id: str) -> ModelCard:
    card = get_card(model_id)
    if card is None:
        raise GatewayError(GatewayErrorKind.UNSUPPORTED, f"unknown model: {model_id}")
    return card


def _no_connector(card: ModelCard) -> GatewayError:
    words = f"no connector for dialect: {card.api}"
    return GatewayError(GatewayErrorKind.UNSUPPORTED, words, provider=card.provider)
