"""One request, seven steps in reading order: admit, scan, route, unseal, call, meter, receipt."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.admission import Admission
from gateway.attempts import Attempts
from gateway.call import JSON_TYPE, POLICY_ID, Answer, Call, Demands, whole
from gateway.candidates import Candidates, Question, describe
from gateway.carriage import Carriage
from gateway.config import Config
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.connectors.connector import Connector
from gateway.credentials import Credentials
from gateway.dialects.dialect import Surface
from gateway.draft import ReceiptDraft, new_draft
from gateway.errors import Forbidden, GatewayError, NoRoute, failure_of
from gateway.inference import InferenceRequest
from gateway.languages import Service
from gateway.leakscan.step import Scanned, scan_request
from gateway.metering import Meter
from gateway.places import Places, own_places
from gateway.random_hex import random_hex
from gateway.record import CallRecord
from gateway.routing.health import Snapshot
from gateway.routing.route import ModelTable, Route
from gateway.stopwatch import stopwatch
from gateway.stream_watch import StreamWatch
from gateway.tenancy.tenant import INFERENCE, ApiKey, require_scope, secret_of
from gateway.upstream import Upstream
from tee.aws.sigv4 import AwsCredentials
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
        watch: StreamWatch | None = None,
    ) -> None:
        self._config = config
        self._admission = admission
        self._audit = audit
        self._attempts = Attempts(upstream, self._unseal, config.limits, config.retry, config.breaker)
        self._embedded = embedded
        self._watch = watch
        self._credentials = Credentials()
        self._places = places or own_places()
        self._running: set[asyncio.Task[Any]] = set()
        self._left: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def models(self) -> ModelTable:
        """What new calls may name."""
        return self._config.models

    def configure(self, config: Config) -> None:
        """Carry new calls by this configuration; those on their way keep theirs."""
        self._config = config

    async def admit(self, headers: dict[str, str], scope: str, *others: str) -> ApiKey:
        """Step 1, before the body is read: a key with one of these scopes.

        Raises Unauthenticated, Forbidden, NoRoute.
        """
        if self._draining or self._places.taken() > self._config.limits.open_calls:
            raise NoRoute("The gateway is stopping, or at its limit of open calls.", code="overloaded", retry_after=1.0)
        key = await self._admission.admit(headers)
        require_scope(key, scope, *others)
        return key

    async def admit_call(self, headers: dict[str, str]) -> ApiKey:
        """Step 1 of what will need a receipt. Raises Unauthenticated, Forbidden, NoRoute, KeysetExpired."""
        key = await self.admit(headers, INFERENCE)
        self._audit.require_keyset()
        return key

    async def complete(self, key: ApiKey, body: bytes, endpoint: str, service: Service, demands: Demands) -> Answer:
        """Steps 2 to 7 of one call. A refusal is an Answer too: it has a receipt. Raises KeysetExpired."""
        surface = service.surface
        meter = Meter(key.id, None, None)
        keyset = self._audit.require_keyset()  # names the configuration by which the call is routed: no await between
        draft = new_draft("rcpt-" + random_hex(16), "route-" + random_hex(8), endpoint, body, keyset)
        try:
            scanned = scan_request(body, secret_of(demands.headers), surface.decode_request, self._leak_posture)  # 2
            request = scanned.request
            draft = replace(draft, model=request.model)
            _note(scanned)
            if scanned.refused:
                draft = _decided(draft, scanned)
                raise scanned.refusal(POLICY_ID)
            routes = self._route(request, service, demands)  # 3
            draft = _routed(draft, routes, scanned)
            meter = replace(meter, model=request.model, provider=routes[0].connector.id)
            answered = service.answer_here(request, routes[0].connector)
            if answered is None:
                question = Question(service, request, scanned.body, demands.headers)
                candidates = Candidates(routes, question, self._base_url)
                draft = draft.with_event("request.forwarded", body_hash=candidates.body_hash(0))
        except GatewayError as error:
            await self._audit.open(draft, key.id)
            return await self._refuse(draft, error, meter, surface)
        if answered is not None:
            return await self._answer_here(key, draft, meter, answered)
        leaf = await self._audit.open(draft, key.id)
        call = Call(draft, candidates.exchange(0), routes[0], meter, leaf, demands)
        carriage = Carriage(call, candidates, self._attempts, self._audit, self._config, self._go_on)
        answer = await carriage.answer()  # 4 to 7
        if key.cut_streams and self._watch is not None and not isinstance(answer.body, bytes):
            self._watch.attend(key.id, answer.body)
        return _with_redactions(answer, scanned)

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
        self._hold_places()
        try:
            yield
        finally:
            self._running.discard(task)
            self._hold_places()

    async def finish(self, seconds: float) -> None:
        """Admit nobody, and wait until no call is open, at most that long."""
        self._draining = True
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def drain(self) -> None:
        """Admit nobody, and cut every open call; each leaves a receipt behind."""
        self._draining = True
        while tasks := [*self._running, *self._left]:  # a call that is cut may leave something to be read on
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def health(self) -> dict[tuple[str, str], Snapshot]:
        """How the models of providers are that this process has asked, by provider and its own name of the model."""
        return self._attempts.health()

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done for a call whose client has left."""
        task = asyncio.create_task(work)
        self._left.add(task)
        task.add_done_callback(self._finished)
        self._hold_places()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        self._hold_places()

    def _hold_places(self) -> None:
        """What is read on holds a place too: else callers who leave could open as many calls as they like."""
        self._places.hold(len(self._running) + len(self._left))

    def _leak_posture(self, _request: InferenceRequest) -> str:
        """What is wanted of prompts in which a credential was found."""
        return self._config.leak_scan

    def _route(self, request: InferenceRequest, service: Service, demands: Demands) -> list[Route]:
        """Step 3: the model that is asked for, and who may stand in. A demand that cannot be met is refused."""
        policy = demands.policy or request.extra.get("sf_policy") or POLICY_ID
        if policy != POLICY_ID:
            raise Forbidden(
                f"policy: found another, wanted {POLICY_ID}: no other policy is defined here.", param="policy"
            )
        table = self._config.models
        route = table.route(request.model)
        provider = demands.provider or request.extra.get("sf_provider")
        if provider and provider != route.connector.id:
            raise NoRoute(f"provider: model {route.model.id} is served by {route.connector.id} only.", param="provider")
        if service.capability not in route.model.capabilities:
            return [route]
        return [route, *(other for other in table.fallbacks(route) if provider in (None, "", other.connector.id))]

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

    async def _refuse(self, draft: ReceiptDraft, error: GatewayError, meter: Meter, surface: Surface) -> Answer:
        """A refusal of ours, with its receipt."""
        body = surface.encode_error(failure_of(error), error.status)
        await self._audit.close(draft, whole(error.status, body), None, meter.read(error.status, None))
        retry_after = None if error.retry_after is None else f"{error.retry_after:g}"
        return Answer(error.status, JSON_TYPE, draft.receipt_id, body, retry_after)


def _routed(draft: ReceiptDraft, routes: Sequence[Route], scanned: Scanned) -> ReceiptDraft:
    """The decision, with all who may stand in: the log commits to it before anybody is asked."""
    others = {"fallback": [describe(route) for route in routes[1:]]} if len(routes) > 1 else {}
    return _decided(draft, scanned, **describe(routes[0]), **others)


def _decided(draft: ReceiptDraft, scanned: Scanned, **route: Any) -> ReceiptDraft:
    return draft.with_event(
        "route",
        salt=random_hex(32),  # the log commits to this event, and its other members can be guessed
        decision_id=draft.decision_id,
        policy_id=POLICY_ID,
        leak_scan=scanned.outcome,
        **route,
    )


def _note(scanned: Scanned) -> None:
    """Have what was found counted."""
    word = scanned.outcome["outcome"]
    stopwatch().findings = [(row["kind"], word, row["count"]) for row in scanned.counts]


def _with_redactions(answer: Answer, scanned: Scanned) -> Answer:
    """The answer, to whose caller it is said that the provider was asked something else."""
    if not scanned.redactions:
        return answer
    return replace(answer, headers={**answer.headers, "x-sf-redactions": str(scanned.redactions)})
