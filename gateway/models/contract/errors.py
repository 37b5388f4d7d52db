"""GatewayError with a kind: what a caller of `gateway.models` can do about a failure, without reading its words."""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict, Unpack

from gateway import errors


class GatewayErrorKind(StrEnum):
    """The class of a failure; the value is its word in JSON."""

    AUTH = "auth"
    RATE_LIMIT = "rate_limit"
    HTTP = "http"
    TRANSPORT = "transport"
    PARSE = "parse"
    UNSUPPORTED = "unsupported"
    ABORTED = "aborted"


# What a gateway that raises one would answer, where the provider gave no status.
_STATUS = {
    GatewayErrorKind.AUTH: 401,
    GatewayErrorKind.RATE_LIMIT: 429,
    GatewayErrorKind.UNSUPPORTED: 400,
    GatewayErrorKind.ABORTED: 499,
}


class GatewayErrorExtra(TypedDict, total=False):
    """What may be known besides: the provider's own HTTP status, who it was, and the error below (never written)."""

    status: int | None
    provider: str | None
    cause: BaseException | None


class GatewayError(errors.GatewayError):
    """A failure of `gateway.models`, one more leaf of the gateway's errors.

    `upstream_status` is the provider's own HTTP status, None if it gave none: `status` in JSON. `provider` is the one
    that was asked, `code` its own word if it had one, `retry_after` the seconds that it wants us to wait, `cause` the
    error below, which no JSON holds.
    """

    def __init__(self, kind: GatewayErrorKind, message: str, **extra: Unpack[GatewayErrorExtra]) -> None:
        super().__init__(message, code=kind.value)
        self.kind = kind
        self.upstream_status = extra.get("status")
        self.status = self.upstream_status or _STATUS.get(kind, 502)
        self.provider = extra.get("provider")
        self.cause = extra.get("cause")

    def with_extra(self, **extra: Unpack[GatewayErrorExtra]) -> GatewayError:
        """The same failure with more known of it."""
        known: GatewayErrorExtra = {
            "status": self.upstream_status, "provider": self.provider, "cause": self.cause, **extra
        }  # fmt: skip
        error = GatewayError(self.kind, self.message, **known)
        error.code, error.retry_after = self.code, self.retry_after
        return error


def gateway_error(kind: GatewayErrorKind, message: str, **extra: Unpack[GatewayErrorExtra]) -> GatewayError:
    """A failure of that kind."""
    return GatewayError(kind, message, **extra)


def aborted(message: str) -> GatewayError:
    """What a cancelled call ends in."""
    return GatewayError(GatewayErrorKind.ABORTED, message)


def status_kind(status: int) -> GatewayErrorKind:
    """The kind of a provider's refusal by its HTTP status."""
    if status in (401, 403):
        return GatewayErrorKind.AUTH
    return GatewayErrorKind.RATE_LIMIT if status == 429 else GatewayErrorKind.HTTP
