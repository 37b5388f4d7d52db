"""What is served where: the language of a client by its path, and the languages in which providers can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.connectors.azure import resource_path
from gateway.connectors.connector import Connector
from gateway.dialects import (
    anthropic_count_tokens,
    anthropic_messages,
    bedrock_converse,
    bedrock_embeddings,
    gemini,
    gemini_embeddings,
    ollama,
    ollama_embeddings,
    openai_chat,
    openai_chat_legacy,
    openai_embeddings,
    openai_embeddings_provider,
    openai_responses,
)
from gateway.dialects.dialect import ProviderSide, Surface
from gateway.errors import NoRoute
from gateway.inference import InferenceRequest
from gateway.routing.route import CHAT


@dataclass(frozen=True, slots=True)
class Service:
    """What is posted to one path. `providers` goes by the dialect of a connector, or by its family where that has a way
    of its own; `local` makes the answer here where a provider cannot be asked; `check` refuses what cannot be asked in
    another language; `capability` is what a model needs to be asked it in another's place, None where no other's answer
    would do.
    """

    surface: Surface
    providers: Mapping[str, ProviderSide]
    local: Callable[[InferenceRequest], bytes] | None = None
    check: Callable[[InferenceRequest], None] = lambda _request: None
    capability: str | None = CHAT
    metered: bool = True  # whether a provider charges for it

    def offers(self, connector: Connector) -> bool:
        """Whether the provider can be asked."""
        return self._language(connector) in self.providers and self.surface.name not in connector.lacks

    def answer_here(self, request: InferenceRequest, connector: Connector) -> bytes | None:
        """The gateway's own answer; None if the provider is to be asked. Raises: NoRoute if neither can be."""
        if self.offers(connector):
            return None
        if self.local is None:
            raise NoRoute(f"Provider {connector.id} does not offer {self.surface.name}.", code="not_offered")
        return self.local(request)

    def provider(self, request: InferenceRequest, connector: Connector) -> ProviderSide:
        """The side of the language in which a provider that can be asked is asked.

        Raises: InvalidRequest for what does not go into another language.
        """
        side = self.providers[self._language(connector)]
        if side.name != self.surface.name:
            self.check(request)
        return _at_azure(side, connector.api_version) if connector.azure else side

    def _language(self, connector: Connector) -> str:
        """The client's own where the provider speaks it too, so that bytes pass unchanged."""
        if self.surface.name in connector.also:
            return self.surface.name
        return connector.family if connector.family in self.providers else connector.dialect


_CHATS: dict[str, ProviderSide] = {
    dialect.PROVIDER.name: dialect.PROVIDER
    for dialect in (openai_chat, openai_responses, anthropic_messages, gemini, bedrock_converse, ollama)
}


def _at_azure(side: ProviderSide, version: str | None) -> ProviderSide:
    """A path of OpenAI's where Azure has it."""
    return replace(side, path=lambda model, stream: resource_path(version, side.path(model, stream), model))


def _at(path: str, name: str) -> ProviderSide:
    """A further path of OpenAI's, to which bytes pass unchanged."""
    return replace(openai_chat.PROVIDER, name=name, path=lambda _model, _stream: path)


SERVICES: dict[str, Service] = {
    "/v1/chat/completions": Service(openai_chat.SURFACE, _CHATS),
    "/v1/responses": Service(openai_responses.SURFACE, _CHATS),
    "/v1/completions": Service(
        openai_chat_legacy.SURFACE,
        _CHATS | {openai_chat_legacy.NAME: _at("/completions", openai_chat_legacy.NAME)},
        check=openai_chat_legacy.refuse_untranslatable,
    ),
    "/v1/embeddings": Service(
        replace(
            openai_chat.SURFACE,
            name=openai_embeddings.NAME,
            id_prefix="",
            decode_request=openai_embeddings.decode_request,
            encode_answer=openai_embeddings.encode_answer,
            verbatim=openai_embeddings.VERBATIM,
        ),
        {
            openai_embeddings.NAME: replace(
                _at("/embeddings", openai_embeddings.NAME),
                encode_request=openai_embeddings_provider.encode_request,
                decode_answer=openai_embeddings_provider.decode_answer,
            ),
            gemini.NAME: gemini_embeddings.BATCH,
            "vertex": gemini_embeddings.INSTANCES,
            bedrock_converse.NAME: bedrock_embeddings.PROVIDER,
            ollama.NAME: ollama_embeddings.PROVIDER,
        },
        capability="embeddings",
    ),
    "/v1/messages": Service(anthropic_messages.SURFACE, _CHATS),
    "/v1/messages/count_tokens": Service(
        anthropic_count_tokens.SURFACE,
        {anthropic_messages.NAME: anthropic_count_tokens.PROVIDER},
        anthropic_count_tokens.estimate_tokens,
        capability=None,
        metered=False,
    ),
}
"""By path."""
