"""Errors as HTTP answers: the only place that turns one into a body."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import AttesterUnavailable, GatewayError, InvalidRequest, error_body
from tee.errors import Malformed, Unavailable

LOG = logging.getLogger("saferouter")


class NotFound(GatewayError):
    """No such path or document."""

    status, error_type, code = 404, "invalid_request_error", "not_found"


class Pruned(GatewayError):
    """It was here, and retention has removed it."""

    status, error_type, code = 410, "invalid_request_error", "receipt_pruned"


class MethodNotAllowed(GatewayError):
    """The path exists and does not take this method."""

    status, error_type, code = 405, "invalid_request_error", "method_not_allowed"


def problem(error: GatewayError, extra: dict[str, str] | None = None) -> Response:
    """The answer for an error of ours, in OpenAI's shape."""
    headers = dict(extra or {})
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    return Response(error_body(error), error.status, headers, "application/json")


async def on_gateway_error(_request: Request, error: Exception) -> Response:
    """A GatewayError that no step has answered."""
    assert isinstance(error, GatewayError)
    return problem(error)


async def on_tee_error(_request: Request, error: Exception) -> Response:
    """Malformed evidence input is the caller's fault; an unavailable device is not."""
    if isinstance(error, Malformed):
        return problem(InvalidRequest(str(error), param=error.field))
    assert isinstance(error, Unavailable)
    return problem(AttesterUnavailable(str(error)))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods."""
    if getattr(error, "status_code", 404) == 405:
        return problem(MethodNotAllowed(f"{request.method} is not served at {request.url.path[:200]}."))
    return problem(NotFound(f"Nothing is served at {request.method} {request.url.path[:200]}."))


async def on_unexpected(_request: Request, error: Exception) -> Response:
    """The outermost rim. The log gets the kind and the place, never the message: it may quote a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    LOG.error("unexpected %s at %s", type(error).__name__, place)
    return problem(GatewayError("The gateway failed. Nothing about your request was logged."))
