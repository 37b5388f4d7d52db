"""The errors of the gateway: one base, one leaf per status and remedy. Only `gateway/http/problems.py` renders them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.inference import Failure
from gateway.tenancy.rates import Standing

KEYSET_ENDED = (
    "The gateway's attested keyset has ended and no new one could be attested, so nobody could verify the "
    "receipt of this call: it was not sent on. The operator finds the reason at /readyz."
)


class GatewayError(Exception):
    """Base of every error that the gateway raises on purpose.

    `status` is the HTTP status, `error_type` and `code` are OpenAI's words `type` and `code`, `param` names the field
    at fault, `retry_after` is in seconds. The message reaches the client: never put prompt text or a credential in it.
    """

    status: int = 500
    error_type: str = "server_error"
    code: str = "internal_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(GatewayError):
    """The request breaks the format. Sending it again unchanged cannot help."""

    status, error_type, code = 400, "invalid_request_error", "invalid_request"

    @classmethod
    def at(cls, field: str, found: str, wanted: str) -> InvalidRequest:
        """Say which field is wrong. `found` describes a kind or a size, never the value of something written."""
        return cls(f"{field}: found {found}, wanted {wanted}", param=None if field == "body" else field)


class Unauthenticated(GatewayError):
    """No key, or one that is not known."""

    # OpenAI's own 401 carries this type, and clients compare the code.
    status, error_type, code = 401, "invalid_request_error", "invalid_api_key"


class KeyRevoked(GatewayError):
    """The key of an open stream was revoked, or has ended."""

    status, error_type, code = 401, "invalid_request_error", "key_revoked"


class InsufficientCredits(GatewayError):
    """The balance of the key or the cap of the tenant is used up."""

    status, error_type, code = 402, "insufficient_quota", "credits_exhausted"


class Forbidden(GatewayError):
    """The key is known and may not do this."""

    status, error_type, code = 403, "permission_error", "forbidden"


class UnknownModel(GatewayError):
    """No route has this model, or none that the caller may see."""

    status, error_type, code = 404, "invalid_request_error", "model_not_found"


class UnknownTenant(GatewayError):
    """No such tenant."""

    status, error_type, code = 404, "invalid_request_error", "tenant_not_found"


class UnknownProvider(GatewayError):
    """No such provider."""

    status, error_type, code = 404, "invalid_request_error", "provider_not_found"


class UnknownKey(GatewayError):
    """No such key, or none of this tenant's."""

    status, error_type, code = 404, "invalid_request_error", "key_not_found"


class Conflict(GatewayError):
    """What is there already stands in the way."""

    status, error_type, code = 409, "invalid_request_error", "already_exists"


class SessionNotAccepted(GatewayError):
    """The attested session that the client named is not one of ours, or has expired."""

    status, error_type, code = 412, "invalid_request_error", "session_not_accepted"


class BodyTooLarge(GatewayError):
    """The body is longer than the gateway reads."""

    status, error_type, code = 413, "invalid_request_error", "body_too_large"


class BodyStalled(GatewayError):
    """The client sends nothing more of its body."""

    status, error_type, code = 408, "invalid_request_error", "body_stalled"


class CredentialInPrompt(GatewayError):
    """The prompt holds something that looks like a credential, and the policy forbids to send it on."""

    status, error_type, code = 422, "invalid_request_error", "credential_in_prompt"


class StaleKeyConfig(GatewayError):
    """The body was sealed to a key that the gateway no longer holds: fetch the key list again."""

    status, error_type, code = 422, "invalid_request_error", "stale_key_config"


class RateLimited(GatewayError):
    """Too many requests, or too many tokens; `retry_after` says when to come back; without it, that is useless.

    `standings` are those of the limits, by what they limit.
    """

    status, error_type, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(
        self, message: str, *, retry_after: float | None = None, standings: Mapping[str, Standing] | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.standings = standings or {}


class RatesUnavailable(GatewayError):
    """Nobody can tell how much of a rate is left."""

    status, error_type, code = 503, "server_error", "rates_unavailable"


class UpstreamFailed(GatewayError):
    """The provider answered wrongly, or not to the end."""

    status, error_type, code = 502, "server_error", "upstream_failed"


class NoRoute(GatewayError):
    """Every candidate for this model is out of order or excluded by policy."""

    status, error_type, code = 503, "server_error", "no_route"


class AttesterUnavailable(GatewayError):
    """The attestation device gives no evidence now; without `retry_after`, not before somebody mends it."""

    status, error_type, code = 503, "server_error", "attester_unavailable"


class KeysetExpired(GatewayError):
    """The keyset has ended and no new one could be attested: nothing may be signed any more."""

    status, error_type, code = 503, "server_error", "keyset_expired"


class KeeperGone(GatewayError):
    """The process that keeps the record does not answer."""

    status, error_type, code = 503, "server_error", "keeper_unavailable"


class UpstreamVerificationFailed(GatewayError):
    """The policy demands an attested upstream, and its evidence did not pass."""

    status, error_type, code = 503, "server_error", "upstream_verification_failed"


def failure_of(error: GatewayError) -> Failure:
    """An error as a value, to be written in the language of whoever asked."""
    return Failure(error.message, error.code, error.error_type, error.param, error.status)
