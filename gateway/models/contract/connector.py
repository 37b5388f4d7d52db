"""Connector and CredentialResolver: the two seams of a call."""

from __future__ import annotations

from typing import Protocol

from gateway.models.contract.conversation import Conversation
from gateway.models.contract.model_card import ApiKind, ModelCard, ProviderId
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import Reply
from gateway.models.streaming.channel import Channel


class CredentialResolver(Protocol):
    """Finds what proves to a provider who asks."""

    async def resolve(self, provider: ProviderId, override: str | None = None) -> str | None:
        """The caller's own value if there is one; None if nothing is known."""


class Connector(Protocol):
    """Speaks one wire language."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def api(self) -> ApiKind:
        """The language."""

    def stream(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Channel:
        """The answer in pieces; nothing is sent before the channel is iterated."""

    async def complete(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Reply:
        """The answer whole. Raises: GatewayError."""
