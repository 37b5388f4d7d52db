"""What an engine asks endpoints through: a driver speaks one language, and a registry knows drivers by their ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.core.pool import Endpoint
from gateway.engine.core.requests import ProxyEmbeddingsRequest
from gateway.inference import InferenceRequest, StreamEvent, Usage


@dataclass(frozen=True, slots=True)
class EmbeddingsResponse:
    """One vector for each input, in their order."""

    embeddings: list[list[float]]
    model: str
    usage: Usage | None = None


class ProviderDriver(Protocol):
    """Asks an endpoint. In both requests `model` is already the provider's own id."""

    @property
    def driver_id(self) -> str:
        """The name by which endpoints choose it."""

    def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        """Ask, and give the events of the answer: as they arrive for a request that streams, and in the order of
        `Decoder` always. Raises: GatewayError.
        """

    async def embed(self, endpoint: Endpoint, request: ProxyEmbeddingsRequest) -> EmbeddingsResponse:
        """Embed. Raises: GatewayError, NoRoute where this language has no embeddings."""


class InMemoryDriverRegistry:
    """Drivers by their ids. An engine takes over what is registered when it is built."""

    def __init__(self) -> None:
        self._drivers: dict[str, ProviderDriver] = {}

    def register(self, driver: ProviderDriver) -> None:
        """Add a driver, in place of an earlier one of the same id."""
        self._drivers[driver.driver_id] = driver

    def get(self, driver_id: str) -> ProviderDriver | None:
        """The driver of this id."""
        return self._drivers.get(driver_id)

    def snapshot(self) -> dict[str, ProviderDriver]:
        """All of them, as they are now."""
        return dict(self._drivers)
