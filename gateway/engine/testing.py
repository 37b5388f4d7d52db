"""Hosts for the tests of applications that embed the engine."""

from __future__ import annotations

from gateway.engine.core.engine import UniGatewayEngine
from gateway.engine.core.pool import ProviderPool
from gateway.engine.host.contract import EnvProvider, HostContext, PoolLookupOutcome


class MockHost:
    """A host whose pools are said beforehand; all others are not found."""

    def __init__(self) -> None:
        self._services: dict[str, PoolLookupOutcome] = {}
        self._providers: dict[EnvProvider, PoolLookupOutcome] = {}

    def with_service_pool(self, service_id: str, pool: ProviderPool) -> MockHost:
        """This pool serves this service."""
        return self.with_service_outcome(service_id, PoolLookupOutcome.found(pool))

    def with_service_outcome(self, service_id: str, outcome: PoolLookupOutcome) -> MockHost:
        """A lookup of this service ends so."""
        self._services[service_id] = outcome
        return self

    def with_env_pool(self, provider: EnvProvider, pool: ProviderPool) -> MockHost:
        """This pool is what the environment gives for this provider."""
        self._providers[provider] = PoolLookupOutcome.found(pool)
        return self

    async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
        """What was said of the service."""
        return self._services.get(service_id, PoolLookupOutcome.not_found())

    async def env_pool(self, provider: EnvProvider, api_key_override: str | None = None) -> PoolLookupOutcome:
        """What was said of the provider; an empty key gives nothing, as in a host."""
        if api_key_override == "":
            return PoolLookupOutcome.not_found()
        return self._providers.get(provider, PoolLookupOutcome.not_found())


def build_context(engine: UniGatewayEngine, host: MockHost) -> HostContext:
    """A context of these two."""
    return HostContext.from_parts(engine, host)
