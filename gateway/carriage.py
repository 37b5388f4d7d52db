"""Steps 4 to 7 of one call: unseal and call until an answer holds, meter, receipt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from gateway.attempts import Attempt, Attempts, Reached
from gateway.call import CLIENT_LEFT, JSON_TYPE, OUR_FAULT, STREAM_TYPE, Answer, Call, Sent, whole
from gateway.candidates import Candidates
from gateway.config import Config
from gateway.dialects.dialect import Seen
from gateway.draft import ReceiptDraft
from gateway.errors import GatewayError, UpstreamFailed, failure_of
from gateway.inference import Usage
from gateway.jsonbody import read_json_object
from gateway.money.estimate import tokens_left
from gateway.record import CallRecord
from gateway.relay import DRAIN_SECONDS, Aftermath, Relay
from gateway.routing.route import Route
from gateway.translate import OUR_KEY_STATUSES, refused_key
from gateway.tried import headers_of, metered_attempts, with_attempts
from gateway.upstream import UpstreamAnswer

Made = tuple[bytes, Seen]
"""A buffered answer for the client, and what it says of itself."""


class Carriage:
    """One call whose record is open, on its way to the candidates and back."""

    def __init__(
        self,
        call: Call,
        candidates: Candidates,
        attempts: Attempts,
        audit: CallRecord,
        config: Config,
        after: Aftermath,
    ) -> None:
        """`after` carries on what shall be read to its end for a client that has left."""
        self._call = call
        self._candidates = candidates
        self._attempts = attempts
        self._audit = audit
        self._frame = config.limits.frame
        self._after = after if config.drain else None
        self._tried: list[Attempt] = []
        self._left = False  # the client has gone, and the attempts go on without it

    async def answer(self) -> Answer:
        """The answer, or the refusal. A stream goes on as a Relay; a call that is cancelled still gets its receipt."""
        try:
            return await self._show(await self._reach())
        except GatewayError as error:
            return await self._refuse(error)
        except BaseException as error:
            # Cancelled, or a fault of ours: the receipt is owed either way.
            if not self._left:
                self._record_cut(None, CLIENT_LEFT if isinstance(error, asyncio.CancelledError) else OUR_FAULT)
            raise

    async def _reach(self) -> Reached[Made]:
        """What the attempts come to. Raises GatewayError."""
        asks = self._call.exchange.request.stream
        reaching = self._attempts.reach(
            self._candidates.targets(), self._read, stream=asks, finished=self._tried.append
        )
        if self._after is None:
            return await reaching
        going_on = asyncio.ensure_future(reaching)
        try:
            return await asyncio.shield(going_on)
        except asyncio.CancelledError:
            self._left = True
            self._after(self._settle(going_on))
            raise

    def _read(self, at: int, body: bytes) -> Made:
        """What a client gets of a buffered answer of this candidate. Raises UpstreamFailed if it is none."""
        return self._candidates.exchange(at).answer(body, self._by(at).attestation_wanted())

    def _by(self, at: int) -> Call:
        """The call as this candidate answers it; as it is, if that is the one that was to be tried first."""
        route = self._candidates.observed(at)
        if at == 0 and route is self._call.route:
            return self._call
        meter = replace(self._call.meter, bill=self._call.bills[at])
        return replace(self._call, exchange=self._candidates.exchange(at), route=route, meter=meter)

    def _told(self, call: Call, answered: int | None, *, streams: bool = False) -> Call:
        """The call with what was tried, in its receipt and its activity: once."""
        if call.meter.attempt is not None:
            return call
        draft = with_attempts(call.draft, self._candidates, self._tried, answered)
        route = None if answered is None else call.route
        meter = metered_attempts(call.meter, self._candidates, self._tried, route, answered, streams=streams)
        return replace(call, draft=draft, meter=meter)

    def _answered_by(self, reached: Reached[Made]) -> Call:
        """The call as it is now, with what was tried and what is known of the upstream in its receipt."""
        call = self._told(self._by(reached.target), reached.target, streams=reached.streams)
        return replace(call, draft=_verified(call.draft, call.route, reached.answer))

    async def _show(self, reached: Reached[Made]) -> Answer:
        """What was reached, as an Answer. Raises UpstreamFailed for what no client can read."""
        call = self._answered_by(reached)
        if reached.streams:
            headers = headers_of(self._candidates, self._tried, reached.target, 200)
            return Answer(200, STREAM_TYPE, call.draft.receipt_id, self._relay(call, reached), headers=headers)
        self._call = call
        if reached.made is None:
            return await self._pass_refusal(call, reached)
        body, seen = reached.made
        returned = replace(whole(200, body), complete=seen.whole)
        activity = call.meter.read(200, seen.usage, whole=seen.whole, tokens=tokens_left(len(body), 0, 0))
        await self._audit.close(call.draft, returned, seen.chat_id or None, activity)
        return self._answer(200, body, None, reached.target)

    async def _pass_refusal(self, call: Call, reached: Reached[Made]) -> Answer:
        """The provider's own refusal, as it said it, if it is one that a client can read. Raises UpstreamFailed."""
        answer = reached.answer
        if answer.status in OUR_KEY_STATUSES:
            raise refused_key()
        # DeepSeek was seen to send its errors without a type.
        readable = answer.kind == JSON_TYPE or read_json_object(reached.body) is not None
        if answer.status < 400 or not readable:
            raise UpstreamFailed(f"The provider answered with status {answer.status} and no JSON.")
        body, wait = call.exchange.refusal(reached.body, answer.status)
        activity = call.meter.read(answer.status, None)
        await self._audit.close(call.draft, whole(answer.status, body), None, activity)
        return self._answer(answer.status, body, answer.retry_after or wait, reached.target)

    async def _refuse(self, error: GatewayError) -> Answer:
        """A refusal of ours, with its receipt."""
        call = self._told(self._call, None)
        body = call.exchange.surface.encode_error(failure_of(error), error.status)
        await self._audit.close(call.draft, whole(error.status, body), None, call.meter.read(error.status, None))
        return self._answer(error.status, body, None if error.retry_after is None else f"{error.retry_after:g}", None)

    def _answer(self, status: int, body: bytes, retry_after: str | None, answered: int | None) -> Answer:
        headers = headers_of(self._candidates, self._tried, answered, status)
        return Answer(status, JSON_TYPE, self._call.draft.receipt_id, body, retry_after, headers)

    def _relay(self, call: Call, reached: Reached[Made]) -> Relay:
        return Relay(call, reached, self._audit, call.exchange.passage(self._frame), self._after)

    def _record_cut(self, usage: Usage | None, status: int = CLIENT_LEFT) -> None:
        """Nothing has left, and nothing will but the words of a fault of ours, which no receipt covers."""
        call = self._told(self._call, None)
        cut = Sent(0, "").returned(complete=False)
        self._audit.submit_close(call.draft, cut, None, call.meter.read(status, usage))

    async def _settle(self, reaching: asyncio.Future[Reached[Made]]) -> None:
        """Learn what the answer used, though its client has left."""
        reached: Reached[Made] | None = None
        try:
            with suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    reached = await reaching
        finally:
            if reached is not None and reached.streams:
                await self._relay(self._answered_by(reached), reached).close()
            else:
                self._record_cut(None if reached is None or reached.made is None else reached.made[1].usage)


def _verified(draft: ReceiptDraft, route: Route, answer: UpstreamAnswer) -> ReceiptDraft:
    """What is known of the upstream that answered: TLS at most, never a false `verified`."""
    if answer.tls is not None:
        draft = draft.with_event("upstream.tls", **answer.tls)
    model_id, tier = route.model.upstream_model, route.tier.word
    return draft.with_event(
        "upstream.verified", required=False, result="not_attested", model_id=model_id, tier_observed=tier
    )
