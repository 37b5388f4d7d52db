"""The languages that this gateway speaks: to clients by path, to providers by name."""

from __future__ import annotations

from gateway.dialects import anthropic_messages, openai_chat
from gateway.dialects.dialect import ProviderSide, Surface

SURFACES: dict[str, Surface] = {
    "/v1/chat/completions": openai_chat.SURFACE,
    "/v1/messages": anthropic_messages.SURFACE,
}
"""The language of a client, by the path that it posts to."""

PROVIDERS: dict[str, ProviderSide] = {side.name: side for side in (openai_chat.PROVIDER, anthropic_messages.PROVIDER)}
"""The language of a provider, by the name that its connector carries."""


def surface_of(path: str) -> Surface:
    """The language in which something at `path` is answered: OpenAI's, if the path has none of its own."""
    return next((row for at, row in SURFACES.items() if path == at or path.startswith(f"{at}/")), openai_chat.SURFACE)
