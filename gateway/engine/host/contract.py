"""What a host application brings: which pool serves a service, and pools made of its environment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from gateway.engine.core.engine import UniGatewayEngine
from gateway.engine.core.pool import Endpoint, ModelPolicy, ProviderKind, ProviderPool, SecretString


class LookupState(StrEnum):
    """How a lookup ended. More may come: whoever branches on it keeps a branch for the rest."""

    FOUND = "found"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class PoolLookupOutcome:
    """The pool, where one was found."""

    state: LookupState
    pool: ProviderPool | None = None

    @classmethod
    def found(cls, pool: ProviderPool) -> PoolLookupOutcome:
        """This pool."""
        return cls(LookupState.FOUND, pool)

    @classmethod
    def not_found(cls) -> PoolLookupOutcome:
        """None."""
        return cls(LookupState.NOT_FOUND)


class EnvProvider(StrEnum):
    """Providers of which one key in the environment makes a pool."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"

    @property
    def kind(self) -> ProviderKind:
        """Its language, which is also the driver's id."""
        return ProviderKind.ANTHROPIC if self is EnvProvider.ANTHROPIC else ProviderKind.OPENAI_COMPATIBLE


class PoolHost(Protocol):
    """Knows the pools of services."""

    async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
        """The pool of a service, from memory: what `engine.get_pool` gives, never a query. Raises: PoolLookupError."""


@runtime_checkable
class EnvPoolHost(Protocol):
    """Makes pools on demand, and is the only place that does. A host need not be one."""

    async def env_pool(
        self,
        provider: EnvProvider,  # noqa: ARG002 - whoever inherits this has no pools to make
        api_key_override: str | None = None,  # noqa: ARG002
    ) -> PoolLookupOutcome:
        """The pool of a provider, upserted. Raises: PoolLookupError."""
        return PoolLookupOutcome.not_found()


@dataclass(frozen=True, slots=True)
class HostContext:
    """An engine and the host that it serves."""

    engine: UniGatewayEngine
    host: PoolHost

    @classmethod
    def from_parts(cls, engine: UniGatewayEngine, host: PoolHost) -> HostContext:
        """Of these two."""
        return cls(engine, host)

    async def pool_for_service(self, service_id: str) -> PoolLookupOutcome:
        """What the host says. Raises: PoolLookupError."""
        return await self.host.pool_for_service(service_id)

    async def env_pool(self, provider: EnvProvider, api_key_override: str | None = None) -> PoolLookupOutcome:
        """What the host says; nothing, if it makes no pools. Raises: PoolLookupError."""
        if isinstance(self.host, EnvPoolHost):
            return await self.host.env_pool(provider, api_key_override)
        return PoolLookupOutcome.not_found()


def build_env_pool(provider: EnvProvider, model: str, base_url: str, api_key: str) -> ProviderPool:
    """A pool of one endpoint; `model` is what requests get that name none."""
    name = f"env-{provider}"
    endpoint = Endpoint(
        endpoint_id=name,
        provider_name=name,
        source_endpoint_id=name,
        provider_family=provider.value,
        provider_kind=provider.kind,
        driver_id=provider.kind.value,
        base_url=base_url,
        api_key=SecretString(api_key),
        model_policy=ModelPolicy(default_model=model),
    )
    return ProviderPool(pool_id=name, endpoints=(endpoint,), metadata={"service_name": name})
