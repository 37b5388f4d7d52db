"""The ASGI application: every route on one page."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admin_token import AdminToken
from gateway.build import build_version
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.http import problems
from gateway.http.activity import ActivityEndpoints, ActivityReader
from gateway.http.admin import TenantEndpoints
from gateway.http.admin_providers import AdminProviderEndpoints
from gateway.http.attestation import AttestationEndpoints
from gateway.http.audit import AuditEndpoints
from gateway.http.console import console_routes
from gateway.http.credits import CreditsEndpoints
from gateway.http.inference import ChatEndpoint, ModelsEndpoint, ReceiptsEndpoint
from gateway.http.keys import OWN_KEYS, KeyEndpoints, own_keys
from gateway.http.metrics import PATH as METRICS
from gateway.http.metrics import Gauges, MetricsEndpoint, require_reader
from gateway.http.openapi.document import openapi_document
from gateway.http.policies import PolicyEndpoints
from gateway.http.providers import ProviderEndpoints
from gateway.http.rate_headers import EXPOSED
from gateway.http.shortcut import Shortcut
from gateway.http.supply_chain import SupplyChainEndpoints
from gateway.http.transparency import TransparencyEndpoints, receipt_proof
from gateway.instance import Instance
from gateway.languages import SERVICES
from gateway.meters import CallMeters
from gateway.pipeline import Pipeline
from gateway.registering import Registering
from gateway.registration import Registration
from gateway.rerouting import Rerouting
from gateway.storage.activity import find_place, list_activity, recent_attempts, recent_calls, summarise
from gateway.storage.calls import find_receipt
from gateway.storage.quotes import find_quote
from gateway.storage.samples import last_sample, list_samples
from tee.errors import Malformed, Unavailable

# Every origin may ask: a caller is known by its key, never by a cookie, and evidence is public.
_CORS: dict[str, Any] = {
    "allow_origins": ["*"],
    "allow_methods": ["*"],
    "allow_headers": ["*"],
    "expose_headers": [
        *("x-receipt-id", "x-request-id", "retry-after", "age", "x-sf-evidence"),
        *("content-digest", "signature", "signature-input", "x-should-retry"),
        *EXPOSED,
        *("x-saferouter-fallback-from", "x-saferouter-fallback-to", "x-sf-fallback-from", "x-sf-fallback-to"),
    ],
}


_PAGE_HEADERS = [
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


LOG_PREFIX = "/attestation/transparency"


def build_app(instance: Instance, rerouting: Rerouting) -> ASGIApp:
    """The application of a running instance, whose routing `rerouting` changes."""
    pipeline, config = instance.pipeline, instance.config
    attestation = AttestationEndpoints(
        instance.desk, instance.keys, partial(find_quote, instance.engine), config.announcement, instance.meters.tally
    )
    admin = AdminToken(config.admin_token_file)
    prove = partial(receipt_proof, instance.epochs)
    receipts = ReceiptsEndpoint(pipeline, partial(find_receipt, instance.engine), prove)
    log = TransparencyEndpoints(instance.epochs)
    found = partial(last_sample, instance.engine), partial(list_samples, instance.engine)
    audit = AuditEndpoints(pipeline, instance.epochs, config.audit_per_million, *found)
    judge = partial(require_reader, token_file=config.metrics_token_file)
    metrics = MetricsEndpoint(
        instance.meters.tally, _gauges(instance), judge if config.workers == 1 else _judged_by_a_worker
    )
    routes: list[Route | Mount] = [
        *inference_routes(pipeline, config, instance.meters),
        Route("/v1/aci/receipts/{receipt_id}", receipts.receipt, methods=["GET"]),
        Route("/v1/aci/receipts/{receipt_id}/proof", receipts.proof, methods=["GET"]),
        *_record_routes(instance),
        *_supply_chain_routes(instance),
        *KeyEndpoints(instance.key_book, own_keys(pipeline)).routes(OWN_KEYS),
        *TenantEndpoints(instance.key_book, admin).routes(),
        *AdminProviderEndpoints(Registration(instance), admin).routes(),
        *CreditsEndpoints(pipeline, instance.key_book, admin).routes(),
        Route("/v1/audit/samples", audit.samples, methods=["GET"]),
        Route("/attestation/audit/head", audit.head, methods=["GET"]),
        Route("/v1/aci/attestation", attestation.aci, methods=["GET"]),
        Route("/attestation/quote", attestation.quote, methods=["POST"]),
        Route("/attestation/verifying-key", attestation.verifying_key, methods=["GET"]),
        Route("/attestation/keysets/{digest}", attestation.past_quote, methods=["GET"]),
        *PolicyEndpoints(pipeline, rerouting, admin).routes(),
        *_log_routes(LOG_PREFIX, log),
        *_log_routes(f"{LOG_PREFIX}/epochs/{{epoch}}", log),
        Route("/attestation/announcement", attestation.announcement, methods=["GET"]),
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/readyz", partial(_readyz, instance), methods=["GET"]),
        Route(METRICS, metrics.text, methods=["GET"]),
        Route("/openapi.json", partial(_openapi, openapi_document(config.audience, build_version())), methods=["GET"]),
    ]
    page = verifier_folder()
    if page is not None:
        routes += [
            Mount("/verifier", _page_only(StaticFiles(directory=page, html=True))),
            *console_routes(),  # its shield is the verifier's own code
        ]
    return with_shortcut(starlette_app(routes), routes, config)


def _record_routes(instance: Instance) -> list[Route]:
    """What the record of closed calls tells the tenant that made them."""
    engine = instance.engine
    reader = ActivityReader(
        partial(find_place, engine),
        partial(list_activity, engine),
        partial(summarise, engine),
        partial(recent_calls, engine),
    )
    activity = ActivityEndpoints(instance.pipeline, reader)
    providers = ProviderEndpoints(instance.pipeline, partial(recent_attempts, engine))
    return [
        Route("/v1/activity", activity.listing, methods=["GET"]),
        Route("/v1/activity/summary", activity.summary, methods=["GET"]),
        Route("/v1/calls", activity.calls, methods=["GET"]),
        Route("/v1/providers", providers.listing, methods=["GET"]),
        Route("/v1/providers/health", providers.health, methods=["GET"]),
    ]


def _supply_chain_routes(instance: Instance) -> list[Route]:
    config, token = instance.config, AdminToken(instance.config.admin_token_file)
    return SupplyChainEndpoints(instance.pipeline, Registering(instance), token, config.state).routes()


def inference_routes(pipeline: Pipeline, config: Config, meters: CallMeters) -> list[Route]:
    """What a worker answers itself: calls, and the models that they may name."""
    models = ModelsEndpoint(pipeline)
    return [
        *(
            Route(
                path,
                ChatEndpoint(service, pipeline, config.limits, meters, path.removeprefix("/v1/")),
                methods=["POST"],
            )
            for path, service in SERVICES.items()
        ),
        Route("/v1/models", models.listing, methods=["GET"]),
        Route("/v1/models/{model:path}", models.one, methods=["GET"]),
    ]


def starlette_app(routes: Sequence[Route | Mount]) -> Starlette:
    """An application of these routes, with the errors and the openness of all."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(CORSMiddleware, **_CORS)],
        exception_handlers=_handlers(),
    )


def with_shortcut(app: ASGIApp, routes: Sequence[Route | Mount], config: Config) -> ASGIApp:
    """`app`, with a shorter way to those of its routes that take calls."""
    calls = {row.path: row.app for row in routes if isinstance(row, Route) and isinstance(row.endpoint, ChatEndpoint)}
    return app if config.stock_http else Shortcut(app, calls, _handlers())


def _log_routes(prefix: str, log: TransparencyEndpoints) -> list[Route]:
    """The log below one prefix: the live epoch's, or that of the epoch in the path."""
    return [
        Route(prefix, log.about, methods=["GET"]),
        Route(f"{prefix}/head", log.head, methods=["GET"]),
        Route(f"{prefix}/checkpoint", log.checkpoint, methods=["GET"]),
        Route(f"{prefix}/consistency", log.consistency, methods=["GET"]),
        Route(f"{prefix}/tile/{{path:path}}", log.tile, methods=["GET"]),
        Route(f"{prefix}/{{index}}", log.leaf, methods=["GET"]),
    ]


def verifier_folder() -> Path | None:
    """The page's files: beside the package in a checkout, beside it in site-packages once installed."""
    root = Path(__file__).resolve().parent.parent.parent
    return next((root / name for name in ("verifier-web", "saferouter_verifier_web") if (root / name).is_dir()), None)


def _page_only(files: ASGIApp) -> ASGIApp:
    """The page's own files, which no other page may show inside itself: its head cannot say that."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/verifier")
        if path not in ("", "/", "/index.html", "/style.css") and not path.startswith("/src/"):
            raise HTTPException(404)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_PAGE_HEADERS]
            await send(message)

        await files(scope, receive, send_with_headers)

    return serve


def _handlers() -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    return {
        GatewayError: problems.on_gateway_error,
        Malformed: problems.on_tee_error,
        Unavailable: problems.on_tee_error,
        HTTPException: problems.on_http_error,
        Exception: problems.on_unexpected,
    }


def _judged_by_a_worker(_request: Request) -> None:
    """At the keeper's own door a worker asks, which has refused whom it had to."""


def _gauges(instance: Instance) -> Gauges:
    """How things stand now."""
    return {
        "saferouter_open_calls": ("Calls that run now, in all processes.", lambda: instance.open_calls()),
        "saferouter_places": ("How many calls may run at once.", lambda: instance.config.limits.open_calls),
        "saferouter_workers": ("Processes that carry calls, as configured.", lambda: instance.config.workers),
        "saferouter_keyset_expires_seconds": (
            "Until the keyset ends, after which nothing is answered.",
            lambda: instance.keys.keyset.not_after - time.time(),
        ),
    }


async def _healthz(_request: Request) -> Response:
    """Alive."""
    return JSONResponse({"status": "ok"})


async def _readyz(instance: Instance, _request: Request) -> Response:
    """Ready to answer with evidence; `tee_type` is a label, not a proof. A ready gateway may have a warning."""
    status, reason = ("stopping", None) if instance.closing else instance.condition()
    ready = status == "ready"
    body = {"status": status, "tee_type": instance.desk.tee_type}
    if reason is not None:
        body["warning" if ready else "reason"] = reason
    return JSONResponse(body, 200 if ready else 503)


async def _openapi(document: dict[str, Any], _request: Request) -> Response:
    """Every endpoint, for programs."""
    return JSONResponse(document)
