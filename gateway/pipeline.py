"""One request, seven steps in reading order: admit, scan, route, unseal, call, meter, receipt."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway import leakscan
from gateway.admission import Admission
from gateway.call import CLIENT_LEFT, JSON_TYPE, POLICY_ID, STREAM_TYPE, Answer, Call, Demands, Sent, whole
from gateway.config import Config
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.connectors.connector import Connector
from gateway.connectors.quirks_table import quirks_of
from gateway.credentials import Credentials
from gateway.dialects.dialect import Surface
from gateway.draft import ReceiptDraft, new_draft
from gateway.errors import Forbidden, GatewayError, NoRoute, UpstreamFailed, failure_of
from gateway.inference import InferenceRequest
from gateway.languages import Service
from gateway.metering import Meter
from gateway.places import Places, own_places
from gateway.record import CallRecord
from gateway.relay import Relay
from gateway.routing.route import ModelTable, Route, tier_observed
from gateway.tenancy.tenant import ApiKey
from gateway.translate import OUR_KEY_STATUSES, Exchange, refused_key
from gateway.upstream import Upstream, UpstreamAnswer
from tee.aws.sigv4 import AwsCredentials
from tee.canonical import digest_bytes
from tee.keys.httpsig import SignedAnswer, content_digest


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the embedded mock provider listens, and the key it wants."""

    base_url: str
    api_key: str = field(repr=False)


class Pipeline:
    """Holds the steps' collaborators and their order, nothing else."""

    def __init__(
        self,
        config: Config,
        admission: Admission,
        audit: CallRecord,
        upstream: Upstream,
        embedded: Embedded | None,
        places: Places | None = None,
    ) -> None:
        self._config = config
        self._admission = admission
        self._audit = audit
        self._upstream = upstream
        self._embedded = embedded
        self._credentials = Credentials()
        self._places = places or own_places()
        self._running: set[asyncio.Task[Any]] = set()
        self._draining = False

    @property
    def models(self) -> ModelTable:
        """What new calls may name."""
        return self._config.models

    def configure(self, config: Config) -> None:
        """Carry new calls by this configuration; those on their way keep theirs."""
        self._config = config

    async def admit(self, headers: dict[str, str]) -> ApiKey:
        """Step 1, before the body is read. Raises Unauthenticated, NoRoute."""
        if self._draining or self._places.taken() > self._config.limits.open_calls:
            raise NoRoute("The gateway is stopping, or at its limit of open calls.", code="overloaded", retry_after=1.0)
        return await self._admission.admit(headers)

    async def admit_call(self, headers: dict[str, str]) -> ApiKey:
        """Step 1 of what will need a receipt. Raises Unauthenticated, NoRoute, KeysetExpired."""
        key = await self.admit(headers)
        self._audit.require_keyset()
        return key

    async def complete(self, key: ApiKey, body: bytes, endpoint: str, service: Service, demands: Demands) -> Answer:
        """Steps 2 to 7 of one call. A refusal is an Answer too: it has a receipt. Raises KeysetExpired."""
        surface = service.surface
        meter = Meter(key.id, None, None)
        keyset = self._audit.require_keyset()  # names the configuration by which the call is routed: no await between
        draft = new_draft("rcpt-" + secrets.token_hex(16), "route-" + secrets.token_hex(8), endpoint, body, keyset)
        try:
            request = surface.decode_request(body)
            draft = replace(draft, model=request.model)
            leak_scan = leakscan.scan(request)  # 2
            route = self._route(request, demands)  # 3
            draft = _routed(draft, route, leak_scan)
            meter = replace(meter, model=request.model, provider=route.connector.id)
            answered = service.answer_here(request, route.connector)
            if answered is None:
                credential = await self._unseal(route.connector)  # 4
                provider = service.provider(request, route.connector)
                exchange = Exchange(surface, provider, request, secrets.token_hex(12), int(time.time()))
                url = self._base_url(route.connector) + provider.path(route.model.upstream_model, request.stream)
                quirks = quirks_of(route.connector.family, route.model.upstream_model)
                forwarded = exchange.forward(body, route.model.upstream_model, quirks)
        except GatewayError as error:
            await self._audit.open(draft, key.id)
            return await self._refuse(draft, error, meter, surface)
        if answered is not None:
            return await self._answer_here(key, draft, meter, answered)
        draft = draft.with_event("request.forwarded", body_hash=digest_bytes(forwarded))
        call = Call(draft, exchange, route, meter, await self._audit.open(draft, key.id), demands)
        return await self._call(call, url, forwarded, credential)  # 5 to 7

    async def _answer_here(self, key: ApiKey, draft: ReceiptDraft, meter: Meter, body: bytes) -> Answer:
        """Steps 6 and 7 of what no provider is asked for."""
        await self._audit.open(draft, key.id)
        await self._audit.close(draft, whole(200, body), None, meter.read(200, None))
        return Answer(200, JSON_TYPE, draft.receipt_id, body)

    def sign(self, answer: Answer, body: bytes, request: tuple[str, str]) -> dict[str, str]:
        """The headers by which a buffered answer to `request`, its method and path, is signed."""
        digest = content_digest(hashlib.sha256(body).digest())
        return self._audit.sign_answer(
            SignedAnswer(answer.status, answer.content_type, digest, answer.receipt_id, *request)
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within it the current task counts as an open call, which `drain` may cut."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._places.hold(len(self._running))
        try:
            yield
        finally:
            self._running.discard(task)
            self._places.hold(len(self._running))

    async def finish(self, seconds: float) -> None:
        """Admit nobody, and wait until no call is open, at most that long."""
        self._draining = True
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def drain(self) -> None:
        """Admit nobody, and cut every open call; each leaves a receipt behind."""
        self._draining = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _route(self, request: InferenceRequest, demands: Demands) -> Route:
        """Step 3. A demand that cannot be met is refused, never passed over."""
        policy = demands.policy or request.extra.get("sf_policy") or POLICY_ID
        if policy != POLICY_ID:
            raise Forbidden(
                f"policy: found another, wanted {POLICY_ID}: no other policy is defined here.", param="policy"
            )
        route = self._config.models.route(request.model)
        provider = demands.provider or request.extra.get("sf_provider")
        if provider and provider != route.connector.id:
            raise NoRoute(f"provider: model {route.model.id} is served by {route.connector.id} only.", param="provider")
        return route

    async def _unseal(self, connector: Connector) -> str | AwsCredentials | None:
        """Step 4: the provider's credential; sealed keys will be opened here. Raises NoRoute."""
        if connector.base_url == EMBEDDED_MOCK:
            return self._embedded.api_key if self._embedded else None
        return await self._credentials.find(connector)

    def _base_url(self, connector: Connector) -> str:
        if connector.base_url != EMBEDDED_MOCK:
            return connector.base_url
        if self._embedded is None:
            raise NoRoute("The embedded mock provider does not run here.")
        return self._embedded.base_url

    async def _call(self, call: Call, url: str, forwarded: bytes, credential: str | AwsCredentials | None) -> Answer:
        """Steps 5 to 7. A stream goes on as a Relay; a call that is cancelled here still gets its receipt."""
        answer: UpstreamAnswer | None = None
        try:
            headers = call.exchange.headers(call.demands.headers, call.route.connector.api_version)
            answer = await self._upstream.call(call.route.connector, url, forwarded, credential, headers)
            call = replace(call, draft=_answered(call.draft, call.route, answer))
            if answer.kind == call.exchange.provider.stream_type and answer.status == 200:
                relay = Relay(call, answer, self._audit, call.exchange.passage(self._config.limits.frame))
                answer = None  # the relay closes it
                return Answer(200, STREAM_TYPE, call.draft.receipt_id, relay)
            return await self._finish(call, answer, await answer.read())
        except GatewayError as error:
            return await self._refuse(call.draft, error, call.meter, call.exchange.surface)
        except BaseException:
            # Cancelled, or a fault of ours: the receipt is owed either way.
            cut = Sent(0, "").returned(complete=False)
            self._audit.submit_close(call.draft, cut, None, call.meter.read(CLIENT_LEFT, None))
            raise
        finally:
            if answer is not None:
                await answer.close()

    async def _finish(self, call: Call, answer: UpstreamAnswer, body: bytes) -> Answer:
        """Steps 6 and 7 of a buffered answer. Raises UpstreamFailed."""
        if answer.status in OUR_KEY_STATUSES:
            raise refused_key()
        if not 200 <= answer.status < 300:
            return await self._pass_failure(call, answer, body)
        body, seen = call.exchange.answer(body, call.attestation_wanted())
        returned = replace(whole(200, body), complete=seen.whole)
        await self._audit.close(call.draft, returned, seen.chat_id or None, call.meter.read(200, seen.usage))
        return Answer(200, JSON_TYPE, call.draft.receipt_id, body)

    async def _pass_failure(self, call: Call, answer: UpstreamAnswer, body: bytes) -> Answer:
        """The provider's own refusal, as it said it, if it is one that a client can read. Raises UpstreamFailed."""
        if answer.status < 400 or answer.kind != JSON_TYPE:
            raise UpstreamFailed(f"The provider answered with status {answer.status} and no JSON.")
        body, wait = call.exchange.refusal(body, answer.status)
        activity = call.meter.read(answer.status, None)
        await self._audit.close(call.draft, whole(answer.status, body), None, activity)
        return Answer(answer.status, JSON_TYPE, call.draft.receipt_id, body, answer.retry_after or wait)

    async def _refuse(self, draft: ReceiptDraft, error: GatewayError, meter: Meter, surface: Surface) -> Answer:
        """A refusal of ours, with its receipt."""
        body = surface.encode_error(failure_of(error), error.status)
        await self._audit.close(draft, whole(error.status, body), None, meter.read(error.status, None))
        retry_after = None if error.retry_after is None else f"{error.retry_after:g}"
        return Answer(error.status, JSON_TYPE, draft.receipt_id, body, retry_after)


def _routed(draft: ReceiptDraft, route: Route, leak_scan: str) -> ReceiptDraft:
    return draft.with_event(
        "route",
        salt=secrets.token_hex(32),  # the log commits to this event, and its other members can be guessed
        decision_id=draft.decision_id,
        provider_id=route.connector.id,
        policy_id=POLICY_ID,
        upstream_model=route.model.upstream_model,
        tier_observed=tier_observed(route.connector),
        leak_scan=leak_scan,
    )


def _answered(draft: ReceiptDraft, route: Route, answer: UpstreamAnswer) -> ReceiptDraft:
    """What is known of the upstream that answered: TLS at most, never a false `verified`."""
    if answer.tls is not None:
        draft = draft.with_event("upstream.tls", **answer.tls)
    return draft.with_event(
        "upstream.verified", required=False, result="not_attested", model_id=route.model.upstream_model
    )
