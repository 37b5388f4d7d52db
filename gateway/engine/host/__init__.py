"""What a host application implements, and the way of a client's body through it. Imports `core` and `protocol`."""

from gateway.engine.core.errors import PoolLookupError
from gateway.engine.host.contract import (
    EnvPoolHost,
    EnvProvider,
    HostContext,
    LookupState,
    PoolHost,
    PoolLookupOutcome,
    build_env_pool,
)
from gateway.engine.host.dispatch import dispatch_request

__all__ = [
    "EnvPoolHost",
    "EnvProvider",
    "HostContext",
    "LookupState",
    "PoolHost",
    "PoolLookupError",
    "PoolLookupOutcome",
    "build_env_pool",
    "dispatch_request",
]
