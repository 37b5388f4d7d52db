"""The engine's own errors; all others are the core's. Each is a GatewayError: a status, a code, and words."""

from __future__ import annotations

from gateway.errors import GatewayError, UpstreamFailed
from gateway.inference import Failure
from gateway.routing.retry import KEY_STATUSES
from gateway.translate import refused_key


class EngineBuildError(GatewayError):
    """The builder was not given what an engine needs."""

    code = "engine_build_failed"


class PoolNotFound(GatewayError):
    """No pool of this id: `upsert_pool` it before the first request."""

    status, error_type, code = 404, "invalid_request_error", "pool_not_found"

    @classmethod
    def named(cls, pool_id: str) -> PoolNotFound:
        """Say which."""
        return cls(f"pool: found no `{pool_id[:128]}`, wanted one that `upsert_pool` has put here")


class DriverNotFound(GatewayError):
    """An endpoint names a driver that the engine was not built with."""

    code = "driver_not_found"


class NoAvailableEndpoint(GatewayError):
    """The pool exists, and none of its endpoints may serve this request."""

    status, error_type, code = 503, "server_error", "no_available_endpoint"


class PoolLookupError(GatewayError):
    """The host could not say which pool serves: that is not the same as having none."""

    status, error_type, code = 503, "server_error", "pool_lookup_failed"

    @classmethod
    def other(cls, error: BaseException) -> PoolLookupError:
        """Of anything that went wrong in the host. Its words stay behind, for they may quote a secret."""
        return cls(f"The host could not look the pool up ({type(error).__name__}).")


class UpstreamRefused(GatewayError):
    """The provider's own refusal; `status` is the one it gave, and the words are its own."""

    error_type, code = "server_error", "upstream_refused"

    def __init__(self, failure: Failure, status: int, *, retry_after: float | None = None) -> None:
        super().__init__(failure.message, code=failure.code, param=failure.param, retry_after=retry_after)
        self.status = status if status >= 400 else 502  # a redirect is no answer either, and is not followed
        self.error_type = "invalid_request_error" if self.status < 500 else "server_error"


def error_of(failure: Failure) -> GatewayError:
    """What a provider said in its answer, as if it had refused at once."""
    if failure.status in KEY_STATUSES:
        return refused_key()  # not the caller's own 401
    if failure.status is not None:
        return UpstreamRefused(failure, failure.status, retry_after=failure.retry_after)
    return UpstreamFailed(failure.message, code=failure.code, retry_after=failure.retry_after)


class StreamAborted(GatewayError):
    """A stream broke off after some of it had been given out, so no other endpoint could take over unseen."""

    status, error_type, code = 502, "server_error", "stream_aborted"
