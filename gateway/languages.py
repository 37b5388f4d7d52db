"""What is served where: the language of a client by its path, and the languages in which providers can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.connectors.connector import Connector
from gateway.dialects import anthropic_count_tokens, anthropic_messages, bedrock_converse, gemini, ollama, openai_chat
from gateway.dialects.dialect import ProviderSide, Surface
from gateway.errors import NoRoute
from gateway.inference import InferenceRequest


@dataclass(frozen=True, slots=True)
class Service:
    """What is posted to one path. `providers` goes by the dialect of a connector; `local` makes the answer here where
    a provider cannot be asked.
    """

    surface: Surface
    providers: Mapping[str, ProviderSide]
    local: Callable[[InferenceRequest], bytes] | None = None

    def answer_here(self, request: InferenceRequest, connector: Connector) -> bytes | None:
        """The gateway's own answer; None if the provider is to be asked. Raises: NoRoute if neither can be."""
        if connector.dialect in self.providers and self.surface.name not in connector.lacks:
            return None
        if self.local is None:
            raise NoRoute(f"Provider {connector.id} does not offer {self.surface.name}.", code="not_offered")
        return self.local(request)


_CHATS: dict[str, ProviderSide] = {
    dialect.PROVIDER.name: dialect.PROVIDER
    for dialect in (openai_chat, anthropic_messages, gemini, bedrock_converse, ollama)
}

SERVICES: dict[str, Service] = {
    "/v1/chat/completions": Service(openai_chat.SURFACE, _CHATS),
    "/v1/messages": Service(anthropic_messages.SURFACE, _CHATS),
    "/v1/messages/count_tokens": Service(
        anthropic_count_tokens.SURFACE,
        {anthropic_messages.NAME: anthropic_count_tokens.PROVIDER},
        anthropic_count_tokens.estimate_tokens,
    ),
}
"""By path."""
