"""Pools as values: the endpoints that can serve one service, and how they are chosen between."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.connectors.connector import AUTH_HEADERS
from gateway.routing.retry import RetryPolicy
from tee.aws.sigv4 import AwsCredentials
from tee.errors import Malformed

_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII)


class SecretString:
    """A secret that shows itself to nobody who does not ask for it by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def expose_secret(self) -> str:
        """The secret."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretString) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "SecretString([redacted])"


class LoadBalancingStrategy(StrEnum):
    """How the endpoints of a pool take turns (`order_candidates` says what each does)."""

    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    LEAST_BUSY = "least_busy"
    LATENCY = "latency"
    COST = "cost"
    PRIORITY = "priority"


class ProviderKind(StrEnum):
    """The language in which a provider is asked."""

    OPENAI_COMPATIBLE = "openai-compatible"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    VERTEX = "vertex"
    BEDROCK = "bedrock"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Which models an endpoint serves, and what it calls them. The default serves all, by their own names.

    - `default_model`: for requests that name none
    - `model_mapping`: what is asked for -> the provider's own id
    - `allowed_models`: as they are asked for; empty for all
    """

    default_model: str | None = None
    model_mapping: Mapping[str, str] = field(default_factory=dict)
    allowed_models: frozenset[str] = frozenset()

    def resolve(self, model: str) -> str | None:
        """The provider's id of the model that was asked for; None where this endpoint does not serve it."""
        wanted = model or self.default_model
        if not wanted or (self.allowed_models and wanted not in self.allowed_models):
            return None
        return self.model_mapping.get(wanted, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One provider's account in a pool.

    The three hint fields and `endpoint_id` are what a provider hint is compared with: fill them, and keep them the
    same across restarts. `provider_family` is also a row of the catalog (`openai`, `deepseek`, ...), by which a
    model's peculiarities are known.

    - `base_url`: with or without the version at its end
    - `api_key`: AWS's kind for Bedrock's signatures; empty where the provider wants none
    - `api_version`, `auth_header`: where the account wants others than its family: what `anthropic-version` says, or
      Azure's; one of AUTH_HEADERS
    - `weight`, `micro_usd_per_million`: for the strategies `weighted`, `least_busy` and `cost`
    """

    endpoint_id: str
    provider_name: str | None = None
    source_endpoint_id: str | None = None
    provider_family: str | None = None
    provider_kind: ProviderKind
    driver_id: str
    base_url: str
    api_key: SecretString | AwsCredentials
    model_policy: ModelPolicy = field(default_factory=ModelPolicy)
    enabled: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    api_version: str | None = None
    auth_header: str | None = None
    weight: int = 1
    micro_usd_per_million: int | None = None

    def matches(self, hint: str) -> bool:
        """Whether this is what a provider hint means, in any case of letters."""
        names = (self.endpoint_id, self.provider_name, self.source_endpoint_id, self.provider_family)
        return hint.strip().casefold() in {name.casefold() for name in names if name}


@dataclass(frozen=True, slots=True)
class ProviderPool:
    """The endpoints behind one service."""

    pool_id: str
    endpoints: Sequence[Endpoint] = ()
    load_balancing: LoadBalancingStrategy = LoadBalancingStrategy.ROUND_ROBIN
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutionTarget:
    """Where a request shall go: to a pool, and within it only to the endpoints that a hint means."""

    pool_id: str
    hint: str | None = None

    @classmethod
    def pool(cls, pool_id: str, hint: str | None = None) -> ExecutionTarget:
        """The pool of this id."""
        return cls(pool_id, hint)


def check_pool(pool: ProviderPool) -> None:
    """Refuse what could only fail later, on some request. Raises: Malformed."""
    if not pool.pool_id:
        raise Malformed("pool_id", "nothing", "a name")
    seen: set[str] = set()
    for number, endpoint in enumerate(pool.endpoints):
        place = f"endpoints[{number}]"
        if not endpoint.endpoint_id or endpoint.endpoint_id in seen:
            raise Malformed(f"{place}.endpoint_id", "nothing or one twice", "a name of its own within the pool")
        if not _URL.fullmatch(endpoint.base_url):
            # Never shown: a URL may carry a password.
            raise Malformed(f"{place}.base_url", "something else", "an http or https URL without a query")
        if endpoint.auth_header not in (None, *AUTH_HEADERS):
            raise Malformed(f"{place}.auth_header", "another", "one of " + ", ".join(AUTH_HEADERS))
        if endpoint.weight < 0:
            raise Malformed(f"{place}.weight", str(endpoint.weight), "0 or more")
        seen.add(endpoint.endpoint_id)
