"""A streamed answer: the provider's bytes to the client, our event before their end, the receipt before the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from gateway.attempts import Reached
from gateway.call import CLIENT_LEFT, STREAM_TYPE, Call, Sent
from gateway.dialects.dialect import Passage
from gateway.errors import GatewayError, KeyRevoked, UpstreamFailed, failure_of
from gateway.record import StreamRecord
from gateway.storage.calls import Activity, Progress
from gateway.stream_checkpoints import StreamCheckpoints

_TOOK_TOO_LONG = UpstreamFailed("The answer took too long as a whole.", code="upstream_timeout")
SLICE = 16 << 10  # bytes of what was held back: what comes whole before a fault is given, and a fault ends a slice
DRAIN_SECONDS = 120.0  # for which an answer is read on that nobody waits for any more
Aftermath = Callable[[Coroutine[Any, Any, None]], object]


class Relay:
    """One stream. Whatever happens to it, exactly one receipt is signed."""

    def __init__(
        self, call: Call, reached: Reached[Any], audit: StreamRecord, passage: Passage, aftermath: Aftermath | None
    ) -> None:
        """`aftermath` carries on, where a client has left, what shall be read to its end."""
        self._call = call
        self._reached = reached
        self._answer = reached.answer
        self._aftermath = aftermath
        self._next = reached.answer.next if aftermath is None else self._next_unshaken
        self._reading: asyncio.Future[bytes] | None = None
        self._closing: asyncio.Future[None] | None = None  # held, since a task that nobody holds may vanish
        self._begun = self._left = False
        self._stopped: GatewayError | None = None  # why we end it before its provider does
        self._audit = audit
        self._passage = passage
        self._sent = sent = Sent(200, STREAM_TYPE)
        self.ended = False
        draft = call.draft  # the signer does not hold this relay: each would wait for the garbage collector
        self._checkpoints = StreamCheckpoints(
            sent,
            lambda: audit.sign_checkpoint(sent.progress(draft.receipt_id), draft.keyset_digest),
            in_band=call.demands.checkpoints,
        )
        audit.follow(call.draft, self._signed_progress)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes for the client. Raises NotRecorded before the last of them if the receipt cannot be stored."""
        self._begun = True
        try:
            clock = asyncio.get_running_loop().call_at(self._reached.deadline, self.stop, _TOOK_TOO_LONG)
            try:
                held = self._reached.body
                while piece := held[:SLICE] or await self._next():
                    if self._stopped is not None:
                        tail, complete = self._cut_off(self._stopped)
                        break
                    held = held[SLICE:]
                    if ready := self._passage.push(piece):
                        yield ready
                        self._sent.add(ready)  # the reader came back for more, so these were taken
                        self._checkpoints.sign_due()
                        if comment := self._checkpoints.comment():
                            yield comment
                            self._sent.add(comment)
                else:
                    tail, complete = self._ending()
            except UpstreamFailed as error:
                tail, complete = self._cut_off(self._stopped or error)
            finally:
                clock.cancel()
            # A revocation is no fault of the provider's.
            self._reached.done(None if isinstance(self._stopped, KeyRevoked) else complete)
            activity = self._activity(200, partial=not complete)
            await self._audit.close(self._call.draft, self._sent.followed_by(tail, complete), self._chat_id, activity)
            self.ended = True
            yield tail
        except (asyncio.CancelledError, GeneratorExit):
            self._left = True  # whoever reads has left; all else is a fault of ours
            raise

    async def close(self) -> None:
        """Let go of the provider; a stream that was cut gets its receipt now, or once it is read to its end."""
        self._reached.done(None)
        if not self.ended:
            self.ended = True
            if self._aftermath is not None:
                self._aftermath(self._read_on())
                return
            self._record_cut()
        await self._answer.close()

    def _record_cut(self) -> None:
        # After a fault of ours the client has a head of 200, and no end.
        activity = self._activity(CLIENT_LEFT if self._left or not self._begun else 200, partial=True)
        self._audit.submit_close(self._call.draft, self._sent.returned(False), self._chat_id, activity)

    def _activity(self, status: int, *, partial: bool) -> Activity:
        seen = self._passage.seen()
        left = self._sent.tokens()
        return self._call.meter.read(
            status, seen.usage, partial=partial, skipped=seen.skipped, whole=seen.whole, tokens=left
        )

    async def _read_on(self) -> None:
        """Learn what the whole answer used, though its client has left."""
        try:
            with suppress(UpstreamFailed, TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    piece = await (self._reading or self._next()) if self._begun else self._reached.body
                    while piece:
                        self._passage.push(piece)
                        piece = await self._answer.next()
                    self._passage.closing(None)
        finally:
            self._record_cut()
            await self._answer.close()

    async def _next_unshaken(self) -> bytes:
        """The next piece, whose reading goes on if the client leaves meanwhile."""
        self._reading = asyncio.ensure_future(self._answer.next())
        piece = await asyncio.shield(self._reading)
        self._reading = None
        return piece

    def stop(self, error: GatewayError) -> None:
        """End it at its next event, or now if none comes: whoever reads is told that the connection broke."""
        self._stopped = error
        self._closing = asyncio.ensure_future(self._answer.close())

    def _progress(self) -> Progress:
        return self._sent.progress(self._call.draft.receipt_id)

    def _signed_progress(self) -> Progress:
        """What has left, and the newest checkpoint of it: a stream that has slowed down is signed for here."""
        self._checkpoints.sign_due()
        return self._progress()

    @property
    def _chat_id(self) -> str | None:
        return self._passage.seen().chat_id or None

    def _cut_off(self, error: GatewayError) -> tuple[bytes, bool]:
        """The last bytes of a stream that ends by an error, in its client's language."""
        return self._passage.closing(self._call.attestation_wanted(), failure_of(error)), False

    def _ending(self) -> tuple[bytes, bool]:
        """The last bytes of a stream whose provider has ended, and whether the answer is whole."""
        tail = self._passage.closing(self._call.attestation_wanted())
        return tail, self._passage.seen().whole
