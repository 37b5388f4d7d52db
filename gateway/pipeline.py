"""One request, seven steps in reading order: admit, scan, route, unseal, call, meter, receipt."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway.admission import Admission
from gateway.attempts import Attempts
from gateway.call import JSON_TYPE, Answer, Call, Demands, whole
from gateway.candidates import Candidates, Question
from gateway.carriage import Carriage
from gateway.config import Config
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.connectors.connector import Connector
from gateway.credentials import Credentials
from gateway.decisions import Decision, Decisions, of_model, refusal
from gateway.dialects.dialect import Surface
from gateway.draft import ReceiptDraft, new_draft
from gateway.errors import Forbidden, GatewayError, InsufficientCredits, KeysetExpired, NoRoute, RateLimited, failure_of
from gateway.inference import InferenceRequest
from gateway.languages import Service
from gateway.leakscan.scan import scan
from gateway.leakscan.step import Scanned, settle
from gateway.metering import Meter
from gateway.money.bill import FREE, Bill, reservation
from gateway.money.price_book import PriceBook
from gateway.places import Places, own_places
from gateway.random_hex import random_hex
from gateway.rates import LocalRates, Rates
from gateway.record import CallRecord
from gateway.routing.health import Snapshot
from gateway.routing.policy import DEFAULT, RoutingPolicy
from gateway.routing.route import ModelTable, Route
from gateway.stopwatch import stopwatch
from gateway.stream_watch import StreamWatch
from gateway.tenancy.tenant import INFERENCE, ApiKey, require_scope, secret_of
from gateway.upstream import Upstream
from tee.aws.sigv4 import AwsCredentials
from tee.canonical import encode_canonical
from tee.keys.httpsig import SignedAnswer, content_digest

MAX_NAMED = 128  # characters of a model's name that nobody knows here


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
        rates: Rates | None = None,
    ) -> None:
        self._config = config
        self._rates = rates or Rates(LocalRates())
        self._admission = admission
        self._audit = audit
        self._attempts = Attempts(upstream, self._unseal, config.limits, config.retry, config.breaker)
        self.decisions = Decisions(upstream.identities, self._health_of, self._cost_at_most)
        self.decisions.use(config.models, config.rules)
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

    @property
    def policies(self) -> tuple[RoutingPolicy, ...]:
        """By which new calls may be routed."""
        return self._config.rules.policies

    @property
    def prices(self) -> PriceBook:
        """What new calls are charged."""
        return self._config.prices

    def configure(self, config: Config) -> None:
        """Carry new calls by this configuration; those on their way keep theirs."""
        self._config = config
        self.decisions.use(config.models, config.rules)

    async def admit(self, headers: dict[str, str], scope: str, *others: str, fresh: bool = False) -> ApiKey:
        """Step 1, before the body is read: a key with one of these scopes, if `fresh` as the record has it now.

        Raises Unauthenticated, Forbidden, NoRoute.
        """
        if self._draining or self._places.taken() > self._config.limits.open_calls:
            raise NoRoute("The gateway is stopping, or at its limit of open calls.", code="overloaded", retry_after=1.0)
        key = await self._admission.admit(headers, fresh=fresh)
        require_scope(key, scope, *others)
        return key

    async def admit_call(self, headers: dict[str, str]) -> ApiKey:
        """Step 1 of what needs a receipt. Raises Unauthenticated, Forbidden, NoRoute, KeysetExpired, RateLimited."""
        key = await self.admit(headers, INFERENCE)
        self._audit.require_keyset()
        stopwatch().rates = await self._rates.enter(key)
        return key

    async def complete(self, key: ApiKey, body: bytes, endpoint: str, service: Service, demands: Demands) -> Answer:
        """Steps 2 to 7 of one call. A refusal is an Answer too: it has a receipt. Raises KeysetExpired, RateLimited."""
        surface = service.surface
        meter = Meter(key.tenant.id, key.id)
        keyset = self._audit.require_keyset()
        draft = new_draft("rcpt-" + random_hex(16), "route-" + random_hex(8), endpoint, body, keyset)
        try:
            found = scan(body, secret_of(demands.headers))  # 2
            request = surface.decode_request(found.redacted)  # so no record learns of a credential by a model's name
            draft = replace(draft, model=request.model)
            await self._reserve_tokens(request, service)
            # The keyset names the configuration by which the call is routed: from here to the decision no await.
            draft = replace(draft, keyset_digest=self._audit.require_keyset())
            policy = self._policy(key, request, demands)
            scanned = settle(found, body, policy.leak_scan)
            meter = _scanned_meter(meter, scanned)
            if scanned.refused:
                draft = _refused(draft, policy, scanned)
                raise scanned.refusal(policy.id)
            if scanned.body is not found.redacted:
                request = surface.decode_request(scanned.body)
            decision = self._decide(policy, request, service, demands)  # 3
            draft, routes = _routed(draft, decision, scanned), decision.routes
            if not routes:
                raise refusal(policy, decision)
            bills = self._bills(routes, request, scanned.body, service)
            meter = replace(_routed_meter(meter, request.model, policy, routes[0]), bill=bills[0])
            answered = service.answer_here(request, routes[0].connector)
            if answered is None:
                question = Question(service, request, scanned.body, demands.headers)
                candidates = self._candidates(routes, question, policy)
                draft = draft.with_event("request.forwarded", body_hash=candidates.body_hash(0))
        except (RateLimited, KeysetExpired):
            raise  # without a record: a flood of the first must fill neither log nor disk, the second could sign none
        except GatewayError as error:
            return await self._refuse_unrouted(key, draft, error, meter, surface)
        if answered is not None:
            return await self._answer_here(key, draft, meter, answered)
        wanted = reservation(key.tenant.id, key.tenant.usd_cap, bills, tuple(route.model.id for route in routes))
        try:
            leaf = await self._audit.open(draft, key.id, wanted)
        except InsufficientCredits as error:
            return await self._refuse(draft.unsent(), error, meter, surface)
        call = Call(draft, candidates.exchange(0), routes[0], meter, leaf, demands, policy, bills)
        carriage = Carriage(call, candidates, self._attempts, self._audit, self._config, self._go_on)
        answer = await carriage.answer()  # 4 to 7
        if key.cut_streams and self._watch is not None and not isinstance(answer.body, bytes):
            self._watch.attend(key.id, answer.body)
        return _with_redactions(answer, scanned)

    async def _refuse_unrouted(
        self, key: ApiKey, draft: ReceiptDraft, error: GatewayError, meter: Meter, surface: Surface
    ) -> Answer:
        """A refusal of what nobody is asked for, with its receipt."""
        await self._audit.open(draft, key.id)
        named = None if draft.model is None else draft.model[:MAX_NAMED]
        return await self._refuse(draft, error, replace(meter, original_model=named, failure=error.code), surface)

    def _candidates(self, routes: Sequence[Route], question: Question, policy: RoutingPolicy) -> Candidates:
        """Those who may answer, and what each of them is asked."""
        return Candidates(
            *(routes, question, self._base_url, partial(self.decisions.observed, policy)),
            asked_for=self._config.models.route(question.request.model).model.id,
            clean=policy.clean,
        )

    async def _reserve_tokens(self, request: InferenceRequest, service: Service) -> None:
        """Of what asks a model. Raises RateLimited."""
        ticket = stopwatch().rates
        if ticket is not None and service.capability is not None:
            await ticket.reserve(request)

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

    def _policy(self, key: ApiKey, request: InferenceRequest, demands: Demands) -> RoutingPolicy:
        """The policy that the caller names, a header before the body, else the key's or the tenant's first one.

        Raises InvalidRequest for one that does not exist, Forbidden for one that the tenant may not use.
        """
        named, allowed = demands.policy or request.extra.get("sf_policy") or key.policy, key.tenant.allowed_policies
        if not named:
            named = DEFAULT.id if DEFAULT.id in allowed or not allowed else allowed[0]
        policy = self.decisions.policy(str(named))
        if policy.id not in allowed:
            words = f"policy: {policy.id} is not one of your tenant's, which are {', '.join(allowed) or 'none'}."
            raise Forbidden(words, code="policy_not_allowed", param="policy")
        return policy

    def _decide(self, policy: RoutingPolicy, request: InferenceRequest, service: Service, demands: Demands) -> Decision:
        """Step 3: who may answer, in order. Raises UnknownModel; NoRoute for a provider that has not the model."""
        pin = demands.provider or request.extra.get("sf_provider")
        named = None if not pin else str(pin)
        decision = self.decisions.decide(policy, request.model, named, request, time.time())
        model = self._config.models.route(request.model).model
        return decision if service.capability in model.capabilities else of_model(policy, decision, model.id)

    def _health_of(self, route: Route) -> Snapshot | None:
        return self._attempts.health_of(route.connector.id, route.model.upstream_model)

    def _cost_at_most(self, route: Route, request: InferenceRequest | None) -> int | None:
        return None if request is None else self._config.prices.cost_at_most(route, request)

    def _bills(
        self, routes: tuple[Route, ...], request: InferenceRequest, body: bytes, service: Service
    ) -> tuple[Bill | None, ...]:
        """What each candidate would charge, and at most; None: nobody knows."""
        if not service.metered:
            return (FREE,) * len(routes)
        return self._config.prices.bills(routes, request, len(body))

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
        headers = {"x-should-retry": "false"} if isinstance(error, InsufficientCredits) else {}
        return Answer(error.status, JSON_TYPE, draft.receipt_id, body, retry_after, headers)


def _routed_meter(meter: Meter, named: str, policy: RoutingPolicy, route: Route) -> Meter:
    """The meter of a call that is to ask this model first, by the name that its caller used."""
    return replace(
        meter,
        model=route.model.id,
        original_model=named,
        provider=route.connector.id,
        policy=policy.id,
        tier=route.tier.word,
    )


def _routed(draft: ReceiptDraft, decision: Decision, scanned: Scanned) -> ReceiptDraft:
    """The decision, with all who may stand in: the log commits to it before anybody is asked."""
    said = {**decision.told, "leak_scan": encode_canonical(scanned.outcome)}
    if not decision.routes:
        return draft.with_members("route.refused", said)
    # The log commits to this event, and its other members can be guessed: hence the salt.
    own = {"salt": random_hex(32), "decision_id": draft.decision_id}
    return draft.with_members("route", said | {name: encode_canonical(value) for name, value in own.items()})


def _refused(draft: ReceiptDraft, policy: RoutingPolicy, scanned: Scanned) -> ReceiptDraft:
    """The decision that nobody may be asked, since the prompt holds what must not leave."""
    return draft.with_event("route.refused", policy=policy.reference, leak_scan=scanned.outcome, refused=[])


def _scanned_meter(meter: Meter, scanned: Scanned) -> Meter:
    """The meter of a call in which that was found, which is counted too."""
    word, rows = scanned.outcome["outcome"], scanned.counts
    stopwatch().findings = [(row["kind"], word, row["count"]) for row in rows]
    return replace(meter, findings=json.dumps(rows)) if rows else meter


def _with_redactions(answer: Answer, scanned: Scanned) -> Answer:
    """The answer, to whose caller it is said that the provider was asked something else."""
    if not scanned.redactions:
        return answer
    return replace(answer, headers={**answer.headers, "x-sf-redactions": str(scanned.redactions)})
