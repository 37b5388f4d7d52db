"""The languages that this gateway speaks: to clients by path, to providers by name."""

from __future__ import annotations

from gateway.dialects import openai_chat
from gateway.dialects.dialect import ProviderSide, Surface

SURFACES: dict[str, Surface] = {"/v1/chat/completions": openai_chat.SURFACE}
"""The language of a client, by the path that it posts to."""

PROVIDERS: dict[str, ProviderSide] = {side.name: side for side in (openai_chat.PROVIDER,)}
"""The language of a provider, by the name that its connector carries."""
