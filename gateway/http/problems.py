"""Errors as HTTP answers: the only place that turns one into a body."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import AttesterUnavailable, GatewayError, InvalidRequest, RateLimited, failure_of
from gateway.http.rate_headers import rate_headers
from gateway.languages import SERVICES
from tee.errors import Malformed, Unavailable

LOG = logging.getLogger("saferouter")
MESSAGES = "/v1/messages"  # with which the paths of Anthropic's clients begin


class NotFound(GatewayError):
    """No such path or document."""

    status, error_type, code = 404, "invalid_request_error", "not_found"


class Pruned(GatewayError):
    """It was here, and retention has removed it."""

    status, error_type, code = 410, "invalid_request_error", "receipt_pruned"


class MethodNotAllowed(GatewayError):
    """The path exists and does not take this method."""

    status, error_type, code = 405, "invalid_request_error", "method_not_allowed"


def speaks_anthropic(request: Request) -> bool:
    """Whether the client is one of Anthropic's, on a path that several vendors' clients share."""
    return "anthropic-version" in request.headers


def problem(request: Request, error: GatewayError) -> Response:
    """The answer for an error of ours, in the language of the path, else of the client."""
    path = request.url.path
    service = SERVICES.get(path) or SERVICES[MESSAGES if speaks_anthropic(request) else "/v1/chat/completions"]
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    if isinstance(error, RateLimited):
        headers |= rate_headers(error.standings, anthropic=path.startswith(MESSAGES), now=time.time())
        if error.retry_after is None:
            headers["x-should-retry"] = "false"
    body = service.surface.encode_error(failure_of(error), error.status)
    return Response(body, error.status, headers, "application/json")


async def on_gateway_error(request: Request, error: Exception) -> Response:
    """A GatewayError that no step has answered."""
    assert isinstance(error, GatewayError)
    return problem(request, error)


async def on_tee_error(request: Request, error: Exception) -> Response:
    """Malformed evidence input is the caller's fault; an unavailable device is not."""
    if isinstance(error, Malformed):
        return problem(request, InvalidRequest(str(error), param=error.field))
    assert isinstance(error, Unavailable)
    return problem(request, AttesterUnavailable(str(error)))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods."""
    if getattr(error, "status_code", 404) == 405:
        response = problem(request, MethodNotAllowed(f"{request.method} is not served at {request.url.path[:200]}."))
        response.headers.update(getattr(error, "headers", None) or {})  # Allow: what is (RFC 9110 §15.5.6)
        return response
    return problem(request, NotFound(f"Nothing is served at {request.method} {request.url.path[:200]}."))


async def on_unexpected(request: Request, error: Exception) -> Response:
    """The outermost rim. The log gets the kind and the place, never the message: it may quote a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    LOG.error("unexpected %s at %s", type(error).__name__, place)
    return problem(request, GatewayError("The gateway failed. Nothing about your request was logged."))
