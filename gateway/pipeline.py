"""One request, seven steps in reading order: admit, scan, route, unseal, call, meter, receipt."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.admission import Admission
from gateway.audit import AuditRecord
from gateway.config import Config, read_credential
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.connectors.connector import Connector
from gateway.dialects import openai_chat
from gateway.dialects.openai_chat_fields import read_usage
from gateway.dialects.verbatim import VerbatimStream, attach_attestation, attestation_frame, forward_body
from gateway.draft import LEAK_SCAN, ReceiptDraft, Returned, new_draft
from gateway.errors import GatewayError, NoRoute, UpstreamFailed
from gateway.inference import InferenceRequest, Usage
from gateway.jsonbody import encode_json, read_json_object
from gateway.metering import Meter
from gateway.routing.route import Route, tier_observed
from gateway.storage.calls import Progress
from gateway.tenancy.tenant import ApiKey
from gateway.upstream import Upstream, UpstreamAnswer
from tee.canonical import digest_bytes

POLICY_ID = "default"
# The provider's word on our own key is our problem: shown as 401 it would send the client to change its key.
OUR_KEY_STATUSES = (401, 402, 403)
JSON_TYPE, STREAM_TYPE = "application/json", "text/event-stream; charset=utf-8"


@dataclass(slots=True)
class Sent:
    """What has left so far: exact size and running hash."""

    status: int
    content_type: str
    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, raw: bytes) -> bytes:
        """Count bytes that leave now."""
        self.size += len(raw)
        self.hash.update(raw)
        return raw

    def progress(self, receipt_id: str) -> Progress:
        """What left, for the database while the stream goes on."""
        return Progress(receipt_id, self.status, self.content_type, self.size, self.hash.hexdigest())

    def returned(self, complete: bool) -> Returned:
        """What left, as a receipt says it."""
        return Returned(self.status, self.content_type, self.size, self.hash.hexdigest(), complete)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the client: bytes, or a stream of them."""

    status: int
    content_type: str
    receipt_id: str
    body: bytes | AsyncIterator[bytes]
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted call on its way."""

    key: ApiKey
    draft: ReceiptDraft
    request: InferenceRequest
    route: Route
    meter: Meter
    row: int
    wants_attestation: bool

    def attestation(self) -> dict[str, Any]:
        """The block that every answer carries. Until the log exists `rekor_index` is the call's row number."""
        return {
            "model_content_hash": None,
            "provider_id": self.route.connector.id,
            "policy_id": POLICY_ID,
            "route_decision_id": self.draft.decision_id,
            "rekor_index": self.row,
            "mirror_id": None,
            "tier_observed": tier_observed(self.route.connector),
            "receipt_id": self.draft.receipt_id,
        }


class Pipeline:
    """Holds the steps' collaborators and their order, nothing else."""

    def __init__(
        self, config: Config, admission: Admission, audit: AuditRecord, upstream: Upstream, embedded: Embedded | None
    ) -> None:
        self._config = config
        self._admission = admission
        self._audit = audit
        self._upstream = upstream
        self._embedded = embedded
        self._running: set[asyncio.Task[Any]] = set()

    async def admit(self, headers: dict[str, str]) -> ApiKey:
        """Step 1, before the body is read. Raises Unauthenticated, NoRoute."""
        if len(self._running) >= self._config.limits.open_calls:
            raise NoRoute("The gateway is at its limit of open calls.", code="overloaded", retry_after=1.0)
        return await self._admission.admit(headers)

    async def complete(self, key: ApiKey, body: bytes, *, wants_attestation: bool, endpoint: str) -> Answer:
        """Steps 2 to 7 of one chat completion. A refusal is an Answer too: it has a receipt."""
        draft = new_draft("rcpt-" + secrets.token_hex(16), "route-" + secrets.token_hex(8), endpoint, body)
        with self.running():
            try:
                request = openai_chat.decode_request(body)
                draft = replace(draft, model=request.model).with_event("leak_scan", result=LEAK_SCAN)  # 2
                route = self._config.models.route(request.model)  # 3
                draft = _routed(draft, route)
                credential = self._unseal(route.connector)  # 4
                forwarded = forward_body(body, request, route.model.upstream_model)
            except GatewayError as error:
                await self._audit.open(draft, key.id)
                return await self._refuse(draft, error, Meter(key.id, draft.model, None))
            draft = draft.with_event("request.forwarded", body_hash=digest_bytes(forwarded))
            row = await self._audit.open(draft, key.id)
            meter = Meter(key.id, request.model, route.connector.id)
            call = Call(key, draft, request, route, meter, row, wants_attestation)
            return await self._call(call, forwarded, credential)  # 5 to 7

    async def drain(self) -> None:
        """Cut every running call; each leaves a receipt behind."""
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def running(self) -> Running:
        """A context in which the current task counts as an open call."""
        return Running(self._running)

    def _unseal(self, connector: Connector) -> str | None:
        """Step 4: the provider's credential; sealed keys will be opened here."""
        if connector.base_url == EMBEDDED_MOCK:
            return self._embedded.api_key if self._embedded else None
        credential = read_credential(connector)
        if credential is None and connector.needs_credential:
            wanted = connector.credential_file or " or ".join(connector.credential_env)
            raise NoRoute(
                f"The operator has not set a key for provider {connector.id}: {wanted}.", code="no_credential"
            )
        return credential

    def _url(self, connector: Connector) -> str:
        if connector.base_url != EMBEDDED_MOCK:
            return connector.chat_url
        if self._embedded is None:
            raise NoRoute("The embedded mock provider does not run here.", code="no_route")
        return f"{self._embedded.base_url}/chat/completions"

    async def _call(self, call: Call, forwarded: bytes, credential: str | None) -> Answer:
        """Step 5; a call that is cancelled here still gets its receipt."""
        answer: UpstreamAnswer | None = None
        closed = False
        try:
            url = self._url(call.route.connector)
            answer = await self._upstream.call(call.route.connector, url, forwarded, credential)
            call = replace(call, draft=_answered(call.draft, call.route, answer))
            if answer.is_stream and answer.status == 200:
                closed = True  # by the stream itself
                return Answer(200, STREAM_TYPE, call.draft.receipt_id, self._stream(call, answer))
            body = await answer.read()
            await answer.close()
            result = await self._finish(call, answer, body)
            closed = True
            return result
        except GatewayError as error:
            closed = True
            return await self._refuse(call.draft, error, call.meter)
        finally:
            if not closed:
                sent = Sent(0, "")
                self._audit.submit_close(call.draft, sent.returned(False), None, call.meter.read(499, None))
                if answer is not None:
                    await answer.close()

    async def _finish(self, call: Call, answer: UpstreamAnswer, body: bytes) -> Answer:
        """Steps 6 and 7 of a buffered answer."""
        if answer.status in OUR_KEY_STATUSES:
            raise UpstreamFailed("The provider refused the gateway's own key.", code="upstream_refused_key")
        if answer.status >= 300 or answer.status < 200:
            return await self._pass_failure(call, answer, body)
        usage, chat_id = _facts(body)
        if call.wants_attestation:
            body = attach_attestation(body, call.attestation())
        sent = Sent(200, JSON_TYPE)
        sent.add(body)
        await self._audit.close(call.draft, sent.returned(True), chat_id, call.meter.read(200, usage))
        return Answer(200, JSON_TYPE, call.draft.receipt_id, body)

    async def _pass_failure(self, call: Call, answer: UpstreamAnswer, body: bytes) -> Answer:
        """The provider's own refusal, as it said it, if it is one that a client can read."""
        if answer.status < 400 or not answer.content_type.startswith(JSON_TYPE):
            raise UpstreamFailed(f"The provider answered with status {answer.status} and no JSON.")
        sent = Sent(answer.status, JSON_TYPE)
        sent.add(body)
        await self._audit.close(call.draft, sent.returned(True), None, call.meter.read(answer.status, None))
        return Answer(answer.status, JSON_TYPE, call.draft.receipt_id, body, answer.retry_after)

    async def _refuse(self, draft: ReceiptDraft, error: GatewayError, meter: Meter) -> Answer:
        """A refusal of ours, with its receipt."""
        body = error_body(error)
        sent = Sent(error.status, JSON_TYPE)
        sent.add(body)
        await self._audit.close(draft, sent.returned(True), None, meter.read(error.status, None))
        retry_after = None if error.retry_after is None else str(error.retry_after)
        return Answer(error.status, JSON_TYPE, draft.receipt_id, body, retry_after)

    async def _stream(self, call: Call, answer: UpstreamAnswer) -> AsyncIterator[bytes]:
        """Steps 5 to 7 of a stream. The receipt is durable before the last bytes leave."""
        relay = VerbatimStream(call.request.include_usage, self._config.limits.frame)
        sent = Sent(200, STREAM_TYPE)
        self._audit.follow(call.draft, lambda: sent.progress(call.draft.receipt_id))
        closed = False
        try:
            with self.running():
                try:
                    async for chunk in answer.chunks():
                        if ready := relay.push(chunk):
                            yield sent.add(ready)
                    tail, complete = _ending(call, relay)
                except UpstreamFailed as error:
                    tail, complete = _error_frame(error), False
                sent.add(tail)
                activity = call.meter.read(200, relay.usage)
                await self._audit.close(call.draft, sent.returned(complete), relay.chat_id or None, activity)
                closed = True
                yield tail
        finally:
            if not closed:
                activity = call.meter.read(499, relay.usage)
                self._audit.submit_close(call.draft, sent.returned(False), relay.chat_id or None, activity)
            await answer.close()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the embedded mock provider listens, and the key it wants."""

    base_url: str
    api_key: str = field(repr=False)


class Running:
    """Counts the current task among the open calls, once however often it is entered."""

    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._tasks = tasks
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is not None and task not in self._tasks:
            self._tasks.add(task)
            self._task = task

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._tasks.discard(self._task)


def error_body(error: GatewayError) -> bytes:
    """An error in OpenAI's shape."""
    fields = {"message": error.message, "type": error.error_type, "param": error.param, "code": error.code}
    return encode_json({"error": fields})


def _routed(draft: ReceiptDraft, route: Route) -> ReceiptDraft:
    return draft.with_event(
        "route",
        decision_id=draft.decision_id,
        provider_id=route.connector.id,
        policy_id=POLICY_ID,
        upstream_model=route.model.upstream_model,
        tier_observed=tier_observed(route.connector),
    )


def _answered(draft: ReceiptDraft, route: Route, answer: UpstreamAnswer) -> ReceiptDraft:
    """What is known of the upstream that answered: TLS at most, never a false `verified`."""
    if answer.tls is not None:
        draft = draft.with_event("upstream.tls", **answer.tls)
    return draft.with_event(
        "upstream.verified", required=False, result="not_attested", model_id=route.model.upstream_model
    )


def _facts(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and chat id of a buffered answer."""
    fields = read_json_object(body)
    if fields is None:
        raise UpstreamFailed("The provider answered with a body that is no JSON object.")
    chat_id = fields.get("id")
    return read_usage(fields.get("usage")), chat_id if isinstance(chat_id, str) else None


def _ending(call: Call, relay: VerbatimStream) -> tuple[bytes, bool]:
    """The last bytes of a stream whose provider has ended, and whether the answer is whole."""
    attestation = call.attestation()
    created = relay.created or int(time.time())
    frame = attestation_frame(relay.chat_id, created, relay.model, attestation) if call.wants_attestation else b""
    tail = relay.closing(frame)
    if relay.failure is not None:
        return tail, False
    if not (relay.done_seen or relay.finish_reason):
        cut = UpstreamFailed("The provider broke off before the end of its answer.", code="upstream_cut")
        return tail + _error_frame(cut), False
    return tail, True


def _error_frame(error: GatewayError) -> bytes:
    return b"data: " + error_body(error) + b"\n\n"
